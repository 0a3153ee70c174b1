"""Owns the list of metrics: what measures each, which data have it, and how it is shown.

A further metric is a module of this folder and an entry of METRICS: files of scores, the leaderboard,
pages and claims all read this list. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from gan.metrics.classes import (
    COVERED_SHARE,
    class_divergence,
    class_histogram,
    classes_covered,
    confident_share,
    inception_score,
)
from gan.metrics.distances import FeatureStats, extrapolated_distance, frechet_distance, kernel_distance
from gan.metrics.modes import stacked_modes
from gan.metrics.neighbours import memorised_share, neighbourhoods
from gan.metrics.pixels import mean_pair_similarity, repeated_share, sharpness
from gan.metrics.reference import Reference, Samples

Measure = Callable[[Samples, Reference], Mapping[str, float]]


class Metric(NamedTuple):
    """One metric: how it is measured and shown."""

    name: str  # short, in lower case, as claims and files have it
    measure: Measure  # gives this metric, and perhaps others, by name; nothing where the data have none
    title: str
    meaning: str
    decimals: int | None = None  # of values, or of per cent where it is a share; None: three digits
    is_share: bool = False
    better: Literal["lower", "higher", "neither"] = "higher"
    needs: Literal["any", "classes", "modes"] = "any"  # names of images: one each, or several at once
    has_column: bool = True  # in the table of a report; those of the first table and of pages alone don't


def _distances(samples: Samples, reference: Reference) -> dict[str, float]:
    wanted = FeatureStats.of(reference.features)
    fid = frechet_distance(FeatureStats.of(samples.features), wanted)
    kid = kernel_distance(samples.features, reference.features)
    endless = extrapolated_distance(samples.features, wanted)
    return {"fid": fid, "kid": kid.mean, "kid_spread": kid.spread, "fid_infinity": endless}


def _neighbours(samples: Samples, reference: Reference) -> dict[str, float]:
    return neighbourhoods(samples.features, reference.features)._asdict()


def _memorised(samples: Samples, reference: Reference) -> dict[str, float]:
    return {"memorised": memorised_share(samples.features, reference.train, reference.suspicious)}


def _classes(samples: Samples, reference: Reference) -> dict[str, float]:
    """Of more than 100 classes, which even shares would leave below one in a hundred, only `is`."""
    probabilities = samples.probabilities
    if probabilities is None:
        return {}
    if probabilities.ndim == 3:
        return {**stacked_modes(probabilities)._asdict(), "confident": confident_share(probabilities)}
    scores = {"is": inception_score(probabilities)}
    if probabilities.shape[1] * COVERED_SHARE <= 1:
        scores |= {
            "classes": classes_covered(probabilities),
            "confident": confident_share(probabilities),
            "class_kl": class_divergence(class_histogram(probabilities), reference.classes),
        }
    return scores


def _pixels(samples: Samples, reference: Reference) -> dict[str, float]:
    if (images := samples.images) is None:
        return {}
    return {
        "repeats": repeated_share(images),
        "sharpness": sharpness(images),
        "ms_ssim": mean_pair_similarity(images),
    }


# In the order in which reports show them.
METRICS = (
    Metric(
        "fid",
        _distances,
        "FID",
        "Fréchet distance between features of generated and of real images",
        better="lower",
        has_column=False,
    ),
    Metric(
        "fid_infinity",
        _distances,
        "FID, extrapolated",
        "the FID that samples without end would have, by a line through six counts; may fall below zero",
        better="lower",
        has_column=False,
    ),
    Metric(
        "kid",
        _distances,
        "KID",
        "kernel distance on the same features, without bias from the count",
        better="lower",
        has_column=False,
    ),
    Metric(
        "kid_spread",
        _distances,
        "KID, spread",
        "standard deviation of the KID over its subsets",
        better="neither",
        has_column=False,
    ),
    Metric(
        "classes",
        _classes,
        "classes",
        "classes that at least 1 % of the samples are taken for",
        decimals=0,
        needs="classes",
        has_column=False,
    ),
    Metric(
        "confident",
        _classes,
        "confident",
        "share of the samples that the evaluator takes for some class with more than 90 % confidence",
        decimals=0,
        is_share=True,
        has_column=False,
    ),
    Metric(
        "repeats",
        _pixels,
        "repeats",
        "share of the samples that equal another in every pixel",
        decimals=1,
        is_share=True,
        better="lower",
        has_column=False,
    ),
    Metric(
        "modes",
        _classes,
        "modes",
        "combinations of names that some sample has",
        decimals=0,
        needs="modes",
    ),
    Metric(
        "modes_confident",
        _classes,
        "modes, confident",
        "the same among samples of which each name has more than 90 %; of points, those on a mode",
        decimals=0,
        needs="modes",
        has_column=False,
    ),
    Metric(
        "mode_kl",
        _classes,
        "mode KL",
        "how far the modes are from equal shares, in nats",
        decimals=3,
        better="lower",
        needs="modes",
    ),
    Metric(
        "mode_kl_confident",
        _classes,
        "mode KL, confident",
        "the same among the confident samples",
        decimals=3,
        better="lower",
        needs="modes",
    ),
    Metric(
        "is",
        _classes,
        "IS",
        "Inception score: from 1 to the number of classes, higher for samples that are each surely of one "
        "class and together of all",
        decimals=2,
        needs="classes",
    ),
    Metric(
        "precision",
        _neighbours,
        "precision",
        "share of the samples that lie among the real images, within the ball of some real image's three "
        "nearest neighbours",
        decimals=0,
        is_share=True,
    ),
    Metric(
        "recall",
        _neighbours,
        "recall",
        "share of the real images that lie among the samples",
        decimals=0,
        is_share=True,
    ),
    Metric(
        "density",
        _neighbours,
        "density",
        "in how many real images' balls a sample lies, over 5, the neighbours that make a ball; about 1 for "
        "real images",
        decimals=2,
    ),
    Metric(
        "coverage",
        _neighbours,
        "coverage",
        "share of the real images that have a sample among their five nearest",
        decimals=0,
        is_share=True,
    ),
    Metric(
        "class_kl",
        _classes,
        "class KL",
        "how far the classes are from the real shares, in nats",
        decimals=3,
        better="lower",
        needs="classes",
    ),
    Metric(
        "duplicates",
        _neighbours,
        "duplicates",
        "share of the samples that lie as close to another sample as the closest 1 % of the real images do "
        "to a real one",
        decimals=1,
        is_share=True,
        better="lower",
    ),
    Metric(
        "memorised",
        _memorised,
        "memorised",
        "share of the samples that lie as close to a training image as the closest 1 % of other real images "
        "do",
        decimals=1,
        is_share=True,
        better="lower",
    ),
    Metric(
        "ms_ssim",
        _pixels,
        "MS-SSIM",
        "mean structural similarity of pairs of samples: varied samples score as low as the real images",
        decimals=2,
        better="neither",
    ),
    Metric(
        "sharpness",
        _pixels,
        "sharpness",
        "share of the images' spectral energy in high frequencies; below that of real images is blurred, "
        "above it noisy",
        decimals=3,
        better="neither",
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}


def score(samples: Samples, reference: Reference) -> dict[str, float]:
    """Every metric of N samples by its short name, in the order of METRICS.

    Which there are depends on how the extractor names images: classes, modes in place of them, or neither.
    Raises DataError as `frechet_distance` does.
    """
    found: dict[str, float] = {}
    for measure in dict.fromkeys(metric.measure for metric in METRICS):
        found |= measure(samples, reference)
    return {name: found[name] for name in BY_NAME if name in found}
