"""Nested lists of arrays or symbols as a flat list and a format, and back.

A format is 0 for an array or a symbol of one output, n for a symbol of n outputs, -1 for None, a list for a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symc.core.errors import ArgumentError
from symc.ndarray import NDArray
from symc.symbol import Symbol

Format = Any  # int | list[Format]


def flatten(args: Any, what: str) -> tuple[list, Format]:
    """The leaves and the format; raises ArgumentError for a leaf of another kind."""
    if isinstance(args, NDArray):
        return [args], 0
    if isinstance(args, Symbol):
        n_outputs = len(args)
        return [args], n_outputs if n_outputs > 1 else 0
    if args is None:
        return [None], -1
    if not isinstance(args, (list, tuple)):
        raise ArgumentError(
            f"When hybridized, the input of HybridBlock {what} must be (nested) list of Symbol or NDArray, "
            f"but got {args} of type {type(args)}"
        )
    parts = [flatten(arg, what) for arg in args]
    return [leaf for leaves, _ in parts for leaf in leaves], [form for _, form in parts]


def regroup(args: Sequence, form: Format) -> Any:
    """The leaves in the nested lists that the format tells of."""
    return _take(args, form)[0]


def _take(args: Sequence, form: Format) -> tuple[Any, Sequence]:
    if isinstance(form, int):
        if form == -1 and args[0] is not None:
            raise ArgumentError(
                "We do not support passing types that are not None when the initial HybridBlock has received NoneType "
                f"and has been hybridized. Received arg = {args[0]}, fmt = {form}."
            )
        return (args[0], args[1:]) if form <= 0 else (args[:form], args[form:])
    if not isinstance(args, (list, tuple)):
        raise ArgumentError(
            "When hybridized, the output of HybridBlock must be (nested) list of Symbol or NDArray, "
            f"but got {args} of type {type(args)}"
        )
    taken = []
    for part in form:
        value, args = _take(args, part)
        taken.append(value)
    return taken, args


def agree(cached: Format, given: Format) -> bool:
    """Whether arguments of one format can be passed to what was traced for another: None at the end may be left out."""
    if cached == given:
        return True
    if not isinstance(cached, list) or not isinstance(given, list):
        return False
    n_common = min(len(cached), len(given))
    return cached[:n_common] == given[:n_common] and all(f == -1 for f in (*cached[n_common:], *given[n_common:]))


def leaves_of(args: Any) -> list:
    """The arrays and symbols among nested lists; whatever else there is counts for nothing."""
    if isinstance(args, (NDArray, Symbol)):
        return [args]
    return [leaf for arg in args for leaf in leaves_of(arg)] if isinstance(args, (list, tuple)) else []
