"""DRAGAN. Kodali et al., 2017, arXiv:1705.07215.

The vanilla loss on logits, plus lambda * mean (|grad D(x')| - 1)^2 at points x' near real images only. The
gradient is that of the logits; that of the probabilities vanishes where the critic is sure. As under every
penalty per sample, the critic has no batch normalisation.

Where paper and practice disagree: paper and notebook differ in what "near" means, and most ports move
images upwards only; see `gan.objectives.penalties.perturb` for the four readings. An ancestor (khanrc)
takes norms over image columns (`columns`, for profile `seed`).
"""

from functools import partial
from typing import ClassVar, Literal

from pydantic import PositiveFloat

from gan.contract import Gan, ImageShape, VariantParams
from gan.networks import ScoreNetworks


class DRAGANParams(VariantParams):
    """The vanilla loss and a penalty around real images."""

    paper: ClassVar[str] = "Kodali et al., 2017, arXiv:1705.07215"
    loss: ClassVar[str] = "binary cross-entropy + gradient penalty around real images"

    kind: Literal["dragan"]
    networks: ScoreNetworks
    critic_norm: Literal["none", "layer"] = "none"
    penalty_weight: PositiveFloat = 10.0
    perturbation: Literal["two_sided", "per_image", "notebook", "gaussian"] = "two_sided"
    perturbation_scale: PositiveFloat = 0.5  # of the batch's standard deviation; for gaussian: in pixel units
    penalised_norm: Literal["sample", "column"] = "sample"

    def build(self, image: ImageShape) -> Gan:
        """Build the pair and the penalised objective."""
        from gan.objectives.games import NonSaturating
        from gan.objectives.penalties import perturbed_gradient_penalty

        pair = self.networks.build(image, self.z_dim, critic_norm=self.critic_norm)
        penalty = partial(
            perturbed_gradient_penalty,
            weight=self.penalty_weight,
            perturbation=self.perturbation,
            scale=self.perturbation_scale,
            columns=self.penalised_norm == "column",
        )
        return Gan(*pair, NonSaturating(penalty=penalty))
