"""Owns the list of metrics: what measures each, which data have it, and how it is shown.

To add a metric, write a module in this folder and an entry of METRICS: score files, the leaderboard, pages
and claims all read this list. Doesn't import torch.
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
    title: str
    measure: Measure  # returns this metric, and perhaps others, by name; none where the data lack it
    better: Literal["lower", "higher", "neither"]
    decimals: int | None = None  # of values, or of per cent for a share; None: three digits
    is_share: bool = False
    needs: Literal["any", "classes", "modes"] = "any"  # labels of an image: one, or several at once
    has_column: bool = True  # in the second table of a report

    @property
    def meaning(self) -> str:
        """What it says, in a few words."""
        return MEANINGS[self.name]


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
    """For more than 100 classes, where even equal shares are below one in a hundred, only `is`."""
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
    Metric("fid", "FID", _distances, "lower", has_column=False),
    Metric("fid_infinity", "FID, extrapolated", _distances, "lower", has_column=False),
    Metric("kid", "KID", _distances, "lower", has_column=False),
    Metric("kid_spread", "KID, spread", _distances, "neither", has_column=False),
    Metric("classes", "classes", _classes, "higher", 0, needs="classes", has_column=False),
    Metric("confident", "confident", _classes, "higher", 0, is_share=True, has_column=False),
    Metric("repeats", "repeats", _pixels, "lower", 1, is_share=True, has_column=False),
    Metric("modes", "modes", _classes, "higher", 0, needs="modes"),
    Metric("modes_confident", "modes, confident", _classes, "higher", 0, needs="modes", has_column=False),
    Metric("mode_kl", "mode KL", _classes, "lower", 3, needs="modes"),
    Metric("mode_kl_confident", "mode KL, confident", _classes, "lower", 3, needs="modes"),
    Metric("is", "IS", _classes, "higher", 2, needs="classes"),
    Metric("precision", "precision", _neighbours, "higher", 0, is_share=True),
    Metric("recall", "recall", _neighbours, "higher", 0, is_share=True),
    Metric("density", "density", _neighbours, "higher", 2),
    Metric("coverage", "coverage", _neighbours, "higher", 0, is_share=True),
    Metric("class_kl", "class KL", _classes, "lower", 3, needs="classes"),
    Metric("duplicates", "duplicates", _neighbours, "lower", 1, is_share=True),
    Metric("memorised", "memorised", _memorised, "lower", 1, is_share=True),
    Metric("ms_ssim", "MS-SSIM", _pixels, "neither", 2),
    Metric("sharpness", "sharpness", _pixels, "neither", 3),
)
MEANINGS = {
    "fid": "Fréchet distance between features of generated and of real images",
    "fid_infinity": "the FID that samples without end would have, by a line through six counts; may "
    "fall below zero",
    "kid": "kernel distance on the same features, without bias from the count",
    "kid_spread": "standard deviation of the KID over its subsets",
    "classes": "classes that at least 1 % of the samples are taken for",
    "confident": "share of the samples that the evaluator takes for some class with more than 90 % "
    "confidence",
    "repeats": "share of the samples that equal another in every pixel",
    "modes": "combinations of names that some sample has",
    "modes_confident": "the same among samples of which each name has more than 90 %; of points, "
    "those on a mode",
    "mode_kl": "how far the modes are from equal shares, in nats",
    "mode_kl_confident": "the same among the confident samples",
    "is": "Inception score: from 1 to the number of classes, higher for samples that are each "
    "surely of one class and together of all",
    "precision": "share of the samples that lie among the real images, within the ball of some real "
    "image's three nearest neighbours",
    "recall": "share of the real images that lie among the samples",
    "density": "in how many real images' balls a sample lies, over 5, the neighbours that make a "
    "ball; about 1 for real images",
    "coverage": "share of the real images that have a sample among their five nearest",
    "class_kl": "how far the classes are from the real shares, in nats",
    "duplicates": "share of the samples that lie as close to another sample as the closest 1 % of "
    "the real images do to a real one",
    "memorised": "share of the samples that lie as close to a training image as the closest 1 % of "
    "other real images do",
    "ms_ssim": "mean structural similarity of pairs of samples: varied samples score as low as the "
    "real images",
    "sharpness": "share of the images' spectral energy in high frequencies; below that of real "
    "images is blurred, above it noisy",
}
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
