"""GAN with two perceptrons. Goodfellow et al., 2014, arXiv:1406.2661.

The critic minimises mean BCE(D(x), 1) + mean BCE(D(G(z)), 0) on logits; the generator the
non-saturating mean BCE(D(G(z)), 1) of section 3, not the minimax form of equation 1.
The paper's critic uses maxout and dropout; ours has one hidden layer and optional dropout.
"""

from typing import ClassVar, Literal

from pydantic import PositiveInt

from gan.contract import Fraction, Gan, ImageShape, VariantParams


class GANParams(VariantParams):
    """One hidden layer on each side."""

    paper: ClassVar[str] = "Goodfellow et al., 2014, arXiv:1406.2661"
    loss: ClassVar[str] = "binary cross-entropy; non-saturating generator"

    kind: Literal["gan"]
    hidden: PositiveInt
    activation: Literal["relu", "leaky_relu"]
    critic_dropout: Fraction

    def build(self, image: ImageShape) -> Gan:
        """Build both perceptrons, flattening inside themselves."""
        from gan.networks.mlp import MLPCritic, MLPGenerator
        from gan.objectives import NonSaturating

        generator = MLPGenerator(image, self.z_dim, hidden=self.hidden, activation=self.activation)
        critic = MLPCritic(image, hidden=self.hidden, activation=self.activation, dropout=self.critic_dropout)
        return Gan(generator, critic, NonSaturating())
