"""Owns counting modes of images with several labels: the combination of labels is the mode.

The three digits of stacked MNIST, or column and row of a mixture's points.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.errors import DataError
from gan.metrics.classes import CONFIDENCE


class Modes(NamedTuple):
    """Modes found and KL(samples || uniform) in nats, of all samples and of those named with confidence."""

    modes: int
    mode_kl: float
    modes_confident: int
    mode_kl_confident: float  # log of the number of modes, the worst there is, when no sample is confident


def stacked_modes(probabilities: NDArray[np.floating[Any]]) -> Modes:
    """Count the modes among N samples; the 10 classes and 3 channels of stacked digits make 1,000.

    probabilities: (N, C, K) of each channel's image alone, or of each coordinate. A mode is a tuple of
    likeliest classes that at least one sample has. A sample is confident when every channel's likeliest
    class has more than 0.9. Srivastava et al., 2017, arXiv:1705.07761, section 4.1. N draws of uniform
    modes have a KL near (modes - 1) / (2 N), not 0: 0.019 at 26,000; real stacked MNIST, whose classes
    are uneven, 0.0235.
    Raises DataError for probabilities that are not finite, or no sample.
    """
    if not len(probabilities) or not np.isfinite(probabilities).all():
        raise DataError(f"{len(probabilities)} samples have no modes, or some probabilities are not finite")
    _, channels, classes = probabilities.shape
    digits = probabilities.argmax(axis=2)
    mode = digits @ classes ** np.arange(channels - 1, -1, -1)
    sure = (probabilities.max(axis=2) > CONFIDENCE).all(axis=1)
    return Modes(*_counted(mode, classes**channels), *_counted(mode[sure], classes**channels))


class UniformModes(NamedTuple):
    """What a sampler of uniform modes would score on average."""

    modes: float
    mode_kl: float


def uniform_modes(n: int, modes: int = 1000) -> UniformModes:
    """Expected number of modes and KL(samples || uniform) in nats of n samples whose modes are uniform.

    The count of one mode is binomial, which makes both exact: all modes and (modes - 1) / (2 n) are
    their limits for many samples. No generator can be expected to score better.
    """
    from scipy.stats import binom  # takes long to import

    counts = np.arange(1, n + 1)
    likely = binom.pmf(counts, n, 1 / modes)
    shares = counts / n
    return UniformModes(
        float(modes * likely.sum()), float(modes * (likely * shares * np.log(shares * modes)).sum())
    )


def _counted(mode: NDArray[np.integer[Any]], modes: int) -> tuple[int, float]:
    if not len(mode):
        return 0, float(np.log(modes))
    shares = np.bincount(mode, minlength=modes) / len(mode)
    found = shares[shares > 0]
    return len(found), float((found * np.log(found * modes)).sum())
