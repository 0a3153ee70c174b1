"""GAN with two perceptrons. Goodfellow et al., 2014, arXiv:1406.2661.

The critic minimises mean BCE(D(x), 1) + mean BCE(D(G(z)), 0) on logits; the generator the
non-saturating mean BCE(D(G(z)), 1) of section 3, not the minimax form of equation 1.
The paper's critic uses maxout and dropout; ours has one hidden layer and optional dropout.
"""

from typing import ClassVar, Literal

from gan.contract import Gan, ImageShape, VariantParams
from gan.networks import ScoreNetworks


class GANParams(VariantParams):
    """The vanilla loss, on perceptrons."""

    paper: ClassVar[str] = "Goodfellow et al., 2014, arXiv:1406.2661"
    loss: ClassVar[str] = "binary cross-entropy; non-saturating generator"

    kind: Literal["gan"]
    networks: ScoreNetworks

    def build(self, image: ImageShape) -> Gan:
        """Build the pair, whose critic has no norm."""
        from gan.objectives.games import NonSaturating

        return Gan(*self.networks.build(image, self.z_dim, critic_norm="none"), NonSaturating())
