"""DCGAN. Radford et al., 2016, arXiv:1511.06434.

The loss is that of the vanilla GAN on logits (real and fake terms summed, not halved); what is new
is the convolutional pair: strided convolutions, batch normalisation everywhere but in the critic's
first and the generator's last layer, N(0, 0.02) weights. Real and fake go through the critic in
batches of their own, so that each is normalised by its own statistics.
"""

from typing import ClassVar, Literal

from gan.contract import Gan, ImageShape, VariantParams
from gan.networks import ConvolutionalParams


class DCGANParams(VariantParams):
    """The convolutional pair with the vanilla loss."""

    paper: ClassVar[str] = "Radford et al., 2016, arXiv:1511.06434"
    loss: ClassVar[str] = "binary cross-entropy; non-saturating generator"

    kind: Literal["dcgan"]
    networks: ConvolutionalParams

    def build(self, image: ImageShape) -> Gan:
        """Build the convolutional pair; the critic is normalised by batch statistics."""
        from gan.networks.dcgan import build_pair
        from gan.objectives import NonSaturating

        generator, critic = build_pair(self.networks, image, self.z_dim, critic_norm="batch")
        return Gan(generator, critic, NonSaturating())
