"""Reads the printed form of a graph back: the inverse of `text.graph_text`.  Nothing in the text is executed.

>>> print(graph_text(parse_graph("argument %x: float32[2]\\n%y = exp(%x): float32[2]\\nhead y = %y")), end="")
argument %x: float32[2]
%y = exp(%x): float32[2]
head y = %y
"""

from __future__ import annotations

import ast
import re
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from symc.core.dtypes import ITEM_SIZE
from symc.core.errors import FormatError, SymcError
from symc.core.shapes import Shape

from .graph import Facts, Graph, Layout, Node, Output, Role, Value
from .op import Op, lookup
from .text import BODY, INSIDE, graph_text

__all__ = ["graph_text", "parse_graph"]

ROLES = typing.get_args(Role)
KINDS = typing.get_args(typing.get_type_hints(Output)["kind"])

MAX_DEPTH = 16  # of bodies in bodies

_STRING = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_NAME = re.compile(rf"[\w.\-/~]+|{_STRING}")
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d{1,18}")
_TYPE = re.compile(r"(\w+|\?)(?:\[([\d?, ]*)\](?: layout (\d+(?:,\d+)*|scalar))?)?")
_VALUE_PART = re.compile(rf"{_STRING}|[^'\"()\[\],]+|[()\[\],]")


def parse_graph(text: str) -> Graph:
    """The graph that `graph_text` printed as `text`; origins are empty.

    Raises FormatError, naming the line, for anything `graph_text` does not print, for operators symc does not have and
    for parameters they do not take.
    """
    return _Parser().run(text.split("\n"))


