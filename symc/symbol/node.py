"""The nodes a Symbol points at: an operator or a variable, its name, its attributes as text, its inputs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from symc.core.bounded import bounded
from symc.ir.graph import post_order
from symc.ir.op import Op

if TYPE_CHECKING:
    from .symbol import Symbol

# Attributes users set without underscores; MXNet keeps them as `__key__`, out of the operator's parameters.
HIDDEN_KEYS = ("ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage")

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Entry(NamedTuple):
    """One output of a node."""

    node: SymbolNode
    index: int = 0  # type: ignore[assignment]  # hides tuple.index


class SymbolNode:
    """An operator (`op` set) or a variable (`op` None) of a symbol; compared and hashed by identity.

    attrs      exactly the strings of MXNet's JSON, in the order they were set
    versions   for each input how often the variable had been mutated when it was read; () means never
    version    of a variable: how many operators update it in place (it is an auxiliary state)
    origin     where the user made it: "file:line", or the model file
    subgraphs  bodies of a control-flow operator
    """

    __slots__ = ("op", "name", "attrs", "inputs", "versions", "version", "origin", "subgraphs")

    def __init__(
        self,
        op: Op | None,
        name: str,
        attrs: dict[str, str] | None = None,
        inputs: list[Entry] | None = None,
        origin: str = "",
    ) -> None:
        self.op = op
        self.name = name
        self.attrs: dict[str, str] = {} if attrs is None else attrs
        self.inputs: list[Entry] = [] if inputs is None else inputs
        self.versions: tuple[int, ...] = ()
        self.version = 0
        self.origin = origin
        self.subgraphs: tuple[Symbol, ...] = ()

    @property
    def is_variable(self) -> bool:
        return self.op is None

    @property
    def op_name(self) -> str:
        """The canonical operator name; "null" for a variable."""
        return "null" if self.op is None else self.op.name

    @property
    def n_outputs(self) -> int:
        """How many outputs there are for MXNet, hidden ones included."""
        return 1 if self.op is None else self.op.n_listed()

    @property
    def n_visible(self) -> int:
        """How many outputs users see."""
        return 1 if self.op is None else self.op.n_visible()

    def visible(self) -> list[Entry]:
        """The outputs users see."""
        return [Entry(self, k) for k in range(self.n_visible)]

    def output_name(self, index: int) -> str:
        """The name of one output: `fc_output`; a variable's is its own name."""
        return self.name if self.op is None else f"{self.name}_{self.op.result_names()[index]}"

    def aux_inputs(self) -> Iterator[SymbolNode]:
        """The variables this operator updates in place."""
        if self.op is None or not self.op.aux:
            return
        yield from (entry.node for name, entry in zip(self.op.input_names(), self.inputs) if name in self.op.aux)

    def __repr__(self) -> str:
        return f"<SymbolNode {self.op_name} {self.name}>"


def nodes_of(heads: Iterable[Entry]) -> list[SymbolNode]:
    """Every node the heads need, inputs before users, in MXNet's depth-first order."""
    return list(post_order(node for node, _ in heads))  # type: ignore[misc, arg-type]


def copy_graph(heads: Iterable[Entry]) -> list[Entry]:
    """The heads of a copy of the graph: new nodes, shared operator instances."""
    heads = list(heads)
    new: dict[SymbolNode, SymbolNode] = {}
    for node in nodes_of(heads):
        inputs = [Entry(new[n], k) for n, k in node.inputs]
        copy = SymbolNode(node.op, node.name, dict(node.attrs), inputs, node.origin)
        copy.versions, copy.version, copy.subgraphs = node.versions, node.version, node.subgraphs
        new[node] = copy
    return [Entry(new[n], k) for n, k in heads]


def is_hidden(key: str) -> bool:
    """Whether an attribute is the user's (`__key__`) rather than an operator parameter."""
    return key.startswith("__") and key.endswith("__")


def parse_op(cls: type[Op], attrs: dict[str, str]) -> Op:
    """The operator instance the attributes describe; each distinct set of attributes is parsed once.

    An operator without parameters keeps unknown attributes silently, as in MXNet. Raises ParameterError.
    """
    if cls.calls_out:  # every node has its own, which is told the user's attributes as well
        return cls.create(attrs)
    given = tuple((k, v) for k, v in attrs.items() if not is_hidden(k)) if cls.params() else ()
    return _parse(cls, given)  # type: ignore[arg-type]  # mypy looks for __hash__ among the methods of Op's instances


@bounded(4 << 20, lambda key, _: 512 + sum(len(name) + len(text) for name, text in key[1]))  # characters
def _parse(cls: type[Op], given: tuple[tuple[str, str], ...]) -> Op:
    return cls.create(dict(given))


def user_origin() -> str:
    """Where the user's code called into symc: "file:line"."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
