"""A recurrent layer on 8-bit integers: quantized_rnn, an LSTM."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate

from symc.core.errors import ArgumentError
from symc.core.shapes import size_of, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Shapes, op, param
from symc.ops.control.iterate import iterate
from symc.ops.nn.recurrent import GATES, RNN, Weights, lstm
from symc.ops.rules.terms import Term

from .ranges import STEPS, require, saturated


@op("_contrib_quantized_rnn")
class QuantizedRNN(RNN):
    """RNN of mode lstm on data (T, N, I) in uint8; states, parameters and results are floats, as are its c.

    min_data and max_data are not a range but what quantize_asym gives beside its data: scale and shift, (1,) each, of
    data * scale + shift. Every h is rounded to them as well, the results, too. Matrices become int8, 127 being the
    largest weight of a unit's gate in all layers that MXNet looks at. Nothing is dropped. MXNet has it through oneDNN
    alone, whose sums saturate in 16 bits on a CPU without VNNI; with VNNI MXNet 1.9.1 fails.

    Source: MXNet operator _contrib_quantized_rnn.
    """

    arguments = ("data", "parameters", "state", "state_cell", "min_data", "max_data")
    is_differentiated_expanded = False
    n_masks = 0

    quantized: bool = param(True, doc="what quantize_model writes; ignored")

    def argument_names(self) -> tuple[str, ...]:
        return self.arguments

    def result_names(self) -> tuple[str, ...]:
        return ("output", "state_output", "statecell_ouput")[: self.n_visible()]  # as MXNet spells it

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if self.mode != "lstm" or self.projection_size is not None:
            raise ArgumentError(f"only supports LSTM without projection, got mode={self.mode}, {self.projection_size=}")
        found, outs = super().infer_shape(ins[:4], outs)
        return [*found, *(unify(s, (1,)) for s in ins[4:])], outs

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        require("data", ins[0], ("uint8",))
        return ["uint8", *["float32"] * 5], ["float32"] * len(outs)

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        parameters, h, scale, shift = (Term(g, x[k]) for k in (1, 2, 4, 5))
        steps = STEPS["int8"] / self._largest(parameters, g.shape(x[0])[2])

        sequence = partial(_sequence, steps=steps, scale=scale, shift=shift)
        first = saturated(h * scale + shift, "uint8")
        out, *finals = self._compose(g, [x[0], x[1], first.value, x[3]], lambda v: v, sequence)
        floats = [((Term(g, v).cast("float32") - shift) / scale).value for v in (out, *finals[:1])]
        return [*floats, *finals[1:]]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """As in MXNet, zeros."""
        return [None] * len(x)

    def _largest(self, parameters: Term, n_in: int) -> Term:
        """The largest weight of each row of the first layer's matrices, and of others where MXNet looks, (4 * H,).

        It looks at the first of the layers that oneDNN runs as one. Above the first layer it takes matrices for
        (4 * H, H) and believes h2h where it would lie if i2h had as many columns as in the layer below.
        """
        n, d, shapes = self.state_size, self.n_directions, self.part_shapes(n_in)
        begins = list(accumulate(map(size_of, shapes), initial=0))
        rows = GATES["lstm"] * n

        def largest(begin: int, shape: Sequence[int]) -> Term:
            part = parameters("slice_axis", axis=0, begin=begin, end=begin + size_of(shape))
            return part.reshape(shape)("abs")("max", axis=1)

        found = [largest(begins[k], shapes[k]) for k in range(2 * d)]
        n_seen = self.num_layers if self.bidirectional else 1 if n_in == n else min(self.num_layers, 2)
        for layer in range(1, n_seen):
            i2h, h2h = begins[2 * d * layer : 2 * d * layer + 2]
            beside = i2h + rows * (n_in if layer == 1 else n)
            if beside + rows * n <= begins[-1]:  # else MXNet reads what lies behind the parameters
                h2h = beside
            found += [largest(i2h, (rows, n)), largest(h2h, (rows, n))]
        total = found[0]
        for each in found[1:]:
            total = total("_maximum", each)
        return total


def _sequence(
    g: GraphBuilder,
    data: Value,
    weights: Weights,
    first: Sequence[Value],
    is_reversed: bool,
    steps: Term,
    scale: Term,
    shift: Term,
) -> list[Value]:
    """One direction of one layer over all steps: its output (T, N, H) and last h in uint8, its last c in float32.

    steps           int8 steps of a unit of each row's weights, (4 * H,)
    scale, shift    of data and h, (1,)
    """
    i2h, h2h = (saturated(Term(g, w) * steps.reshape((-1, 1)), "int8") for w in (weights.i2h, weights.h2h))
    n_rows = h2h.shape[0]
    per_sum = 1 / (steps * scale)
    # Data and h are `shift` above what they stand for, so sums are as many times the sums of the weights too large.
    above = i2h.cast("float32")("sum", axis=1) + h2h.cast("float32")("sum", axis=1)
    bias = Term(g, weights.i2h_bias) + Term(g, weights.h2h_bias) - above * shift * per_sum

    def step(
        b: GraphBuilder, rows: list[Value], states: list[Value], free: list[Value]
    ) -> tuple[list[Value], list[Value]]:
        taken, h, c, h2h, per_sum, bias, scale, shift = (Term(b, v) for v in (*rows, *states, *free))
        sums = taken + h("_integer_fully_connected", h2h, num_hidden=n_rows, no_bias=True)
        new_h, new_c = lstm(sums.cast("float32") * per_sum + bias, c)
        new_h = saturated(new_h * scale + shift, "uint8")
        return [new_h.value], [new_h.value, new_c.value]

    taken = Term(g, data)("_integer_fully_connected", i2h, num_hidden=n_rows, no_bias=True, flatten=False)
    free = [t.value for t in (h2h, per_sum, bias, scale, shift)]
    (out,), last = iterate(g, step, [taken.value], first, free, is_reversed=is_reversed)
    return [out, *last]
