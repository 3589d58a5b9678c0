"""What all networks of the zoo are: features, and what decides among classes by them."""

from __future__ import annotations

from typing import Any

from symc.gluon.block import HybridBlock
from symc.gluon.nn import Activation, BatchNorm, Conv2D, HybridSequential


class Classifier(HybridBlock):
    """output(features(x)), for images (N, 3, H, W)."""

    features: HybridBlock
    output: HybridBlock

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))


def sequence(*blocks: HybridBlock, prefix: str = "") -> HybridSequential:
    """Blocks one after the other, made before, and named where they were made."""
    made = HybridSequential(prefix=prefix)
    made.add(*blocks)
    return made


def normed(activation: str | None, *args: Any, epsilon: float = 1e-5, **kwargs: Any) -> list[HybridBlock]:
    """A convolution without bias, its normalization, and an activation."""
    blocks = [Conv2D(*args, use_bias=False, **kwargs), BatchNorm(epsilon=epsilon)]
    return blocks if activation is None else [*blocks, Activation(activation)]
