"""DenseNet (Huang et al., 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from symc.gluon import nn
from symc.gluon.contrib.nn import HybridConcurrent, Identity
from symc.gluon.model_zoo.model_store import load_trained

from .classifier import Classifier, sequence

__all__ = ["DenseNet", "densenet121", "densenet161", "densenet169", "densenet201"]


def _unit(channels: int, **kwargs: Any) -> list:
    return [nn.BatchNorm(), nn.Activation("relu"), nn.Conv2D(channels, use_bias=False, **kwargs)]


def _layer(growth_rate: int, bn_size: int, dropout: float) -> HybridConcurrent:
    new = sequence(*_unit(bn_size * growth_rate, kernel_size=1), *_unit(growth_rate, kernel_size=3, padding=1))
    if dropout:
        new.add(nn.Dropout(dropout))
    out = HybridConcurrent(axis=1, prefix="")
    out.add(Identity(), new)
    return out


class DenseNet(Classifier):
    """Stages of layers, each of which sees the outputs of all before it.

    growth_rate     channels that a layer adds
    block_config    layers of each stage
    bn_size         a layer's narrowest part, in growth_rates
    """

    def __init__(
        self,
        num_init_features: int,
        growth_rate: int,
        block_config: Sequence[int],
        bn_size: int = 4,
        dropout: float = 0,
        classes: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            self.features.add(
                nn.Conv2D(num_init_features, kernel_size=7, strides=2, padding=3, use_bias=False),
                nn.BatchNorm(),
                nn.Activation("relu"),
                nn.MaxPool2D(pool_size=3, strides=2, padding=1),
            )
            n_features = num_init_features
            for k, n_layers in enumerate(block_config, 1):
                stage = nn.HybridSequential(prefix=f"stage{k}_")
                with stage.name_scope():
                    stage.add(*[_layer(growth_rate, bn_size, dropout) for _ in range(n_layers)])
                self.features.add(stage)
                n_features += n_layers * growth_rate
                if k < len(block_config):
                    n_features //= 2
                    self.features.add(sequence(*_unit(n_features, kernel_size=1), nn.AvgPool2D(pool_size=2, strides=2)))
            self.features.add(nn.BatchNorm(), nn.Activation("relu"), nn.AvgPool2D(pool_size=7), nn.Flatten())
            self.output = nn.Dense(classes)


densenet_spec = {
    121: (64, 32, [6, 12, 24, 16]),
    161: (96, 48, [6, 12, 36, 24]),
    169: (64, 32, [6, 12, 32, 32]),
    201: (64, 32, [6, 12, 48, 32]),
}


def get_densenet(
    num_layers: int, pretrained: bool = False, ctx: Any = None, root: str | None = None, **kwargs: Any
) -> DenseNet:
    """A DenseNet of 121, 161, 169 or 201 layers, on demand with trained weights."""
    net = DenseNet(*densenet_spec[num_layers], **kwargs)
    return load_trained(net, f"densenet{num_layers}", pretrained, ctx, root)


densenet121 = partial(get_densenet, 121)
densenet161 = partial(get_densenet, 161)
densenet169 = partial(get_densenet, 169)
densenet201 = partial(get_densenet, 201)
