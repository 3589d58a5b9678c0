"""`mx.executor_manager`: the functions of MXNet's first training loop that scripts still import; `mx.mod` trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symc.core.errors import ArgumentError, ConflictError
from symc.module.executor_group import _split_input_slice as _split_input_slice
from symc.ndarray import NDArray
from symc.symbol import Symbol

Target = NDArray | Sequence[tuple[slice, NDArray]]  # an array for the whole batch, or arrays for its parts


def _check_arguments(symbol: Symbol) -> None:
    """Raises ArgumentError where two arguments, or two states, have one name."""
    for kind, names in (("argument", symbol.list_arguments()), ("auxiliary param", symbol.list_auxiliary_states())):
        double = next((name for k, name in enumerate(names) if name in names[:k]), None)
        if double is not None:
            raise ArgumentError(f'Find duplicated {kind} name "{double}"; give each its own; they are {names}')


def _load_general(data: Sequence[NDArray], targets: Sequence[Target]) -> None:
    """Copies arrays into others, or their rows into parts. Raises ConflictError where the rows are not as many."""
    for source, parts in zip(data, targets):
        if isinstance(parts, NDArray):
            source.copyto(parts)
            continue
        if parts[-1][0].stop != source.shape[0]:
            raise ConflictError(f"Batch size miss match. Expected {parts[-1][0].stop}, got {source.shape[0]}")
        for rows, part in parts:
            source[rows].copyto(part)


def _load_data(batch: Any, targets: Sequence[Target]) -> None:
    """Copies a batch's data."""
    _load_general(batch.data, targets)


def _load_label(batch: Any, targets: Sequence[Target]) -> None:
    """Copies a batch's labels."""
    _load_general(batch.label, targets)
