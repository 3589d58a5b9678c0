"""Operators on sparse arrays, over the dense ones that symc has in their place: an element that is 0 is not stored."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.errors import ParameterError
from symc.core.shapes import unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Shapes, check_rank, op, param
from symc.ops.rules.composite import Composite
from symc.ops.rules.terms import Term

from .indexing import n_outside


@op("_sparse_retain")
class SparseRetain(Composite):
    """The rows of data whose numbers are among `indices`; all others are 0.  MXNet operator _sparse_retain."""

    arguments = ("data", "indices")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        check_rank(ins[1], 1, 1, "_sparse_retain: indices")
        data = unify(ins[0], outs[0])
        return [data, ins[1]], [data]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = ins[0] or outs[0]
        return [dtype, ins[1]], [dtype]

    def compose(self, *x: Term) -> Sequence[Term]:
        data, indices = x
        n_rows = data.shape[0]
        is_kept = indices("one_hot", depth=n_rows, dtype=data.dtype).sum((0,)) > 0.0
        spread = is_kept.reshape((n_rows, *(1,) * (len(data.shape) - 1))).broadcast_to(data.shape)
        return [spread.choose(data, data.zeros())]


@op("_contrib_getnnz")
class GetNnz(Composite):
    """How many elements are not 0, in all (1,) or in each row of a matrix; int64.

    MXNet operator _contrib_getnnz, which has it for CSR matrices.
    """

    is_differentiable = False

    axis: int | None = param(None, doc="None: of the whole; 1: of each row; 0: of each column")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if self.axis not in (None, 0, 1):
            raise ParameterError(f"_contrib_getnnz: axis must be None, 0 or 1, got {self.axis}")
        check_rank(data, 2, 2, "_contrib_getnnz: data")
        if self.axis is None:
            return ins, [(1,)]
        return ins, [None if data is None else (data[1 - self.axis],)]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, ["int64"]

    def compose(self, *x: Term) -> Sequence[Term]:
        is_stored = 1 - x[0].equals(0.0).cast("int64")
        axes = (0, 1) if self.axis is None else (self.axis,)
        shape = (1,) if self.axis is None else (x[0].shape[1 - self.axis],)
        return [is_stored.sum(axes).reshape(shape)]


@op("_contrib_edge_id")
class EdgeId(Composite):
    """data[u[i], v[i]] for every i, -1 where that is 0: the number of an edge in a graph's matrix.

    MXNet operator _contrib_edge_id, which has it for CSR matrices.
    """

    arguments = ("data", "u", "v")
    is_differentiable = False

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        for name, rank, shape in zip(self.arguments, (2, 1, 1), ins):
            check_rank(shape, rank, rank, f"_contrib_edge_id: {name}")
        edges = unify(unify(ins[1], ins[2]), outs[0])
        return [ins[0], edges, edges], [edges]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [ins[0] or outs[0]]

    def compose(self, *x: Term) -> Sequence[Term]:
        data, u, v = x
        place = u.cast("int64") * data.shape[1] + v.cast("int64")
        found = data.reshape((data.shape[0] * data.shape[1],))("take", place, axis=0)
        return [found.equals(0.0).choose(found.zeros() - 1.0, found)]


@op("_onehot_encode")
class OneHotEncode(Composite):
    """Rows of zeros with a 1 where lhs (N,) says, as many as rhs (N, K) has.  MXNet function _onehot_encode."""

    arguments = ("lhs", "rhs")
    is_differentiable = False

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        rhs = unify(ins[1], outs[0])
        check_rank(rhs, 2, 2, "_onehot_encode: rhs")
        return [ins[0] if rhs is None else unify(ins[0], rhs[:1]), rhs], [rhs]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [ins[1] or outs[0]]

    def compose(self, *x: Term) -> Sequence[Term]:
        return [x[0]("one_hot", depth=x[1].shape[1], dtype=x[1].dtype)]


@op("fill_element_0index")
class FillElement0Index(Composite):
    """lhs (N, K) with mhs[i] in the place rhs[i] of row i; ElementError where there is none.

    MXNet function fill_element_0index.
    """

    arguments = ("lhs", "mhs", "rhs")
    is_differentiable = False

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        lhs = unify(ins[0], outs[0])
        check_rank(lhs, 2, 2, "fill_element_0index: lhs")
        rows = None if lhs is None else lhs[:1]
        return [lhs, unify(ins[1], rows), unify(ins[2], rows)], [lhs]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [ins[0] or outs[0]]

    def compose(self, *x: Term) -> Sequence[Term]:
        lhs, values, places = x
        is_there = places("one_hot", depth=lhs.shape[1], dtype=lhs.dtype)
        return [is_there.choose(values.reshape((lhs.shape[0], 1)).broadcast_to(lhs.shape).cast(lhs.dtype), lhs)]

    def checks(self, g: GraphBuilder, x: Sequence[Value]) -> list[tuple[str, Value]]:
        last = g.shape(x[0])[1] - 1
        text = f"fill_element_0index: rhs must name places between 0 and {last}"
        return [(text, n_outside(Term(g, x[2]), 0, last).value)]
