"""Fourier transforms and random projections, as products with matrices made of indices."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

from symc.core.errors import ShapeError
from symc.core.shapes import is_known, mx_text, size_of, unify
from symc.ir.op import DTypes, Shapes, check_rank, declares_parameters, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, cast, index_value, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.composite import Composite
from symc.ops.rules.terms import Term
from symc.ops.shape.creation import Creation


@op("_waves")
class Waves(Creation):
    """(n, 2 n): row t has the cosine and, behind it, minus the sine of 2 pi t k / n for every frequency k."""

    is_internal = True

    n: int = param(doc="how many samples")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return [], [(self.n, 2 * self.n)]

    def lower(self, t: Lowering) -> None:
        dtype = t.out_dtype()

        def element(row: IndexLike, column: IndexLike) -> Expr:
            time, place = index_value(row), index_value(column)
            frequency = prim("div", place, 2)
            turns = time * frequency - prim("div", time * frequency, self.n) * self.n
            angle = cast(turns, "float64") * (2 * pi / max(self.n, 1))
            is_real = prim("eq", place - frequency * 2, 0)
            return cast(select(is_real, prim("cos", angle), -prim("sin", angle)), dtype)

        t.map(element)


@declares_parameters
class Transform(Composite):
    """A Fourier transform along the last axis; complex numbers are pairs of neighbours."""

    compute_size: int = param(128, low=1, doc="ignored: how many are transformed at once")

    def rows(self, x: Term, n: int) -> tuple[Term, Term]:
        """The data as a matrix, and the waves of n samples."""
        waves = Term(x.g, x.g("_waves", n=n, dtype=x.dtype))
        return x.reshape((size_of(x.shape[:-1]), x.shape[-1])), waves


@op("_contrib_fft")
class Fft(Transform):
    """(..., d) -> (..., 2 d): the sums of data[t] * exp(-2 pi i t k / d), real and imaginary parts by turns.

    MXNet operator _contrib_fft, which has it on GPUs alone.
    """

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if not is_known(data):
            return ins, outs
        check_rank(data, 1, None, "fft: data")
        return ins, [unify(outs[0], (*data[:-1], 2 * data[-1]))]  # type: ignore[index,operator]

    def compose(self, *x: Term) -> Sequence[Term]:
        matrix, waves = self.rows(x[0], x[0].shape[-1])
        return [matrix("dot", waves).reshape((*x[0].shape[:-1], 2 * x[0].shape[-1]))]


@op("_contrib_ifft")
class Ifft(Transform):
    """(..., 2 d) -> (..., d): the real part of the sums of data[k] * exp(2 pi i t k / d): d times the inverse of `fft`.

    MXNet operator _contrib_ifft, which has it on GPUs alone.
    """

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if not is_known(data):
            return ins, outs
        check_rank(data, 1, None, "ifft: data")
        if data[-1] % 2:  # type: ignore[index,operator]
            raise ShapeError(f"ifft: the last axis must hold pairs of numbers, got {mx_text(data)}")
        return ins, [unify(outs[0], (*data[:-1], data[-1] // 2))]  # type: ignore[index,operator]

    def compose(self, *x: Term) -> Sequence[Term]:
        matrix, waves = self.rows(x[0], x[0].shape[-1] // 2)
        return [matrix("dot", waves, transpose_b=True).reshape((*x[0].shape[:-1], x[0].shape[-1] // 2))]


@op("_contrib_count_sketch")
class CountSketch(Composite):
    """out[..., h[i]] += s[i] * data[..., i]: a projection to `out_dim` numbers (Charikar and others, 2002).

    data (..., d), h and s (1, d).  MXNet operator _contrib_count_sketch, which has it on GPUs alone.
    """

    arguments = ("data", "h", "s")

    out_dim: int = param(low=1, doc="extent of the last axis of the output")
    processing_batch_size: int = param(32, doc="ignored")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = ins[0]
        if data is None:
            return ins, outs
        check_rank(data, 1, None, "count_sketch: data")
        signs = (1, data[-1])
        return [data, unify(ins[1], signs), unify(ins[2], signs)], [unify(outs[0], (*data[:-1], self.out_dim))]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((*ins, *outs))
        return [dtype] * 3, [dtype]

    def compose(self, *x: Term) -> Sequence[Term]:
        data, places, signs = x
        d = data.shape[-1]
        matrix = (data * signs.reshape((*(1,) * (len(data.shape) - 1), d))).reshape((size_of(data.shape[:-1]), d))
        goes_to = places.reshape((d,))("one_hot", depth=self.out_dim, dtype=data.dtype)
        return [matrix("dot", goes_to).reshape((*data.shape[:-1], self.out_dim))]
