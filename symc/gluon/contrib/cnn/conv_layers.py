"""Deformable convolutions: layers that find by a convolution of their own where their windows look."""

from __future__ import annotations

from typing import Any

from symc.gluon.block import HybridBlock
from symc.gluon.nn import Activation
from symc.gluon.nn.conv_layers import described
from symc.gluon.nn.windows import as_tuple, require_layout
from symc.gluon.parameter import ParameterDict


class _Deformable(HybridBlock):
    """activation(convolution of x (N, C, H, W) at moved positions with deformable_conv_weight, + its bias).

    The other parameters, offset_weight and offset_bias, are those of the convolution that moves the positions.

    num_deformable_group     groups of channels that are moved on their own
    The rest is as for nn.Conv2D.
    """

    _n_found: int  # numbers that are found for each position

    def __init__(
        self,
        channels: int,
        kernel_size: Any = (1, 1),
        strides: Any = (1, 1),
        padding: Any = (0, 0),
        dilation: Any = (1, 1),
        groups: int = 1,
        num_deformable_group: int = 1,
        layout: str = "NCHW",
        use_bias: bool = True,
        in_channels: int = 0,
        activation: str | None = None,
        weight_initializer: Any = None,
        bias_initializer: Any = "zeros",
        offset_weight_initializer: Any = "zeros",
        offset_bias_initializer: Any = "zeros",
        offset_use_bias: bool = True,
        prefix: str | None = None,
        params: ParameterDict | None = None,
    ) -> None:
        super().__init__(prefix=prefix, params=params)
        require_layout(layout, ("NCHW",), type(self).__name__)  # the operator ignores any other
        kernel = as_tuple(kernel_size, 2)
        window = {
            "kernel": kernel,
            "stride": as_tuple(strides, 2),
            "dilate": as_tuple(dilation, 2),
            "pad": as_tuple(padding, 2),
            "num_group": groups,
            "layout": layout,
        }
        n_positions = num_deformable_group * kernel[0] * kernel[1]
        self._n_offsets = 2 * n_positions
        n_found = self._n_found * n_positions
        self._kwargs_offset = {**window, "num_filter": n_found, "no_bias": not offset_use_bias, "cudnn_off": True}
        self._kwargs_deformable_conv = {
            **window,
            "num_filter": channels,
            "num_deformable_group": num_deformable_group,
            "no_bias": not use_bias,
        }
        per_group = in_channels // groups
        with self.name_scope():
            self._add("offset_weight", (n_found, per_group, *kernel), offset_weight_initializer)
            self._add("offset_bias", (n_found,), offset_bias_initializer, offset_use_bias)
            self._add("deformable_conv_weight", (channels, per_group, *kernel), weight_initializer)
            self._add("deformable_conv_bias", (channels,), bias_initializer, use_bias)
            self.act = Activation(activation, prefix=f"{activation}_") if activation else None

    def _add(self, name: str, shape: tuple[int, ...], init: Any, is_used: bool = True) -> None:
        get = self.params.get
        setattr(self, name, get(name, shape=shape, init=init, allow_deferred_init=True) if is_used else None)

    def hybrid_forward(
        self,
        F: Any,
        x: Any,
        offset_weight: Any,
        deformable_conv_weight: Any,
        offset_bias: Any = None,
        deformable_conv_bias: Any = None,
    ) -> Any:
        biases = [] if offset_bias is None else [offset_bias]
        found = F.Convolution(x, offset_weight, *biases, **self._kwargs_offset)
        inputs = {"data": x, **self._moved(F, found), "weight": deformable_conv_weight}
        if deformable_conv_bias is not None:
            inputs["bias"] = deformable_conv_bias
        operator = getattr(F.contrib, type(self).__name__)
        out = operator(**inputs, name="fwd", **self._kwargs_deformable_conv)
        return out if self.act is None else self.act(out)

    def _moved(self, F: Any, found: Any) -> dict[str, Any]:
        """The operator's inputs that the convolution of positions gives."""
        raise NotImplementedError(f"{type(self).__name__} must override _moved")


class DeformableConvolution(_Deformable):
    """Windows whose positions are moved.  Source: Dai et al. (2017)."""

    _n_found = 2

    def _alias(self) -> str:
        return "deformable_conv"

    def __repr__(self) -> str:
        parts = described(self._kwargs_deformable_conv, self.deformable_conv_weight.shape, self.act)
        return f"{type(self).__name__}({', '.join(parts)})"

    def _moved(self, F: Any, found: Any) -> dict[str, Any]:
        return {"offset": found}


class ModulatedDeformableConvolution(_Deformable):
    """Windows whose positions are moved and weighted, by up to 2.  Source: Zhu et al. (2018)."""

    _n_found = 3

    def _alias(self) -> str:
        return "modulated_deformable_conv"

    def _moved(self, F: Any, found: Any) -> dict[str, Any]:
        offset = F.slice_axis(found, axis=1, begin=0, end=self._n_offsets)
        mask = F.slice_axis(found, axis=1, begin=self._n_offsets, end=None)
        return {"offset": offset, "mask": F.sigmoid(mask) * 2}
