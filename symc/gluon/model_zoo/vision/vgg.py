"""VGG (Simonyan and Zisserman, 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from symc.core.errors import ConflictError
from symc.gluon import nn
from symc.gluon.model_zoo.model_store import load_trained
from symc.initializer import Xavier

from .classifier import Classifier

__all__ = ["VGG", "get_vgg", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]


class VGG(Classifier):
    """Stages of 3x3 convolutions, then three dense layers.

    layers, filters    of each stage: how many convolutions, of how many channels
    """

    def __init__(
        self,
        layers: Sequence[int],
        filters: Sequence[int],
        classes: int = 1000,
        batch_norm: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if len(layers) != len(filters):
            raise ConflictError(f"VGG: {len(layers)} stages, {len(filters)} numbers of filters")
        dense = {"weight_initializer": "normal", "bias_initializer": "zeros"}
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            for n_layers, n_filters in zip(layers, filters):
                for _ in range(n_layers):
                    self._add_convolution(n_filters, batch_norm)
                self.features.add(nn.MaxPool2D(strides=2))
            for _ in range(2):
                self.features.add(nn.Dense(4096, activation="relu", **dense), nn.Dropout(rate=0.5))
            self.output = nn.Dense(classes, **dense)

    def _add_convolution(self, channels: int, batch_norm: bool) -> None:
        init = Xavier(rnd_type="gaussian", factor_type="out", magnitude=2)
        self.features.add(nn.Conv2D(channels, kernel_size=3, padding=1, weight_initializer=init))
        if batch_norm:
            self.features.add(nn.BatchNorm())
        self.features.add(nn.Activation("relu"))


FILTERS = [64, 128, 256, 512, 512]
vgg_spec = {
    11: ([1, 1, 2, 2, 2], FILTERS),
    13: ([2, 2, 2, 2, 2], FILTERS),
    16: ([2, 2, 3, 3, 3], FILTERS),
    19: ([2, 2, 4, 4, 4], FILTERS),
}


def get_vgg(num_layers: int, pretrained: bool = False, ctx: Any = None, root: str | None = None, **kwargs: Any) -> VGG:
    """A VGG of 11, 13, 16 or 19 layers, with batch_norm=True normalized, on demand with trained weights."""
    net = VGG(*vgg_spec[num_layers], **kwargs)
    return load_trained(net, f"vgg{num_layers}{'_bn' * bool(kwargs.get('batch_norm'))}", pretrained, ctx, root)


vgg11, vgg13, vgg16, vgg19 = (partial(get_vgg, n) for n in vgg_spec)
vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn = (partial(get_vgg, n, batch_norm=True) for n in vgg_spec)
