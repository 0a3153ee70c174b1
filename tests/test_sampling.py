"""Sampling: noise laws, quantisation, grids, batch statistics."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.sampling import (
    BATCH,
    draw_noise,
    generate_images,
    image_grid,
    reestimate_batch_statistics,
    to_uint8,
)


@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_the_first_rows_of_noise_do_not_depend_on_how_many_are_drawn(law):
    def draw(n):
        return draw_noise(n, 7, law, torch.Generator().manual_seed(3))

    for n in (1, 5, 16, 33):
        assert_close(draw(n), draw(100)[:n], rtol=0, atol=0)


def test_noise_has_the_moments_of_its_law():
    normal = draw_noise(4000, 10, "normal", torch.Generator().manual_seed(0))
    uniform = draw_noise(4000, 10, "uniform", torch.Generator().manual_seed(0))
    assert abs(normal.mean()) < 0.02 and abs(normal.var() - 1) < 0.03
    assert abs(uniform.mean()) < 0.02 and abs(uniform.var() - 1 / 3) < 0.02
    assert uniform.abs().max() <= 1


def test_images_are_clamped_and_rounded_not_stretched():
    images = torch.tensor([-7.0, -1.0, 0.0, 0.5, 1.0, 1.3])
    # (x + 1) * 127.5: 0 -> 127.5 rounds to even 128, 0.5 -> 191.25
    assert to_uint8(images).tolist() == [0, 0, 128, 191, 255, 255]


def test_an_image_does_not_depend_on_how_many_are_generated():
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Unflatten(1, (1, 3, 3)))
    noise = draw_noise(600, 4, "normal", torch.Generator().manual_seed(0))
    assert_close(generate_images(generator, noise)[:250], generate_images(generator, noise[:250]))
    assert generator.training  # left as it was found


def test_grid_lays_images_out_row_by_row_without_changing_their_pixels():
    images = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 1, 2, 2) * 10
    grid = image_grid(images.contiguous(), columns=2)
    pixels = torch.from_numpy(np.array(grid.getchannel(0)))
    assert (pixels[2:4, 2:4] == 0).all() and (pixels[2:4, 6:8] == 10).all()
    assert (pixels[6:8, 2:4] == 20).all() and (pixels[6:8, 6:8] == 30).all()


def test_batch_statistics_become_the_mean_over_fresh_noise_and_leave_no_trace_else():
    generator = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        generator[0].weight.copy_(torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0]]))
        generator[0].bias.copy_(torch.tensor([1.0, -1.0]))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    reestimate_batch_statistics(generator, 3, "normal", seed=0, batches=40)
    # 2 N(0, 1) + 1 and 3 N(0, 1) - 1 over 10,000 draws
    assert_close(generator[1].running_mean, torch.tensor([1.0, -1.0]), rtol=0, atol=0.1)
    assert_close(generator[1].running_var, torch.tensor([4.0, 9.0]), rtol=0.05, atol=0)
    assert generator[1].momentum == 0.1 and generator.training
    assert torch.equal(before, torch.get_rng_state())


def test_batch_statistics_are_the_plain_mean_over_the_batches_whatever_was_there_before():
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    for _ in range(5):  # training leaves statistics, and a count of batches
        generator(torch.randn(20, 3) + 4)
    reestimate_batch_statistics(generator, 3, "normal", seed=6, batches=3)
    stream = torch.Generator().manual_seed(6)
    with torch.no_grad():
        batches = [generator[0](draw_noise(BATCH, 3, "normal", stream)) for _ in range(3)]
    means = torch.stack([batch.mean(0) for batch in batches]).mean(0)
    variances = torch.stack([batch.var(0) for batch in batches]).mean(0)
    assert_close(generator[1].running_mean, means)
    assert_close(generator[1].running_var, variances)
