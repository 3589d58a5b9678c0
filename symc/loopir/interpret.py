"""The slow and obvious interpreter that defines what a kernel means.

It evaluates whole index grids with NumPy, ignores every scheduling decision and uses no table of any emitter.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from symc.core.dtypes import BFLOAT16, sum_dtype

from .expr import Affine, Axis, Expr, free_axes, walk
from .kernel import ACCUMULATOR, Contraction, LoopKernel, Store, Template, buffer_of, section_of
from .prims import COMBINERS, PRIMS

Arrays = dict[str, np.ndarray]


def interpret(kernel: LoopKernel, arrays: Arrays) -> None:
    """Runs a kernel on logical (unstrided) arrays, one per buffer name; outputs are written in place."""
    if isinstance(kernel, Template):
        kernel.routine.run([arrays[n] for n in kernel.ins], [arrays[n] for n in kernel.outs])
        return
    accumulated: list[np.ndarray] = []
    if isinstance(kernel, Contraction):
        axis = 1 if kernel.stack is None else 2
        accumulated = np.split(contract(kernel, arrays), kernel.sections, axis)
    for store in kernel.stores:
        run_store(store, arrays, accumulated)
        if buffer_of(kernel, store.buffer).dtype == BFLOAT16:
            arrays[store.buffer][...] = as_bfloat16(arrays[store.buffer])


def as_bfloat16(x: np.ndarray) -> np.ndarray:
    """float32 rounded to bfloat16, to nearest even: what a buffer of that dtype holds, which is an array of float32."""
    bits = x.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + (bits >> 16 & 1) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, rounded.view(np.float32))


def run_store(store: Store, arrays: Arrays, accumulated: Sequence[np.ndarray] = ()) -> None:
    """One store over its whole index grid; `accumulated` is what a contraction's stores read as @acc, by section."""
    if any(a.extent == 0 for a in store.axes):
        return
    grid = _Grid(store.axes, arrays, accumulated)
    value = np.broadcast_to(grid.value(store.value), grid.shape)
    index = tuple(np.broadcast_to(grid.component(i), grid.shape) for i in store.index)
    target = arrays[store.buffer]
    with np.errstate(all="ignore"):
        value = convert(value, target.dtype)
    if store.mode == "add":
        np.add.at(target, index, value)
    else:
        target[index] = value


