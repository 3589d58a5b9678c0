"""Composition: an operator applied to symbols becomes a node; a symbol called with symbols has variables replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symc import attribute, name
from symc.core.errors import ArgumentError, ArgumentTypeError, ParameterError, SymcError
from symc.ir.op import Op

from .node import HIDDEN_KEYS, Entry, SymbolNode, nodes_of, parse_op, user_origin

if TYPE_CHECKING:
    from .symbol import Symbol

# What mixed precision does with the inputs of every new node; None while it is off.
casts: Callable[[SymbolNode], None] | None = None


def apply(
    cls: type[Op],
    hint: str,
    positional: Sequence[Symbol],
    keyword: Mapping[str, Symbol],
    params: Mapping[str, Any],
    name_given: str | None = None,
    attr: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Symbol:
    """The symbol of operator `cls` applied to symbols, with parameters as Python objects or strings.

    hint is what an automatic name is made of; extra are attributes that are no parameters (`lr_mult`). Raises
    ParameterError for parameters, SymcError for inputs that the operator does not take.
    """
    from .symbol import Symbol

    if name_given is not None and not isinstance(name_given, str):
        raise ArgumentTypeError(f"{cls.name}: a name must be a string, got {name_given!r}")
    node_name = name.current().get(name_given, hint)
    attrs = param_attrs({**(extra or {}), **attribute.current().get(attr), **params})
    if positional and keyword and (cls.variadic or cls.calls_out):
        raise ArgumentTypeError(
            "Operators with variable length input can only accept input"
            "Symbols either as positional or keyword arguments, not both"
        )
    if cls.variadic and cls.variadic not in attrs:
        attrs[cls.variadic] = str(cls.counted(len(positional) + len(keyword)))
    op = parse_op(cls, attrs)
    node = SymbolNode(op, node_name, attrs, origin=user_origin())
    node.inputs = connect(
        node,
        [_single(s, f"Argument {i}") for i, s in enumerate(positional)],
        {k: _single(s, f"Keyword Argument {k}") for k, s in keyword.items()},
    )
    if casts is not None:
        casts(node)
    read_versions(node)
    set_input_attrs(node)
    return Symbol(node.visible())


def param_attrs(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as the strings MXNet keeps; bare hidden keys become `__key__`.

    Raises ParameterError for `weight_lr_mult`, the pre-0.9 way to set a variable's attribute.
    """
    attrs = {}
    for key, value in params.items():
        text = text_of(value)
        attrs[hidden_name(key, text)] = text
    return attrs


def hidden_name(key: str, text: str) -> str:
    """`__lr_mult__` for `lr_mult`; other keys as they are."""
    for hidden in HIDDEN_KEYS:
        if key == hidden:
            return f"__{key}__"
        if key.endswith(hidden):
            raise ParameterError(
                f"setting variable attributes with {key} is deprecated. please instead use\n"
                f"w = Variable({hidden}={text})\nsym = YourSymbolName({key.removesuffix('_' + hidden)}=w)"
            )
    return key


def text_of(value: object) -> str:
    """A parameter as MXNet's string: Python's str(), NumPy numbers and arrays printed like Python's."""
    if isinstance(value, np.ndarray):
        value = tuple(value.tolist())
    elif isinstance(value, (tuple, list)):
        value = type(value)(v.item() if isinstance(v, np.generic) else v for v in value) if _is_plain(value) else value
    return str(value)


def _is_plain(value: object) -> bool:
    return type(value) in (tuple, list)


def _single(symbol: Symbol, what: str) -> Entry:
    if len(symbol.heads) != 1:
        raise SymcError(
            f"Check failed: outputs.size() == 1U ({len(symbol.heads)} vs. 1) : {what} is a tuple, "
            f"single value is required: {symbol!r} has outputs {', '.join(symbol.list_outputs())}"
        )
    return symbol.heads[0]


def connect(node: SymbolNode, positional: Sequence[Entry], keyword: Mapping[str, Entry]) -> list[Entry]:
    """The inputs of a new node: those given, and variables `<node>_<argument>` for the others."""
    assert node.op is not None
    wanted = node.op.input_names()
    if len(positional) > len(wanted):
        raise SymcError(
            f"Incorrect number of arguments, requires {len(wanted)}, provided {len(positional)}, "
            f'in operator {node.op.name}(name="{node.name}")'
        )
    rest = wanted[len(positional) :]
    if wanted:  # as in MXNet, operators without inputs ignore symbols given by keyword
        check_keywords("Symbol.Compose", keyword, rest)
    missing = (keyword[n] if n in keyword else Entry(input_variable(node, n)) for n in rest)
    return [*positional, *missing]


def input_variable(node: SymbolNode, argument: str) -> SymbolNode:
    """The variable made for an input that was not given: it copies the operator's attributes."""
    full = f"{node.name}_{argument}" if node.name else argument
    return SymbolNode(None, full, dict(node.attrs), origin=node.origin)


def check_keywords(what: str, given: Mapping[str, object], candidates: Sequence[str]) -> None:
    """Raises ArgumentError, worded as MXNet, when a keyword names no candidate."""
    known = set(candidates)
    unknown = [k for k in given if k not in known]
    if unknown:
        listed = "".join(f"\n\t[{i}]{c}" for i, c in enumerate(candidates))
        raise ArgumentError(f"{what}Keyword argument name {unknown[0]} not found.\nCandidate arguments:{listed}\n")


def read_versions(node: SymbolNode) -> None:
    """Notes which version of each variable is read, and that auxiliary states are written."""
    assert node.op is not None
    states = list(node.aux_inputs())
    for state in states:
        if not state.is_variable:
            raise SymcError(f"Mutation target can only be Variable: input {state.name} of {node.op.name} {node.name}")
        state.version += 1
    versions = tuple(n.version if n.is_variable else 0 for n, _ in node.inputs)
    node.versions = versions if any(versions) else ()


def set_input_attrs(node: SymbolNode) -> None:
    """Gives the input variables the attributes the operator dictates (`__init__` of moving statistics)."""
    assert node.op is not None
    for argument, (variable, _) in zip(node.op.input_names(), node.inputs):
        if variable.is_variable:
            for key, value in node.op.initial_attrs(argument).items():
                variable.attrs.setdefault(key, value)


def substitute(symbol: Symbol, replacements: Mapping[str, Symbol], new_name: str | None) -> None:
    """Replaces variables of a symbol (in place) by the single output of other symbols, by name."""
    entries = {k: _single(s, f"Keyword Argument {k}") for k, s in replacements.items()}
    nodes = nodes_of(symbol.heads)
    check_keywords("Symbol.Compose", entries, [n.name for n in nodes if n.is_variable])
    if new_name:
        symbol.heads[0].node.name = new_name

    def replaced(found: Sequence[Entry]) -> list[Entry]:
        return [entries.get(e.node.name, e) if e.node.is_variable else e for e in found]

    for node in nodes:
        if any(n.is_variable and n.name in entries for n, _ in node.inputs):
            node.inputs = replaced(node.inputs)
            read_versions(node)
    symbol.heads = replaced(symbol.heads)
