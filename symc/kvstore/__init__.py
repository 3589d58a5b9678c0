"""`mx.kvstore`: arrays by key, to which gradients are pushed and summed: those of several contexts, or of processes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from symc.core.errors import ArgumentTypeError, SymcError
from symc.ndarray import NDArray

from .base import KVStoreBase, TestStore
from .distributed import DistributedKVStore
from .kvstore import Key, KVStore
from .kvstore_server import KVStoreServer
from .mpi import mpi_world

__all__ = ["KVStore", "KVStoreBase", "KVStoreServer", "TestStore", "create"]

LARGE = 1 << 24  # elements of a weight that a "local" store does not update itself
SYNCHRONOUS = ("dist_sync", "dist_device_sync", "dist_sync_device", "dist")
ELSEWHERE = ("dist", "nccl", "horovod", "byteps")  # other kinds of stores that reach beyond this process


def create(name: str = "local") -> KVStoreBase:
    """A store: a registered one, one over all processes of an MPI job ("dist_sync", "dist_device_sync"), or one of this
    process ("local", "device", and any other name, as in MXNet).

    Raises SymcError for other kinds that reach beyond this process, MissingPackageError where MPI is missing.
    """
    if not isinstance(name, str):
        raise ArgumentTypeError("name must be a string")
    name = name.lower()
    if name in KVStoreBase.kv_registry:
        return KVStoreBase.kv_registry[name]()
    if name in SYNCHRONOUS:
        return DistributedKVStore(name, mpi_world())
    if any(kind in name for kind in ELSEWHERE):
        raise SymcError(
            f"kvstore {name!r} is not supported: there are no servers, and every update waits for all workers. Use "
            "'dist_sync' and start one process for each worker: mpirun -n 4 python train.py"
        )
    return KVStore(name)


def create_for(kvstore: Any, n_contexts: int, arrays: Mapping[str, NDArray]) -> tuple[KVStoreBase | None, bool]:
    """The store to train with, and whether it updates the weights; none for one context, unless an instance is given.

    arrays    the weights by name; a "local" store leaves very large ones to their contexts
    """
    update_on_kvstore = bool(int(os.getenv("MXNET_UPDATE_ON_KVSTORE", "1")))
    if kvstore is None or (isinstance(kvstore, str) and n_contexts == 1 and "dist" not in kvstore):
        return None, False
    if not isinstance(kvstore, (str, KVStoreBase)):
        raise ArgumentTypeError(f"kvstore must be KVStore, str or None, got {type(kvstore).__name__}")
    if kvstore == "local" and max(a.size for a in arrays.values()) > LARGE:
        update_on_kvstore = False
    store = create(kvstore) if isinstance(kvstore, str) else kvstore
    return store, update_on_kvstore and store.is_capable(KVStoreBase.OPTIMIZER)


def pushpull_all(
    store: KVStoreBase,
    keys: Sequence[Key],
    values: Sequence[Sequence[NDArray]],
    outs: Sequence[Sequence[NDArray]] | None = None,
) -> None:
    """`pushpull` of many keys: at once where the store is one of these, so that it can sum and update them together."""
    if isinstance(store, KVStore):
        store.pushpull(list(keys), list(values), None if outs is None else list(outs))
        return
    for k, key in enumerate(keys):
        store.pushpull(key, list(values[k]), out=None if outs is None else list(outs[k]), priority=-k)
