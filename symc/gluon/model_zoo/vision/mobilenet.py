"""MobileNet (Howard et al., 2017) and MobileNetV2 (Sandler et al., 2018)."""

from __future__ import annotations

from functools import partial
from typing import Any

from symc.gluon import nn
from symc.gluon.block import HybridBlock
from symc.gluon.model_zoo.model_store import load_trained

from .classifier import Classifier, normed

__all__ = [
    "MobileNet", "MobileNetV2", "get_mobilenet", "get_mobilenet_v2", "mobilenet0_25", "mobilenet0_5", "mobilenet0_75",
    "mobilenet1_0", "mobilenet_v2_0_25", "mobilenet_v2_0_5", "mobilenet_v2_0_75", "mobilenet_v2_1_0",
]  # fmt: skip


class RELU6(HybridBlock):
    """x kept between 0 and 6."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.clip(x, 0, 6, name="relu6")


def _narrow(is_active: bool, *args: Any, **kwargs: Any) -> list[HybridBlock]:
    """A convolution, its normalization and a RELU6."""
    return [*normed(None, *args, **kwargs), *([RELU6()] if is_active else [])]


class LinearBottleneck(HybridBlock):
    """A convolution for each channel between two over channels, beside a shortcut where shapes allow it.

    t    how many times wider it is inside
    """

    def __init__(self, in_channels: int, channels: int, t: int, stride: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.use_shortcut = stride == 1 and in_channels == channels
        inner = in_channels * t
        with self.name_scope():
            self.out = nn.HybridSequential()
            self.out.add(
                *_narrow(True, inner, 1),
                *_narrow(True, inner, 3, stride, 1, groups=inner),
                *_narrow(False, channels, 1),
            )

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        out = self.out(x)
        return F.elemwise_add(out, x) if self.use_shortcut else out


class MobileNet(Classifier):
    """Convolutions for each channel, each with one over channels behind it.

    multiplier    factor of all numbers of channels
    """

    def __init__(self, multiplier: float = 1.0, classes: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        channels = [int(n * multiplier) for n in (32, 64, *[128] * 2, *[256] * 2, *[512] * 6, *[1024] * 2)]
        strides = [1, 2] * 3 + [1] * 5 + [2, 1]
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            self.features.add(*normed("relu", channels[0], 3, 2, 1))
            for before, after, stride in zip(channels, channels[1:], strides):
                self.features.add(*normed("relu", before, 3, stride, 1, groups=before), *normed("relu", after, 1))
            self.features.add(nn.GlobalAvgPool2D(), nn.Flatten())
            self.output = nn.Dense(classes)


class MobileNetV2(Classifier):
    """Inverted residuals with linear bottlenecks.

    multiplier    factor of all numbers of channels
    """

    def __init__(self, multiplier: float = 1.0, classes: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        widths = (32, 16, *[24] * 2, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320)
        channels = [int(n * multiplier) for n in widths]
        strides = [1, 2] * 2 + [1, 1, 2] + [1] * 6 + [2] + [1] * 3
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="features_")
            with self.features.name_scope():
                self.features.add(*_narrow(True, channels[0], 3, 2, 1))
                for before, after, t, stride in zip(channels, channels[1:], [1] + [6] * 16, strides):
                    self.features.add(LinearBottleneck(before, after, t, stride))
                self.features.add(*_narrow(True, int(1280 * max(multiplier, 1.0)), 1), nn.GlobalAvgPool2D())
            self.output = nn.HybridSequential(prefix="output_")
            with self.output.name_scope():
                self.output.add(nn.Conv2D(classes, 1, use_bias=False, prefix="pred_"), nn.Flatten())


def get_mobilenet(
    multiplier: float, pretrained: bool = False, ctx: Any = None, root: str | None = None, **kwargs: Any
) -> MobileNet:
    """A MobileNet, on demand with trained weights."""
    return load_trained(MobileNet(multiplier, **kwargs), f"mobilenet{multiplier}", pretrained, ctx, root)


def get_mobilenet_v2(
    multiplier: float, pretrained: bool = False, ctx: Any = None, root: str | None = None, **kwargs: Any
) -> MobileNetV2:
    """A MobileNetV2, on demand with trained weights."""
    return load_trained(MobileNetV2(multiplier, **kwargs), f"mobilenetv2_{multiplier}", pretrained, ctx, root)


mobilenet1_0 = partial(get_mobilenet, 1.0)
mobilenet0_75 = partial(get_mobilenet, 0.75)
mobilenet0_5 = partial(get_mobilenet, 0.5)
mobilenet0_25 = partial(get_mobilenet, 0.25)
mobilenet_v2_1_0 = partial(get_mobilenet_v2, 1.0)
mobilenet_v2_0_75 = partial(get_mobilenet_v2, 0.75)
mobilenet_v2_0_5 = partial(get_mobilenet_v2, 0.5)
mobilenet_v2_0_25 = partial(get_mobilenet_v2, 0.25)
