"""SqueezeNet (Iandola et al., 2016)."""

from __future__ import annotations

from functools import partial
from typing import Any

from symc.core.errors import ConflictError
from symc.gluon import nn
from symc.gluon.block import HybridBlock
from symc.gluon.contrib.nn import HybridConcurrent
from symc.gluon.model_zoo.model_store import load_trained

from .classifier import Classifier, sequence

__all__ = ["SqueezeNet", "squeezenet1_0", "squeezenet1_1"]


def _conv(channels: int, kernel_size: int, padding: int = 0) -> HybridBlock:
    return sequence(nn.Conv2D(channels, kernel_size, padding=padding), nn.Activation("relu"))


def _fire(squeezed: int, expanded: int) -> HybridBlock:
    """A narrow convolution, then a wide one of each size, side by side."""
    narrow = _conv(squeezed, 1)
    paths = HybridConcurrent(axis=1, prefix="")
    paths.add(_conv(expanded, 1), _conv(expanded, 3, 1))
    return sequence(narrow, paths)


# The first convolution (channels, kernel), then fires (narrow, wide) and poolings (None).
VERSIONS: dict[str, tuple[tuple[int, int], tuple[tuple[int, int] | None, ...]]] = {
    "1.0": (
        (96, 7),
        (None, (16, 64), (16, 64), (32, 128), None, (32, 128), (48, 192), (48, 192), (64, 256), None, (64, 256)),
    ),
    "1.1": (
        (64, 3),
        (None, (16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192), (64, 256), (64, 256)),
    ),
}


class SqueezeNet(Classifier):
    """Fires: convolutions that squeeze, then expand."""

    def __init__(self, version: str, classes: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if version not in VERSIONS:
            raise ConflictError(f"Unsupported SqueezeNet version {version}:1.0 or 1.1 expected")
        (channels, kernel_size), stages = VERSIONS[version]
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            self.features.add(nn.Conv2D(channels, kernel_size=kernel_size, strides=2), nn.Activation("relu"))
            for stage in stages:
                self.features.add(nn.MaxPool2D(3, 2, ceil_mode=True) if stage is None else _fire(*stage))
            self.features.add(nn.Dropout(0.5))
            self.output = sequence(
                nn.Conv2D(classes, kernel_size=1), nn.Activation("relu"), nn.AvgPool2D(13), nn.Flatten()
            )


def get_squeezenet(
    version: str, pretrained: bool = False, ctx: Any = None, root: str | None = None, **kwargs: Any
) -> SqueezeNet:
    """A SqueezeNet, "1.0" or "1.1", on demand with trained weights."""
    return load_trained(SqueezeNet(version, **kwargs), f"squeezenet{version}", pretrained, ctx, root)


squeezenet1_0 = partial(get_squeezenet, "1.0")
squeezenet1_1 = partial(get_squeezenet, "1.1")
