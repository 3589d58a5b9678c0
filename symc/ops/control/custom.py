"""Operators that users write in Python (`mx.operator`): each node of one is a call-back of its program."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakValueDictionary

import numpy as np

from symc.core.errors import ParameterError
from symc.core.nearest import nearest
from symc.core.params import param
from symc.core.shapes import Shape
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, op
from symc.loopir.callout import Callee, CallOut, Seen
from symc.loopir.tensor import Lowering

Arrays = Sequence[Any]  # NDArrays


class Running(Protocol):
    """An operator at work, with whatever it keeps from forward to backward. What it raises names the node.

    wanted   of each array that is to be filled, whether anybody reads it
    """

    def forward(
        self, node: str, is_training: bool, wanted: Sequence[bool], ins: Arrays, outs: Arrays, states: Arrays
    ) -> None:
        """Fills `outs` from `ins`; both directions may write to `states`."""

    def backward(
        self, node: str, is_training: bool, wanted: Sequence[bool], seen: Arrays, in_grads: Arrays, states: Arrays
    ) -> None:
        """Fills `in_grads`. `seen` are gradients of results, arguments, results; those not depended on are empty."""


class Definition(Protocol):
    """What a user's class says about its operator, for one set of attributes.

    dependencies   positions, among gradients of results, arguments and results, of what its backward reads
    """

    arguments: tuple[str, ...]
    results: tuple[str, ...]
    states: tuple[str, ...]
    dependencies: tuple[int, ...]

    def infer_shape(self, ins: Sequence[Shape | None]) -> tuple[Shapes, Shapes]:
        """Shapes of arguments and states, and of results, as far as those of the arguments decide them."""

    def infer_dtype(self, ins: Sequence[str | None]) -> tuple[DTypes, DTypes]:
        """The same for dtypes."""

    def running(self, ins: Arrays) -> Running:
        """A new operator for arguments and states of these shapes and dtypes, where they lie."""

    def array(self, seen: Seen) -> Any:
        """An operand of a program's as an NDArray."""


# What `mx.operator.register` has registered: makes the definition for a node's attributes.
definitions: dict[str, Callable[[Mapping[str, str]], Definition]] = {}
# The operators at work by number. A number is all that a program can keep for its way back.
_running: WeakValueDictionary[int, Running] = WeakValueDictionary()
_numbers = itertools.count(1)
_NOTHING = Seen(np.empty(0, np.float32))  # what backward does not depend on


