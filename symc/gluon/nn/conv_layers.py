"""Convolutions, transposed convolutions, and padding by reflection."""

from __future__ import annotations

from typing import Any

from symc import symbol
from symc.base import numeric_types
from symc.core.divided import rest_of
from symc.core.errors import ConflictError
from symc.gluon.block import HybridBlock
from symc.gluon.parameter import ParameterDict

from .activations import Activation
from .windows import as_tuple, require_layout, require_length

__getattr__ = rest_of(__name__)  # pooling
LAYOUTS = {1: ("NCW",), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


def _infer_weight_shape(op_name: str, data_shape: tuple[int, ...], kwargs: dict[str, Any]) -> list[tuple[int, ...]]:
    """Shapes of data, weight and bias of an operator, 0 for what the data's (0 = unknown) does not decide."""
    return getattr(symbol, op_name)(symbol.var("data", shape=data_shape), **kwargs).infer_shape_partial()[0]


def described(settings: dict[str, Any], weight_shape: tuple[int, ...], act: Activation | None) -> list[str]:
    """What the text of a convolution says of it."""
    n = len(settings["kernel"])
    parts = [
        f"{weight_shape[1] or None} -> {weight_shape[0]}",
        f"kernel_size={settings['kernel']}",
        f"stride={settings['stride']}",
    ]
    if settings["pad"] != (0,) * n:
        parts.append(f"padding={settings['pad']}")
    if settings["dilate"] != (1,) * n:
        parts.append(f"dilation={settings['dilate']}")
    if settings["num_group"] != 1:
        parts.append(f"groups={settings['num_group']}")
    if settings["no_bias"]:
        parts.append("bias=False")
    if act is not None:
        parts.append(repr(act))
    return parts


class _Conv(HybridBlock):
    """activation(convolution of x with the weight, + bias).

    adj    of a transposed convolution: rows added at the end of each axis of the output
    """

    def __init__(
        self,
        channels: int,
        kernel_size: Any,
        strides: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        layout: str,
        in_channels: int = 0,
        activation: str | None = None,
        use_bias: bool = True,
        weight_initializer: Any = None,
        bias_initializer: Any = "zeros",
        op_name: str = "Convolution",
        adj: Any = None,
        prefix: str | None = None,
        params: ParameterDict | None = None,
    ) -> None:
        super().__init__(prefix=prefix, params=params)
        n = len(kernel_size)
        self._channels = channels
        self._in_channels = in_channels
        self._op_name = op_name
        self._kwargs = {
            "kernel": kernel_size,
            "stride": as_tuple(strides, n),
            "dilate": as_tuple(dilation, n),
            "pad": as_tuple(padding, n),
            "num_filter": channels,
            "num_group": groups,
            "no_bias": not use_bias,
            "layout": layout,
        }
        if adj is not None:
            self._kwargs["adj"] = adj
        known = {"N": 1, "C": in_channels}
        with self.name_scope():
            shapes = _infer_weight_shape(op_name, tuple(known.get(axis, 0) for axis in layout), self._kwargs)
            self.weight = self.params.get("weight", shape=shapes[1], init=weight_initializer, allow_deferred_init=True)
            self.bias = None
            if use_bias:
                self.bias = self.params.get("bias", shape=shapes[2], init=bias_initializer, allow_deferred_init=True)
            self.act = None if activation is None else Activation(activation, prefix=f"{activation}_")

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        inputs = (x, weight) if bias is None else (x, weight, bias)
        act = getattr(F, self._op_name)(*inputs, name="fwd", **self._kwargs)
        return act if self.act is None else self.act(act)

    def _alias(self) -> str:
        return "conv"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(described(self._kwargs, self.weight.shape, self.act))})"


class Conv1D(_Conv):
    """A convolution over (N, C, W)."""

    def __init__(
        self,
        channels: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        layout: str = "NCW",
        activation: str | None = None,
        use_bias: bool = True,
        weight_initializer: Any = None,
        bias_initializer: Any = "zeros",
        in_channels: int = 0,
        **kwargs: Any,
    ) -> None:
        require_layout(layout, LAYOUTS[1], "Conv1D")
        kernel_size = require_length("kernel_size", kernel_size, 1)
        super().__init__(
            channels, kernel_size, strides, padding, dilation, groups, layout, in_channels, activation, use_bias,
            weight_initializer, bias_initializer, **kwargs
        )  # fmt: skip


class Conv2D(_Conv):
    """A convolution over (N, C, H, W), or channels last by its layout."""

    def __init__(
        self,
        channels: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: Any = (0, 0),
        dilation: Any = (1, 1),
        groups: int = 1,
        layout: str = "NCHW",
        activation: str | None = None,
        use_bias: bool = True,
        weight_initializer: Any = None,
        bias_initializer: Any = "zeros",
        in_channels: int = 0,
        **kwargs: Any,
    ) -> None:
        require_layout(layout, LAYOUTS[2], "Conv2D")
        kernel_size = require_length("kernel_size", kernel_size, 2)
        super().__init__(
            channels, kernel_size, strides, padding, dilation, groups, layout, in_channels, activation, use_bias,
            weight_initializer, bias_initializer, **kwargs
        )  # fmt: skip


