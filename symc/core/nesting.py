"""Nested lists of arrays or symbols as a flat list and a format, and back.

A format is 0 for a leaf, n for one that stands for n of them, a list for a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .errors import ConflictError

Format = Any  # int | list[Format]


def flatten(args: Any, parts: Callable[[Any], list | None], kind: str, what: str) -> tuple[list, Format]:
    """The leaves and the format. `parts` gives what a leaf stands for, None where something is no leaf.

    Raises ConflictError for what is neither a leaf, of that kind, nor a list.
    """
    found = parts(args)
    if found is not None:
        return found, len(found) if len(found) > 1 else 0
    if not isinstance(args, (list, tuple)):
        raise ConflictError(f"{what} must be (nested) list of {kind}, but got {args} of type {type(args)}")
    flat = [flatten(arg, parts, kind, what) for arg in args]
    return [leaf for leaves, _ in flat for leaf in leaves], [form for _, form in flat]


def regroup(leaves: Sequence, form: Format) -> Any:
    """The leaves in the nested lists that the format tells of."""
    return _taken(iter(leaves), form)


def _taken(leaves: Iterator, form: Format) -> Any:
    if isinstance(form, list):
        return [_taken(leaves, part) for part in form]
    return [next(leaves) for _ in range(form)] if form else next(leaves)
