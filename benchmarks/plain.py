"""The textbook loop that Gantry's is measured against: the same networks, the way tutorials train them.

Torch's own layers, images in NCHW, float32, a graph to the generator whenever it makes fakes, the
critic's weights left trainable in the generator's step, torch's default Adam, a moving average by a loop
over the weights, and every loss read at every step. It makes the same numbers as ours, which its test
asserts.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gan.contract import AdamParams, VariantParams
from gan.networks.convolutions import ImageConv2d, ImageConvTranspose2d
from gan.networks.winograd import WideConv2d, WideConvTranspose2d
from gan.sampling import draw_noise
from gan.training import TrainState

KINDS = ("dcgan", "wgan_gp")


def training_steps(state: TrainState, batches: Iterator[Tensor]) -> Iterator[dict[str, float]]:
    """Train DCGAN or WGAN-GP, yielding the losses of each step. Learning rates are constant.

    The random numbers are those of `gan.training`. Raises ValueError for another kind.
    """
    method: Any = state.variant
    if method.kind not in KINDS:
        raise ValueError(f"the textbook loop trains {', '.join(KINDS)}, not {method.kind}")
    generator, critic = state.gan.generator, state.gan.critic
    for network in (generator, critic):
        use_torchs_layers(network)
    critic_optimizer = _adam(method, critic, method.critic_optimizer)
    generator_optimizer = _adam(method, generator, method.generator_optimizer)
    averaged = {name: weight.detach().clone() for name, weight in generator.named_parameters()}
    while state.step < state.steps:
        for inner in range(getattr(method, "critic_steps", 1)):
            real = next(batches).to(state.device)
            state.seed_draws("critic", inner)
            fake = generator(draw_noise(len(real), method.z_dim, method.noise, device=state.device))
            critic_optimizer.zero_grad()
            critic_loss = _critic_loss(method, critic, real, fake.detach())
            critic_loss.backward()
            critic_optimizer.step()
        if method.generator_noise == "fresh":
            state.seed_draws("generator")
            fake = generator(draw_noise(len(real), method.z_dim, method.noise, device=state.device))
        generator_optimizer.zero_grad()
        generator_loss = _generator_loss(method, critic, fake)
        generator_loss.backward()
        generator_optimizer.step()
        for name, weight in generator.named_parameters():
            averaged[name].mul_(0.999).add_(weight.detach(), alpha=0.001)
        state.step += 1
        yield {"loss/critic": critic_loss.item(), "loss/generator": generator_loss.item()}


def use_torchs_layers(network: nn.Module) -> None:
    """Replace Gantry's fast layers by torch's own; the weights are kept."""
    for module in network.modules():
        if isinstance(module, (ImageConv2d, WideConv2d)):
            module.__class__ = nn.Conv2d
        elif isinstance(module, (ImageConvTranspose2d, WideConvTranspose2d)):
            module.__class__ = nn.ConvTranspose2d
        elif isinstance(module, (nn.ReLU, nn.LeakyReLU)):
            module.inplace = False


def _adam(method: VariantParams, network: nn.Module, params: Any) -> torch.optim.Adam:
    if not isinstance(params, AdamParams) or method.generator_noise == "joint":
        raise ValueError("the textbook loop knows Adam, and one network's step after the other's")
    return torch.optim.Adam(network.parameters(), lr=params.lr, betas=params.betas)


def _critic_loss(method: Any, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    real_score, fake_score = critic(real), critic(fake)
    if method.kind == "dcgan":
        found = functional.binary_cross_entropy_with_logits(real_score, torch.ones_like(real_score))
        return found + functional.binary_cross_entropy_with_logits(fake_score, torch.zeros_like(fake_score))
    place = torch.rand(len(real), 1, 1, 1, device=real.device)
    points = (place * real + (1 - place) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    penalty = ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
    loss: Tensor = fake_score.mean() - real_score.mean() + method.penalty_weight * penalty
    return loss


def _generator_loss(method: Any, critic: nn.Module, fake: Tensor) -> Tensor:
    score = critic(fake)
    if method.kind == "dcgan":
        return functional.binary_cross_entropy_with_logits(score, torch.ones_like(score))
    loss: Tensor = -score.mean()
    return loss
