"""An operator's definition as a list of NumPy calls on whole arrays: prepared once for given shapes, then run often.

    y[i, j] = maximum(x[j, i], 0)        ->   t0 = x seen with strides (1, 3);  t1 = np.maximum(t0, 0);  y = t1

The calls are those that define the primitives (`prims.PRIMS`), so the result is what `interpret` gives. A load whose
index is affine is a strided view of its array, whatever the operator (slice, transpose, broadcast, reverse, concat).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from symc.core.dtypes import compute_dtype
from symc.core.shapes import FullShape, row_major_strides

from .expr import Affine, Axis, Expr, free_axes, operands_of, unrounded, walk
from .interpret import convert
from .kernel import SEED
from .prims import COMBINERS, PRIMS
from .rename import with_axes
from .tensor import Lowering, Tensor

# NumPy runs the other primitives as a few compiled loops; these go through Python for every element.
PER_ELEMENT = frozenset({"erf", "gamma", "gammaln", "hash_uniform"})
UFUNCS: dict[str, Any] = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}

Call = tuple[Callable[..., Any], tuple[int, ...]]  # a function and the registers of its operands


@dataclass(frozen=True)
class Result:
    """How one output is made: the parts written into it, as (register, where); where is None for all of it."""

    shape: FullShape
    dtype: np.dtype
    parts: tuple[tuple[int, Callable[[np.ndarray], np.ndarray] | None], ...]
    is_fresh: bool  # the one register holds an array of this shape that nothing else refers to


@dataclass(frozen=True)
class WholeArrays:
    """The calls of one operator on given shapes and dtypes; whoever runs them ignores floating-point errors.

    Registers are the inputs, then the constants, then the results of the calls in order. `work` is the number of
    elements that all calls together compute.
    """

    constants: tuple[Any, ...]
    calls: tuple[Call, ...]
    results: tuple[Result, ...]
    work: int

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """New C-contiguous arrays, one for each output, from C-contiguous inputs."""
        registers = [*inputs, *self.constants]
        for function, operands in self.calls:
            registers.append(function(*[registers[k] for k in operands]))
        return [_finished(result, registers) for result in self.results]


def whole_arrays(
    lower: Callable[[Lowering], None],
    in_facts: Sequence[tuple[FullShape, str]],
    out_facts: Sequence[tuple[FullShape, str]],
    limit: float = math.inf,
) -> WholeArrays | None:
    """The calls for an operator's `lower` on inputs and outputs of given shapes and dtypes.

    None where NumPy is no good: contractions, primitives that run element by element, sums into overlapping places, or
    more than `limit` elements to compute; to find that out takes no memory that grows with the shapes.
    """
    ins = [Tensor(f"in{k}", shape, compute_dtype(dtype)) for k, (shape, dtype) in enumerate(in_facts)]
    t = Lowering(ins, [shape for shape, _ in out_facts], [dtype for _, dtype in out_facts])
    lower(t)
    if any(k not in t.functions and k not in t.regions for k in range(len(out_facts))):
        return None
    if any(region.mode == "add" for regions in t.regions.values() for region in regions):
        return None
    code = _Code(in_facts)
    results = []
    for k, (shape, dtype) in enumerate(out_facts):
        stores: list[tuple[tuple[Axis, ...], Sequence[Any] | None, Expr]]
        if k in t.functions:
            axes = tuple(Axis(f"i{n}", extent) for n, extent in enumerate(shape))
            stores = [(axes, None, t.functions[k](*axes))]
        else:
            stores = [(r.axes, r.index, r.value) for r in t.regions[k]]
        stores = [store for store in stores if all(axis.extent for axis in store[0])]
        if not all(_is_simple(value, index) for _, index, value in stores):
            return None
        parts = []
        for axes, index, value in stores:
            value = with_axes(unrounded(value) if dtype == "float16" else value, {a: a for a in axes})
            register = _Grid(axes, code).register(value)
            where = None if index is None else _view(index, axes, shape, np.dtype(dtype))
            parts.append((register, where))
        is_fresh = k in t.functions and bool(parts) and register not in code.borrowed
        results.append(Result(shape, np.dtype(dtype), tuple(parts), is_fresh))
    return None if code.work > limit or code.constant_work > limit else code.finished(results)


def _is_simple(value: Expr, index: Sequence[Any] | None) -> bool:
    """Whether NumPy evaluates an expression in compiled loops, and stores it at affine places."""
    return not any(isinstance(i, Expr) for i in index or ()) and not any(
        e.op in PER_ELEMENT or (e.op == "load" and e.data[0] == SEED) for e in walk(value)
    )


def _finished(result: Result, registers: list[Any]) -> np.ndarray:
    if result.is_fresh:
        value = registers[result.parts[0][0]]
        if type(value) is np.ndarray and value.shape == result.shape and value.flags.c_contiguous:
            return value if value.dtype == result.dtype else convert(value, result.dtype)
    array = np.empty(result.shape, result.dtype)
    for register, where in result.parts:
        value = np.asarray(registers[register])
        if value.dtype != result.dtype:
            value = convert(value, result.dtype)
        target = array if where is None else where(array)
        target[...] = value
    return array


@dataclass
class _Code:
    """Collects constants and calls; while it does, registers of constants are negative and those of calls follow the
    inputs.

    constants       what makes each, once everything is known
    work, constant_work   elements that the calls compute, and that the constants hold
    """

    in_facts: Sequence[tuple[FullShape, str]]
    constants: list[Callable[[], Any]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    borrowed: set[int] = field(default_factory=set)  # registers that show memory of the inputs
    work: int = 0
    constant_work: int = 0

    def constant(self, size: int, make: Callable[[], Any]) -> int:
        self.constant_work += size
        self.constants.append(make)
        self.borrowed.add(-len(self.constants))
        return -len(self.constants)

    def call(self, size: int, function: Callable[..., Any], *operands: int) -> int:
        self.work += size
        self.calls.append((function, operands))
        return len(self.in_facts) + len(self.calls) - 1

    def finished(self, results: list[Result]) -> WholeArrays:
        n_inputs, n_constants = len(self.in_facts), len(self.constants)

        def final(register: int) -> int:
            if register < 0:
                return n_inputs - register - 1
            return register + (n_constants if register >= n_inputs else 0)

        calls = tuple((function, tuple(map(final, operands))) for function, operands in self.calls)
        moved = tuple(
            Result(r.shape, r.dtype, tuple((final(k), where) for k, where in r.parts), r.is_fresh) for r in results
        )
        return WholeArrays(tuple(make() for make in self.constants), calls, moved, self.work)


class _Grid:
    """Emits the calls for expressions over some axes; every register broadcasts against the grid of the axes."""

    def __init__(self, axes: tuple[Axis, ...], code: _Code) -> None:
        self.axes, self.code = axes, code
        self.shape = tuple(axis.extent for axis in axes)
        self.known: dict[Expr, int] = {}
        self.used: dict[Expr, frozenset[Axis]] = {}  # the axes a known expression depends on

    def register(self, expr: Expr) -> int:
        """The register that will hold the value of an expression."""
        if expr not in self.known:
            self.known[expr] = self._emit(expr)
        return self.known[expr]

    def _call(self, expr: Expr, function: Callable[..., Any], *operands: int) -> int:
        """A call that computes an expression from its operands, which are known."""
        self.used[expr] = frozenset().union(*(self.used[a] for a in operands_of(expr)))
        return self.code.call(math.prod(axis.extent for axis in self.used[expr]), function, *operands)

    def _emit(self, expr: Expr) -> int:
        code = self.code
        if expr.op in ("const", "param"):
            self.used[expr] = frozenset()
            with np.errstate(over="ignore"):
                number = np.dtype(expr.dtype).type(expr.data)
            return code.constant(1, lambda: number)
        if expr.op == "index":
            self.used[expr] = frozenset(expr.data.axes())
            return self._component(expr.data)
        if expr.op == "load":
            return self._load(expr)
        if expr.op == "reduce":
            return self._reduce(expr)
        operands = [self.register(a) for a in expr.args]
        if expr.op == "cast":
            return self._call(expr, partial(_cast, dtype=np.dtype(expr.dtype)), *operands)
        return self._call(expr, PRIMS[expr.op].meaning, *operands)

    def _component(self, index: Affine) -> int:
        return self.code.constant(math.prod(a.extent for a in index.axes()), partial(_positions, index, self.axes))

    def _load(self, expr: Expr) -> int:
        name, index = expr.data
        source = int(name.removeprefix("in"))
        shape, dtype = self.code.in_facts[source]
        register = source
        if not all(isinstance(i, Affine) for i in index):
            parts = [self.register(i) if isinstance(i, Expr) else self._component(i) for i in index]
            register = self._call(expr, _gather, source, *parts)
        else:
            if not self._is_own(index, shape):
                register = self.code.call(0, _view(index, self.axes, shape, np.dtype(dtype)), source)
            self.code.borrowed.add(register)
        affine = [axis for i in index if isinstance(i, Affine) for axis in i.axes()]
        self.used[expr] = self.used.get(expr, frozenset()).union(affine)
        if dtype == expr.dtype:
            return register
        n_elements = math.prod(axis.extent for axis in self.used[expr])
        return self.code.call(n_elements, partial(_cast, dtype=np.dtype(expr.dtype)), register)

    def _is_own(self, index: Sequence[Affine], shape: FullShape) -> bool:
        """Whether an input is read at the grid's own index, or where NumPy's broadcasting finds it."""
        axes = self.axes[len(self.axes) - len(index) :]
        return len(index) <= len(self.axes) and all(
            (n == axis.extent and i == Affine.of(axis)) or (n == 1 and i == Affine())
            for i, n, axis in zip(index, shape, axes)
        )

    def _reduce(self, expr: Expr) -> int:
        """Where they can, reduced axes take the places of others, so that the result has as many axes as the grid."""
        combiner, axes = expr.data
        places = self._places(expr)
        inner, body = self, expr.args[0]
        if places is None:
            places = list(range(len(self.axes), len(self.axes) + len(axes)))
            inner = _Grid(self.axes + axes, self.code)
        else:
            reduced = dict(zip(places, axes))
            within = tuple(reduced.get(k, axis) for k, axis in enumerate(self.axes))
            if tuple(a.extent for a in within) == self.shape:  # here it may find what is known
                body = with_axes(body, dict(zip(within, self.axes)))
                axes = tuple(self.axes[k] for k in places)
            else:
                inner = _Grid(within, self.code)
        register = inner.register(body)
        used = inner.used[body] | set(axes)
        self.used[expr] = used - set(axes)
        dtype = np.dtype(expr.dtype)
        how = {
            "axis": tuple(places),
            "initial": dtype.type(COMBINERS[combiner][1](dtype)),
            "dtype": dtype,
            "keepdims": len(inner.axes) == len(self.axes),
        }
        shape = tuple(axis.extent if axis in used else 1 for axis in inner.axes)
        work = math.prod(axis.extent for axis in used)
        return self.code.call(work, partial(_reduced, UFUNCS[combiner], shape, how), register)

    def _places(self, expr: Expr) -> list[int] | None:
        """Of each reduced axis an axis of the grid that the reduction does not depend on, as long or of one element;
        None where one finds none."""
        left = [k for k, axis in enumerate(self.axes) if axis not in free_axes(expr)]
        places = []
        for axis in expr.data[1]:
            place = next((k for k in left if self.axes[k].extent in (1, axis.extent)), None)
            if place is None:
                return None
            places.append(place)
            left.remove(place)
        return places


def _positions(index: Affine, axes: tuple[Axis, ...]) -> Any:
    """The value of an index over the grid of the axes; those it does not depend on have extent 1."""
    total: Any = np.int64(index.constant)
    for axis, coefficient in index.terms:
        line = [1] * len(axes)
        line[axes.index(axis)] = axis.extent
        total = total + coefficient * np.arange(axis.extent).reshape(line)
    return total


def _view(
    index: Sequence[Any], axes: Sequence[Axis], shape: FullShape, dtype: np.dtype
) -> Callable[[np.ndarray], np.ndarray]:
    """What shows a C-contiguous array of `shape` at an affine index, over the axes; unused axes get extent 1."""
    parts = [Affine.of(i) for i in index]
    memory = row_major_strides(shape)
    offset = sum(i.constant * stride for i, stride in zip(parts, memory)) * dtype.itemsize
    strides = [sum(i.coefficient(a) * stride for i, stride in zip(parts, memory)) * dtype.itemsize for a in axes]
    extents = tuple(a.extent if any(i.coefficient(a) for i in parts) else 1 for a in axes)
    if 0 in shape:  # NumPy counts strides and offset although there is nothing to reach
        return lambda array: array.reshape(-1)[:0].reshape(extents)
    return partial(_strided, shape=extents, dtype=dtype, offset=offset, strides=tuple(strides))


def _strided(array: np.ndarray, shape: FullShape, dtype: np.dtype, offset: int, strides: tuple[int, ...]) -> np.ndarray:
    return np.ndarray(shape, dtype, array, offset, strides)  # NumPy checks that this stays inside the array


def _cast(value: Any, dtype: np.dtype) -> np.ndarray:
    return convert(np.asarray(value), dtype)


def _gather(array: np.ndarray, *index: Any) -> np.ndarray:
    return array[tuple(index)]


def _reduced(ufunc: np.ufunc, shape: FullShape, how: dict[str, Any], body: Any) -> np.ndarray:
    if np.shape(body) != shape:
        body = np.broadcast_to(body, shape)
    return ufunc.reduce(body, **how)
