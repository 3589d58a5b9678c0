"""Reading at computed positions: Embedding, take, pick, batch_take, one_hot; boolean_mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symc.core.errors import ShapeError
from symc.core.shapes import normalize_axis, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, declares_parameters, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, cast, const, index_value, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.accumulation import Accumulating
from symc.ops.rules.numbers import number
from symc.ops.rules.terms import Term, flows

DTYPES = ("float16", "float32", "float64", "int32", "int64", "int8", "uint8")


def position(index: Expr, extent: int, mode: str) -> Expr:
    """A position inside range(extent) from an index value: fractions truncate; others clip, or wrap as in Python."""
    whole = cast(index, "int64")
    if mode == "wrap":
        return prim("mod", whole, extent)
    return prim("minimum", prim("maximum", whole, 0), extent - 1)


def n_outside(numbers: Term, low: int, high: int) -> Term:
    """How many numbers do not lie between two bounds, both included, as a NaN does not: (1,) float32."""
    wide = numbers.cast("float64")
    return (1 - (wide >= low) * (wide <= high)).count()


@op("Embedding", aliases=("_npx_embedding", "_sparse_Embedding", "_contrib_SparseEmbedding"))
class Embedding(Op):
    """The rows of weight numbered by data: data (*shape), weight (input_dim, output_dim) -> (*shape, output_dim).

    Numbers out of range clip.  No gradient for data.  Source: MXNet operator Embedding.
    """

    arguments = ("data", "weight")
    trained = frozenset({"weight"})

    input_dim: int = param(low=1, doc="number of rows")
    output_dim: int = param(low=1, doc="length of a row")
    dtype: str = param("float32", choices=DTYPES, dtype=True, doc="dtype of the weight when nothing else says it")
    sparse_grad: bool = param(False, doc="ignored: gradients are dense")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        weight = unify(ins[1], (self.input_dim, self.output_dim))
        if ins[0] is None:
            return ins, outs
        return [ins[0], weight], [unify(outs[0], (*ins[0], self.output_dim))]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[1], outs[0])) or self.dtype
        return [ins[0], dtype], [dtype]

    def lower(self, t: Lowering) -> None:
        data, weight = t.ins
        t.map(lambda *i: weight(position(data(*i[:-1]), self.input_dim, "clip"), i[-1]))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None, None]
        return [None, g("_take_gradient", dy[0], x[0], axis=0, mode="clip", shape=g.shape(x[1]))]

    def refuses_gradient(self, argument: str, req: str) -> bool:
        return argument == "data"


@op("take", aliases=("_npi_take",))
class Take(Op):
    """The slices of a numbered by indices along one axis: a (*lead, n, *tail) -> (*lead, *indices, *tail).

    Numbers out of range clip, wrap, or raise ElementError when the operator runs.  Source: MXNet operator take.
    """

    arguments = ("a", "indices")
    needs_elements = ("a",)

    axis: int = param(0, doc="the axis that is numbered")
    mode: str = param("clip", choices=("clip", "raise", "wrap"), doc="what happens to numbers out of range")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        a, indices = ins
        if a is None or indices is None:
            return ins, outs
        if not -len(a) <= self.axis < len(a):
            raise ShapeError(
                f"Axis should be in the range of [-r, r-1] where r is the rank of input tensor: axis "
                f"{self.axis}, rank {len(a)}"
            )
        axis = normalize_axis(self.axis, len(a))
        return ins, [unify(outs[0], (*a[:axis], *indices, *a[axis + 1 :]))]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], outs[0]))
        return [dtype, ins[1]], [dtype]

    def lower(self, t: Lowering) -> None:
        a, indices = t.ins
        axis = normalize_axis(self.axis, a.rank)

        def element(*i: IndexLike) -> Expr:
            numbered = i[axis : axis + indices.rank]
            at = position(indices(*numbered), a.shape[axis], self.mode)
            return a(*i[:axis], at, *i[axis + indices.rank :])

        t.map(element)

    def checks(self, g: GraphBuilder, x: Sequence[Value]) -> list[tuple[str, Value]]:
        if self.mode != "raise":
            return []
        last = g.shape(x[0])[normalize_axis(self.axis, len(g.shape(x[0])))] - 1
        text = f"take: indices must lie between 0 and {last}; mode='clip' and mode='wrap' allow others"
        return [(text, n_outside(Term(g, x[1]), 0, last).value)]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None, None]
        shape = g.shape(x[0])
        axis = normalize_axis(self.axis, len(shape))
        return [g("_take_gradient", dy[0], x[1], axis=axis, mode=self.mode, shape=shape), None]

    def refuses_gradient(self, argument: str, req: str) -> bool:
        """A gradient of zeros for the indices is written, but not added."""
        return argument == "indices" and req == "add"


@declares_parameters
class IndexedGradient(Op):
    """The gradient of an array that was indexed along one axis, from dy and the indices."""

    is_internal = True

    axis: int = param(doc="the axis that was indexed, not negative")
    mode: str = param(doc="what happens to numbers out of range")
    shape: tuple[int, ...] = param(doc="shape of the array that was indexed")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(outs[0], self.shape)]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [same_dtype((ins[0], outs[0]))]


@op("_take_gradient")
class TakeGradient(Accumulating, IndexedGradient):
    """Every slice of dy added to the slice of a zero array it was taken from."""

    arguments = ("dy", "indices")

    def lower(self, t: Lowering) -> None:
        dy, indices = t.ins
        axis, rank = self.axis, indices.rank

        def target(*i: IndexLike) -> Sequence[IndexLike | Expr]:
            at = position(indices(*i[axis : axis + rank]), self.shape[axis], self.mode)
            return (*i[:axis], at, *i[axis + rank :])

        t.region(self.shape, lambda *i: i, lambda *i: const(0, dy.dtype))
        t.region(dy.shape, target, dy, mode="add")

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("take", flows(dy), x[1], axis=self.axis, mode=self.mode), None]


@op("pick", aliases=("_npx_pick", "choose_element_0index"))
class Pick(Op):
    """One element of data along an axis for every index: data (*lead, n, *tail), index (*lead, *tail) or with extent 1
    at the axis -> (*lead, *tail), with extent 1 at the axis under keepdims.

    Numbers out of range clip or wrap.  Source: MXNet operator pick.
    """

    arguments = ("data", "index")
    needs_elements = ("data",)

    axis: int | None = param(-1, doc="the axis to pick along")
    keepdims: bool = param(False, doc="whether the axis stays with extent 1")
    mode: str = param("clip", choices=("clip", "wrap"), doc="what happens to numbers out of range")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if self.axis is None:
            raise ShapeError("axis=None is not supported by pick yet. Must specify an axis.")
        data, index = ins
        if data is None:
            return ins, outs
        axis = normalize_axis(self.axis, len(data))
        kept = (*data[:axis], 1, *data[axis + 1 :])
        dropped = (*data[:axis], *data[axis + 1 :]) or (1,)
        if index is not None:
            index = unify(index, kept if len(index) == len(data) else dropped)
        return [data, index], [unify(outs[0], kept if self.keepdims else dropped)]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], outs[0]))
        return [dtype, ins[1]], [dtype]

    def lower(self, t: Lowering) -> None:
        data, index = t.ins
        axis = normalize_axis(self.axis or 0, data.rank)

        def element(*i: IndexLike | Expr) -> Expr:
            rest = i[:axis] + i[axis + 1 :] if self.keepdims else i[: data.rank - 1]
            at = position(index(*index_of(rest, axis, index.rank, data.rank)), data.shape[axis], self.mode)
            return data(*rest[:axis], at, *rest[axis:])

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None, None]
        shape = g.shape(x[0])
        axis = normalize_axis(self.axis or 0, len(shape))
        return [g("_pick_gradient", dy[0], x[1], axis=axis, mode=self.mode, shape=shape), None]


def index_of(rest: Sequence[IndexLike | Expr], axis: int, rank: int, data_rank: int) -> tuple[IndexLike | Expr, ...]:
    """The index into an array with data's axes, or with all but `axis`, from the index without that axis."""
    if rank == data_rank:
        return (*rest[:axis], 0, *rest[axis:])
    return tuple(rest) or (0,)


