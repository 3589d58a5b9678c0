"""Typed operator parameters: one declaration feeds parsing, the Python signature, documentation and error texts.

>>> @dataclass(frozen=True, kw_only=True)
... class Pool:
...     kernel: tuple[int, ...] = param((), doc="window extents")
...     pool_type: str = param("max", choices=("max", "avg"), doc="how a window is reduced")
>>> parse_params(Pool, {"kernel": "(2, 2L)"}, "Pooling")
{'kernel': (2, 2)}
"""

from __future__ import annotations

import ast
import dataclasses
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bounded import bounded
from .dtypes import dtype_name
from .errors import DTypeError, ParameterError

REQUIRED = dataclasses.MISSING
LONGEST_SHOWN = 200  # characters of a value in an error's text
MAX_PORTS = 1 << 16  # inputs or outputs that a parameter may give an operator: as many names are made of it


@dataclass(frozen=True)
class Param:
    """What one parameter accepts; bounds are inclusive."""

    name: str
    kind: Any
    default: Any
    low: float | None
    high: float | None
    choices: tuple[str, ...] | None
    is_dtype: bool
    doc: str

    @property
    def is_required(self) -> bool:
        return self.default is REQUIRED

    @property
    def type_text(self) -> str:
        """The type as MXNet's documentation writes it."""
        if self.choices:
            listed = ", ".join(f"'{c}'" for c in self.choices)
            text = "{None, " + listed + "}" if _is_optional(self.kind) else "{" + listed + "}"
        else:
            text = _KIND_TEXT.get(self.kind, str(self.kind))
            if self.kind is int and self.low is not None and self.low >= 0:
                text = "int (non-negative)"
        if self.is_required:
            return f"{text}, required"
        return f"{text}, optional, default={self.default!r}"


def param(
    default: Any = REQUIRED,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    dtype: bool = False,
    doc: str = "",
) -> Any:
    """Declares a parameter of an operator class; without a default it is required."""
    info = {"low": low, "high": high, "choices": choices, "is_dtype": dtype, "doc": doc}
    return dataclasses.field(default=default, metadata={"param": info})


_declared: dict[type, dict[str, Param]] = {}


def params_of(cls: type) -> dict[str, Param]:
    """The declared parameters of an operator class, in order."""
    if cls not in _declared:
        _declared[cls] = _declarations(cls)
    return _declared[cls]


def _declarations(cls: type) -> dict[str, Param]:
    hints = typing.get_type_hints(cls)
    found = {
        f.name: Param(f.name, hints[f.name], f.default, **f.metadata["param"])
        for f in dataclasses.fields(cls)
        if "param" in f.metadata
    }
    first = getattr(cls, "parameter_order", ())
    return {name: found[name] for name in (*first, *(n for n in found if n not in first))}


def parse_params(cls: type, given: Mapping[str, Any], operator: str) -> dict[str, Any]:
    """Checked values of the parameters given (as MXNet strings or Python objects).

    Raises ParameterError, worded as MXNet words it, for unknown, missing, malformed and out-of-range parameters.
    """
    known = params_of(cls)
    values = {}
    for name, raw in given.items():
        if name not in known:
            options = "".join(f"\n{p.name} : {p.type_text}\n    {p.doc}" for p in known.values())
            raise ParameterError(
                f"Cannot find argument '{name}', Possible Arguments:\n----------------{options}, in operator {operator}"
            )
        values[name] = _parse_one(known[name], raw, operator)
    for p in known.values():
        if p.is_required and p.name not in values:
            raise ParameterError(
                f"Required parameter {p.name} of {p.type_text.removesuffix(', required')} is not presented, "
                f'in operator {operator}(name="")'
            )
    return values


