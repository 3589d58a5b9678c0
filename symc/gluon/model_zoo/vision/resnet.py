"""ResNet, version 1 (He et al., 2015) and 2 (He et al., 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from symc.core.errors import ConflictError
from symc.gluon import nn
from symc.gluon.block import HybridBlock
from symc.gluon.model_zoo.model_store import load_trained

from .classifier import Classifier, normed, sequence

__all__ = [
    "BasicBlockV1", "BasicBlockV2", "BottleneckV1", "BottleneckV2", "ResNetV1", "ResNetV2", "get_resnet",
    "resnet101_v1", "resnet101_v2", "resnet152_v1", "resnet152_v2", "resnet18_v1", "resnet18_v2", "resnet34_v1",
    "resnet34_v2", "resnet50_v1", "resnet50_v2",
]  # fmt: skip


def _conv3x3(channels: int, stride: int, in_channels: int) -> nn.Conv2D:
    return nn.Conv2D(channels, kernel_size=3, strides=stride, padding=1, use_bias=False, in_channels=in_channels)


class _BlockV1(HybridBlock):
    """relu(x + body(x)); where shapes change, x is convolved."""

    def __init__(
        self, channels: int, stride: int, downsample: bool = False, in_channels: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.body = sequence(*self._body(channels, stride, in_channels))
        self.downsample = None
        if downsample:
            self.downsample = sequence(*normed(None, channels, 1, stride, in_channels=in_channels))

    def _body(self, channels: int, stride: int, in_channels: int) -> list[HybridBlock]:
        raise NotImplementedError


class BasicBlockV1(_BlockV1):
    """Two 3x3 convolutions."""

    def _body(self, channels: int, stride: int, in_channels: int) -> list[HybridBlock]:
        return [
            _conv3x3(channels, stride, in_channels), nn.BatchNorm(), nn.Activation("relu"),
            _conv3x3(channels, 1, channels), nn.BatchNorm(),
        ]  # fmt: skip

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        out = self.body(x)
        return F.Activation((self.downsample(x) if self.downsample else x) + out, act_type="relu")


class BottleneckV1(_BlockV1):
    """A 3x3 convolution between two 1x1."""

    def _body(self, channels: int, stride: int, in_channels: int) -> list[HybridBlock]:
        inner = channels // 4
        return [
            nn.Conv2D(inner, kernel_size=1, strides=stride), nn.BatchNorm(), nn.Activation("relu"),
            _conv3x3(inner, 1, inner), nn.BatchNorm(), nn.Activation("relu"),
            nn.Conv2D(channels, kernel_size=1, strides=1), nn.BatchNorm(),
        ]  # fmt: skip

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        out = self.body(x)
        return F.Activation(out + (self.downsample(x) if self.downsample else x), act_type="relu")


class _BlockV2(HybridBlock):
    """x + convolutions of x, each after a normalization and relu."""

    _n_convolutions: ClassVar[int]

    def __init__(
        self, channels: int, stride: int, downsample: bool = False, in_channels: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._make(channels, stride, in_channels)
        self.downsample = None
        if downsample:
            self.downsample = nn.Conv2D(channels, 1, stride, use_bias=False, in_channels=in_channels)

    def _make(self, channels: int, stride: int, in_channels: int) -> None:
        raise NotImplementedError

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        residual = x
        for k in range(1, self._n_convolutions + 1):
            x = F.Activation(getattr(self, f"bn{k}")(x), act_type="relu")
            if k == 1 and self.downsample:
                residual = self.downsample(x)
            x = getattr(self, f"conv{k}")(x)
        return x + residual


class BasicBlockV2(_BlockV2):
    """Two 3x3 convolutions."""

    _n_convolutions = 2

    def _make(self, channels: int, stride: int, in_channels: int) -> None:
        self.bn1 = nn.BatchNorm()
        self.conv1 = _conv3x3(channels, stride, in_channels)
        self.bn2 = nn.BatchNorm()
        self.conv2 = _conv3x3(channels, 1, channels)


class BottleneckV2(_BlockV2):
    """A 3x3 convolution between two 1x1."""

    _n_convolutions = 3

    def _make(self, channels: int, stride: int, in_channels: int) -> None:
        inner = channels // 4
        self.bn1 = nn.BatchNorm()
        self.conv1 = nn.Conv2D(inner, kernel_size=1, strides=1, use_bias=False)
        self.bn2 = nn.BatchNorm()
        self.conv2 = _conv3x3(inner, stride, inner)
        self.bn3 = nn.BatchNorm()
        self.conv3 = nn.Conv2D(channels, kernel_size=1, strides=1, use_bias=False)


class _ResNet(Classifier):
    """Stages of blocks.

    layers       blocks of each stage
    channels     of what the first stage gets, then of what each gives
    thumbnail    for small images: the first convolution is 3x3, and nothing is pooled
    """

    def __init__(
        self,
        block: type[HybridBlock],
        layers: Sequence[int],
        channels: Sequence[int],
        classes: int = 1000,
        thumbnail: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if len(layers) != len(channels) - 1:
            raise ConflictError(f"ResNet: {len(layers)} stages, expected {len(layers) + 1} numbers of channels")
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            self._add_first()
            if thumbnail:
                self.features.add(_conv3x3(channels[0], 1, 0))
            else:
                self.features.add(*normed("relu", channels[0], 7, 2, 3), nn.MaxPool2D(3, 2, 1))
            for k, n_blocks in enumerate(layers, 1):
                self.features.add(_stage(block, n_blocks, channels[k - 1], channels[k], k))
            self._add_last()
            self.output = nn.Dense(classes, in_units=channels[-1])

    def _add_first(self) -> None:
        """What comes before the first convolution."""

    def _add_last(self) -> None:
        self.features.add(nn.GlobalAvgPool2D())


def _stage(block: type[HybridBlock], n_blocks: int, before: int, after: int, k: int) -> nn.HybridSequential:
    stage = nn.HybridSequential(prefix=f"stage{k}_")
    with stage.name_scope():
        stage.add(block(after, 1 if k == 1 else 2, after != before, in_channels=before, prefix=""))
        for _ in range(n_blocks - 1):
            stage.add(block(after, 1, False, in_channels=after, prefix=""))
    return stage


class ResNetV1(_ResNet):
    """A ResNet that normalizes after each convolution."""


class ResNetV2(_ResNet):
    """A ResNet that normalizes before each convolution."""

    def _add_first(self) -> None:
        self.features.add(nn.BatchNorm(scale=False, center=False))

    def _add_last(self) -> None:
        self.features.add(nn.BatchNorm(), nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Flatten())


resnet_spec = {
    18: ("basic_block", [2, 2, 2, 2], [64, 64, 128, 256, 512]),
    34: ("basic_block", [3, 4, 6, 3], [64, 64, 128, 256, 512]),
    50: ("bottle_neck", [3, 4, 6, 3], [64, 256, 512, 1024, 2048]),
    101: ("bottle_neck", [3, 4, 23, 3], [64, 256, 512, 1024, 2048]),
    152: ("bottle_neck", [3, 8, 36, 3], [64, 256, 512, 1024, 2048]),
}
resnet_net_versions = [ResNetV1, ResNetV2]
resnet_block_versions = [
    {"basic_block": BasicBlockV1, "bottle_neck": BottleneckV1},
    {"basic_block": BasicBlockV2, "bottle_neck": BottleneckV2},
]


def get_resnet(
    version: int, num_layers: int, pretrained: bool = False, ctx: Any = None, root: str | None = None, **kwargs: Any
) -> _ResNet:
    """A ResNet of version 1 or 2, of 18, 34, 50, 101 or 152 layers, on demand with trained weights."""
    if num_layers not in resnet_spec:
        raise ConflictError(f"Invalid number of layers: {num_layers}. Options are {resnet_spec.keys()}")
    if version not in (1, 2):
        raise ConflictError(f"Invalid resnet version: {version}. Options are 1 and 2.")
    kind, layers, channels = resnet_spec[num_layers]
    net = resnet_net_versions[version - 1](resnet_block_versions[version - 1][kind], layers, channels, **kwargs)
    return load_trained(net, f"resnet{num_layers}_v{version}", pretrained, ctx, root)


resnet18_v1, resnet34_v1, resnet50_v1, resnet101_v1, resnet152_v1 = (partial(get_resnet, 1, n) for n in resnet_spec)
resnet18_v2, resnet34_v2, resnet50_v2, resnet101_v2, resnet152_v2 = (partial(get_resnet, 2, n) for n in resnet_spec)
