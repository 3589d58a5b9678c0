"""What convolutions and poolings share: a number for each axis of a window, and the layouts of their data."""

from __future__ import annotations

from typing import Any

from symc.base import numeric_types
from symc.core.errors import ConflictError


def as_tuple(value: Any, n: int) -> Any:
    """n times a number, or what was given for each axis."""
    return (value,) * n if isinstance(value, numeric_types) else value


def require_length(name: str, value: Any, n: int) -> Any:
    """The value for n axes; raises ConflictError for another number of them."""
    value = as_tuple(value, n)
    if len(value) != n:
        raise ConflictError(f"{name} must be a number or a list of {n} ints, got {value}")
    return value


def require_layout(layout: str, allowed: tuple[str, ...], what: str) -> None:
    """Raises ConflictError for a layout that the layer does not have."""
    if layout not in allowed:
        names = " and ".join(repr(name) for name in allowed)
        raise ConflictError(f"{what}: only supports {names} layout for now, got {layout!r}")
