"""Pooling: windows sliding over the spatial axes, reduced by max, average, sum or p-norm, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from symc.core.dtypes import is_float
from symc.core.errors import DTypeError, ShapeError
from symc.core.shapes import FullShape, Shape, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, declares_parameters, op, param
from symc.loopir.expr import Axis, Expr, cast, const, prim, select
from symc.loopir.kernel import Window
from symc.loopir.tensor import Lowering
from symc.ops.rules.windows import (
    Position,
    flattened,
    is_padded,
    powered,
    reaching,
    read,
    root,
    sees_padding,
    share,
    useful_taps,
)

LAYOUTS = ("NCDHW", "NCHW", "NCW", "NDHWC", "NHWC", "NWC")
NO_TAP = 2**31 - 1  # what `_pooling_argmax` gives for a window that holds no maximum (all NaN or empty); as uint8, 255
MOST_IN_TURN = 9  # taps that are compared with a maximum one after the other, without a loop


@declares_parameters
class _Pooled(Op):
    """A window over spatial axes, resolved or not: the parameters all pooling operators share."""

    if TYPE_CHECKING:
        kernel: tuple[int, ...]
        stride: tuple[int, ...]
        pad: tuple[int, ...]

    @property
    def is_channels_last(self) -> bool:
        return False

    def spatial_axes(self, rank: int) -> range:
        """The positions of the spatial axes in a shape."""
        return range(1, rank - 1) if self.is_channels_last else range(2, rank)

    def window(self, in_shape: FullShape, out_shape: FullShape) -> Window:
        """The geometry between the shapes of the data and of the output."""
        axes = self.spatial_axes(len(in_shape))
        ins, outs = tuple(in_shape[a] for a in axes), tuple(out_shape[a] for a in axes)
        ones = (1,) * len(axes)
        return Window(ins, outs, self.kernel, self.stride or ones, ones, self.pad or (0,) * len(axes))


@declares_parameters
class _Pooling(_Pooled):
    """What Pooling and Pooling_v1 share."""

    needs_elements = ("data",)

    full_divisor: ClassVar[bool] = False  # averages divide by the whole window, wherever it lies
    has_zeros_around: ClassVar[bool] = False  # a maximum sees the padding
    is_tied: ClassVar[bool] = False  # every maximum of a window gets the whole gradient, not only the first

    @classmethod
    def create(cls, given: Mapping[str, Any]) -> Op:
        """As in MXNet, extents of stride and pad beyond those of the kernel do not count."""
        made: Any = super().create(given)
        n = len(made.kernel)
        is_longer = n > 0 and max(len(made.stride), len(made.pad)) > n
        return replace(made, stride=made.stride[:n], pad=made.pad[:n]) if is_longer else made

    if TYPE_CHECKING:
        pool_type: str
        global_pool: bool
        pooling_convention: str

    @property
    def power(self) -> int:
        return 1

    @property
    def counts_padding(self) -> bool:
        return True

    def window(self, in_shape: FullShape, out_shape: FullShape) -> Window:
        if not self.global_pool:
            return super().window(in_shape, out_shape)
        extents = tuple(in_shape[a] for a in self.spatial_axes(len(in_shape)))
        ones = (1,) * len(extents)
        return Window(extents, ones, extents, ones, ones, (0,) * len(extents))

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None:
            return ins, outs
        check_rank(data, 3, 5, "Pooling: Input data")
        axes = self.spatial_axes(len(data))
        if not self.global_pool:
            self._check(data)
        out = list(data)
        for k, a in enumerate(axes):
            extent = data[a]
            out[a] = 1 if self.global_pool else None if extent is None else self._out_extent(extent, k)
        return ins, [unify(outs[0], tuple(out))]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        if ins[0] is not None and not is_float(ins[0]):
            raise DTypeError(f"{self.name}: This operation only support floating point types, not {ins[0]}")
        return super().infer_dtype(ins, outs)

    def _check(self, data: Shape) -> None:
        if len(self.kernel) != len(data) - 2:
            raise ShapeError(
                f"Pooling: kernel {self.kernel} needs input data of {len(self.kernel) + 2} dimensions, got {len(data)}"
            )
        for name, value in (("stride", self.stride), ("pad", self.pad)):
            if value and len(value) != len(self.kernel):
                raise ShapeError(f"Pooling: {name} {value} must have as many extents as kernel {self.kernel}")
        if 0 in self.kernel or 0 in self.stride:
            raise ShapeError(f"Pooling: kernel {self.kernel} and stride {self.stride} must not be zero")
        if self.pooling_convention == "same" and (len(data) != 3 or any(self.pad)):
            raise ShapeError("Pooling: convention 'same' takes 3D input data in (batch, channel, x) without padding")

    def _out_extent(self, extent: int, k: int) -> int:
        stride, pad = self.stride[k] if self.stride else 1, self.pad[k] if self.pad else 0
        padded = extent + 2 * pad
        if self.kernel[k] > padded:
            raise ShapeError(f"kernel size ({self.kernel[k]}) exceeds input ({extent} padded to {padded})")
        if self.pooling_convention == "same":
            return -(-padded // stride)
        room = padded - self.kernel[k]
        return 1 + (-(-room // stride) if self.pooling_convention == "full" else room // stride)

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        axes = self.spatial_axes(x.rank)
        w = self.window(x.shape, t.out_shapes[0])
        firsts, counts = zip(*useful_taps(w))

        def element(*i: Position) -> Expr:
            def reduced(combiner: str, outside: float, power: int = 1) -> Expr:
                def under(*taps: Axis) -> Expr:
                    value, inside = read(x, axes, w, i, [tap + first for tap, first in zip(taps, firsts)])
                    value = powered(value, power)
                    return value if inside is None else select(inside, value, outside)

                return t.reduce(combiner, counts, under)

            windows = [i[a] for a in axes]
            if self.pool_type == "max":
                outside = -math.inf if is_float(x.dtype) else np.iinfo(x.dtype).min
                return self._largest(reduced("max", outside), windows, w, t.out_dtypes[0])
            total = reduced("sum", 0.0, self.power)
            if self.pool_type == "avg":
                return total * share(windows, w, self.counts_padding, self.full_divisor, x.dtype)
            return root(total, self.power)

        t.map(element)

    def _largest(self, of_data: Expr, windows: Sequence[Position], w: Window, dtype: str) -> Expr:
        """The maximum of a window from that of the data in it: the padding counts as the lowest finite number or 0."""
        if not is_float(dtype):
            return of_data
        if self.has_zeros_around:
            padded = sees_padding(windows, w)
            return of_data if padded is None else select(padded, prim("maximum", of_data, 0.0), of_data)
        return prim("maximum", of_data, float(np.finfo(dtype).min)) if is_padded(w) else of_data

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None]
        shape = g.shape(x[0])
        w = self.window(shape, g.shape(y[0]))
        window = {"kernel": w.kernel, "stride": w.stride, "pad": w.pad, "channels_last": self.is_channels_last}
        kind, seen = self.pool_type, [dy[0]]
        if kind == "max" and not self.is_tied:
            seen.append(g("_pooling_argmax", x[0], y[0], **window))
        elif kind in ("max", "lp"):
            kind = "ties" if kind == "max" else kind
            seen += [x[0], y[0]]
        divisors = {"counts_padding": self.counts_padding, "full_divisor": self.full_divisor}
        return [g("_pooling_gradient", *seen, kind=kind, power=self.power, in_shape=shape, **divisors, **window)]


@op("Pooling", aliases=("_npx_pooling",))
class Pooling(_Pooling):
    """Windows of the data (N, C, *in) reduced to one value each: (N, C, *out).

    out = 1 + (in + 2 pad - kernel) / stride, rounded down (valid) or up (full); global_pool takes everything.
    Averages divide by the part of the window inside the padded data, or inside the data itself when
    count_include_pad is false; a maximum never sees the padding.  Source: MXNet operator Pooling.
    """

    kernel: tuple[int, ...] = param((), doc="extents of the window: (w,), (h, w) or (d, h, w)")
    pool_type: str = param("max", choices=("avg", "lp", "max", "sum"), doc="how a window is reduced")
    global_pool: bool = param(False, doc="one window over the whole data; kernel, stride and pad are ignored")
    cudnn_off: bool = param(False, doc="ignored")
    pooling_convention: str = param("valid", choices=("full", "same", "valid"), doc="how the output's extents round")
    stride: tuple[int, ...] = param((), doc="step of the window; ones by default")
    pad: tuple[int, ...] = param((), doc="padding on both sides; none by default")
    p_value: int | None = param(None, doc="the p of pool_type lp: 1, 2 or 3")
    count_include_pad: bool | None = param(None, doc="whether averages count the padding; they do by default")
    layout: str | None = param(None, choices=LAYOUTS, doc="order of the axes of data and output")

    @property
    def is_channels_last(self) -> bool:
        return self.layout is not None and self.layout.endswith("C")

    @property
    def power(self) -> int:
        return (self.p_value or 1) if self.pool_type == "lp" else 1

    @property
    def counts_padding(self) -> bool:
        return self.count_include_pad is not False

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if self.pool_type == "lp" and self.p_value not in (1, 2, 3):
            raise ShapeError(f"p value of {self.p_value} is not supported: pool_type lp needs p_value 1, 2 or 3")
        return super().infer_shape(ins, outs)


@op("Pooling_v1")
class PoolingV1(_Pooling):
    """The pooling of MXNet before 0.9: padding counts as zeros in a maximum, averages divide by the whole window, and
    all tied maxima get the gradient.  data (N, C, H, W) -> (N, C, *out).  Source: MXNet operator Pooling_v1.
    """

    full_divisor = True
    is_tied = True
    has_zeros_around = True

    kernel: tuple[int, ...] = param((), doc="extents of the window: (h, w)")
    pool_type: str = param("max", choices=("avg", "max", "sum"), doc="how a window is reduced")
    global_pool: bool = param(False, doc="one window over the whole data")
    pooling_convention: str = param("valid", choices=("full", "valid"), doc="how the output's extents round")
    stride: tuple[int, ...] = param((), doc="step of the window; ones by default")
    pad: tuple[int, ...] = param((), doc="padding on both sides; none by default")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        check_rank(ins[0], 4, 4, "Pooling_v1: Input data in (batch, channel, y, x)")
        return super().infer_shape(ins, outs)


@declares_parameters
class _Resolved(_Pooled):
    """A window whose parameters are all given, as the gradient operators carry it."""

    is_internal: ClassVar[bool] = True

    kernel: tuple[int, ...] = param(doc="extents of the window")
    stride: tuple[int, ...] = param(doc="step of the window")
    pad: tuple[int, ...] = param(doc="padding on both sides")
    channels_last: bool = param(False, doc="whether the channels are the last axis")

    @property
    def is_channels_last(self) -> bool:
        return self.channels_last


@op("_pooling_argmax")
class PoolingArgmax(_Resolved):
    """For every window the row-major number, among the useful taps, of the first that holds its maximum, or NO_TAP.

    data (N, C, *in), output (N, C, *out) -> (N, C, *out), uint8 where that can tell all taps apart, else int32.
    """

    arguments = ("data", "output")
    results = ("tap",)
    is_left = True

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(outs[0], ins[1])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, ["uint8" if math.prod(self.kernel) < 256 else "int32"]

    def lower(self, t: Lowering) -> None:
        x, y = t.ins
        axes, w = self.spatial_axes(x.rank), self.window(x.shape, t.out_shapes[0])
        none = const(NO_TAP, "int32")
        firsts, counts = zip(*useful_taps(w))
        dtype = t.out_dtypes[0]

        def element(*i: Position) -> Expr:
            def is_maximum(tap: Sequence[Axis | int]) -> Expr:
                value, inside = read(x, axes, w, i, [k + first for k, first in zip(tap, firsts)])
                is_equal = prim("eq", value, y(*i))
                return is_equal if inside is None else prim("and", inside, is_equal)

            def candidate(*tap: Axis) -> Expr:
                return select(is_maximum(tap), cast(flattened(tap, counts), "int32"), none)

            if math.prod(counts) > MOST_IN_TURN:
                return cast(t.reduce("min", counts, candidate), dtype)
            found = none
            for number, tap in reversed([*enumerate(np.ndindex(counts))]):
                found = select(is_maximum(tap), const(number, "int32"), found)
            return cast(found, dtype)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """A number of a tap does not change with the data, but in steps."""
        return [None, None]


@op("_pooling_gradient")
class PoolingGradient(_Resolved):
    """The gradient of pooled data, gathered: each element sums what the windows over it pass back.

    kind max takes (dy, tap of the maximum); avg and sum (dy); lp and ties (every maximum gets all) (dy, data, output).
    """

    kind: str = param(choices=("max", "ties", "avg", "sum", "lp"), doc="what a window passes back")
    power: int = param(1, doc="the p of kind lp")
    in_shape: tuple[int, ...] = param(doc="shape of the data")
    counts_padding: bool = param(True, doc="whether averages count the padding")
    full_divisor: bool = param(False, doc="whether averages divide by the whole window")

    def argument_names(self) -> tuple[str, ...]:
        return ("dy", *{"max": ("tap",), "lp": ("data", "output"), "ties": ("data", "output")}.get(self.kind, ()))

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(outs[0], self.in_shape)]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [ins[0]]

    def lower(self, t: Lowering) -> None:
        axes, w = self.spatial_axes(len(self.in_shape)), self.window(self.in_shape, t.ins[0].shape)
        n_windows = [min(-(-k // s), n) for k, s, n in zip(w.kernel, w.stride, w.out_extents)]

        def element(*p: Position) -> Expr:
            def passed_back(*j: Axis) -> Expr:
                reached = [reaching(p[a], j[k], k, w) for k, a in enumerate(axes)]
                q = list(p)
                for a, (window, _, _) in zip(axes, reached):
                    q[a] = window
                value = self._share(t, tuple(p), tuple(q), [tap for _, tap, _ in reached], [q[a] for a in axes], w)
                checks = [c for _, _, valid in reached for c in valid]
                return select(reduce(lambda a, b: prim("and", a, b), checks), value, 0.0) if checks else value

            return t.reduce("sum", n_windows, passed_back)

        t.map(element)

    def _share(self, t: Lowering, p: tuple, q: tuple, taps: Sequence[Expr], windows: Sequence, w: Window) -> Expr:
        """What window q passes back to element p, being its tap."""
        dy = t.ins[0](*q)
        if self.kind == "sum":
            return dy
        if self.kind == "avg":
            return dy * share(windows, w, self.counts_padding, self.full_divisor, dy.dtype)
        if self.kind == "max":
            firsts, counts = zip(*useful_taps(w))
            number = flattened([tap - first if first else tap for tap, first in zip(taps, firsts)], counts)
            return select(prim("eq", cast(t.ins[1](*q), "int32"), cast(number, "int32")), dy, 0.0)
        x, y = t.ins[1](*p), t.ins[2](*q)
        if self.kind == "ties":
            return select(prim("eq", x, y), dy, 0.0)
        return dy if self.power == 1 else select(prim("eq", y, 0.0), 0.0, dy * powered(x / y, self.power - 1))
