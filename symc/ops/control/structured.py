"""MXNet's control flow: _foreach, _while_loop and _cond, whose subgraphs are the bodies of a native loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

from symc.core.errors import ArgumentError, ShapeError
from symc.core.lazy import lazy
from symc.core.params import MAX_PORTS, param
from symc.core.shapes import unify
from symc.ir.bodies import rearranged
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Graph, Output, Value
from symc.ir.infer import dtypes_through, infer_dtype, infer_shape, shapes_through
from symc.ir.op import DTypes, Op, Shapes, op, same_dtype
from symc.ir.reverse import pulled_back
from symc.ops.math.dense import reshaped

from .iterate import Iterate, iterate

Positions = tuple[int, ...]
Made = tuple[Sequence[Value], Sequence[Value]]


class _Structured(Op):
    """What the three share: the inputs of all bodies in one list, in which each body's inputs have positions."""

    variadic = "num_args"
    is_differentiated_expanded = True

    if TYPE_CHECKING:
        num_args: int
        num_outputs: int

    @classmethod
    def counted(cls, n_inputs: int) -> int:
        return n_inputs + cls.n_bodies

    def argument_names(self) -> tuple[str, ...]:
        return tuple(f"data{k}" for k in range(self.num_args - self.n_bodies))

    def result_names(self) -> tuple[str, ...]:
        return ("output",) if self.num_outputs == 1 else tuple(f"output{k}" for k in range(self.num_outputs))

    def body(self, k: int) -> Graph:
        """A body; raises ArgumentError without it: a call makes none."""
        if not self.bodies:
            raise ArgumentError(f"{self.name} has no subgraphs; mx.sym.contrib makes such nodes, and files hold them")
        return self.bodies[k]

    @lazy
    def is_random(self) -> bool:  # type: ignore[override]
        return any(n.operator.is_random for body in self.bodies for n in body.nodes if not n.is_input)

    @lazy
    def has_loss(self) -> bool:
        return any(n.operator.has_loss for body in self.bodies for n in body.nodes if not n.is_input)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return pulled_back(g, x, self.expand(g, x, g.training), dy)  # type: ignore[arg-type]


@op("_foreach")
class Foreach(_Structured):
    """The body once for each row of data, with states handed from round to round.

    Inputs: data (T, *row), first states, all else that the body reads. Outputs: `num_out_data` results of all rounds,
    (T, *result), the last states. States of operators in the body are arguments, as in MXNet, and stay as they are.
    MXNet operator _foreach, made by contrib.foreach.
    """

    n_bodies = 1
    bodies: tuple[Graph, ...] = field(default=())

    num_args: int = param(low=1, high=MAX_PORTS, doc="number of inputs, the body counted")
    num_outputs: int = param(low=0, high=MAX_PORTS, doc="number of outputs")
    num_out_data: int = param(low=0, high=MAX_PORTS, doc="how many outputs are results of all rounds")
    in_state_locs: Positions = param((), doc="positions of the states among the body's inputs")
    in_data_locs: Positions = param((), doc="positions of the rows among the body's inputs")
    remain_locs: Positions = param((), doc="positions of all else among the body's inputs")

    @lazy
    def loop(self) -> Iterate:
        """The loop it is."""
        locs = (*self.in_data_locs, *self.in_state_locs, *self.remain_locs)
        n_fed = len(locs) - len(self.remain_locs)
        body = rearranged(self.body(0), locs, n_fed)
        n_states = len(self.in_state_locs)
        if len(body.outputs) != self.num_out_data + n_states or self.num_outputs != len(body.outputs):
            raise ArgumentError(
                f"{self}: the body has {len(body.outputs)} outputs, expected {self.num_out_data} and {n_states} states"
            )
        return Iterate(bodies=(body,), n_data=len(self.in_data_locs), n_states=n_states)

    @lazy
    def trained(self) -> frozenset[str]:  # type: ignore[override]
        found = self.loop.trained
        return frozenset(
            name for name, inner in zip(self.argument_names(), self.loop.argument_names()) if inner in found
        )

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        """Rows of (T,) have the shape (1,), as elements of such arrays in MXNet."""
        flat = {k for k, s in enumerate(ins[: self.loop.n_data]) if s is not None and len(s) == 1}
        fed, made = self.loop.infer_shape([(*s, 1) if k in flat else s for k, s in enumerate(ins)], outs)  # type: ignore[misc]
        return [s[:1] if k in flat and s is not None else s for k, s in enumerate(fed)], made

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return self.loop.infer_dtype(ins, outs)

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        loop = self.loop
        x = [
            reshaped(g, v, (*g.shape(v), 1)) if k < loop.n_data and len(g.shape(v)) == 1 else v for k, v in enumerate(x)
        ]
        rows = [g.shape(v)[1:] for v in x[: loop.n_data]]
        body = _inferred(loop.body, [*rows, *map(g.shape, x[loop.n_data :])], list(map(g.dtype, x)))
        node = g.apply(loop.having(bodies=(body,)), x)
        return [node[k] for k in range(node.n_outputs)]