class Conv3D(_Conv):
    """A convolution over (N, C, D, H, W), or channels last by its layout."""

    def __init__(
        self,
        channels: int,
        kernel_size: Any,
        strides: Any = (1, 1, 1),
        padding: Any = (0, 0, 0),
        dilation: Any = (1, 1, 1),
        groups: int = 1,
        layout: str = "NCDHW",
        activation: str | None = None,
        use_bias: bool = True,
        weight_initializer: Any = None,
        bias_initializer: Any = "zeros",
        in_channels: int = 0,
        **kwargs: Any,
    ) -> None:
        require_layout(layout, LAYOUTS[3], "Conv3D")
        kernel_size = require_length("kernel_size", kernel_size, 3)
        super().__init__(
            channels, kernel_size, strides, padding, dilation, groups, layout, in_channels, activation, use_bias,
            weight_initializer, bias_initializer, **kwargs
        )  # fmt: skip


class Conv1DTranspose(_Conv):
    """A transposed convolution over (N, C, W)."""

    def __init__(
        self,
        channels: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        layout: str = "NCW",
        activation: str | None = None,
        use_bias: bool = True,
        weight_initializer: Any = None,
        bias_initializer: Any = "zeros",
        in_channels: int = 0,
        **kwargs: Any,
    ) -> None:
        require_layout(layout, LAYOUTS[1], "Conv1DTranspose")
        kernel_size = require_length("kernel_size", kernel_size, 1)
        self.outpad = require_length("output_padding", output_padding, 1)
        kwargs = {"op_name": "Deconvolution", "adj": self.outpad} | kwargs
        super().__init__(
            channels, kernel_size, strides, padding, dilation, groups, layout, in_channels, activation, use_bias,
            weight_initializer, bias_initializer, **kwargs
        )  # fmt: skip


class Conv2DTranspose(_Conv):
    """A transposed convolution over (N, C, H, W), or channels last by its layout."""

    def __init__(
        self,
        channels: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: Any = (0, 0),
        output_padding: Any = (0, 0),
        dilation: Any = (1, 1),
        groups: int = 1,
        layout: str = "NCHW",
        activation: str | None = None,
        use_bias: bool = True,
        weight_initializer: Any = None,
        bias_initializer: Any = "zeros",
        in_channels: int = 0,
        **kwargs: Any,
    ) -> None:
        require_layout(layout, LAYOUTS[2], "Conv2DTranspose")
        kernel_size = require_length("kernel_size", kernel_size, 2)
        self.outpad = require_length("output_padding", output_padding, 2)
        kwargs = {"op_name": "Deconvolution", "adj": self.outpad} | kwargs
        super().__init__(
            channels, kernel_size, strides, padding, dilation, groups, layout, in_channels, activation, use_bias,
            weight_initializer, bias_initializer, **kwargs
        )  # fmt: skip


class Conv3DTranspose(_Conv):
    """A transposed convolution over (N, C, D, H, W), or channels last by its layout."""

    def __init__(
        self,
        channels: int,
        kernel_size: Any,
        strides: Any = (1, 1, 1),
        padding: Any = (0, 0, 0),
        output_padding: Any = (0, 0, 0),
        dilation: Any = (1, 1, 1),
        groups: int = 1,
        layout: str = "NCDHW",
        activation: str | None = None,
        use_bias: bool = True,
        weight_initializer: Any = None,
        bias_initializer: Any = "zeros",
        in_channels: int = 0,
        **kwargs: Any,
    ) -> None:
        require_layout(layout, LAYOUTS[3], "Conv3DTranspose")
        kernel_size = require_length("kernel_size", kernel_size, 3)
        self.outpad = require_length("output_padding", output_padding, 3)
        kwargs = {"op_name": "Deconvolution", "adj": self.outpad} | kwargs
        super().__init__(
            channels, kernel_size, strides, padding, dilation, groups, layout, in_channels, activation, use_bias,
            weight_initializer, bias_initializer, **kwargs
        )  # fmt: skip


class ReflectionPad2D(HybridBlock):
    """(N, C, H, W) with its own rows and columns, mirrored, around it; `padding` of them, or MXNet's 8 numbers."""

    def __init__(self, padding: Any = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._padding = (0,) * 4 + (padding,) * 4 if isinstance(padding, numeric_types) else padding
        if len(self._padding) != 8:
            raise ConflictError(f"ReflectionPad2D: padding must be a number or 8 of them, got {padding}")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.pad(x, mode="reflect", pad_width=self._padding)
