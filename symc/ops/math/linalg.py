"""Matrix operators over leading batch axes: products, triangles, diagonals; and the Khatri-Rao product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod

from symc.core.errors import ShapeError
from symc.core.params import MAX_PORTS
from symc.core.shapes import Shape, mx_text, normalize_axis, unify, unify_extent
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op, Shapes, check_rank, declares_parameters, op, param
from symc.loopir.expr import Expr, IndexLike, cast, index_value, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.composite import Composite
from symc.ops.rules.elementwise import Elementwise
from symc.ops.rules.shapes import unify_all
from symc.ops.rules.terms import Term, flows

# -- products -------------------------------------------------------------------------------------------------------


def product(a: Term, b: Term, transpose_a: bool = False, transpose_b: bool = False) -> Term:
    """The matrix product over equal leading axes."""
    name = "dot" if len(a.shape) == 2 else "batch_dot"
    return a(name, b, transpose_a=transpose_a, transpose_b=transpose_b)


def with_rows_at(x: Term, axis: int) -> Term:
    """The rows moved from `axis` to the last axis but one."""
    rank = len(x.shape)
    at = normalize_axis(axis, rank)
    if at == rank - 2:
        return x
    return x("transpose", axes=(*(a for a in range(rank - 1) if a != at), at, rank - 1))


def with_rows_back(x: Term, axis: int) -> Term:
    """The inverse of `with_rows_at`."""
    rank = len(x.shape)
    at = normalize_axis(axis, rank)
    if at == rank - 2:
        return x
    order = [a for a in range(rank - 1) if a != at]
    order = [*order, at, rank - 1]
    return x("transpose", axes=tuple(order.index(a) for a in range(rank)))


@declares_parameters
class MatrixProduct(Composite):
    """alpha * op(A) @ op(B), where op transposes on request; rows lie along `axis`, columns along the last axis."""

    transpose_a: bool = param(False, doc="transpose A first")
    transpose_b: bool = param(False, doc="transpose B first")
    alpha: float = param(1.0, doc="factor of the product")
    axis: int = param(-2, doc="the axis of the rows")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        a, b = ins[:2]
        check_rank(a, 2, None, f"{self.name}: A")
        check_rank(b, 2, None, f"{self.name}: B")
        if a is None or b is None:
            return ins, outs
        if len(a) != len(b):
            raise ShapeError(f"{self.name}: A {mx_text(a)} and B {mx_text(b)} must have as many dimensions")
        at, last = normalize_axis(self.axis, len(a)), len(a) - 1
        if at == last:
            raise ShapeError(f"{self.name}: axis {self.axis} is that of the columns")
        lead = unify(*(tuple(1 if k in (at, last) else n for k, n in enumerate(s)) for s in (a, b)))
        assert lead is not None
        rows, inner = (a[last], a[at]) if self.transpose_a else (a[at], a[last])
        other, columns = (b[last], b[at]) if self.transpose_b else (b[at], b[last])
        if inner is not None and other is not None and inner != other:
            raise ShapeError(
                f"Incompatible matrix dimensions for multiplication: {inner} against {other}, of {mx_text(a)} "
                f"and {mx_text(b)}"
            )
        shape = tuple(rows if k == at else columns if k == last else n for k, n in enumerate(lead))
        shape_ = unify_all([shape, *ins[2:], outs[0]])
        return [a, b, *[shape_] * (len(ins) - 2)], [shape_]

    def times(self, a: Term, b: Term) -> Term:
        """The product with its factor, rows at `axis` again."""
        found = product(*(with_rows_at(t, self.axis) for t in (a, b)), self.transpose_a, self.transpose_b)
        return with_rows_back(found * self.alpha, self.axis)


@op("_linalg_gemm2", aliases=("linalg_gemm2",))
class Gemm2(MatrixProduct):
    """alpha * op(A) @ op(B).  MXNet operator _linalg_gemm2."""

    arguments = ("A", "B")

    def compose(self, *x: Term) -> Sequence[Term]:
        return [self.times(*x)]


@op("_linalg_gemm", aliases=("linalg_gemm",))
class Gemm(MatrixProduct):
    """alpha * op(A) @ op(B) + beta * C.  MXNet operator _linalg_gemm."""

    arguments = ("A", "B", "C")
    parameter_order = ("transpose_a", "transpose_b", "alpha", "beta", "axis")

    beta: float = param(1.0, doc="factor of C")

    def compose(self, *x: Term) -> Sequence[Term]:
        a, b, c = x
        return [self.times(a, b) + c * self.beta]


@op("_linalg_syrk", aliases=("linalg_syrk",))
class Syrk(Composite):
    """alpha * A @ A.T, or alpha * A.T @ A with transpose.  MXNet operator _linalg_syrk."""

    arguments = ("A",)

    transpose: bool = param(False, doc="multiply the transpose from the left")
    alpha: float = param(1.0, doc="factor of the product")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (a,) = ins
        check_rank(a, 2, None, "syrk: A")
        if a is None:
            return ins, outs
        n = a[-1] if self.transpose else a[-2]
        return ins, [unify((*a[:-2], n, n), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        (a,) = x
        return [product(a, a, self.transpose, not self.transpose) * self.alpha]


@declares_parameters
class TriangularSide(Composite):
    """What a triangular matrix A (*lead, n, n) does to B (*lead, n, m), or (*lead, m, n) with rightside."""

    arguments = ("A", "B")

    transpose: bool = param(False, doc="transpose A")
    rightside: bool = param(False, doc="A stands on the right")
    lower: bool = param(True, doc="A is lower triangular, else upper")  # hides Op.lower: a Composite needs none
    alpha: float = param(1.0, doc="factor of the result")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        a, b = ins[0], unify(ins[1], outs[0])
        check_square(a, "First operand must be a tensor of square matrices")
        check_rank(b, 2, None, f"{self.name}: B")
        if a is None or b is None:
            return [a, b], [b]
        n = unify_extent(unify_extent(a[-1], a[-2]), b[-1 if self.rightside else -2], "extent of A and B")
        lead = unify(a[:-2], b[:-2])
        assert lead is not None
        b = (*lead, b[-2], n) if self.rightside else (*lead, n, b[-1])
        return [(*lead, n, n), b], [b]


@op("_linalg_trmm", aliases=("linalg_trmm",))
class Trmm(TriangularSide):
    """alpha * op(A) @ B, or alpha * B @ op(A) with rightside, for triangular A: its other triangle is not read.

    MXNet operator _linalg_trmm.
    """

    def compose(self, *x: Term) -> Sequence[Term]:
        a, b = x[0]("_triangle", is_lower=self.lower), x[1]
        if self.rightside:
            return [product(b, a, transpose_b=self.transpose) * self.alpha]
        return [product(a, b, transpose_a=self.transpose) * self.alpha]


def check_square(shape: Shape | None, message: str) -> None:
    """Raises ShapeError unless the last two axes are equally long."""
    check_rank(shape, 2, None, message)
    if shape is not None and None not in shape[-2:] and shape[-1] != shape[-2]:
        raise ShapeError(f"{message}, got {mx_text(shape)}")


@op("_triangle")
class Triangle(Elementwise):
    """The lower or upper triangle of square matrices, diagonal included; 0 elsewhere."""

    is_internal = True

    is_lower: bool = param(doc="the lower triangle")

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]

        def element(*i: IndexLike) -> Expr:
            row, column = (index_value(k) for k in i[-2:])
            return select(column <= row if self.is_lower else row <= column, x(*i), 0)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("_triangle", flows(dy), is_lower=self.is_lower)]


@op("khatri_rao")
class KhatriRao(Composite):
    """Column by column the Kronecker product of matrices (m_k, n) -> (prod of m_k, n); no gradient.

    MXNet operator khatri_rao.
    """

    variadic = "num_args"
    is_differentiable = False

    num_args: int = param(low=1, high=MAX_PORTS, doc="number of matrices")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        for s in ins:
            check_rank(s, 2, 2, "khatri_rao: matrix")
        (columns,) = unify_all([s[1:] for s in (*ins, *outs) if s is not None]) or (None,)
        rows = [None if s is None else s[0] for s in ins]
        total = None if None in rows else prod(rows)  # type: ignore[type-var]
        return [(m, columns) for m in rows], [unify((total, columns), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        total = x[0]
        for matrix in x[1:]:
            (m, n), k = total.shape, matrix.shape[0]
            total = (total.reshape((m, 1, n)) * matrix.reshape((1, k, n))).reshape((m * k, n))
        return [total]


# -- diagonals and triangles ----------------------------------------------------------------------------------------


@declares_parameters
class Offset(Composite):
    """Something of square matrices that depends on a diagonal; offset > 0 is above the main one."""

    arguments = ("A",)

    offset: int = param(0, doc="which diagonal")

    def inner(self, a: Shape) -> int | None:
        """How long the diagonal is; raises ShapeError when there is none."""
        check_square(a, "Input operand must be a tensor of square matrices")
        n = a[-1] if a[-1] is not None else a[-2]
        if n is not None and n <= abs(self.offset):
            raise ShapeError(f"Illegal offset {self.offset} for diag/trian extraction of matrix with dimension {n}")
        return n and n - abs(self.offset)


@op("_linalg_extractdiag", aliases=("linalg_extractdiag",))
class ExtractDiag(Offset):
    """A diagonal of every matrix: (*lead, n, n) -> (*lead, n - |offset|).  MXNet operator _linalg_extractdiag."""

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (a,) = ins
        return ins, outs if a is None else [unify((*a[:-2], self.inner(a)), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        return [x[0]("diag", k=self.offset, axis1=-2, axis2=-1)]


@op("_linalg_makediag", aliases=("linalg_makediag",))
class MakeDiag(Offset):
    """Matrices with a diagonal and zeros: (*lead, n) -> (*lead, n + |offset|, n + |offset|).

    MXNet operator _linalg_makediag.
    """

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (a,) = ins
        if a is None:
            return ins, outs
        check_rank(a, 1, None, "makediag: A")
        n = None if a[-1] is None else a[-1] + abs(self.offset)
        return ins, [unify((*a[:-1], n, n), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        shape = self.infer_shape([x[0].shape], [None])[1][0]
        rank = len(shape or ())
        return [x[0]("_diag_back", shape=shape, k=self.offset, axis1=rank - 2, axis2=rank - 1)]


@op("_linalg_sumlogdiag", aliases=("linalg_sumlogdiag",))
class SumLogDiag(Composite):
    """The sum of the logarithms of the diagonal: (*lead, n, n) -> lead, (1,) without lead.

    MXNet operator _linalg_sumlogdiag.
    """

    arguments = ("A",)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (a,) = ins
        check_square(a, "Input operand must be a tensor of square matrices")
        return ins, outs if a is None else [unify(a[:-2] or (1,), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        return [x[0]("diag", axis1=-2, axis2=-1)("log")("sum", axis=(-1,))]


@declares_parameters
class PackedTriangle(Offset):
    """A triangle from a diagonal on, packed: lower ones row after row, upper ones column after column.

    `lower` counts with offset 0 only: above the main diagonal lies an upper triangle, below it a lower one.
    """

    lower: bool = param(True, doc="the lower triangle, with offset 0")  # hides Op.lower: a Composite needs none

    @property
    def is_lower(self) -> bool:
        return self.lower if self.offset == 0 else self.offset < 0


@op("_linalg_extracttrian", aliases=("linalg_extracttrian",))
class ExtractTrian(PackedTriangle):
    """A packed triangle of every matrix: (*lead, n, n) -> (*lead, m (m + 1) / 2), m = n - |offset|.

    MXNet operator _linalg_extracttrian.
    """

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (a,) = ins
        if a is None:
            return ins, outs
        m = self.inner(a)
        return ins, [unify((*a[:-2], m and m * (m + 1) // 2), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        return [x[0]("_pack_triangle", offset=self.offset, is_lower=self.is_lower)]


@op("_linalg_maketrian", aliases=("linalg_maketrian",))
class MakeTrian(PackedTriangle):
    """Matrices with a triangle and zeros from its packed form, the inverse of extracttrian.

    MXNet operator _linalg_maketrian.
    """

    needs_elements = ("A",)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (a,) = ins
        if a is None:
            return ins, outs
        check_rank(a, 1, None, "maketrian: A")
        n: int | None = None
        if a[-1] is not None:
            m = (math.isqrt(8 * a[-1] + 1) - 1) // 2
            if m * (m + 1) // 2 != a[-1]:
                raise ShapeError(
                    f"Input tensor of maketrian has an invalid dimension for the last axis: {a[-1]} is no "
                    "m * (m + 1) / 2"
                )
            n = m + abs(self.offset)
        return ins, [unify((*a[:-1], n, n), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        return [x[0]("_unpack_triangle", offset=self.offset, is_lower=self.is_lower)]


@declares_parameters
class TriangleEntries(Op):
    """Which entry of a matrix a packed element is: line r of a triangle holds r + 1 of them."""

    is_internal = True

    offset: int = param(doc="which diagonal the triangle begins at")
    is_lower: bool = param(doc="the lines are rows, else columns")

    def entry(self, k: Expr) -> tuple[Expr, Expr]:
        """Row and column of the k-th packed element: r (r + 1) / 2 elements lie before line r.

        The root is exact as long as 8 k + 1 < 2**53, far beyond any matrix.
        """
        line = cast((prim("sqrt", cast(k * 8 + 1, "float64")) - 1.0) / 2.0, "int64")
        at = k - prim("div", line * (line + 1), 2)
        row, column = (line, at) if self.is_lower else (at, line)
        return row + max(-self.offset, 0), column + max(self.offset, 0)

    def position(self, row: Expr, column: Expr) -> tuple[Expr, Expr]:
        """Which packed element an entry is, and whether it is one; 0 when it is not."""
        row, column = row - max(-self.offset, 0), column - max(self.offset, 0)
        line, at = (row, column) if self.is_lower else (column, row)
        inside = prim("and", at >= 0, at <= line)
        return select(inside, prim("div", line * (line + 1), 2) + at, 0), inside


@op("_pack_triangle")
class PackTriangle(TriangleEntries):
    """(*lead, n, n) -> (*lead, m (m + 1) / 2): the entries of a triangle."""

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, ExtractTrian(offset=self.offset).infer_shape(ins, outs)[1]

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        t.map(lambda *i: x(*i[:-1], *self.entry(index_value(i[-1]))))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("_unpack_triangle", flows(dy), offset=self.offset, is_lower=self.is_lower)]


@op("_unpack_triangle")
class UnpackTriangle(TriangleEntries):
    """(*lead, m (m + 1) / 2) -> (*lead, n, n): a triangle with zeros around."""

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, MakeTrian(offset=self.offset).infer_shape(ins, outs)[1]

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]

        def element(*i: IndexLike) -> Expr:
            k, inside = self.position(*(index_value(n) for n in i[-2:]))
            return select(inside, x(*i[:-2], k), 0)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("_pack_triangle", flows(dy), offset=self.offset, is_lower=self.is_lower)]
