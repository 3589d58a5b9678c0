"""A loop over the rows of arrays: what foreach, while_loop, cond and recurrent layers become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Any

from symc.core.errors import DTypeError, GradientError, ShapeError
from symc.core.lazy import lazy
from symc.core.params import param
from symc.core.shapes import FullShape, Shape, is_known, mx_text, unify
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Output, Role, Value
from symc.ir.infer import dtypes_through, shapes_through
from symc.ir.op import DTypes, Op, Shapes, op, same_dtype
from symc.ops.math.dense import reshaped

from .pullback import Pullback, Round, pullback

TOOK_PLACE = "took_place"  # the head of a body that is 1
Step = Callable[
    [GraphBuilder, list[Value], list[Value], list[Value]], tuple[Sequence[Value], Sequence[Value]]
]  # (builder of the body, rows, states, free values) -> (results of the round, next states)


@op("_iterate")
class Iterate(Op):
    """Runs its body once for each row of its data, and hands states from round to round.

    inputs    `n_data` arrays (T, *row); `n_states` first states; free values, which every round reads as they are
    body      its inputs are the rows of one round, its states, the free values, in this order; its heads the results
              of the round, then the next states
    outputs   the results of all rounds, (T, *result) each; the last states

    Where a `flag` ends it, results of rounds that did not take place are 0.

    The body's inputs for free values have the role "parameter": what depends on them alone is computed once, in front
    of the loop. `iterate` builds one.
    """

    is_internal = True
    n_bodies = 1

    bodies: tuple[Graph, ...] = field(default=())
    n_data: int = param(0, low=0, doc="how many inputs are read row by row")
    n_states: int = param(0, low=0, doc="how many inputs are first states")
    length: int | None = param(None, low=0, doc="the number of rounds where there is no data")
    is_reversed: bool = param(False, doc="the last row comes first; results of a row still lie in its place")
    flag: int | None = param(
        None, low=0, doc="the state of one number that ends the loop, before any round, when it is 0"
    )
    wanted: tuple[int, ...] | None = param(None, doc="positions of the inputs whose gradients may be asked for")

    def having(self, **changes: Any) -> Iterate:
        """The same loop with other bodies or parameters."""
        return replace(self, **changes)

    @property
    def body(self) -> Graph:
        """The graph of one round."""
        return self.bodies[0]

    @lazy
    def round(self) -> Round:
        """The values of the body by what they are for."""
        return Round.of(self.body, self.n_data, self.n_states)

    @property
    def n_results(self) -> int:
        """How many results a round has."""
        return len(self.body.outputs) - self.n_states

    def n_rounds(self, in_shapes: Sequence[FullShape]) -> int:
        """How many rounds there are for inputs of these shapes."""
        if self.n_data:
            return in_shapes[0][0]
        assert self.length is not None
        return self.length

    @lazy
    def is_random(self) -> bool:  # type: ignore[override]
        return any(node.operator.is_random for node in self.body.nodes if not node.is_input)

    @lazy
    def has_loss(self) -> bool:
        return any(node.operator.has_loss for node in self.body.nodes if not node.is_input)

    @lazy
    def trained(self) -> frozenset[str]:  # type: ignore[override]
        """Free values all of whose uses in the body are slots that hold trained values."""
        free = list(self.body.inputs)[self.n_data + self.n_states :]
        users = {node: [(u.operator, k) for u, k in self.body.users.get(node[0], ())] for node in free}
        return frozenset(
            node.name for node in free if users[node] and all(o.input_names()[k] in o.trained for o, k in users[node])
        )

    def argument_names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.body.inputs)

    def result_names(self) -> tuple[str, ...]:
        return tuple(output.name for output in self.body.outputs)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        n_fed, n_results = self.n_data + self.n_states, self.n_results
        stacks = [*ins[: self.n_data], *outs[:n_results]]
        length: Shape | None = None if self.length is None else (self.length,)
        for stack in stacks:
            if stack is not None:
                if not stack:
                    raise ShapeError("a scalar has no rows to loop over")
                length = unify(length, stack[:1])
        rows = [None if s is None else s[1:] for s in stacks]
        states = self._states(ins, outs, unify)
        # Where a state is known before a round, what comes after it is compared, so that the error can tell of both.
        after = [None if is_known(s) else s for s in states]
        fed, made = shapes_through(
            self.body, [*rows[: self.n_data], *states, *ins[n_fed:]], [*rows[self.n_data :], *after]
        )
        pairs = zip(fed[self.n_data : n_fed], made[n_results:])
        states = [self._kept(k, before, after) for k, (before, after) in enumerate(pairs)]

        def stacked(row: Shape | None) -> Shape | None:
            return None if row is None else (*(length or (None,)), *row)

        new_ins = [*map(stacked, fed[: self.n_data]), *states, *fed[n_fed:]]
        return new_ins, [*map(stacked, made[:n_results]), *states]

    def _states(self, ins: Sequence, outs: Sequence, merge: Callable) -> list:
        """What is known about each state, before and after a round."""
        first, last = ins[self.n_data : self.n_data + self.n_states], outs[self.n_results :]
        return [merge(a, b) for a, b in zip(first, last)]

    def _kept(self, k: int, before: Shape | None, after: Shape | None) -> Shape | None:
        try:
            return unify(before, after)
        except ShapeError:
            name = self.argument_names()[self.n_data + k]
            raise ShapeError(
                f"state {name} has shape {mx_text(before)} before a round and {mx_text(after)} after it; "
                "expected the same"
            ) from None

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        n_fed, n_results = self.n_data + self.n_states, self.n_results
        states = self._states(ins, outs, lambda a, b: same_dtype((a, b)))
        unknown = [None] * self.n_states
        fed, made = dtypes_through(
            self.body, [*ins[: self.n_data], *states, *ins[n_fed:]], [*outs[:n_results], *unknown]
        )
        for k, (a, b) in enumerate(zip(fed[self.n_data : n_fed], made[n_results:])):
            if a is not None and b is not None and a != b:
                name = self.argument_names()[self.n_data + k]
                raise DTypeError(f"state {name} is {a} before a round and {b} after it; expected the same")
            states[k] = a or b
        return [*fed[: self.n_data], *states, *fed[n_fed:]], [*made[:n_results], *states]

    # -- the way back -------------------------------------------------------------------------------------------------

    def keeping(self, values: Sequence[Value]) -> Iterate:
        """The same loop with more results: values of the body that it does not give yet."""
        r = self.round
        more = [v for v in dict.fromkeys(map(self._source, values)) if v not in r.rows and v not in r.results]
        results, states = self.body.outputs[: self.n_results], self.body.outputs[self.n_results :]
        kept = [Output("head", f"kept{k}", v) for k, v in enumerate(more, self.n_results)]
        g = GraphBuilder.over(self.body)
        if self.flag is not None and self._took_place is None:
            kept.append(Output("head", TOOK_PLACE, g.full((1,), "float32", 1.0)))
        if not kept:
            return self
        return self.having(bodies=(finish(g, [*results, *kept, *states], inputs=self.body.inputs),))

    @property
    def _took_place(self) -> int | None:
        """Which result is 1 in rounds that took place, and 0 in others."""
        return next((k for k, o in enumerate(self.body.outputs[: self.n_results]) if o.name == TOOK_PLACE), None)

    def _source(self, v: Value) -> Value:
        """What is kept for a value of the body: for a state the next one, as that is stored anyway."""
        r = self.round
        after = r.nexts[r.states.index(v)] if v in r.states else v
        return v if after in r.states or after in r.free else after

    def differentiated(self, given: Sequence[bool]) -> Pullback:
        """The way back where those of the results have gradients; see `pullback`."""
        ins = [node[0] for node in self.body.inputs]
        wanted = ins if self.wanted is None else [ins[k] for k in self.wanted]
        return pullback(self.round, wanted, given, self.flag is not None)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """A loop in the other direction.

        It reads what this one has kept, or else what another one computes again: GradientError where that would draw
        other random numbers.
        """
        back = self.differentiated([d is not None for d in dy[: self.n_results]])
        op = self.keeping(back.needs)
        if op is not self:
            if self.is_random:
                raise GradientError("the gradient of a loop that draws random numbers needs what its rounds drew")
            node = g.apply(op, x)
            y = [node[k] for k in range(node.n_outputs)]
        r, n_fed = op.round, self.n_data + self.n_states
        stacks = {**dict(zip(r.results, y)), **dict(zip(r.rows, x))}
        for k, v in enumerate(r.states):
            if v in back.needs and v not in stacks and r.nexts[k] in stacks:
                stacks[v] = self._before(g, x[self.n_data + k], stacks[r.nexts[k]])
        outside = dict(zip(r.free, x[n_fed:]))
        last = dy[self.n_results :]
        data = [*(d for k in back.results if (d := dy[k]) is not None), *(stacks[v] for v in back.reads)]
        if op._took_place is not None:
            data.append(y[op._took_place])
        states = [last[k] or g.like(x[self.n_data + k], 0.0) for k in back.states]
        states += [g.like(x[n_fed + k], 0.0) for k in back.sums]
        node = g.apply(
            Iterate(
                bodies=(back.body,),
                n_data=len(data),
                n_states=len(states),
                length=None if data else self.n_rounds([g.shape(v) for v in x]),
                is_reversed=not self.is_reversed,
            ),
            [*data, *states, *(outside[v] for v in back.free)],
        )
        found: list[list[Value]] = [[] for _ in x]
        for position, k in back.rows.items():
            found[position].append(node[k])
        ends = [self.n_data + k for k in back.states] + [n_fed + k for k in back.sums]
        for k, position in enumerate(ends, back.n_results):
            found[position].append(node[k])
        for product in back.products:
            free = [r.free.index(v) for v in product.node.inputs[1:]]
            fixed, head = [x[n_fed + k] for k in free], node[product.head]
            for k, d in zip(free, _gradients_at_once(g, product.node.operator, stacks[product.data], fixed, head)):
                if d is not None:
                    found[n_fed + k].append(d)
        return [g.add(terms) if terms else None for terms in found]

    def _before(self, g: GraphBuilder, first: Value, after: Value) -> Value:
        """The states before all rounds, from those after them."""
        n_rounds = g.shape(after)[0]
        parts = [g("expand_dims", first, axis=0)]
        if n_rounds < 2:
            return parts[0] if n_rounds else after
        begin = int(self.is_reversed)
        parts.append(g("slice_axis", after, axis=0, begin=begin, end=n_rounds - 1 + begin))
        return g("Concat", *(reversed(parts) if self.is_reversed else parts), num_args=2, dim=0)

    def checks(self, g: GraphBuilder, x: Sequence[Value]) -> list[tuple[str, Value]]:
        """Those of its body, added up by another loop over what the checks need."""
        inner = GraphBuilder.over(self.body)
        found = [c for node in self.body.nodes if not node.is_input for c in node.operator.checks(inner, node.inputs)]
        if not found:
            return []
        heads = [Output("head", f"check{k}", v) for k, (_, v) in enumerate(found)]
        states = self.body.outputs[self.n_results :]
        body = finish(inner, [*heads, *states], inputs=self.body.inputs)
        counts = g.apply(self.having(bodies=(body,)), x)
        return [(text, g("sum", counts[k], axis=(0,))) for k, (text, _) in enumerate(found)]


def at_once(g: GraphBuilder, layer: Op, stack: Value, free: Sequence[Value]) -> Value:
    """A layer over the rows of all rounds; its results, (T, *result)."""
    made = g.apply(layer, [_merged(g, stack), *free])[0]
    return reshaped(g, made, (*g.shape(stack)[:2], *g.shape(made)[1:]))


def _gradients_at_once(
    g: GraphBuilder, layer: Op, stack: Value, free: Sequence[Value], head: Value
) -> Sequence[Value | None]:
    """The gradients of a layer's free inputs, from those of its results in all rounds."""
    return layer.gradient(g, [_merged(g, stack), *free], (), [_merged(g, head)])[1:]


