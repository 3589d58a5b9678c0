"""Operators that compare elements: the position of an extreme, sorting, the first k."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from symc.core.dtypes import is_float
from symc.core.errors import DTypeError, ShapeError
from symc.core.shapes import Shape, is_known, normalize_axis, size_of, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, declares_parameters, op, param, same_dtype
from symc.loopir.expr import Axis, Expr, IndexLike, cast, const, index_value, prim, select
from symc.loopir.sorting import Sort as SortRoutine
from symc.loopir.tensor import Lowering
from symc.ops.rules.shapes import kept_shape
from symc.ops.rules.terms import Term, flows


def is_best(x: Expr, best: Expr) -> Expr:
    """Whether x is the extreme; where there is a NaN it is the extreme."""
    return prim("or", prim("eq", x, best), prim("ne", x, x)) if is_float(x.dtype) else prim("eq", x, best)


@declares_parameters
class FirstExtreme(Op):
    """The position of the first extreme element along an axis, in the data's own dtype; no gradient."""

    needs_elements = ("data",)

    combiner: ClassVar[str]

    axis: int | None = param(None, doc="the axis to search; None searches the flattened data")
    keepdims: bool = param(False, doc="whether the searched axis stays with extent 1")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (shape,) = ins
        if shape is None:
            return ins, outs
        axes = self._axes(len(shape))
        kept = kept_shape(shape, axes) if self.keepdims else tuple(n for a, n in enumerate(shape) if a not in axes)
        return ins, [unify(kept or (1,), outs[0])]

    def _axes(self, rank: int) -> tuple[int, ...]:
        return tuple(range(rank)) if self.axis is None else (normalize_axis(self.axis, rank),)

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        axes = self._axes(x.rank)
        extents = [x.shape[a] for a in axes]
        end = math.prod(extents)

        def position(k: Sequence[Axis]) -> Expr:
            flat: IndexLike = 0
            for axis in k:
                flat = axis + flat * axis.extent if not isinstance(flat, int) else axis
            return index_value(flat)

        def element(*i: IndexLike) -> Expr:
            outer = [n for a, n in enumerate(i) if a not in axes] if self.keepdims else list(i[: x.rank - len(axes)])

            def at(*k: Axis) -> Expr:
                rest, searched = iter(outer), iter(k)
                return x(*(next(searched if a in axes else rest) for a in range(x.rank)))

            best = t.reduce(self.combiner, extents, at)
            first = t.reduce("min", extents, lambda *k: select(is_best(at(*k), best), position(k), end))
            return cast(first, t.out_dtype())

        t.map(element)

    @property
    def passes_gradient(self) -> bool:
        return False

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [None]


@op("argmax")
class ArgMax(FirstExtreme):
    """The position of the first largest element along an axis.  Source: MXNet operator argmax."""

    combiner = "max"


@op("argmin")
class ArgMin(FirstExtreme):
    """The position of the first smallest element along an axis.  Source: MXNet operator argmin."""

    combiner = "min"


@op("argmax_channel")
class ArgMaxChannel(Op):
    """The position of the largest element along the second axis (of a vector: the only one); no gradient.

    Source: MXNet operator argmax_channel.
    """

    is_differentiable = False
    needs_elements = ("data",)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        check_rank(ins[0], 1, None, "argmax_channel: data")
        return (ins, outs) if ins[0] is None else self._search(ins[0]).infer_shape(ins, outs)

    def _search(self, shape: Shape) -> ArgMax:
        return ArgMax(axis=min(1, len(shape) - 1))

    def lower(self, t: Lowering) -> None:
        self._search(t.ins[0].shape).lower(t)


# -- sorting --------------------------------------------------------------------------------------------------------

INDEX_DTYPES = ("float16", "float32", "float64", "int32", "int64", "uint8")
SORTED_DTYPES = ("float16", "float32", "float64", "int8", "uint8", "int32", "int64")
LARGEST_INDEX = {"float16": 2**11, "uint8": 2**8, "float32": 2**24}  # up to where every integer has its own number