def _inferred(body: Graph, shapes: Sequence, dtypes: Sequence) -> Graph:
    """The body with all facts, from those of its inputs."""
    ins = [node[0] for node in body.inputs]
    known = {**body.facts.shape, **dict(zip(ins, shapes))}
    body = infer_dtype(infer_shape(body.with_facts(shape=known, dtype={**body.facts.dtype, **dict(zip(ins, dtypes))})))
    return replace(body, outputs=tuple(Output(o.kind, o.name, _uncopied(o.value)) for o in body.outputs))


def _uncopied(v: Value) -> Value:
    """What an identity shows: MXNet puts one where a value is an output twice, or an input."""
    while v.node.op is not None and v.node.op.name == "_copy":
        v = v.node.inputs[0]
    return v


@op("_while_loop")
class WhileLoop(_Structured):
    """`func` for as long as `cond` of the loop variables is not 0, at most `max_iterations` times.

    Inputs: what either body reads, the loop variables among it. Outputs: `num_out_data` results of all rounds,
    (max_iterations, *result), 0 in rounds that did not take place; the last loop variables. MXNet operator
    _while_loop, made by contrib.while_loop.
    """

    n_bodies = 2
    bodies: tuple[Graph, ...] = field(default=())

    num_args: int = param(low=2, high=MAX_PORTS, doc="number of inputs, both bodies counted")
    num_outputs: int = param(low=1, high=MAX_PORTS, doc="number of outputs")
    num_out_data: int = param(low=0, high=MAX_PORTS, doc="how many outputs are results of all rounds")
    max_iterations: int = param(low=0, doc="rounds at most")
    cond_input_locs: Positions = param((), doc="which inputs cond reads")
    func_input_locs: Positions = param((), doc="which inputs func reads")
    func_var_locs: Positions = param((), doc="positions of the loop variables among func's inputs")

    @property
    def variables(self) -> list[int]:
        """Which inputs are the first loop variables."""
        return [self.func_input_locs[k] for k in self.func_var_locs]

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        results, lasts = outs[: self.num_out_data], outs[self.num_out_data :]
        ins = list(ins)
        for k, last in zip(self.variables, lasts):
            ins[k] = unify(ins[k], last)
        rows = [None if s is None else unify(s, (self.max_iterations, *s[1:]))[1:] for s in results]  # type: ignore[index]
        ins, _ = _through(self.body(0), self.cond_input_locs, ins, [None], shapes_through, unify)
        ins, made = _through(
            self.body(1), self.func_input_locs, ins, [*rows, *[None] * len(lasts)], shapes_through, unify
        )
        states = []
        for n, (k, after) in enumerate(zip(self.variables, made[self.num_out_data :])):
            try:
                ins[k] = unify(ins[k], after)
            except ShapeError as e:
                raise ShapeError(f"loop variable {n} changes its shape from round to round: {e}") from None
            states.append(ins[k])
        stacks = [None if s is None else (self.max_iterations, *s) for s in made[: self.num_out_data]]
        return ins, [*stacks, *states]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        results, lasts = outs[: self.num_out_data], outs[self.num_out_data :]
        ins = list(ins)
        for k, last in zip(self.variables, lasts):
            ins[k] = same_dtype((ins[k], last))
        ins, _ = _through(self.body(0), self.cond_input_locs, ins, [None], dtypes_through, _same)
        heads = [*results, *(ins[k] for k in self.variables)]
        ins, made = _through(self.body(1), self.func_input_locs, ins, heads, dtypes_through, _same)
        for k, after in zip(self.variables, made[self.num_out_data :]):
            ins[k] = same_dtype((ins[k], after))
        return ins, [*made[: self.num_out_data], *(ins[k] for k in self.variables)]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        cond, func = (
            self._placed(g, k, locs, x) for k, locs in enumerate((self.cond_input_locs, self.func_input_locs))
        )
        first = [x[k] for k in self.variables]
        free = [k for k in range(len(x)) if k not in self.variables]

        def step(b: GraphBuilder, rows: list[Value], states: list[Value], fixed: list[Value]) -> Made:
            present = {**dict(zip(free, fixed)), **dict(zip(self.variables, states))}
            heads = b.inline(func, [present[k] for k in self.func_input_locs])
            results, after = heads[: self.num_out_data], heads[self.num_out_data :]
            next_ones = {**present, **dict(zip(self.variables, after))}
            (goes_on,) = b.inline(cond, [next_ones[k] for k in self.cond_input_locs])
            return results, [*after, goes_on]

        (flag,) = g.inline(cond, [x[k] for k in self.cond_input_locs])
        results, (*last, _) = iterate(
            g, step, (), [*first, flag], [x[k] for k in free], self.max_iterations, flag=len(first)
        )
        return [*results, *last]

    def _placed(self, g: GraphBuilder, k: int, locs: Positions, x: Sequence[Value]) -> Graph:
        return _inferred(self.body(k), [g.shape(x[n]) for n in locs], [g.dtype(x[n]) for n in locs])


