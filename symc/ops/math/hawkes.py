"""The likelihood of events that excite each other."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.dtypes import is_float
from symc.core.shapes import unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Shapes, check_rank, op, same_dtype
from symc.ops.rules.composite import Composite
from symc.ops.rules.terms import Term


@op("_contrib_hawkesll")
class HawkesLL(Composite):
    """Log-likelihoods (N,) of N sequences of T events with K marks, and what excites those to come (N, K).

    An event of mark k at time t adds alpha[k] * beta[k] * exp(-beta[k] * (t' - t)) to the intensity lda[n, k] of its
    mark at later times t'. lda (N, K), alpha and beta (K,), state (N, K) at time 0, lags (N, T) between events, marks
    (N, T), int32, valid_length (N,), max_time (N,). Only the first result has a gradient, for lda, alpha and beta.
    Source: MXNet operator _contrib_hawkesll; Hawkes, Spectra of some self-exciting point processes (1971).
    """

    arguments = ("lda", "alpha", "beta", "state", "lags", "marks", "valid_length", "max_time")
    results = ("output0", "output1")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        for name, rank, shape in zip(self.arguments, (2, 1, 1, 2, 2, 2, 1, 1), ins):
            check_rank(shape, rank, rank, f"hawkesll: {name}")
        lda, lags = ins[0] or (None, None), ins[4] or (None, None)
        batch = unify(unify(lda[:1], lags[:1]), outs[0])
        assert batch is not None
        per_mark, per_event = unify((*batch, lda[1]), outs[1]), (*batch, lags[1])
        assert per_mark is not None
        marks = per_mark[1:]
        wanted: Shapes = [per_mark, marks, marks, per_mark, per_event, per_event, batch, batch]
        return [unify(a, b) for a, b in zip(ins, wanted)], [batch, per_mark]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((*ins[:5], *ins[6:], *outs))
        return [same_dtype((ins[5], "int32")) if k == 5 else dtype for k in range(8)], [dtype, dtype]

    def compose(self, *x: Term) -> Sequence[Term]:
        """In closed form over pairs of events, instead of event by event."""
        lda, alpha, beta, state, lags, marks, valid_length, max_time = x
        n, t = lags.shape
        k = lda.shape[1]
        is_mark = marks("one_hot", depth=k, dtype=lda.dtype)  # (n, t, k)
        place = Term(lda.g, lda.g("_arange", start=0.0, stop=float(t), dtype=lda.dtype)).reshape((1, t))
        is_valid = place < valid_length.reshape((n, 1))
        is_mark = is_mark * is_valid.reshape((n, t, 1))
        times = lags("_np_cumsum", axis=1)

        def of_event(numbers: Term) -> Term:
            """Of (n or 1, k) what belongs to each event's mark, (n, t)."""
            return (is_mark * numbers.reshape((numbers.shape[0], 1, k))).sum((2,)).reshape((n, t))

        rate, decay, share = of_event(lda), of_event(beta.reshape((1, k))), of_event(alpha.reshape((1, k)))
        gone = times.reshape((n, t, 1)) - times.reshape((n, 1, t))  # from the second event to the first
        is_before = place.reshape((1, 1, t)) < place.reshape((1, t, 1))
        ones = is_mark if is_float(lda.dtype) else is_mark.cast("float32")  # no integers are multiplied as matrices
        same = ones("batch_dot", ones, transpose_b=True).cast(lda.dtype) * is_before
        faded = (-(decay.reshape((n, t, 1)) * gone * same))("exp") * same
        excited = faded.sum((2,)).reshape((n, t)) + of_event(state) * (-(decay * times))("exp")
        intensity = rate + share * decay * excited
        logs = (is_valid.choose(intensity, intensity.zeros() + 1.0))("log").sum((1,)).reshape((n,))
        left = max_time.reshape((n, 1, 1)) - times.reshape((n, t, 1))
        late = (-(beta.reshape((1, 1, k)) * left * is_mark))("exp") * is_mark
        over = late.sum((1,)).reshape((n, k)) + state * (-(max_time.reshape((n, 1)) * beta.reshape((1, k))))("exp")
        counted = is_mark.sum((1,)).reshape((n, k))
        expected = lda * max_time.reshape((n, 1)) + alpha.reshape((1, k)) * (state + counted - over)
        return [logs - expected.sum((1,)).reshape((n,)), over]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None] * len(x)
        return [*super().gradient(g, x, y, [dy[0], None])[:3], *(None for _ in x[3:])]

    def refuses_gradient(self, argument: str, req: str) -> bool:
        return argument in ("lags", "marks", "valid_length", "max_time")
