"""Inception v3 (Szegedy et al., 2015)."""

from __future__ import annotations

from typing import Any

from symc.gluon import nn
from symc.gluon.block import HybridBlock
from symc.gluon.contrib.nn import HybridConcurrent
from symc.gluon.model_zoo.model_store import load_trained

from .classifier import Classifier, normed, sequence

__all__ = ["Inception3", "inception_v3"]

Settings = tuple  # of a convolution: channels, kernel_size, strides, padding


def _conv(channels: int, kernel_size: Any, strides: Any = 1, padding: Any = 0) -> HybridBlock:
    return sequence(*normed("relu", channels, kernel_size, strides, padding, epsilon=0.001))


def _branch(*settings: Settings, pool: HybridBlock | None = None) -> HybridBlock:
    first = [] if pool is None else [pool]
    return sequence(*first, *[_conv(*each) for each in settings])


def _average() -> HybridBlock:
    return nn.AvgPool2D(pool_size=3, strides=1, padding=1)


def _largest() -> HybridBlock:
    return nn.MaxPool2D(pool_size=3, strides=2)


def _split(*settings: Settings) -> HybridConcurrent:
    """Convolutions side by side."""
    out = HybridConcurrent(axis=1, prefix="")
    out.add(*[_branch(each) for each in settings])
    return out


def _add_a(out: HybridConcurrent, pool_features: int) -> None:
    out.add(_branch((64, 1)))
    out.add(_branch((48, 1), (64, 5, 1, 2)))
    out.add(_branch((64, 1), (96, 3, 1, 1), (96, 3, 1, 1)))
    out.add(_branch((pool_features, 1), pool=_average()))


def _add_b(out: HybridConcurrent) -> None:
    out.add(_branch((384, 3, 2)))
    out.add(_branch((64, 1), (96, 3, 1, 1), (96, 3, 2)))
    out.add(_branch(pool=_largest()))


def _add_c(out: HybridConcurrent, n: int) -> None:
    row, column = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
    out.add(_branch((192, 1)))
    out.add(_branch((n, 1), (n, *row), (192, *column)))
    out.add(_branch((n, 1), (n, *column), (n, *row), (n, *column), (192, *row)))
    out.add(_branch((192, 1), pool=_average()))


def _add_d(out: HybridConcurrent) -> None:
    out.add(_branch((192, 1), (320, 3, 2)))
    out.add(_branch((192, 1), (192, (1, 7), 1, (0, 3)), (192, (7, 1), 1, (3, 0)), (192, 3, 2)))
    out.add(_branch(pool=_largest()))


def _add_e(out: HybridConcurrent) -> None:
    parts = (384, (1, 3), 1, (0, 1)), (384, (3, 1), 1, (1, 0))
    out.add(_branch((320, 1)))
    out.add(sequence(_branch((384, 1)), _split(*parts)))
    out.add(sequence(_branch((448, 1), (384, 3, 1, 1)), _split(*parts)))
    out.add(_branch((192, 1), pool=_average()))


STAGES = (
    ("A1_", _add_a, 32), ("A2_", _add_a, 64), ("A3_", _add_a, 64), ("B_", _add_b), ("C1_", _add_c, 128),
    ("C2_", _add_c, 160), ("C3_", _add_c, 160), ("C4_", _add_c, 192), ("D_", _add_d), ("E1_", _add_e), ("E2_", _add_e),
)  # fmt: skip


class Inception3(Classifier):
    """Stages of convolutions of several sizes side by side, for images of 299 x 299."""

    def __init__(self, classes: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            self.features.add(_conv(32, 3, 2), _conv(32, 3), _conv(64, 3, 1, 1), _largest())
            self.features.add(_conv(80, 1), _conv(192, 3), _largest())
            for prefix, add, *settings in STAGES:
                stage = HybridConcurrent(axis=1, prefix=prefix)
                with stage.name_scope():
                    add(stage, *settings)
                self.features.add(stage)
            self.features.add(nn.AvgPool2D(pool_size=8), nn.Dropout(0.5))
            self.output = nn.Dense(classes)


def inception_v3(pretrained: bool = False, ctx: Any = None, root: str | None = None, **kwargs: Any) -> Inception3:
    """Inception v3, on demand with trained weights."""
    return load_trained(Inception3(**kwargs), "inceptionv3", pretrained, ctx, root)
