"""Sizes that every family of networks is held to."""

import pytest
import torch

from gan.contract import ImageShape


@pytest.fixture(
    params=[(c, s, s) for s in (28, 32, 64) for c in (1, 3)], ids=lambda shape: "x".join(map(str, shape))
)
def image(request):
    return ImageShape(*request.param)


@pytest.fixture
def count():
    """Trainable parameters of each network of a pair that is built without memory."""

    def counted(params, image, z_dim, critic_norm):
        with torch.device("meta"):
            pair = params.build(ImageShape(*image), z_dim, critic_norm=critic_norm)
        return tuple(
            sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
            for network in pair
        )

    return counted