class _Parser:
    """One parse; `self.rest` is what is left of the current line."""

    def __init__(self, depth: int = 0) -> None:
        self.nodes: dict[str, Node] = {}  # by reference: name, or name#number
        self.outputs: list[Output] = []
        self.shapes: dict[Value, Shape] = {}
        self.dtypes: dict[Value, str] = {}
        self.layouts: dict[Value, Layout] = {}
        self.groups: dict[Node, int] = {}
        self.training = False
        self.depth = depth
        self.number = 0
        self.rest = ""

    def run(self, lines: Sequence[str], first: int = 1) -> Graph:
        """The graph of some lines; `first` is the number of the first one in the whole text."""
        place = 0
        while place < len(lines):
            self.number, self.rest = first + place, lines[place]
            end = next((k for k in range(place + 1, len(lines)) if not lines[k].startswith(BODY[:2])), len(lines))
            is_node = self.rest.startswith("%")
            if self.rest == "training" and place == 0:
                self.training = True
            elif is_node:
                self._operation(self._bodies(lines[place + 1 : end], self.number + 1))
            elif self.rest:
                self._declaration()
            place = end if is_node else place + 1
        facts = Facts(self.shapes, self.dtypes, self.layouts, self.groups)
        return Graph(tuple(self.nodes.values()), tuple(self.outputs), self.training, facts)

    # -- lines --------------------------------------------------------------------------------------------------------

    def _declaration(self) -> None:
        """argument %x: float32[2, 3]     or     head y_output = %y:1"""
        word = self._take(_WORD, "a role, an output or a node")
        self._expect(" ")
        if word in ROLES:
            name, reference = self._reference()
            self._define(Node(None, name, (), word), reference)  # type: ignore[arg-type]
        elif word in KINDS:
            name = self._name()
            self._expect(" = ")
            self.outputs.append(Output(word, name, self._use()))  # type: ignore[arg-type]
        else:
            raise self._error(f"{word!r} is neither a role ({', '.join(ROLES)}) nor an output ({', '.join(KINDS)})")
        self._end()

    def _bodies(self, lines: Sequence[str], first: int) -> tuple[Graph, ...]:
        """The graphs printed below a node."""
        starts = [k for k, line in enumerate(lines) if line == BODY]
        if not lines:
            return ()
        if starts[:1] != [0] or not all(line == BODY or line.startswith(INSIDE) for line in lines):
            raise self._error(f"what is indented below a node must be its bodies, each under a line {BODY!r}")
        if self.depth == MAX_DEPTH:
            raise self._error(f"bodies lie more than {MAX_DEPTH} deep")
        inner = [(a, [line[len(INSIDE) :] for line in lines[a + 1 : b]]) for a, b in zip(starts, [*starts[1:], None])]
        return tuple(_Parser(self.depth + 1).run(text, first + a + 1) for a, text in inner)

    def _operation(self, bodies: tuple[Graph, ...]) -> None:
        """%y = Activation(%x, act_type='relu'): float32[2, 3] layout 10  group 0"""
        name, reference = self._reference()
        self._expect(" = ")
        operator = self._take(_WORD, "an operator")
        self._expect("(")
        inputs, params = self._arguments()
        node = Node(self._op(operator, params, bodies), name, tuple(inputs))
        expected = node.operator.input_names()
        if len(inputs) != len(expected):
            raise self._error(f"{operator} has {len(inputs)} inputs; expected {len(expected)}: {', '.join(expected)}")
        self._define(node, reference)
        if self._skip("  group "):
            self.groups[node] = int(self._take(_NUMBER, "a group"))
        self._end()

    def _define(self, node: Node, reference: str) -> None:
        if reference in self.nodes:
            raise self._error(f"%{reference} is defined twice")
        self.nodes[reference] = node
        if not self._skip(": "):
            return
        for k in range(node.n_outputs):
            if k:
                self._expect(", ")
            self._type(Value(node, k))

    # -- parts --------------------------------------------------------------------------------------------------------

    def _arguments(self) -> tuple[list[Value], dict[str, Any]]:
        inputs: list[Value] = []
        params: dict[str, Any] = {}
        while not self._skip(")"):
            if inputs or params:
                self._expect(", ")
            if self.rest.startswith("%"):
                inputs.append(self._use())
                continue
            key = self._take(_WORD, "an input or a parameter")
            self._expect("=")
            if key in params:
                raise self._error(f"parameter {key} is given twice")
            params[key] = self._literal()
        return inputs, params

    def _op(self, name: str, params: dict[str, Any], bodies: tuple[Graph, ...]) -> Op:
        cls = lookup(name)
        if cls is None:
            raise self._error(f"there is no operator {name}")
        if len(bodies) != cls.n_bodies:
            raise self._error(f"{name} has {len(bodies)} bodies; expected {cls.n_bodies}")
        try:
            return cls.create(params).with_bodies(bodies) if bodies else cls.create(params)
        except SymcError as e:
            raise self._error(str(e)) from e

    def _type(self, v: Value) -> None:
        match = _TYPE.match(self.rest)
        if match is None:
            raise self._error("expected a type such as float32[2, 3]")
        self.rest = self.rest[match.end() :]
        dtype, extents, layout = match.groups()
        if dtype != "?":
            if dtype not in ITEM_SIZE:
                raise self._error(f"there is no dtype {dtype}")
            self.dtypes[v] = dtype
        if extents is None:
            return
        shape = tuple(self._extent(n) for n in extents.split(", ")) if extents else ()
        self.shapes[v] = shape
        if layout is not None:
            order = tuple(int(n) for n in (layout.split(",") if "," in layout else layout) if n.isdigit())
            if sorted(order) != list(range(len(shape))):
                raise self._error(f"layout {layout} does not order {len(shape)} axes")
            self.layouts[v] = Layout(order)

    def _extent(self, text: str) -> int | None:
        if text != "?" and not _NUMBER.fullmatch(text):
            raise self._error(f"{text!r} is no extent")
        return None if text == "?" else int(text)

    def _use(self) -> Value:
        """A reference to a value that is defined above."""
        _, reference = self._reference()
        index = int(self._take(_NUMBER, "an output number")) if self._skip(":") else 0
        node = self.nodes.get(reference)
        if node is None:
            raise self._error(f"%{reference} is not defined above")
        if index >= node.n_outputs:
            raise self._error(f"%{reference} has {node.n_outputs} outputs; there is no output {index}")
        return Value(node, index)

    def _reference(self) -> tuple[str, str]:
        """A node's name, and the reference that tells it from others of that name."""
        self._expect("%")
        name = self._name()
        copy = f"#{self._take(_NUMBER, 'a number')}" if self._skip("#") else ""
        return name, name + copy

    def _name(self) -> str:
        token = self._take(_NAME, "a name")
        return self._evaluate(token) if token[0] in "'\"" else token

    def _literal(self) -> Any:
        """A parameter: the text up to the next comma or parenthesis that no bracket or string encloses."""
        return self._evaluate("".join(self._parts()))

    def _parts(self) -> Iterator[str]:
        depth = 0
        while True:
            match = _VALUE_PART.match(self.rest)
            if match is None:
                raise self._error("the parameter does not end")
            part = match.group()
            if depth == 0 and part in (",", ")"):
                return
            depth += (part in ("(", "[")) - (part in (")", "]"))
            self.rest = self.rest[match.end() :]
            yield part

    def _evaluate(self, text: str) -> Any:
        if text in ("inf", "-inf", "nan"):
            return float(text)
        try:
            return ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise self._error(f"{text[:60]!r} is no literal") from None

    # -- characters ---------------------------------------------------------------------------------------------------

    def _take(self, pattern: re.Pattern[str], what: str) -> str:
        match = pattern.match(self.rest)
        if match is None:
            raise self._error(f"expected {what}")
        self.rest = self.rest[match.end() :]
        return match.group()

    def _skip(self, text: str) -> bool:
        if not self.rest.startswith(text):
            return False
        self.rest = self.rest[len(text) :]
        return True

    def _expect(self, text: str) -> None:
        if not self._skip(text):
            raise self._error(f"expected {text!r}")

    def _end(self) -> None:
        if self.rest:
            raise self._error("expected the end of the line")

    def _error(self, what: str) -> FormatError:
        seen = f", at {self.rest[:40]!r}" if self.rest else ""
        return FormatError(f"graph text, line {self.number}: {what}{seen}")
