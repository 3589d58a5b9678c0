"""Recurrent networks: RNN, whose steps are a loop over a cell, and _rnn_param_concat, which joins its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from symc.core.bounded import bounded
from symc.core.errors import DTypeError, ShapeError
from symc.core.lazy import lazy
from symc.core.params import MAX_PORTS
from symc.core.shapes import FullShape, Shape, mx_text, normalize_axis, size_of, unify, unify_extent
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Output, Role, Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, op, param, same_dtype
from symc.ir.reverse import pulled_back
from symc.ops.control.iterate import Iterate
from symc.ops.rules.terms import Term

GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}


class Weights(NamedTuple):
    """What one direction of one layer computes with; G gates of H units, R extents of the state h.

    i2h (G*H, n_in), h2h (G*H, R), h2r (R, H) where the state is projected; the biases (G*H,).
    """

    i2h: Value
    h2h: Value
    h2r: Value | None
    i2h_bias: Value
    h2h_bias: Value


@op("RNN", aliases=("_npx_rnn",))
class RNN(Op):
    """Layers of recurrent cells over sequences: data (T, N, I) -> output (T, N, D * R), D being the directions.

    state (L * D, N, R), the first layer's forward direction first; state_cell (L * D, N, H) of an LSTM; with
    state_outputs the last ones are results.  R is H, the state_size, or the projection_size of an LSTM.  parameters
    holds the matrices i2h, h2h (and h2r), row-major, for each layer and direction, then in the same order the biases of
    i2h and h2h; gates lie in the order i, f, g, o or r, z, n.  Between layers elements are dropped with probability p
    in training.

    Source: MXNet operator RNN.  As on MXNet's CPU, sequence_length and the limits of an LSTM's cell are ignored.  There
    MXNet has no float16 and trains no projection.
    """

    arguments = ("data", "parameters", "state", "state_cell", "sequence_length")
    trained = frozenset({"parameters"})
    parameter_order = ("state_size", "num_layers", "bidirectional", "mode")
    is_differentiated_expanded = True

    state_size: int = param(low=0, high=2**32 - 1, doc="units of a layer")
    num_layers: int = param(low=0, high=2**32 - 1, doc="layers, one on top of the other")
    bidirectional: bool = param(False, doc="whether each layer also goes from the last step to the first")
    mode: str = param(choices=("gru", "lstm", "rnn_relu", "rnn_tanh"), doc="the cell")
    p: float = param(0.0, low=0, high=1, doc="probability of an element being dropped between layers, in training")
    state_outputs: bool = param(False, doc="whether the last states are results")
    projection_size: int | None = param(None, doc="extents that the state of an LSTM is projected to")
    lstm_state_clip_min: float | None = param(None, doc="ignored on a CPU")
    lstm_state_clip_max: float | None = param(None, doc="ignored on a CPU")
    lstm_state_clip_nan: bool = param(False, doc="ignored on a CPU")
    use_sequence_length: bool = param(False, doc="whether there is sequence_length (N,), which a CPU ignores")

    # -- ports ----------------------------------------------------------------------------------------------------

    @property
    def n_states(self) -> int:
        """How many states a cell has."""
        return 2 if self.mode == "lstm" else 1

    @property
    def n_directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def n_masks(self) -> int:
        """How many layers drop elements of what they hand on."""
        return max(self.num_layers - 1, 0) if self.p > 0 else 0

    @lazy
    def is_random(self) -> bool:  # type: ignore[override]
        return self.n_masks > 0

    def argument_names(self) -> tuple[str, ...]:
        lengths = self.arguments[4:] if self.use_sequence_length else ()
        return (*self.arguments[: 2 + self.n_states], *lengths)

    def result_names(self) -> tuple[str, ...]:
        """The masks between layers are hidden: the gradient needs them."""
        states = ("state_output", "statecell_output")[: self.n_states] if self.state_outputs else ()
        return ("output", *states, *(f"mask{k}" for k in range(self.n_masks)))

    def n_visible(self) -> int:
        return 1 + (self.n_states if self.state_outputs else 0)

    # -- shapes ---------------------------------------------------------------------------------------------------

    def part_shapes(self, n_in: int) -> list[FullShape]:
        """The shapes of the matrices and biases that `parameters` holds, in their order."""
        n_rows, n_state = GATES[self.mode] * self.state_size, self.projection_size or self.state_size
        matrices: list[FullShape] = []
        for layer in range(self.num_layers):
            projection = [(n_state, self.state_size)] if self.projection_size else []
            n_columns = n_in if layer == 0 else self.n_directions * n_state
            matrices += [(n_rows, n_columns), (n_rows, n_state), *projection] * self.n_directions
        return matrices + [(n_rows,)] * (2 * self.num_layers * self.n_directions)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, parameters, *rest = ins
        if data is None:
            return ins, outs
        check_rank(data, 3, 3, "data (sequence length, batch size, input size)")
        if self.num_layers < 1:
            raise ShapeError("RNN expects num_layers of at least 1, got 0")
        if self.projection_size is not None and (self.mode != "lstm" or self.projection_size < 1):
            raise ShapeError(
                f"RNN expects projection_size of at least 1, and only with mode lstm, got projection_size="
                f"{self.projection_size} with mode {self.mode}"
            )
        n_cells, n_state = self.num_layers * self.n_directions, self.projection_size or self.state_size

        def states(batch: int | None) -> list[Shape]:
            return [(n_cells, batch, n_state), (n_cells, batch, self.state_size)][: self.n_states]

        def fed(batch: int | None) -> list[Shape]:
            return [*states(batch), *[(batch,)] * self.use_sequence_length]

        width = self.n_directions * n_state
        output = unify(outs[0], (*data[:2], width))
        steps, batch, _ = output  # type: ignore[misc]
        for shape in map(unify, rest, fed(batch)):
            batch = unify_extent(batch, shape[-2:][0])  # type: ignore[index]
        n_in, parameters = self._sizes(data[2], parameters)
        output = (steps, batch, width)
        results = [output, *states(batch) * self.state_outputs, *[output] * self.n_masks]
        return [(steps, batch, n_in), parameters, *map(unify, rest, fed(batch))], list(map(unify, outs, results))

    def _sizes(self, n_in: int | None, parameters: Shape | None) -> tuple[int | None, Shape]:
        """The extent of a step's data and the shape of `parameters`, each of which decides the other."""
        parameters = unify(parameters, (None,))
        assert parameters is not None
        total, per_column = parameters[0], self.n_directions * GATES[self.mode] * self.state_size
        if n_in is None and total is not None and per_column:
            n_in, left = divmod(total - sum(map(size_of, self.part_shapes(0))), per_column)
            if left or n_in < 0:
                raise ShapeError(f"no input size gives {self} parameters of {mx_text(parameters)}")
        if n_in is None:
            return n_in, parameters
        return n_in, unify(parameters, (sum(map(size_of, self.part_shapes(n_in))),))  # type: ignore[return-value]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        """One float dtype for all but the lengths, which may have any."""
        n_typed = 2 + self.n_states
        dtype = same_dtype((*ins[:n_typed], *outs))
        if dtype is not None and not dtype.startswith(("float", "bfloat")):
            raise DTypeError(f"This operation only support floating point types, not {dtype}")
        return [*[dtype] * n_typed, *(d or dtype for d in ins[n_typed:])], [dtype] * len(outs)

    # -- meaning --------------------------------------------------------------------------------------------------

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        return self._compose(g, x, lambda v: g.node("Dropout", v, p=self.p)[1])

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """Computes the outputs again, with the masks that were drawn."""
        n, masks = self.n_visible(), iter(y[self.n_visible() :])
        return pulled_back(g, x, self._compose(g, x, lambda _: next(masks))[:n], dy[:n])

    def _parts(self, g: GraphBuilder, parameters: Value, n_in: int) -> list[Value]:
        """The matrices and biases that `parameters` holds, in their order."""
        shapes = self.part_shapes(n_in)
        begins = tuple(accumulate(map(size_of, shapes[:-1]), initial=0))
        parts = g.node("_split_v2", parameters, indices=begins, axis=0)
        return [Term(g, parts[k]).reshape(shape).value for k, shape in enumerate(shapes)]

    def _weights(self, parts: Sequence[Value]) -> Iterator[Weights]:
        """The weights of each layer and direction in order."""
        n = self.num_layers * self.n_directions
        n_matrices = len(parts) // n - 2
        for k in range(n):
            i2h, h2h, *h2r = parts[k * n_matrices : (k + 1) * n_matrices]
            bias = n * n_matrices + 2 * k
            yield Weights(i2h, h2h, h2r[0] if h2r else None, parts[bias], parts[bias + 1])

    def _compose(
        self,
        g: GraphBuilder,
        x: Sequence[Value],
        mask: Callable[[Value], Value],
        sequence: Callable[..., list[Value]] | None = None,
    ) -> list[Value]:
        """All results.

        mask      gives what the elements of a layer's output are multiplied with
        sequence  runs one direction of one layer as `_sequence` does, which it replaces
        """
        sequence = sequence or self._sequence
        data, n_cells = x[0], self.num_layers * self.n_directions
        weights = self._weights(self._parts(g, x[1], g.shape(data)[2]))
        states = [
            g.node("SliceChannel", s, num_outputs=n_cells, axis=0, squeeze_axis=True) for s in x[2:][: self.n_states]
        ]
        masks: list[Value] = []
        last: list[list[Value]] = []
        for layer in range(self.num_layers):
            if layer and self.n_masks:
                masks.append(mask(data))
                data = g("elemwise_mul", data, masks[-1]) if g.training else data
            outs = []
            for direction in range(self.n_directions):
                k = layer * self.n_directions + direction
                out, *final = sequence(g, data, next(weights), [s[k] for s in states], direction == 1)
                outs.append(out)
                last.append(final)
            data = outs[0] if len(outs) == 1 else g("Concat", *outs, num_args=2, dim=2)
        finals = [g("stack", *each, num_args=len(each)) for each in zip(*last)] if self.state_outputs else []
        return [data, *finals, *masks]

    def _sequence(
        self, g: GraphBuilder, data: Value, weights: Weights, first: Sequence[Value], is_reversed: bool
    ) -> list[Value]:
        """One direction of one layer over all steps: its output (T, N, R), then the last states.

        What each step takes from the data is one matrix product for all of them.
        """
        steps, batch, _ = g.shape(data)
        if 0 in (steps, batch, self.state_size):
            return [g.full((steps, batch, g.shape(first[0])[1]), g.dtype(data), 0), *first]
        is_gru = self.mode == "gru"  # its reset gate scales what comes from the state, that bias included
        bias = weights.i2h_bias if is_gru else g("elemwise_add", weights.i2h_bias, weights.h2h_bias)
        n_rows = GATES[self.mode] * self.state_size
        taken = g("FullyConnected", data, weights.i2h, bias, num_hidden=n_rows, flatten=False)
        fixed = [weights.h2h, *([weights.h2h_bias] if is_gru else []), *([weights.h2r] if weights.h2r else [])]
        shape, dtype = g.shape(taken)[1:], g.dtype(data)
        body = cell(self.mode, shape, self.state_size, self.projection_size, dtype, g.training)
        loop = g.apply(
            Iterate(bodies=(body,), n_data=1, n_states=self.n_states, is_reversed=is_reversed),
            [taken, *first, *fixed],
        )
        return [loop[k] for k in range(loop.n_outputs)]


