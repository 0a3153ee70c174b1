"""Scores read off the pixels, on images whose answer is known."""

import math

import numpy as np
import pytest
import torch

from gan.metrics import pixels
from gan.metrics.pixels import mean_pair_similarity, ms_ssim, repeated_share, sharpness


def noise(n, side=28, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 1, side, side), dtype=np.uint8)


def wave(period):
    """A grey wave along the width, of this many pixels a period."""
    values = 128 + 100 * np.cos(2 * np.pi * np.arange(24) / period)
    return np.tile(values, (2, 1, 24, 1)).round().astype(np.uint8)


def test_a_repeat_equals_an_earlier_image_in_every_pixel():
    images = noise(4)
    assert repeated_share(images) == 0
    assert repeated_share(images[[0, 1, 1, 1]]) == 0.5
    images[1] = images[0]
    images[1, 0, 0, 0] ^= 1
    assert repeated_share(images) == 0


def test_energy_above_a_quarter_cycle_a_pixel_is_sharp():
    assert sharpness(wave(2)) == pytest.approx(1, abs=1e-3)
    assert sharpness(wave(3)) > 0.99
    assert sharpness(wave(4)) < 0.01  # a quarter is not above a quarter
    assert sharpness(wave(12)) < 0.01
    assert sharpness(np.full((3, 1, 8, 8), 7, np.uint8)) == 0


def test_white_noise_has_the_share_of_frequencies_that_lie_above():
    # Frequencies are the square [-1/2, 1/2]^2; the disc of radius 1/4 has pi / 16 of it.
    assert sharpness(noise(200, 32)) == pytest.approx(1 - np.pi / 16, abs=0.01)


def test_the_window_is_a_gaussian_of_eleven_pixels_and_takes_no_padding():
    impulse = torch.zeros(1, 2, 21, 31)
    impulse[:, :, 10, 15] = 1
    row = [math.exp(-(k**2) / (2 * 1.5**2)) for k in range(-5, 6)]
    window = torch.tensor([value / sum(row) for value in row])
    blurred = pixels._blurred(impulse)
    assert blurred.shape == (1, 2, 11, 21)
    torch.testing.assert_close(blurred[0, 1, :, 5:16], window[:, None] * window, rtol=1e-6, atol=1e-9)
    assert blurred[0, 1, :, :5].abs().max() == blurred[0, 1, :, 16:].abs().max() == 0


def test_equal_images_are_wholly_similar_and_noise_hardly_is():
    assert mean_pair_similarity(np.repeat(noise(1), 5, axis=0)) == pytest.approx(1, abs=1e-5)
    assert mean_pair_similarity(noise(50)) < 0.2


def test_similarity_of_two_flat_images_is_that_of_their_luminance_at_the_coarsest_scale():
    a, b = torch.full((1, 1, 176, 176), 100.0), torch.full((1, 1, 176, 176), 200.0)
    c1 = (0.01 * 255) ** 2
    luminance = (2 * 100 * 200 + c1) / (100**2 + 200**2 + c1)  # contrast is C2 / C2 = 1 at every scale
    assert ms_ssim(a, b).item() == pytest.approx(luminance**0.1333, rel=1e-3)


def test_similarity_needs_five_scales():
    with pytest.raises(ValueError, match="five scales"):
        ms_ssim(torch.zeros(1, 1, 28, 28), torch.zeros(1, 1, 28, 28))