@op("_pick_gradient")
class PickGradient(IndexedGradient):
    """dy where an element was picked, else 0; dy and index have data's axes or all but one."""

    arguments = ("dy", "index")

    def lower(self, t: Lowering) -> None:
        dy, index = t.ins
        axis, rank = self.axis, len(self.shape)

        def element(*i: IndexLike) -> Expr:
            rest = i[:axis] + i[axis + 1 :]
            at = position(index(*index_of(rest, axis, index.rank, rank)), self.shape[axis], self.mode)
            return select(prim("eq", index_value(i[axis]), at), dy(*index_of(rest, axis, dy.rank, rank)), 0)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        picked = g("pick", flows(dy), x[1], axis=self.axis, mode=self.mode)
        return [Term(g, picked).reshape(g.shape(x[0])).value, None]


@op("batch_take")
class BatchTake(Op):
    """One element of every row: a (N, C), indices (N,) -> (N,); numbers out of range clip; no gradient.

    Source: MXNet operator batch_take.
    """

    arguments = ("a", "indices")
    needs_elements = ("a",)
    is_differentiable = False

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        a, indices = ins
        check_rank(a, 2, 2, "batch_take: a")
        indices = unify(indices, outs[0])
        if a is not None:
            indices = unify(indices, a[:1])
        return [a, indices], [indices]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], outs[0]))
        return [dtype, same_dtype((ins[1], "int32"))], [dtype]

    def lower(self, t: Lowering) -> None:
        a, indices = t.ins
        t.map(lambda i: a(i, position(indices(i), a.shape[1], "clip")))