def _parse_one(p: Param, raw: Any, operator: str) -> Any:
    if p.default == () and (raw is None or (isinstance(raw, str) and raw.strip() == "None")):
        return p.default  # a tuple that may be left out: so MXNet takes what scripts and files give as None
    try:
        value = _parse(p.kind, raw.strip() if isinstance(raw, str) else raw)
        if p.is_dtype and value is not None:
            value = dtype_name(value)
    except (ValueError, TypeError, SyntaxError, DTypeError, RecursionError, MemoryError):
        raise ParameterError(
            f"Invalid Parameter format for {p.name} expect {p.type_text} but value='{_cut(raw)}', "
            f"in operator {operator}"
        ) from None
    if p.choices and value is not None and value not in p.choices:
        options = ", ".join(f"'{c}'" for c in p.choices)
        raise ParameterError(
            f"Invalid Input: '{_cut(raw)}', valid values are: {{{options}}}, "
            f'in operator {operator}(name="", {p.name}="{_cut(raw)}")'
        )
    for number in value if isinstance(value, tuple) else (value,):
        if (
            isinstance(number, (int, float))
            and not isinstance(number, bool)
            and ((p.low is not None and number < p.low) or (p.high is not None and number > p.high))
        ):
            raise ParameterError(
                f"value {_cut(raw)} for Parameter {p.name} {_bounds(p)}\n{p.name}: {p.doc}, in operator {operator}"
            )
    return value


def _cut(raw: Any) -> str:
    """A value for an error's text: of a file's megabytes the beginning."""
    text = str(raw)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _bounds(p: Param) -> str:
    if p.high is None:
        return f"should be greater equal to {p.low}"
    return f"should be smaller equal to {p.high}" if p.low is None else f"exceed bound [{p.low},{p.high}]"


@bounded(limit=1 << 20, weigh=lambda key, _: 256 + len(key[0]))  # characters
def _literal(text: str) -> Any:
    """A Python literal from MXNet's text: '(2L, 2L)', '[2, 2]', '2.5', 'None'; nothing is executed."""
    if len(text) > 100_000:
        raise ValueError("parameter text too long")
    return ast.literal_eval(re.sub(r"(?<=\d)[lL]\b", "", text))


def _integer(raw: Any) -> int:
    if isinstance(raw, str):
        return int(re.sub(r"[lL]$", "", raw)) if raw not in ("True", "False") else int(raw == "True")
    if isinstance(raw, (bool, np.bool_, int, np.integer)):
        return int(raw)
    if isinstance(raw, (float, np.floating)) and float(raw).is_integer():
        return int(raw)
    raise ValueError(raw)


def _real(raw: Any) -> float:
    if isinstance(raw, (str, bool, int, float, np.number, np.bool_)):
        return float(re.sub(r"(?<=[\d.])[fF]$", "", raw) if isinstance(raw, str) else raw)
    raise ValueError(raw)


def _boolean(raw: Any) -> bool:
    if isinstance(raw, str):
        table = {"true": True, "1": True, "false": False, "0": False}
        if raw.lower() not in table:
            raise ValueError(raw)
        return table[raw.lower()]
    if isinstance(raw, (bool, np.bool_, int, np.integer)):
        return bool(raw)
    raise ValueError(raw)


def _sequence(raw: Any, element: Callable[[Any], Any]) -> tuple:
    value = _literal(raw) if isinstance(raw, str) else raw
    if isinstance(value, (int, float, np.number)) or (value is None and raw != "None"):  # MXNet's (None) is (None,)
        value = (value,)
    return tuple(element(v) for v in value)


def _maybe(element: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda raw: None if raw is None or (isinstance(raw, str) and raw in ("None", "")) else element(raw)


def _text(raw: Any) -> Any:
    return raw if isinstance(raw, (str, type, np.dtype)) else str(raw)


_BASE: dict[Any, Callable[[Any], Any]] = {
    int: _integer,
    float: _real,
    bool: _boolean,
    str: _text,
    tuple[int, ...]: lambda raw: _sequence(raw, _integer),
    tuple[float, ...]: lambda raw: _sequence(raw, _real),
    tuple[int | None, ...]: lambda raw: _sequence(raw, _maybe(_integer)),
}
_PARSERS = {**_BASE, **{kind | None: _maybe(parse) for kind, parse in _BASE.items()}}
_KIND_TEXT = {
    int: "int",
    float: "float",
    bool: "boolean",
    str: "string",
    tuple[int, ...]: "Shape(tuple)",
    tuple[int | None, ...]: "Shape(tuple)",
    tuple[float, ...]: "tuple of <float>",
    int | None: "int or None",
    float | None: "double or None",
    bool | None: "boolean or None",
    tuple[int, ...] | None: "Shape or None",
}


def _parse(kind: Any, raw: Any) -> Any:
    return _PARSERS[kind](raw.tolist() if isinstance(raw, np.ndarray) else raw)


def _is_optional(kind: Any) -> bool:
    return type(None) in typing.get_args(kind)