def convert(value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A C conversion as x86 has it: floats truncate toward zero, then integers wrap modulo 2**bits.

    Narrow integers come from int32, wide ones from int64; NaN and floats beyond these give their least number.
    """
    dtype = np.dtype(dtype)
    if value.dtype.kind != "f" or dtype.kind not in "iu":
        return value.astype(dtype)
    n_bits = 64 if dtype.itemsize == 8 or dtype == "uint32" else 32
    limit = 2.0 ** (n_bits - 1)
    if dtype == "uint64":
        value = np.where((value >= limit) & (value < 2 * limit), value - 2 * limit, value)
    return np.where((value >= -limit) & (value < limit), value, -limit).astype(f"int{n_bits}").astype(dtype)


class _Grid:
    """Evaluates expressions on the grid of some axes; each value is an array that broadcasts against the grid."""

    def __init__(self, axes: tuple[Axis, ...], arrays: Arrays, accumulated: Sequence[np.ndarray]) -> None:
        self.axes, self.arrays, self.accumulated = axes, arrays, accumulated
        self.shape = tuple(a.extent for a in axes)
        self.position = {axis: k for k, axis in enumerate(axes)}
        self.known: dict[Expr, Any] = {}

    def component(self, index: Affine | Expr) -> Any:
        if isinstance(index, Expr):
            return self.value(index)
        total: Any = np.int64(index.constant)
        for axis, coefficient in index.terms:
            line = [1] * len(self.axes)
            line[self.position[axis]] = axis.extent
            total = total + coefficient * np.arange(axis.extent).reshape(line)
        return total

    def value(self, root: Expr) -> Any:
        with np.errstate(all="ignore"):
            for expr in walk(root):
                # The body of a reduction lives on a larger grid and is evaluated there.
                if expr not in self.known and self._is_bound(expr):
                    self.known[expr] = self._evaluate(expr)
        return self.known[root]

    def _is_bound(self, expr: Expr) -> bool:
        return free_axes(expr) <= set(self.position)

    def _evaluate(self, expr: Expr) -> Any:
        if expr.op in ("const", "param"):
            return np.dtype(expr.dtype).type(expr.data)
        if expr.op == "index":
            return self.component(expr.data)
        if expr.op == "load":
            return self._load(expr)
        if expr.op == "cast":
            return convert(np.asarray(self.known[expr.args[0]]), np.dtype(expr.dtype))
        if expr.op == "reduce":
            return self._reduce(expr)
        return PRIMS[expr.op].meaning(*(self.known[a] for a in expr.args))

    def _load(self, expr: Expr) -> Any:
        name, index = expr.data
        if name == ACCUMULATOR:
            return self.accumulated[section_of(expr)]
        array = self.arrays[name]
        found = array[tuple(np.asarray(self.component(i)) for i in index)] if index else array[()]
        return np.asarray(found).astype(expr.dtype)

    def _reduce(self, expr: Expr) -> Any:
        combiner, axes = expr.data
        inner = _Grid(self.axes + axes, self.arrays, ())
        body = np.broadcast_to(inner.value(expr.args[0]), inner.shape)
        name, neutral = COMBINERS[combiner]
        start = np.dtype(expr.dtype).type(neutral(np.dtype(expr.dtype)))
        ufunc: Any = {"add": np.add, "mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum}[name]
        last = tuple(range(len(self.axes), len(inner.shape)))
        return ufunc.reduce(body, axis=last, initial=start, dtype=expr.dtype)


def contract(c: Contraction, arrays: Arrays) -> np.ndarray:
    """The finished sums of a contraction, added in float64, shaped as the computed tensor."""
    lhs, rhs = arrays[c.lhs].astype("float64"), arrays[c.rhs].astype("float64")
    if c.packing is not None:
        rhs = c.packing.unpack(rhs)
    if c.stack is None:
        sums = _contract(c, lhs, rhs)
    else:
        pairs = zip(lhs, rhs) if c.stack else [(np.zeros(lhs.shape[1:]), np.zeros(rhs.shape[1:]))]
        sums = np.stack([_contract(c, *pair) for pair in pairs])[: c.stack]
    return sums.astype(sum_dtype(buffer_of(c, c.lhs).dtype))


def _contract(c: Contraction, lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """One contraction of logical operands."""
    w = c.window
    in_group, out_group = c.in_channels // c.groups, c.out_channels // c.groups
    x_shape = (c.batch, c.in_channels, *w.in_extents)
    y_shape = (c.batch, c.out_channels, *w.out_extents)
    w_shape = (c.out_channels, in_group, *w.kernel)
    x = np.zeros(x_shape) if c.kind == "data_gradient" else lhs.reshape(x_shape)
    y = {"forward": np.zeros(y_shape), "data_gradient": lhs, "weight_gradient": rhs}[c.kind].reshape(y_shape)
    weight = np.zeros(w_shape) if c.kind == "weight_gradient" else rhs.reshape(w_shape)
    for tap in itertools.product(*(range(k) for k in w.kernel)):
        spans = [_span(*g) for g in zip(tap, w.in_extents, w.out_extents, w.stride, w.dilate, w.pad)]
        source: tuple[slice, ...] = tuple(s for s, _ in spans)
        target: tuple[slice, ...] = tuple(t for _, t in spans)
        for g in range(c.groups):
            inside, outside = slice(g * in_group, (g + 1) * in_group), slice(g * out_group, (g + 1) * out_group)
            every = slice(None)
            in_x: Any = (every, inside, *source)
            in_y: Any = (every, outside, *target)
            in_w: Any = (outside, every, *tap)
            xs, ys, ws = x[in_x], y[in_y], weight[in_w]
            if c.kind == "forward":
                ys += np.einsum("nc...,oc->no...", xs, ws)
            elif c.kind == "data_gradient":
                xs += np.einsum("no...,oc->nc...", ys, ws)
            else:
                ws += np.tensordot(ys, xs, (_all_but(1, ys), _all_but(1, xs)))
    return {"forward": y, "data_gradient": x, "weight_gradient": weight}[c.kind]


def _span(tap: int, n_in: int, n_out: int, stride: int, dilate: int, pad: int) -> tuple[slice, slice]:
    """The input and output positions that one tap joins along one axis: p = q * stride + tap * dilate - pad."""
    shift = tap * dilate - pad
    first = max(0, -(shift // stride))  # smallest q with q * stride + shift >= 0
    last = min(n_out - 1, (n_in - 1 - shift) // stride)
    if last < first:
        return slice(0, 0), slice(0, 0)
    return slice(first * stride + shift, last * stride + shift + 1, stride), slice(first, last + 1)


def _all_but(axis: int, array: np.ndarray) -> tuple[int, ...]:
    return tuple(k for k in range(array.ndim) if k != axis)