@op("_cond")
class Conditional(_Structured):
    """The outputs of `then` where the output of `cond` is not 0, else those of `else`.

    Inputs: what the three bodies read. MXNet operator _cond, made by contrib.cond.
    """

    n_bodies = 3
    bodies: tuple[Graph, ...] = field(default=())

    num_args: int = param(low=3, high=MAX_PORTS, doc="number of inputs, the three bodies counted")
    num_outputs: int = param(low=1, high=MAX_PORTS, doc="number of outputs")
    cond_input_locs: Positions = param((), doc="which inputs cond reads")
    then_input_locs: Positions = param((), doc="which inputs then reads")
    else_input_locs: Positions = param((), doc="which inputs else reads")

    @property
    def locs(self) -> tuple[Positions, ...]:
        """Which inputs each body reads."""
        return self.cond_input_locs, self.then_input_locs, self.else_input_locs

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return self._infer(ins, outs, shapes_through, unify)

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return self._infer(ins, outs, dtypes_through, _same)

    def _infer(self, ins: Sequence, outs: Sequence, through: Callable, merge: Callable) -> tuple[list, list]:
        ins, _ = _through(self.body(0), self.locs[0], ins, [None], through, merge)
        for k in (1, 2):
            ins, outs = _through(self.body(k), self.locs[k], ins, outs, through, merge)
        return list(ins), list(outs)

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        """Each branch is a loop of one round or none, over outputs that begin as zeros."""
        cond, *branches = (
            _inferred(self.body(k), [g.shape(x[n]) for n in locs], [g.dtype(x[n]) for n in locs])
            for k, locs in enumerate(self.locs)
        )
        (flag,) = g.inline(cond, [x[k] for k in self.locs[0]])
        outs = [g.full(branches[0].shape(o.value), branches[0].dtype(o.value), 0) for o in branches[0].outputs]
        for branch, locs, goes in zip(branches, self.locs[1:], (flag, g("_equal_scalar", flag, scalar=0.0))):

            def step(
                b: GraphBuilder, rows: list[Value], states: list[Value], fixed: list[Value], branch: Graph = branch
            ) -> Made:
                return [], [*b.inline(branch, fixed), states[-1]]

            _, (*outs, _) = iterate(g, step, (), [*outs, goes], [x[k] for k in locs], 1, flag=len(outs))
        return outs


def _through(
    body: Graph, locs: Positions, ins: Sequence, outs: Sequence, through: Callable, merge: Callable
) -> tuple[list, list]:
    """What is known about a node's inputs and a body's heads, when the body reads the inputs at some positions."""
    fed, made = through(body, [ins[k] for k in locs], outs)
    known = list(ins)
    for k, fact in zip(locs, fed):
        known[k] = merge(known[k], fact)
    return known, list(made)


def _same(a: str | None, b: str | None) -> str | None:
    return same_dtype((a, b))
