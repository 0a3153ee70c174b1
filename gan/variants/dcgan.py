"""DCGAN. Radford et al., 2016, arXiv:1511.06434.

The loss is that of the vanilla GAN on logits (real and fake terms summed, not halved); what is new
is the convolutional pair: strided convolutions, batch normalisation everywhere but in the critic's
first and the generator's last layer, N(0, 0.02) weights. Real and fake images pass through the critic in
separate batches, so that each is normalised by its own statistics.

Where paper and practice disagree: the paper's noise is U[-1, 1], every ancestor's is N(0, 1). An ancestor
(kuleshov) updates both networks by one joint step (`generator_noise: joint`).
"""

from typing import ClassVar, Literal

from gan.contract import Gan, ImageShape, VariantParams
from gan.networks import ScoreNetworks


class DCGANParams(VariantParams):
    """The convolutional pair with the vanilla loss."""

    paper: ClassVar[str] = "Radford et al., 2016, arXiv:1511.06434"
    loss: ClassVar[str] = "binary cross-entropy; non-saturating generator"

    kind: Literal["dcgan"]
    networks: ScoreNetworks

    def build(self, image: ImageShape) -> Gan:
        """Build the pair; the critic is normalised by batch statistics."""
        from gan.objectives.games import NonSaturating

        return Gan(*self.networks.build(image, self.z_dim, critic_norm="batch"), NonSaturating())
