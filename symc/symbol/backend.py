"""`Symbol.optimize_for` and `get_backend_symbol`: MXNet's ways to hand a graph to a backend. symc needs no asking."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from symc.context import Context
from symc.core.errors import ArgumentTypeError, SymcError

if TYPE_CHECKING:
    from .symbol import Symbol

BACKENDS = ("MKLDNN", "MKLDNN_QUANTIZE", "TensorRT", "default", "default_v2")

_log = logging.getLogger("symc")


def optimize_for(symbol: Symbol, backend: str, args: Any, aux: Any, ctx: Any) -> Symbol:
    """A copy of the symbol, with a note in the log: symc rewrites every graph for the machine when it compiles it.

    A backend that MXNet does not have is logged as an error and changes nothing, as in MXNet. Raises
    ArgumentTypeError for arguments of other types than MXNet's.
    """
    if not isinstance(backend, str):
        raise ArgumentTypeError(f"optimize_for: backend must be a string, got {type(backend).__name__}")
    for what, arrays in (("args", args), ("aux", aux)):
        _require_arrays(what, arrays)
    if ctx is not None and not isinstance(ctx, Context):
        raise ArgumentTypeError(f"optimize_for: ctx must be a Context, got {type(ctx).__name__}")
    if backend in BACKENDS:
        _log.info("optimize_for(%r) changes nothing: symc always optimizes a graph when it compiles it", backend)
    else:
        _log.error("Error optimizing for backend '%s' cannot be found; there are %s", backend, ", ".join(BACKENDS))
    return symbol.__copy__()


def get_backend_symbol(symbol: Symbol, backend: str) -> Symbol:
    """A copy, as `optimize_for`; raises SymcError for a backend that MXNet does not have."""
    if backend not in BACKENDS:
        raise SymcError(
            f"SubgraphProperty {backend} is not found in SubgraphBackendRegistry; there are {', '.join(BACKENDS)}"
        )
    return optimize_for(symbol, backend, None, None, None)


def _require_arrays(what: str, arrays: Any) -> None:
    from symc.ndarray import NDArray

    if arrays is None:
        return
    if not isinstance(arrays, Mapping) or not all(isinstance(a, NDArray) for a in arrays.values()):
        raise ArgumentTypeError(f"optimize_for: {what} must be a dict of str to NDArray")
