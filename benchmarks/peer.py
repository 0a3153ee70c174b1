"""A contender that trains with a peer's own trainer: `python -m benchmarks.peer NAME`, if it is installed.

The networks are ours, in the peer's clothes, at the case's batch and steps; so are the batches, which
cost nothing. What the peer needs to run today, and what would only cost it time, is a shim; `SHIMS`
lists them for the record. It answers requests of `benchmarks.turns`.
"""

import sys
import tempfile
import time
import types
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.plain import use_torchs_layers
from benchmarks.step import Case, new_state
from benchmarks.turns import Answer, serve
from gan.training import TrainState

SHIMS = {
    "torch-mimicry": "stubs for torch._six, tensorflow, skimage and tensorboard; no final checkpoint",
    "torchgan": "device cpu in place of cuda:0; ncritic doubled, as its penalty counts as a critic step; "
    "no checkpoint and pictures at an epoch's end",
    "vegans": "installed without its torch==1.8.1; next() for a loader's iterator; a stub for tensorboard; "
    "its steps argument, which it overwrites, obeyed; secure=False",
}
NORMS = torch.tensor([1.0, 2.0, 3.0, 4.0])  # of four gradients; the penalty is the mean of 0, 1, 4 and 9
PENALTY = 3.5


class Batches(Dataset[Tensor]):
    """A number of images, served in batches from memory, with labels on request."""

    def __init__(self, case: Case, steps: int, *, labels: bool = False) -> None:
        self._case, self._steps, self._labels = case, steps, labels
        self._batch = torch.rand(case.batch, *case.image) * 2 - 1

    def __len__(self) -> int:
        return self._steps * self._case.batch

    def __getitems__(self, places: list[int]) -> Any:  # noqa: D105
        return [self._batch, torch.zeros(len(places))] if self._labels else self._batch

    def loader(self) -> DataLoader[Tensor]:
        """As the peers want it."""
        return DataLoader(self, self._case.batch, collate_fn=lambda batch: batch)


class Peer(ABC):
    """A peer's trainer around the networks of a case."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder = case, folder
        self.state: TrainState = new_state(case, "plain")
        for network in (self.state.gan.generator, self.state.gan.critic):
            use_torchs_layers(network)
        self.method: Any = self.state.variant
        self.critic_steps: int = getattr(self.method, "critic_steps", 1)
        self.penalised = self.method.kind == "wgan_gp"

    @abstractmethod
    def train(self, steps: int) -> None:
        """Train for a number of generator steps."""

    @abstractmethod
    def penalty(self, critic: nn.Module, images: Tensor) -> float:
        """The gradient penalty of this critic where real and generated images are the same."""

    def rates(self, name: str) -> dict[str, Any]:
        """Learning rate and betas of one network's Adam."""
        params = getattr(self.method, f"{name}_optimizer")
        return {"lr": params.lr, "betas": tuple(params.betas)}


class SquaredNorm(nn.Module):
    """(N, C, H, W) -> (N, 1), whose gradient at an image is the image."""

    def forward(self, images: Tensor) -> Tensor:
        """Half the squared norm."""
        return images.flatten(1).square().sum(1, keepdim=True) / 2


class Mimicry(Peer):
    """torch-mimicry."""

    def __init__(self, case: Case, folder: Path) -> None:
        pretend("torch._six", "tensorflow", "skimage", "skimage.io", "torch.utils.tensorboard")
        super().__init__(case, folder)
        from torch_mimicry.nets.dcgan import dcgan_base
        from torch_mimicry.nets.wgan_gp import wgan_gp_base

        family, prefix = (wgan_gp_base, "WGANGP") if self.penalised else (dcgan_base, "DCGAN")
        self._critic_class = worn(getattr(family, f"{prefix}BaseDiscriminator"))
        generator_class = worn(getattr(family, f"{prefix}BaseGenerator"))
        self.generator = generator_class(
            self.state.gan.generator, nz=self.method.z_dim, ngf=1, bottom_width=4
        )
        self.critic = self._critic_class(Column(self.state.gan.critic), ndf=1)
        self.optimizers = [
            torch.optim.Adam(network.parameters(), **self.rates(name))
            for name, network in (("critic", self.critic), ("generator", self.generator))
        ]

    def train(self, steps: int) -> None:
        """By its Trainer."""
        from torch_mimicry.training import Trainer

        trainer = Trainer(
            netD=self.critic,
            netG=self.generator,
            optD=self.optimizers[0],
            optG=self.optimizers[1],
            dataloader=Batches(self.case, steps * self.critic_steps, labels=True).loader(),
            num_steps=steps,
            n_dis=self.critic_steps,
            log_dir=tempfile.mkdtemp(dir=self.folder),
            device=torch.device("cpu"),
        )
        trainer._save_model_checkpoints = lambda global_step: None
        trainer.train()

    def penalty(self, critic: nn.Module, images: Tensor) -> float:
        """Of its base critic, with weight 1."""
        found: Tensor = self._critic_class(critic, ndf=1).compute_gradient_penalty_loss(images, images, 1.0)
        return float(found)