@op("one_hot", aliases=("_npx_one_hot",))
class OneHot(Op):
    """indices (*shape) -> (*shape, depth): on_value at the index, off_value elsewhere (everywhere when out of range).

    Source: MXNet operator one_hot.
    """

    arguments = ("indices",)

    depth: int = param(low=0, doc="extent of the new last axis")
    on_value: float = param(1.0, doc="the value at the index")
    off_value: float = param(0.0, doc="the value elsewhere")
    dtype: str = param("float32", choices=DTYPES, dtype=True, doc="dtype of the output")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if ins[0] is None:
            return ins, outs
        return ins, [unify(outs[0], (*ins[0], self.depth))]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [same_dtype((self.dtype, outs[0]))]

    def lower(self, t: Lowering) -> None:
        indices, dtype = t.ins[0], t.out_dtype()

        def element(*i: IndexLike) -> Expr:
            is_on = prim("eq", index_value(i[-1]), cast(indices(*i[:-1]), "int64"))
            return select(is_on, number(self.on_value, dtype), number(self.off_value, dtype))

        t.map(element)


@op("_contrib_boolean_mask")
class BooleanMask(Op):
    """The slices of data along its first axis where index (N,) is not 0.

    How many there are depends on values: what is compiled is cut there. As in MXNet, simple_bind refuses it.
    MXNet operator _contrib_boolean_mask.
    """

    arguments = ("data", "index")
    undecidable = "keeps as many elements as index has ones; bind it to arrays, hybridize it, or use where"

    axis: int = param(0, doc="the axis to select along; MXNet allows 0 only")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, index = ins
        check_rank(index, 1, 1, "boolean_mask: index")
        if self.axis != 0:
            raise ShapeError(f"boolean_mask: only axis 0 is supported, got {self.axis}")
        if data is not None:
            index = unify(index, data[:1])
        return [data, index], outs

    def kept(self, x: Sequence[np.ndarray]) -> np.ndarray:
        return np.flatnonzero(x[1])

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], outs[0]))
        return [dtype, ins[1]], [dtype]
