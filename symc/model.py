"""Checkpoints: `prefix-symbol.json` for the graph and `prefix-0012.params` for the parameters of epoch 12."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from symc.core.errors import FormatError

from . import ndarray as nd
from . import symbol as sym
from .context import cpu

if TYPE_CHECKING:
    from symc.ndarray import NDArray
    from symc.symbol import Symbol

Params = dict[str, "NDArray"]


def save_checkpoint(
    prefix: str,
    epoch: int,
    symbol: Symbol | None,
    arg_params: Mapping[str, NDArray],
    aux_params: Mapping[str, NDArray],
    remove_amp_cast: bool = True,
) -> None:
    """Writes `<prefix>-symbol.json` (unless symbol is None) and `<prefix>-<epoch as 4 digits>.params`."""
    if symbol is not None:
        symbol.save(f"{prefix}-symbol.json", remove_amp_cast=remove_amp_cast)
    arrays = {f"arg:{name}": array.as_in_context(cpu()) for name, array in arg_params.items()}
    arrays.update((f"aux:{name}", array.as_in_context(cpu())) for name, array in aux_params.items())
    path = params_path(prefix, epoch)
    nd.save(path, arrays)
    logging.info('Saved checkpoint to "%s"', path)


def load_params(prefix: str, epoch: int) -> tuple[Params, Params]:
    """Arguments and auxiliary states of `<prefix>-<epoch as 4 digits>.params`.

    Raises FormatError when the arrays have no names or a name lacks its `arg:` or `aux:`.
    """
    path = params_path(prefix, epoch)
    arrays = nd.load(path)
    if not arrays:
        logging.warning("Params file '%s' is empty", path)
        return {}, {}
    if not isinstance(arrays, dict):
        raise FormatError(f"{path}: the arrays have no names; expected arg:<name> and aux:<name>")
    found: dict[str, Params] = {"arg": {}, "aux": {}}
    for key, array in arrays.items():
        kind, separator, name = key.partition(":")
        if not separator:
            raise FormatError(f"{path}: array {key!r}; expected arg:<name> or aux:<name>")
        if kind in found:
            found[kind][name] = array
    return found["arg"], found["aux"]


def load_checkpoint(prefix: str, epoch: int) -> tuple[Symbol, Params, Params]:
    """The symbol, its arguments and its auxiliary states."""
    symbol = sym.load(f"{prefix}-symbol.json")
    return symbol, *load_params(prefix, epoch)


def params_path(prefix: str, epoch: int) -> str:
    """The parameter file of an epoch."""
    return f"{prefix}-{epoch:04d}.params"
