"""Matrix operators that factorise: Cholesky, triangular systems, inverse, determinants, LQ."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.errors import DTypeError, ShapeError
from symc.core.shapes import Shape, mx_text, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, declares_parameters, op, param, same_dtype
from symc.loopir.factorize import Cholesky, Eigen, Lq, Lu, TriangularSolve
from symc.loopir.tensor import Lowering
from symc.ops.rules.composite import Composite
from symc.ops.rules.terms import Term, flows, values

from .linalg import TriangularSide, check_square, product

# -- what the routines compute --------------------------------------------------------------------------------------


class Factorization(Op):
    """An operator that a routine of loopir.factorize computes, in float32 or float64."""

    is_internal = True

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype(ins)
        if dtype not in (None, "float32", "float64"):
            raise DTypeError(f"factorising a matrix: expected float32 or float64, got {dtype}")
        return [dtype] * len(ins), [dtype] * len(outs)


def turned(x: Term) -> Term:
    """The transposed matrices."""
    return x("SwapAxis", dim1=len(x.shape) - 1, dim2=len(x.shape) - 2)


def solved(lower: Term, b: Term, is_transposed: bool = False, is_unit: bool = False) -> Term:
    """X with L @ X = B, or L.T @ X = B."""
    return lower("_triangular_solve", b, is_transposed=is_transposed, is_unit=is_unit)


def mirrored(x: Term) -> Term:
    """The symmetric matrices with the lower triangle of x."""
    lower, rank = x("_triangle", is_lower=True), len(x.shape)
    diagonal = x("diag", axis1=-2, axis2=-1)
    return lower + turned(lower) - diagonal("_diag_back", shape=x.shape, k=0, axis1=rank - 2, axis2=rank - 1)


def n_zeros_on_diagonal(a: Term) -> Term:
    """How many numbers on the diagonals of matrices are 0: (1,) float32."""
    return (a.equals(0) * identity(a)).count()


def identity(like: Term) -> Term:
    """Unit matrices of the shape and dtype of `like`."""
    n = like.shape[-1]
    eye = Term(like.g, like.g("_eye", N=n, M=n, dtype=like.dtype))
    return eye.broadcast_to(like.shape)


@op("_cholesky")
class CholeskyFactor(Factorization):
    """See loopir.factorize.Cholesky; the gradient is that of Murray, Differentiation of the Cholesky decomposition
    (2016)."""

    def lower(self, t: Lowering) -> None:
        t.template(Cholesky())

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        factor = Term(g, y[0])
        inner = product(factor, Term(g, flows(dy)), transpose_a=True)
        left = solved(factor, mirrored(inner), is_transposed=True)
        return values([turned(solved(factor, turned(left), is_transposed=True)) * 0.5])


@op("_triangular_solve")
class TriangularSystem(Factorization):
    """See loopir.factorize.TriangularSolve."""

    arguments = ("L", "B")

    is_transposed: bool = param(doc="L.T @ X = B")
    is_unit: bool = param(doc="the diagonal of L counts as 1")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [ins[1]]

    def lower(self, t: Lowering) -> None:
        t.template(TriangularSolve(self.is_transposed, self.is_unit))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        factor, result = Term(g, x[0]), Term(g, y[0])
        d_b = solved(factor, Term(g, flows(dy)), not self.is_transposed, self.is_unit)
        pair = (result, d_b) if self.is_transposed else (d_b, result)
        d_factor = -product(*pair, transpose_b=True)("_triangle", is_lower=True)
        if self.is_unit:  # the diagonal is not read
            d_factor = d_factor * (1 - identity(d_factor))
        return values([d_factor, d_b])


@op("_lu")
class LuFactors(Factorization):
    """See loopir.factorize.Lu: (*lead, n, n) -> factors (*lead, n, n), rows (*lead, n), sign (*lead, 1)."""

    results = ("factors", "rows", "sign")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (a,) = ins
        return ins, outs if a is None else [a, a[:-1], (*a[:-2], 1)]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        ins, (dtype, _, sign) = super().infer_dtype(ins, outs)
        return ins, [dtype, "int32", sign]

    def lower(self, t: Lowering) -> None:
        t.template(Lu())


@op("_lq")
class LqFactors(Factorization):
    """See loopir.factorize.Lq."""

    results = ("Q", "L")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (a,) = ins
        return ins, outs if a is None else [a, (*a[:-1], a[-2])]

    def lower(self, t: Lowering) -> None:
        t.template(Lq())

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """Roberts and Roberts, QR and LQ decomposition matrix backpropagation algorithms (2020), for full rank."""
        q, factor = (Term(g, v) for v in y)
        d_q, d_factor = (Term(g, g.like(v, 0) if d is None else d) for v, d in zip(y, dy))
        inner = product(factor, d_factor, transpose_a=True) - product(d_q, q, transpose_b=True)
        return values([solved(factor, d_q + product(mirrored(inner), q), is_transposed=True)])


@op("_eigen")
class Eigenvectors(Factorization):
    """See loopir.factorize.Eigen."""

    arguments = ("A",)
    results = ("U", "L")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (a,) = ins
        return ins, outs if a is None else [a, a[:-1]]

    def lower(self, t: Lowering) -> None:
        t.template(Eigen())

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """U.T @ (diag(dL) + S) @ U, where S has the symmetric part of dU @ U.T over differences of eigenvalues: where
        two are equal they count as 1e-30 apart (float64: 1e-100), as in MXNet. Giles, Collected matrix derivative
        results (2008)."""
        vectors, numbers = (Term(g, v) for v in y)
        d_vectors, d_numbers = (Term(g, g.like(v, 0) if d is None else d) for v, d in zip(y, dy))
        n, lead = vectors.shape[-1], vectors.shape[:-2]
        turned_by = product(d_vectors, vectors, transpose_b=True)
        apart = numbers.reshape((*lead, n, 1)) - numbers.reshape((*lead, 1, n))
        least = 1e-30 if apart.dtype == "float32" else 1e-100
        below = (turned_by - turned(turned_by)) / ((apart < least).choose(apart.zeros() + least, apart) * 2.0)
        beside = below("_triangle", is_lower=True) * (1.0 - identity(below))
        diagonal = d_numbers("_diag_back", shape=vectors.shape, k=0, axis1=len(lead), axis2=len(lead) + 1)
        return values([product(product(vectors, beside + turned(beside) + diagonal, transpose_a=True), vectors)])


# -- MXNet's operators ----------------------------------------------------------------------------------------------


@declares_parameters
class OfSquare(Composite):
    """Something of square matrices (*lead, n, n) with the same shape."""

    arguments = ("A",)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        a = unify(ins[0], outs[0])
        check_square(a, "Input A's last two dimension must be equal")
        return [a], [a]


@declares_parameters
class OfTriangle(OfSquare):
    """Work between a symmetric matrix and its triangular factor, which is lower or upper."""

    lower: bool = param(True, doc="the factor is lower triangular, else upper")  # hides Op.lower: none is needed


@op("_linalg_potrf", aliases=("linalg_potrf",))
class Potrf(OfTriangle):
    """The triangular B with A = B @ B.T (lower) or A = B.T @ B (upper), of symmetric positive definite A, of which that
    triangle alone is read; ElementError where it is not positive definite.

    MXNet operator _linalg_potrf.
    """

    def compose(self, *x: Term) -> Sequence[Term]:
        return [x[0]("_cholesky") if self.lower else turned(turned(x[0])("_cholesky"))]

    def checks(self, g: GraphBuilder, x: Sequence[Value]) -> list[tuple[str, Value]]:
        """A factor with NaN or with 0 on its diagonal is none, unless NaN was there before."""
        a = Term(g, x[0])
        (factor,) = self.compose(a)
        n_wrong = factor.is_nan().count() + n_zeros_on_diagonal(factor)
        return [(f"{self.name}: a matrix is not positive definite", (n_wrong * a.is_nan().count().equals(0)).value)]


@op("_linalg_potri", aliases=("linalg_potri",))
class Potri(OfTriangle):
    """The inverse of B @ B.T for lower, of B.T @ B for upper triangular B; ElementError where its diagonal has a zero.

    MXNet operator _linalg_potri.
    """

    def compose(self, *x: Term) -> Sequence[Term]:
        inverse = solved(x[0] if self.lower else turned(x[0]), identity(x[0]))
        return [product(inverse, inverse, transpose_a=True)]

    def checks(self, g: GraphBuilder, x: Sequence[Value]) -> list[tuple[str, Value]]:
        return [(f"{self.name}: a matrix is no Cholesky factor", n_zeros_on_diagonal(Term(g, x[0])).value)]


@op("_linalg_inverse", aliases=("linalg_inverse",))
class Inverse(OfSquare):
    """The inverse of A; ElementError where the factorisation of A says that it is singular.

    MXNet operator _linalg_inverse.
    """

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        return [inverse(Term(g, x[0])).value]

    def checks(self, g: GraphBuilder, x: Sequence[Value]) -> list[tuple[str, Value]]:
        return [(f"{self.name}: a matrix is singular", n_zeros_on_diagonal(Term(g, g.node("_lu", x[0])[0])).value)]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        result = Term(g, y[0])
        left = product(result, Term(g, flows(dy)), transpose_a=True)
        return values([-product(left, result, transpose_b=True)])


def inverse(a: Term) -> Term:
    """From L @ U = A[p]: the unit matrix with its rows in that order, solved by both triangles."""
    node = a.g.node("_lu", a.value)
    factors, rows = Term(a.g, node[0]), Term(a.g, node[1])
    unit = rows("one_hot", depth=a.shape[-1], dtype=a.dtype)
    return solved(turned(factors), solved(factors, unit, is_unit=True), is_transposed=True)


@op("_linalg_trsm", aliases=("linalg_trsm",))
class Trsm(TriangularSide):
    """X with op(A) @ X = alpha * B, or X @ op(A) = alpha * B with rightside, for triangular A.

    MXNet operator _linalg_trsm.
    """

    def compose(self, *x: Term) -> Sequence[Term]:
        """X @ op(A) = B is op(A).T @ X.T = B.T; an upper triangle is a lower one transposed."""
        lower = x[0] if self.lower else turned(x[0])
        is_transposed = self.transpose ^ (not self.lower) ^ self.rightside
        b = x[1] * self.alpha
        if self.rightside:
            return [turned(solved(lower, turned(b), is_transposed))]
        return [solved(lower, b, is_transposed)]


@op("_linalg_gelqf", aliases=("linalg_gelqf",))
class Gelqf(Composite):
    """Q with orthonormal rows (*lead, m, n) and lower triangular L (*lead, m, m) with A = L @ Q; m <= n.

    MXNet operator _linalg_gelqf.
    """

    arguments = ("A",)
    results = ("output0", "output1")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        a = unify(ins[0], outs[0])
        check_rank(a, 2, None, "gelqf: A")
        if a is None:
            return ins, outs
        if a[-1] is not None and a[-2] is not None and a[-2] > a[-1]:
            raise ShapeError(f"A must have no more rows than columns, got {mx_text(a)}")
        return [a], [a, unify((*a[:-1], a[-2]), outs[1])]

    def compose(self, *x: Term) -> Sequence[Term]:
        node = x[0].g.node("_lq", x[0].value)
        return [Term(x[0].g, node[0]), Term(x[0].g, node[1])]


@op("_linalg_syevd", aliases=("linalg_syevd",))
class Syevd(Composite):
    """U (*lead, n, n) with eigenvectors as rows, and eigenvalues L (*lead, n), ascending, of symmetric A (*lead, n, n),
    of which the lower triangle is read: A = U.T @ diag(L) @ U.

    The element of a vector with the largest magnitude is positive.  MXNet operator _linalg_syevd.
    """

    arguments = ("A",)
    results = ("output0", "output1")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        a = unify(ins[0], outs[0])
        check_square(a, "Input A's last two dimension must be equal")
        return [a], [a, outs[1] if a is None else unify(a[:-1], outs[1])]

    def compose(self, *x: Term) -> Sequence[Term]:
        node = x[0].g.node("_eigen", x[0].value)
        return [Term(x[0].g, node[0]), Term(x[0].g, node[1])]


@declares_parameters
class Determinants(Op):
    """A number for every square matrix: (*lead, n, n) -> lead, (1,) without lead unless shapes are exact."""

    arguments = ("A",)

    is_exact: bool = False

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (a,) = ins
        check_square(a, "Input A's last two dimension must be equal")
        if a is None:
            return ins, outs
        return ins, [unify(number, o) for number, o in zip(self._shapes(a), outs)]

    def _shapes(self, a: Shape) -> list[Shape]:
        return [a[:-2] or (() if self.is_exact else (1,))] * len(self.result_names())

    def pivots(self, g: GraphBuilder, a: Value) -> tuple[Term, Term]:
        """The diagonal of U, (*lead, n), and the sign of the row order, (*lead, 1)."""
        node = g.node("_lu", a)
        return Term(g, node[0])("diag", axis1=-2, axis2=-1), Term(g, node[2])

    def back(self, g: GraphBuilder, a: Value, factor: Term) -> list[Value | None]:
        """factor * inv(A).T, with a factor for each matrix."""
        data = Term(g, a)
        return values([turned(inverse(data)) * factor.reshape((*data.shape[:-2], 1, 1))])


@op("_linalg_det", aliases=("linalg_det",))
class Det(Determinants):
    """The determinant.  MXNet operator _linalg_det, whose second and third output hold the factors, unseen."""

    results = ("output0",)

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        diagonal, sign = self.pivots(g, x[0])
        shape = self._shapes(g.shape(x[0]))[0]
        return [(diagonal("prod", axis=(-1,), keepdims=True) * sign).reshape(shape).value]  # type: ignore[arg-type]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return self.back(g, x[0], Term(g, flows(dy)) * Term(g, y[0]))


@op("_linalg_slogdet", aliases=("linalg_slogdet",))
class SLogDet(Determinants):
    """The sign of the determinant and the logarithm of its absolute value (-inf for 0).

    MXNet operator _linalg_slogdet, whose further outputs hold the factors, unseen.
    """

    results = ("output0", "output1")

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        diagonal, order = self.pivots(g, x[0])
        shape = self._shapes(g.shape(x[0]))[0]
        sign = diagonal("sign")("prod", axis=(-1,), keepdims=True) * order
        size = diagonal("abs")("log")("sum", axis=(-1,), keepdims=True)
        return [t.reshape(shape).value for t in (sign, size)]  # type: ignore[arg-type]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [None] if dy[1] is None else self.back(g, x[0], Term(g, dy[1]))