@bounded(limit=256)
def cell(mode: str, taken: FullShape, n_units: int, n_projected: int | None, dtype: str, training: bool) -> Graph:
    """One step: from what it takes from the data, the states and the weights of h2h to its output and the new states.

    Kept, so that equal loops have equal bodies.
    """
    g, (batch, n_rows), n_state = GraphBuilder(training=training), taken, n_projected or n_units
    inputs: list[Term] = []

    def fed(name: str, shape: FullShape, role: Role = "argument") -> Term:
        inputs.append(Term(g, g.input(name, shape, dtype, role)))
        return inputs[-1]

    x, h = fed("x", taken), fed("h", (batch, n_state))
    c = fed("c", (batch, n_units)) if mode == "lstm" else None
    weight = fed("h2h", (n_rows, n_state), "parameter")
    if mode == "gru":
        bias = fed("h2h_bias", (n_rows,), "parameter")
        new = [gru(x, h, h("FullyConnected", weight, bias, num_hidden=n_rows))]
    else:
        total = h("FullyConnected", weight, num_hidden=n_rows, no_bias=True) + x
        new = [total("Activation", act_type=mode.removeprefix("rnn_"))] if c is None else lstm(total, c)
    if n_projected:
        projection = fed("h2r", (n_projected, n_units), "parameter")
        new[0] = new[0]("FullyConnected", projection, num_hidden=n_projected, no_bias=True)
    heads = [Output("head", name, t.value) for name, t in zip(("output", "h", "c"), (new[0], *new))]
    return finish(g, heads, inputs=[t.value.node for t in inputs])


