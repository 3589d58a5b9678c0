"""Checkpoints (`prefix-symbol.json` for the graph, `prefix-0012.params` for the parameters of epoch 12), and how
parameters that lie on several contexts are updated."""

from __future__ import annotations

import logging
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symc.core.errors import FormatError
from symc.kvstore import create_for, pushpull_all
from symc.ndarray.serialize import load_named

from . import ndarray as nd
from . import symbol as sym
from .context import cpu

if TYPE_CHECKING:
    from symc.kvstore import KVStoreBase
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
    arrays = load_named(path)
    if not arrays:
        logging.warning("Params file '%s' is empty", path)
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


BatchEndParam = namedtuple("BatchEndParam", ("epoch", "nbatch", "eval_metric", "locals"))
BatchEndParam.__doc__ = "What callbacks after a batch are given; `locals` are the variables of the loop that calls."


def initialize_kvstore(
    kvstore: KVStoreBase,
    param_arrays: Sequence[Sequence[NDArray]],
    arg_params: Mapping[str, NDArray],
    param_names: Sequence[str],
    update_on_kvstore: bool,
) -> None:
    """Gives a store the parameters; they and their copies begin with what it has, which is what rank 0 gave it."""
    for name, copies in zip(param_names, param_arrays):
        kvstore.broadcast(name, arg_params[name], out=[arg_params[name], *copies])


def update_params_on_kvstore(
    param_arrays: Sequence[Sequence[NDArray]],
    grad_arrays: Sequence[Sequence[NDArray | None]],
    kvstore: KVStoreBase,
    param_names: Sequence[str],
) -> None:
    """Has a store update parameters: it is given the gradients, and copies the results back."""
    trained = [k for k, grads in enumerate(grad_arrays) if grads[0] is not None]
    grads = [[g for g in grad_arrays[k] if g is not None] for k in trained]
    pushpull_all(kvstore, [param_names[k] for k in trained], grads, [param_arrays[k] for k in trained])


def update_params(
    param_arrays: Sequence[Sequence[NDArray]],
    grad_arrays: Sequence[Sequence[NDArray | None]],
    updater: Callable[..., None],
    num_device: int,
    kvstore: KVStoreBase | None = None,
    param_names: Sequence[str] | None = None,
) -> None:
    """Updates the copies of each parameter, on each context by its gradients, which a store sums before.

    The updater is given all parameters of a context at once, numbered parameter by parameter and context by context.
    """
    updates: list[list[tuple[int, NDArray, NDArray]]] = [[] for _ in range(num_device)]
    found = {k: [g for g in grads if g is not None] for k, grads in enumerate(grad_arrays)}
    trained = [k for k, present in found.items() if present]
    if kvstore is not None:
        keys = trained if param_names is None else [param_names[k] for k in trained]
        pushpull_all(kvstore, keys, [found[k] for k in trained])
    for k in trained:
        for n, (weight, grad) in enumerate(zip(param_arrays[k], found[k])):
            updates[n].append((k * num_device + n, grad, weight))
    for of_context in filter(None, updates):
        updater(*map(list, zip(*of_context)))


# The names under which scripts import these.
_create_kvstore, _initialize_kvstore = create_for, initialize_kvstore
_update_params, _update_params_on_kvstore = update_params, update_params_on_kvstore


def __getattr__(name: str) -> Any:
    if name == "FeedForward":
        from symc.module.feed_forward import FeedForward

        return FeedForward
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