class Torchgan(Peer):
    """torchgan."""

    def __init__(self, case: Case, folder: Path) -> None:
        super().__init__(case, folder)
        from torchgan import losses, models, trainer

        adam = torch.optim.Adam
        parts = {
            "generator": worn(models.Generator)(self.state.gan.generator, encoding_dims=self.method.z_dim),
            "discriminator": worn(models.Discriminator)(Column(self.state.gan.critic), input_dims=1),
        }
        game: list[Any] = [losses.MinimaxGeneratorLoss(), losses.MinimaxDiscriminatorLoss()]
        if self.penalised:
            game = [losses.WassersteinGeneratorLoss(), losses.WassersteinDiscriminatorLoss()]
            game.append(losses.WassersteinGradientPenalty(lambd=self.method.penalty_weight))
        self.trainer = trainer.Trainer(
            {
                name: {
                    "name": lambda network=network: network,
                    "optimizer": {
                        "name": adam,
                        "args": self.rates("critic" if name == "discriminator" else name),
                    },
                }
                for name, network in parts.items()
            },
            game,
            device=torch.device("cpu"),
            ncritic=self.critic_steps * (2 if self.penalised else 1),
            epochs=1,
            checkpoints=f"{folder}/gan",
            recon=f"{folder}/images",
        )
        self.trainer.save_model = lambda *_, **__: None
        self.trainer.logger.run_end_epoch = lambda *_: None

    def train(self, steps: int) -> None:
        """By its Trainer, for an epoch of so many batches."""
        self.trainer(Batches(self.case, steps * self.critic_steps).loader())

    def penalty(self, critic: nn.Module, images: Tensor) -> float:
        """Of its loss, with weight 1, at the point that it would choose between equal images."""
        from torchgan.losses import WassersteinGradientPenalty

        place = images.clone().requires_grad_()
        found: Tensor = WassersteinGradientPenalty(lambd=1.0)(place, critic(place))
        return float(found)


class Vegans(Peer):
    """vegans."""

    def __init__(self, case: Case, folder: Path) -> None:
        pretend("torch.utils.tensorboard")
        from torch.utils.data.dataloader import _BaseDataLoaderIter

        _BaseDataLoaderIter.next = _BaseDataLoaderIter.__next__  # type: ignore[attr-defined]
        super().__init__(case, folder)
        from vegans import GAN

        family = GAN.WassersteinGANGP if self.penalised else GAN.VanillaGAN
        critic: nn.Module = Column(self.state.gan.critic)
        self.model = family(
            self.state.gan.generator,
            critic if self.penalised else nn.Sequential(critic, nn.Sigmoid()),
            x_dim=tuple(case.image),
            z_dim=self.method.z_dim,
            optim=torch.optim.Adam,
            optim_kwargs={"Generator": self.rates("generator"), "Adversary": self.rates("critic")},
            device="cpu",
            ngpu=0,
            folder=None,
            secure=False,
        )
        self.model._create_steps = lambda steps: {"Generator": 1, "Adversary": self.critic_steps}

    def train(self, steps: int) -> None:
        """By its fit, for an epoch of so many batches."""
        loader = Batches(self.case, steps).loader()
        self.model.fit(loader, epochs=1, batch_size=self.case.batch, print_every=None, save_losses_every=None)

    def penalty(self, critic: nn.Module, images: Tensor) -> float:
        """Of its model, whose critic is exchanged for it."""
        before, self.model.adversary = self.model.adversary, critic
        found: Tensor = self.model._gradient_penalty(images, images)
        self.model.adversary = before
        return float(found)


class Column(nn.Module):
    """A critic whose scores are (N, 1), as the peers have them."""

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, images: Tensor) -> Tensor:
        """Images to scores."""
        scores: Tensor = self.critic(images)
        return scores.unsqueeze(1)


def worn(base: Any) -> Any:
    """Return a class of a peer's kind that is one of our networks inside."""

    class Worn(base):  # type: ignore[misc]
        def __init__(self, network: nn.Module, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.network = network

        def forward(self, inputs: Tensor) -> Tensor:
            found: Tensor = self.network(inputs)
            return found

    return Worn


class Nothing:
    """Accepts any call and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def pretend(*names: str) -> None:
    """Stub modules that a peer imports but training doesn't need."""
    for name in names:
        module = types.ModuleType(name)
        module.__path__ = []
        module.PY3, module.string_classes, module.io = True, str, None  # type: ignore[attr-defined]
        module.SummaryWriter = Nothing  # type: ignore[attr-defined]
        sys.modules[name] = module


PEERS: dict[str, type[Peer]] = {"torch-mimicry": Mimicry, "torchgan": Torchgan, "vegans": Vegans}


class Training:
    """A peer that trains a case, after its first steps; the duration of a step is learnt on the way."""

    def __init__(self, name: str, case: Case, folder: Path) -> None:
        self.case = case
        torch.set_num_threads(case.threads)
        self.peer = PEERS[name](case, folder)
        images = torch.zeros(len(NORMS), *case.image)
        images[:, 0, 0, 0] = NORMS
        self.penalty = self.peer.penalty(SquaredNorm(), images) if self.peer.penalised else None
        self.peer.train(1)
        self._seconds = self._time(1)

    def run(self, seconds: float) -> Answer:
        """Train for about this long."""
        steps = max(1, round(seconds / self._seconds))
        taken = self._time(steps)
        self._seconds = taken / steps
        images = steps * self.peer.critic_steps * self.case.batch
        return {"images": images, "seconds": taken, "penalty": self.penalty}

    def _time(self, steps: int) -> float:
        begin = time.perf_counter()
        self.peer.train(steps)
        return time.perf_counter() - begin


def main() -> None:
    """Answer {"case": {...}, "seconds": ...} until the end of stdin."""
    name = sys.argv[1]
    current: list[Training] = []
    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as folder:

        def answer(request: dict[str, Any]) -> Answer:
            case = Case(**request["case"])
            if not current or current[0].case != case:
                current[:] = [Training(name, case, Path(folder))]
            return current[0].run(request["seconds"])

        serve(answer)


if __name__ == "__main__":
    main()