def lstm(total: Term, c: Term) -> list[Term]:
    """The new h, before it is projected, and c from the sums of the gates.  Hochreiter, Schmidhuber (1997)."""
    i, f, candidate, o = _gates(total, 4)
    c = f("sigmoid") * c + i("sigmoid") * candidate("tanh")
    return [o("sigmoid") * c("tanh"), c]


def gru(x: Term, h: Term, recurrent: Term) -> Term:
    """The new h from what the gates take from the data and from h.  Cho et al. (2014), the form of cuDNN."""
    (xr, xz, xn), (hr, hz, hn) = _gates(x, 3), _gates(recurrent, 3)
    z, candidate = (xz + hz)("sigmoid"), (xn + (xr + hr)("sigmoid") * hn)("tanh")
    return z * (h - candidate) + candidate


def _gates(total: Term, n: int) -> list[Term]:
    """(N, n * H) as n of (N, H)."""
    made = total.g.node("SliceChannel", total.value, num_outputs=n, axis=1)
    return [Term(total.g, made[k]) for k in range(n)]


@op("_rnn_param_concat")
class ParameterConcat(Op):
    """The inputs, parameters, one after the other along an axis, as Concat; the result's extent decides theirs, too.

    Several unknown extents are equal parts of what is left.  MXNet operator _rnn_param_concat.
    """

    variadic = "num_args"
    num_args: int = param(low=1, high=MAX_PORTS, doc="number of inputs")
    dim: int = param(1, doc="the axis along which they are joined")

    @lazy
    def trained(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset(self.argument_names())

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        known = next((s for s in (*ins, *outs) if s is not None), None)
        if known is None:
            return ins, outs
        at = normalize_axis(self.dim, len(known))
        beside: Shape | None = None
        for s in (*ins, *outs):
            check_rank(s, len(known), len(known), "what _rnn_param_concat joins")
            beside = unify(beside, s if s is None else (*s[:at], None, *s[at + 1 :]))
        assert beside is not None
        sizes = [None if s is None else s[at] for s in ins]
        total = None if outs[0] is None else outs[0][at]
        left = sum(n for n in sizes if n is not None)
        if None not in sizes:
            total = unify_extent(total, left, "extent along the joined axis")
        elif total is not None and None not in ins:
            each, rest = divmod(total - left, sizes.count(None))
            if each < 0:
                raise ShapeError(f"Input size already exceeds output size: {left} exceed {total}")
            if rest:
                raise ShapeError(f"{total - left} elements do not part evenly into {sizes.count(None)} inputs")
            sizes = [each if n is None else n for n in sizes]
        shapes = [(*beside[:at], n, *beside[at + 1 :]) for n in (*sizes, total)]
        return list(shapes[:-1]), [shapes[-1]]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        return [g("Concat", *x, num_args=self.num_args, dim=self.dim)]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return pulled_back(g, x, self.expand(g, x, g.training), dy)