def _merged(g: GraphBuilder, stack: Value) -> Value:
    """(T, N, ...) as (T * N, ...)."""
    rounds, rows, *rest = g.shape(stack)
    return reshaped(g, stack, (rounds * rows, *rest))


def iterate(
    g: GraphBuilder,
    step: Step,
    data: Sequence[Value] = (),
    states: Sequence[Value] = (),
    free: Sequence[Value] = (),
    length: int | None = None,
    is_reversed: bool = False,
    flag: int | None = None,
) -> tuple[list[Value], list[Value]]:
    """Adds a loop over the rows of `data`, (T, *row) each; gives the stacked results, (T, *result), and last states.

    `step(b, rows, states, free)` builds one round with the builder `b`, out of its own values for the rows, the states
    and the free values, and gives its results and the next states, which must have the shapes and dtypes of `states`:

        def step(b, rows, states, free):                  # a recurrent layer of relus
            h = b("relu", b("elemwise_add", rows[0], b("FullyConnected", states[0], free[0], no_bias=True, ...)))
            return [h], [h]

        (outputs,), (last,) = iterate(g, step, [inputs], [first], [weight])
    """
    inner = GraphBuilder(training=g.training)
    rows = [inner.input(f"data{k}", g.shape(v)[1:], g.dtype(v)) for k, v in enumerate(data)]
    before = [inner.input(f"state{k}", g.shape(v), g.dtype(v)) for k, v in enumerate(states)]
    role: Role = (
        "argument" if length == 1 else "parameter"
    )  # for one round, which may not take place, nothing is hoisted
    fixed = [inner.input(f"free{k}", g.shape(v), g.dtype(v), role) for k, v in enumerate(free)]
    results, after = step(inner, rows, before, fixed)
    heads = [Output("head", f"output{k}", v) for k, v in enumerate(results)]
    heads += [Output("head", f"state{k}", v) for k, v in enumerate(after)]
    body = finish(inner, heads, inputs=[v.node for v in (*rows, *before, *fixed)])
    made = Iterate(
        bodies=(body,), n_data=len(rows), n_states=len(before), length=length, is_reversed=is_reversed, flag=flag
    )
    node = g.apply(made, [*data, *states, *free])
    return [node[k] for k in range(len(results))], [node[len(results) + k] for k in range(len(after))]