@op("Custom")
class Custom(Op):
    """An operator written in Python: `op_type` is the name it was registered under by `mx.operator.register`, all other
    parameters are given to its CustomOpProp, as text.

    Its inputs are what the CustomOpProp lists. A hidden result holds the number of the operator that ran, so that
    backward finds it: state lives in the user's object.  MXNet operator Custom.
    """

    arguments = ()
    calls_out = True

    op_type: str = param(doc="the name under which the operator was registered")
    attributes: tuple[tuple[str, str], ...] = field(default=())
    defined: Definition = field(repr=False)

    @classmethod
    def create(cls, given: Mapping[str, Any]) -> Op:
        """Raises ParameterError where no operator is registered under that name."""
        attributes = {
            key: str(value) for key, value in given.items() if key != "__subgraph_name__"
        }  # a loop's own mark
        op_type = attributes.pop("op_type", "")
        if not op_type:
            raise ParameterError("Custom: Required argument `op_type` is missing.")
        if op_type not in definitions:
            raise ParameterError(
                f"Cannot find custom operator {op_type}{nearest(op_type, definitions)}; its class is registered by "
                "@mx.operator.register(...), when the module that has it is imported"
            )
        return cls(op_type=op_type, attributes=tuple(attributes.items()), defined=definitions[op_type](attributes))

    @classmethod
    def is_there(cls, given: Mapping[str, str]) -> bool:
        return given.get("op_type", "") in {"", *definitions}

    @property
    def aux(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.defined.states

    @property
    def is_loss(self) -> bool:  # type: ignore[override]
        """Whether backward depends on no head gradient."""
        return not any(k < len(self.defined.results) for k in self.defined.dependencies)

    def argument_names(self) -> tuple[str, ...]:
        return self.defined.arguments

    def result_names(self) -> tuple[str, ...]:
        return (*self.defined.results, "operator")

    def n_visible(self) -> int:
        return len(self.defined.results)

    def n_listed(self) -> int:
        return len(self.defined.results)

    def given_params(self) -> dict[str, Any]:
        return {"op_type": self.op_type, **dict(self.attributes)}

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        ins, outs = self.defined.infer_shape(ins)
        return ins, [*outs, (1,)]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        ins, outs = self.defined.infer_dtype(ins)
        return ins, [*outs, "int64"]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        name, origin = (g.serving.name, g.serving.origin) if g.serving else (None, "")
        node = g.apply(CustomForward(of=self, is_training=training), x, name, origin)
        return [node[k] for k in range(node.n_outputs)]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        n_arguments, n_results = len(self.defined.arguments), len(self.defined.results)
        heads = [g.like(v, 0.0) if d is None else d for v, d in zip(y[:n_results], dy)]
        seen = [*heads, *x[:n_arguments], *y[:n_results]]
        read = [seen[k] for k in self.defined.dependencies]
        facts = tuple((g.shape(v), g.dtype(v)) for v in x[:n_arguments])
        node = g.apply(CustomBackward(of=self, is_training=g.training, facts=facts), [*read, *x[n_arguments:], y[-1]])
        return [*(node[k] for k in range(n_arguments)), *(None for _ in x[n_arguments:])]


@op("_custom_forward")
class CustomForward(Op):
    """Custom in one mode."""

    is_internal = True
    calls_out = True

    of: Custom = param(doc="the operator")
    is_training: bool = param(doc="whether forward is told that it is in training")

    def argument_names(self) -> tuple[str, ...]:
        return self.of.input_names()

    def result_names(self) -> tuple[str, ...]:
        return self.of.result_names()

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return self.of.infer_shape(ins, outs)

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return self.of.infer_dtype(ins, outs)

    def lower(self, t: Lowering) -> None:
        t.template(ForwardCall(t.prefix.rstrip("."), self.of, self.is_training))


@op("_custom_backward")
class CustomBackward(Op):
    """The gradients of Custom's arguments from what its backward depends on, its states and its operator's number."""

    is_internal = True
    calls_out = True

    of: Custom = param(doc="the operator")
    is_training: bool = param(doc="the mode of the graph")
    facts: tuple = param(doc="shape and dtype of each argument")

    def argument_names(self) -> tuple[str, ...]:
        read = (f"dependency{k}" for k in self.of.defined.dependencies)
        return (*read, *self.of.defined.states, "operator")

    def result_names(self) -> tuple[str, ...]:
        return tuple(f"{name}_grad" for name in self.of.defined.arguments)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [shape for shape, _ in self.facts]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [dtype for _, dtype in self.facts]

    def lower(self, t: Lowering) -> None:
        t.template(BackwardCall(t.prefix.rstrip("."), self.of, self.is_training))


@dataclass(frozen=True)
class _Call(CallOut):
    """A call of a user's operator."""

    of: Custom
    is_training: bool

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.of} of {self.node}"


@dataclass(frozen=True)
class ForwardCall(_Call):
    """Arguments and states -> results, and the number of the operator that was made at the first call."""

    def opened(self, kept: dict[str, Any]) -> Callee:
        defined = self.of.defined
        n_arguments = len(defined.arguments)

        def call(ins: Sequence[Seen], outs: Sequence[Seen], wanted: Sequence[bool]) -> None:
            arrays, (*results, number) = ([*map(defined.array, part)] for part in (ins, outs))
            if not kept:
                kept.update(number=next(_numbers), running=defined.running(arrays))
                _running[kept["number"]] = kept["running"]
            number[:], running = kept["number"], kept["running"]
            running.forward(
                self.node, self.is_training, wanted[:-1], arrays[:n_arguments], results, arrays[n_arguments:]
            )

        return call


@dataclass(frozen=True)
class BackwardCall(_Call):
    """What backward depends on, states, the operator's number -> gradients of the arguments."""

    def opened(self, kept: dict[str, Any]) -> Callee:
        defined = self.of.defined
        n_read, n_seen = len(defined.dependencies), 2 * len(defined.results) + len(defined.arguments)

        def call(ins: Sequence[Seen], outs: Sequence[Seen], wanted: Sequence[bool]) -> None:
            *arrays, number = map(defined.array, ins)
            read = dict(zip(defined.dependencies, arrays))
            seen = [read[k] if k in read else defined.array(_NOTHING) for k in range(n_seen)]
            running = _running[int(number.asscalar())]
            running.backward(self.node, self.is_training, wanted, seen, [*map(defined.array, outs)], arrays[n_read:])

        return call
