"""Dropout, integers, indices and orders drawn anew at every run; numbers of a distribution are in `distributions`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from symc.core.errors import ParameterError, ShapeError
from symc.core.shapes import from_mxnet, from_numpy_style, normalize_axis, size_of, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, cast, const, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.accumulation import Accumulating
from symc.ops.rules.numbers import number, single
from symc.ops.rules.terms import Term

from .distributions import Source


@op("Dropout", aliases=("_npx_dropout",))
class Dropout(Op):
    """data * mask, where every element of the mask is 0 with probability p and else 1 / (1 - p); outside training data
    itself, unless mode is always.

    The mask is a hidden output of data's shape, with extent 1 along `axes`, over which it is shared.
    Source: MXNet operator Dropout.
    """

    results = ("output", "mask")
    is_random = True

    p: float = param(0.5, low=0, high=1, doc="probability of an element being dropped")
    mode: str = param("training", choices=("always", "training"), doc="when elements are dropped")
    axes: tuple[int, ...] = param((), doc="axes along which the mask is shared")
    cudnn_off: bool | None = param(False, doc="ignored")

    def n_visible(self) -> int:
        return 1

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = unify(ins[0], outs[0])
        if data is None:
            return ins, outs
        shared = [normalize_axis(a, len(data)) for a in self.axes]
        return [data], [data, tuple(1 if a in shared else n for a, n in enumerate(data))]

    def drops(self, training: bool) -> bool:
        """Whether elements are dropped at all."""
        return self.p > 0 and (training or self.mode == "always")

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        if self.drops(training):
            return None
        _, (_, mask) = self.infer_shape([g.shape(x[0])], [None, None])
        return [x[0], g.full(mask, g.dtype(x[0]), 1.0)]

    def lower(self, t: Lowering) -> None:
        x, mask_shape = t.ins[0], t.out_shapes[1]
        kept = 1 - single(self.p)

        def mask(*i: IndexLike) -> Expr:
            at = [0 if n == 1 else k for n, k in zip(mask_shape, i)]
            weight = number(1 / kept if kept else math.nan, x.dtype)
            is_kept = t.uniform(*at) < number(kept, "float32")
            return select(is_kept, weight, 0.0 if kept else weight)  # p = 1: MXNet multiplies 0 by 1 / 0

        t.map(lambda *i: x(*i) * mask(*i))
        t.map(mask, output=1)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None or not self.drops(g.training):
            return [dy[0]]
        return [(Term(g, dy[0]) * Term(g, y[1])).value]


@op("_random_randint", aliases=("random_randint", "_npi_random_randint"))
class RandomIntegers(Op):
    """(*shape): integers in [low, high), of 63 random bits each, modulo high - low.  MXNet operator _random_randint."""

    arguments = ()
    is_random = True

    low: int = param(doc="smallest integer")
    high: int = param(doc="end of the integers, not included")
    shape: tuple[int, ...] | None = param(None, doc="shape of the result; None leaves it to the users")
    ctx: str = param("", doc="context; ignored: the executor decides")
    dtype: str | None = param(None, choices=("int32", "int64"), dtype=True, doc="dtype of the result; None is int32")
    is_exact: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.high - self.low < 2**63:
            seen = f"low={self.low}, high={self.high}"
            raise ParameterError(f"{self.name}: expected low < high < low + 2**63, got {seen}")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        read = from_numpy_style if self.is_exact else from_mxnet
        return [], [unify(read(self.shape), outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return [], [self.dtype or "int32"]

    def lower(self, t: Lowering) -> None:
        span, low = number(self.high - self.low, "int64"), number(self.low, "int64")

        def element(*i: IndexLike) -> Expr:
            first, second, third = (cast(t.uniform(*i, draw=k) * 2.0**24, "int64") for k in range(3))
            bits = first * 2**39 + second * 2**15 + prim("floordiv", third, const(2**9, "int64"))
            return cast(low + prim("mod", bits, span), t.out_dtype())

        t.map(element)


@op("_sample_multinomial", aliases=("sample_multinomial",))
class SampleMultinomial(Op):
    """data (*p, k): each line's probabilities -> (*p, *shape) indices in [0, k), and the logarithms of their
    probabilities if get_prob, whose gradient reaches the data.

    Lines need not sum to 1.  Source: MXNet operator _sample_multinomial.
    """

    is_random = True
    needs_elements = ("data",)

    shape: tuple[int, ...] = param((), doc="shape of the block that each line draws")
    get_prob: bool = param(False, doc="also give the logarithm of each drawn probability")
    dtype: str = param(
        "int32", choices=("float16", "float32", "float64", "int32", "uint8"), dtype=True, doc="dtype of the indices"
    )

    def result_names(self) -> tuple[str, ...]:
        return ("output0", "output1") if self.get_prob else ("output",)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        check_rank(data, 1, None, f"{self.name}: data")
        if data is None:
            return ins, outs
        drawn = (*data[:-1], *self.shape) or (1,)
        return ins, [unify(drawn, o) for o in outs]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], *outs[1:]))
        return [dtype], [self.dtype, dtype][: len(outs)]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data = Term(g, x[0])
        *lead, k = data.shape
        n_lines, n_draws = size_of(tuple(lead)), size_of(self.shape)
        lines = data.reshape((n_lines, k))
        sums = lines.cast("float32" if data.dtype == "float16" else data.dtype)("cumsum", axis=1)
        noise = Term(g, g("_noise", shape=(n_lines, n_draws), dtype=sums.dtype, kind="uniform"))
        indices = sums("_first_above", noise)
        shape = (*lead, *self.shape) or (1,)
        found = [indices.reshape(shape).cast(self.dtype)]
        if self.get_prob:
            found.append(lines("_gather_lines", indices)("log").reshape(shape))
        return [t.value for t in found]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if len(dy) < 2 or dy[1] is None:
            return [None]
        *lead, k = g.shape(x[0])
        lines = (size_of(tuple(lead)), size_of(self.shape))
        indices, log, head = (Term(g, v).reshape(lines) for v in (y[0], y[1], dy[1]))
        slope = head * (-log)("exp")  # 1 / probability
        return [slope("_scatter_lines", indices.cast("int32"), extent=k).reshape(g.shape(x[0])).value]


@op("_first_above")
class FirstAbove(Op):
    """sums (n, k) rising along lines, noise (n, m) in [0, 1) -> int32 (n, m): the first k whose sum is larger than
    that fraction of the last sum."""

    arguments = ("sums", "noise")
    is_internal = True

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(ins[1], outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, ["int32"]

    def lower(self, t: Lowering) -> None:
        sums, noise = t.ins
        k = sums.shape[1]

        def element(n: IndexLike, m: IndexLike) -> Expr:
            limit = noise(n, m) * sums(n, k - 1)
            n_below = t.reduce("sum", (k,), lambda j: cast(sums(n, j) <= limit, "int32"))
            return prim("minimum", n_below, const(k - 1, "int32"))

        t.map(element)


@op("_gather_lines")
class GatherLines(Op):
    """data (n, k), indices (n, m) -> (n, m): the elements of each line at its indices, which are in range."""

    arguments = ("data", "indices")
    is_internal = True

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(ins[1], outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [same_dtype((ins[0], outs[0]))]

    def lower(self, t: Lowering) -> None:
        data, indices = t.ins
        t.map(lambda n, m: data(n, cast(indices(n, m), "int64")))


@op("_scatter_lines")
class ScatterLines(Accumulating):
    """data (n, m), indices (n, m) -> (n, extent): zeros to which each element is added at its index."""

    arguments = ("data", "indices")
    is_internal = True

    extent: int = param(doc="how long the lines of the result are")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [None if ins[0] is None else (ins[0][0], self.extent)]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [same_dtype((ins[0], outs[0]))]

    def lower(self, t: Lowering) -> None:
        data, indices = t.ins
        t.region(t.out_shapes[0], lambda *i: i, lambda *i: const(0, data.dtype))
        t.region(data.shape, lambda n, m: (n, cast(indices(n, m), "int64")), data, mode="add")


@op("_shuffle", aliases=("shuffle", "_npi_shuffle"))
class Shuffle(Op):
    """data with its first axis in random order; no gradient.  Source: MXNet operator _shuffle."""

    is_random = True
    is_differentiable = False

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data = Term(g, x[0])
        noise = Term(g, g("_noise", shape=data.shape[:1], dtype="float64", kind="uniform"))
        return [data("take", noise("argsort", axis=0, dtype="int32"), axis=0).value]


@op("_sample_unique_zipfian")
class SampleUniqueZipfian(Op):
    """samples (batch, n): distinct integers of [0, range_max) in each line, int64, and trials (batch,): how many a
    line would have drawn, one after the other, until n of them differed.

    One number is c where range_max ** uniform rounds to c + 1.  MXNet draws until it has them; here every integer turns
    up after exponential times with its probability as the rate, so memory and time are known: the first n to turn up
    have the order of draws, and until the last of them did, the others turned up again Poisson distributed often.

    Source: MXNet operator _sample_unique_zipfian; Efraimidis, Spirakis (2006).
    """

    arguments = ()
    results = ("output0", "output1")
    is_random = True

    range_max: int = param(low=1, high=2**31 - 1, doc="end of the integers, not included")
    shape: tuple[int, ...] | None = param(None, doc="(batch, n); None leaves it to the users")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        samples = unify(from_mxnet(self.shape or ()), outs[0])
        check_rank(samples, 2, 2, "shape (batch size, number of samples)")
        if samples is not None and samples[1] is not None and samples[1] > self.range_max:
            raise ShapeError(f"{self.name}: expected at most range_max={self.range_max} samples, got {samples[1]}")
        return [], [samples, unify(outs[1], None if samples is None else samples[:1])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return [], ["int64", "int64"]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        assert g.serving is not None
        shape, span = g.shape(g.serving[0]), self.range_max
        batch, n = shape
        if 0 in shape:
            return [g.full(shape, "int64", 0), g.full((batch,), "int64", 0)]
        rounded = Term(g, g("_arange", start=0.5, stop=span, dtype="float64"))  # c + 1 from c + 0.5 on, below c + 1.5
        low, high = (t("clip", a_min=1, a_max=span)("log") for t in (rounded, rounded + 1))
        rates = (high - low) / math.log(span) if span > 1 else low + 1
        waiting = Term(g, g("_noise", shape=(batch, span), dtype="float64", kind="exponential")) / rates
        found = g.node("topk", waiting.value, axis=1, k=n, ret_typ="both", is_ascend=True, dtype="int64")
        times, samples = (Term(g, found[k]) for k in range(2))
        last = times("slice_axis", axis=1, begin=n - 1, end=n)
        again = ((last - times) * rates("take", samples)).sum((1,)).reshape((batch,))
        repeats = Source(g, (batch,), "float64").variate("poisson", again)
        return [samples.value, (repeats.cast("int64") + n).value]