@op("_order")
class Order(Op):
    """Positions (int32) of the first `k` elements along an axis in sorted order, see loopir.sorting.Sort."""

    is_internal = True

    axis: int = param(doc="the axis to sort, not negative")
    k: int = param(low=0, doc="how many positions are kept")
    is_ascend: bool = param(doc="smallest first")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        return ins, [None if data is None else (*data[: self.axis], self.k, *data[self.axis + 1 :])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, ["int32"]

    def lower(self, t: Lowering) -> None:
        t.template(SortRoutine(self.axis, self.k, self.is_ascend))


@op("_along_axis")
class AlongAxis(Op):
    """data at positions along an axis: out[.., k, ..] = data[.., indices[.., k, ..], ..]; positions must exist."""

    arguments = ("data", "indices")
    is_internal = True

    axis: int = param(doc="the axis the positions are of, not negative")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(ins[1], outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [same_dtype((ins[0], outs[0]))]

    def lower(self, t: Lowering) -> None:
        data, indices = t.ins
        t.map(lambda *i: data(*i[: self.axis], cast(indices(*i), "int64"), *i[self.axis + 1 :]))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        extent = g.shape(x[0])[self.axis]
        return [g("_back_along_axis", flows(dy), x[1], axis=self.axis, extent=extent), None]


@op("_back_along_axis")
class BackAlongAxis(Op):
    """The inverse of `_along_axis`: data put at distinct positions of an axis of `extent` elements, 0 elsewhere."""

    arguments = ("data", "indices")
    is_internal = True

    axis: int = param(doc="the axis the positions are of, not negative")
    extent: int = param(doc="its extent in the output")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data, _) = ins
        return ins, [None if data is None else (*data[: self.axis], self.extent, *data[self.axis + 1 :])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [same_dtype((ins[0], outs[0]))]

    def lower(self, t: Lowering) -> None:
        data, indices = t.ins
        t.region(t.out_shapes[0], lambda *i: i, lambda *i: const(0, data.dtype))
        t.region(
            data.shape,
            lambda *i: (*i[: self.axis], cast(indices(*i), "int64"), *i[self.axis + 1 :]),
            data,
        )

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("_along_axis", flows(dy), x[1], axis=self.axis), None]


@declares_parameters
class Sorting(Op):
    """What sorting along an axis gives: sorted values, their positions, or both; NaN counts as the largest."""

    axis: int | None = param(-1, doc="the axis to sort; None sorts the flattened data")

    @property
    def direction(self) -> bool:
        """Whether the smallest comes first."""
        raise NotImplementedError

    def n_kept(self, extent: int) -> int:
        """How many elements of a line stay."""
        return extent

    def kinds(self) -> tuple[str, ...]:
        """What each output is: "value", "indices" or "mask"."""
        raise NotImplementedError

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (shape,) = ins
        check_rank(shape, 1, None, f"{self.name}: data")
        if shape is None or (self.axis is None and not is_known(shape)):
            return ins, outs
        line = self._line(shape)
        axis = 0 if self.axis is None else normalize_axis(self.axis, len(shape))
        extent = line[axis]
        kept = (*line[:axis], None if extent is None else self.n_kept(extent), *line[axis + 1 :])
        for kind, dtype in zip(self.kinds(), self._out_dtypes(None)):
            largest = LARGEST_INDEX.get(dtype or "")
            if kind == "indices" and largest and extent is not None and extent > largest:
                raise ShapeError(
                    f"{self.name}: 'index' type {dtype} does not have a sufficient precision to represent the "
                    f"indices of {extent} elements; use dtype='int32'"
                )
        return ins, [unify(shape if kind == "mask" else kept, o) for kind, o in zip(self.kinds(), outs)]

    def _line(self, shape: Shape) -> Shape:
        return (size_of(shape),) if self.axis is None else shape  # type: ignore[arg-type]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        (dtype,) = ins
        if dtype is None:
            dtype = same_dtype([o for o, kind in zip(outs, self.kinds()) if kind != "indices"])
        if dtype is not None and dtype not in SORTED_DTYPES:
            raise DTypeError(f"{self.name}: cannot sort {dtype}; expected one of {', '.join(SORTED_DTYPES)}")
        return [dtype], [same_dtype((d, o)) for d, o in zip(self._out_dtypes(dtype), outs)]

    def _out_dtypes(self, dtype: str | None) -> list[str | None]:
        return [getattr(self, "dtype", "int32") if kind == "indices" else dtype for kind in self.kinds()]

    def _ordered(self, g: GraphBuilder, data: Value) -> tuple[Term, Term, int]:
        """The data (flattened when there is no axis), the order of its lines, and the axis."""
        shape = g.shape(data)
        line = Term(g, data).reshape(self._line(shape))  # type: ignore[arg-type]
        axis = 0 if self.axis is None else normalize_axis(self.axis, len(shape))
        return line, line("_order", axis=axis, k=self.n_kept(line.shape[axis]), is_ascend=self.direction), axis

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        line, order, axis = self._ordered(g, x[0])
        found = {
            "value": lambda: line("_along_axis", order, axis=axis),
            "indices": lambda: order.cast(getattr(self, "dtype", "int32")),
            "mask": lambda: self._back(Term(g, g.full(order.shape, line.dtype, 1.0)), order, axis,
                                       line).reshape(g.shape(x[0])),
        }  # fmt: skip
        return [found[kind]().value for kind in self.kinds()]

    @property
    def passes_gradient(self) -> bool:
        return "value" in self.kinds()

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        heads = [d for d, kind in zip(dy, self.kinds()) if kind == "value" and d is not None]
        if not heads:
            return [None]
        line, order, axis = self._ordered(g, x[0])
        return [self._back(Term(g, heads[0]), order, axis, line).reshape(g.shape(x[0])).value]

    def _back(self, values: Term, order: Term, axis: int, line: Term) -> Term:
        return values("_back_along_axis", order, axis=axis, extent=line.shape[axis])


@op("sort")
class Sort(Sorting):
    """The elements of every line along an axis in order; equal ones stay in order.  Source: MXNet operator sort."""

    results = ("output0", "output1")

    is_ascend: bool = param(True, doc="smallest first, else largest first")

    @property
    def direction(self) -> bool:
        return self.is_ascend

    def kinds(self) -> tuple[str, ...]:
        return ("value", "indices")

    def n_visible(self) -> int:
        return 1


@op("argsort")
class ArgSort(Sorting):
    """The positions of the elements of every line in sorted order; no gradient.  Source: MXNet operator argsort."""

    is_ascend: bool = param(True, doc="smallest first, else largest first")
    dtype: str = param("float32", choices=INDEX_DTYPES, dtype=True, doc="dtype of the positions")

    @property
    def direction(self) -> bool:
        return self.is_ascend

    def kinds(self) -> tuple[str, ...]:
        return ("indices",)


@op("topk")
class TopK(Sorting):
    """The first k elements of every line along an axis, largest (or smallest) first: values, positions, both, or a
    mask of the data's shape that is 1 at them.  Source: MXNet operator topk."""

    k: int = param(1, doc="how many; less than 1 means all")
    ret_typ: str = param("indices", choices=("both", "indices", "mask", "value"), doc="what is returned")
    is_ascend: bool = param(False, doc="smallest first, else largest first")
    dtype: str = param("float32", choices=INDEX_DTYPES, dtype=True, doc="dtype of the positions")

    @property
    def direction(self) -> bool:
        return self.is_ascend

    def n_kept(self, extent: int) -> int:
        if self.k > extent:
            raise ShapeError(f"topk: k must be smaller than {extent}, get k = {self.k}")
        return self.k if self.k > 0 else extent

    def kinds(self) -> tuple[str, ...]:
        return ("value", "indices") if self.ret_typ in ("value", "both") else (self.ret_typ,)

    def result_names(self) -> tuple[str, ...]:
        return ("output0", "output1") if len(self.kinds()) == 2 else ("output",)

    def n_visible(self) -> int:
        return 2 if self.ret_typ == "both" else 1
