"""`mx.kvstore`: arrays by key, to which gradients of several contexts are pushed and summed; in this process alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from symc import optimizer as opt
from symc.core.errors import ArgumentError, ArgumentTypeError, ConflictError, SymcError
from symc.ndarray import NDArray

from .registry import add_by_name

__all__ = ["KVStore", "KVStoreBase", "TestStore", "create"]

Key = int | str
Class = TypeVar("Class", bound=type)

LARGE = 1 << 24  # elements of a weight that a "local" store does not update itself
ELSEWHERE = ("dist", "nccl", "horovod", "byteps")  # kinds of stores that reach beyond this process


class KVStoreBase:
    """Base of stores: a subclass that is registered can be created by its name in lower case."""

    OPTIMIZER: ClassVar[str] = "optimizer"
    kv_registry: ClassVar[dict[str, type[KVStoreBase]]] = {}

    @staticmethod
    def register(klass: Class) -> Class:
        """Makes a store creatable by its name; replacing another warns."""
        return add_by_name(KVStoreBase.kv_registry, klass, "kvstore")

    def broadcast(self, key: Any, value: Any, out: Any, priority: int = 0) -> None:
        """Gives the key its first value, and copies that to `out`."""
        raise NotImplementedError(f"{type(self).__name__} must override broadcast")

    def pushpull(self, key: Any, value: Any, out: Any = None, priority: int = 0) -> None:
        """Pushes, then pulls into `out`, or into what was pushed."""
        raise NotImplementedError(f"{type(self).__name__} must override pushpull")

    def set_optimizer(self, optimizer: opt.Optimizer) -> None:
        """Lets an optimizer update what is stored by what is pushed."""
        raise NotImplementedError(f"{type(self).__name__} must override set_optimizer")

    def is_capable(self, capability: str) -> bool:
        """Whether the store can do something: "optimizer" stands for `set_optimizer`."""
        raise NotImplementedError(f"{type(self).__name__} must override is_capable")

    def save_optimizer_states(self, fname: str, dump_optimizer: bool = False) -> None:
        """Writes the states of the optimizer."""
        raise NotImplementedError(f"{type(self).__name__} must override save_optimizer_states")

    def load_optimizer_states(self, fname: str) -> None:
        """Reads them."""
        raise NotImplementedError(f"{type(self).__name__} must override load_optimizer_states")

    @property
    def type(self) -> str:
        """The name it was created by."""
        raise NotImplementedError(f"{type(self).__name__} must override type")

    @property
    def rank(self) -> int:
        """The number of this worker."""
        raise NotImplementedError(f"{type(self).__name__} must override rank")

    @property
    def num_workers(self) -> int:
        """How many workers there are."""
        raise NotImplementedError(f"{type(self).__name__} must override num_workers")


class KVStore(KVStoreBase):
    """A store of this process: keys are ints or strings, never both; values arrays, or lists of one for each context.

    What is pushed is summed; it replaces what is stored, or the updater (`set_optimizer`) updates that by it.
    """

    def __init__(self, name: str) -> None:
        self._type = name
        self._stored: dict[Key, NDArray] = {}
        self._updater: Any = None

    def is_capable(self, capability: str) -> bool:
        if capability.lower() != self.OPTIMIZER:
            raise ArgumentError(f"Unknown capability: {capability}")
        return True

    def init(self, key: Any, value: Any) -> None:
        """Gives keys their first values; raises SymcError the second time."""
        for each, arrays in self._pairs(key, value):
            if each in self._stored:
                raise SymcError(f"duplicate init of key {each}. Please double check if you use the same key twice")
            self._stored[each] = arrays[0].copy()

    def broadcast(self, key: Any, value: Any, out: Any, priority: int = 0) -> None:
        self.init(key, value)
        self.pull(key, out)

    def push(self, key: Any, value: Any, priority: int = 0) -> None:
        """Sums the values of each key; then they replace what is stored, or update it."""
        for each, arrays in self._pairs(key, value):
            stored = self._require(each)
            total = _summed([array.as_in_context(stored.context) for array in arrays])
            if self._updater is not None:
                self._updater(each, total, stored)
            else:
                stored[:] = total

    def pull(self, key: Any, out: Any = None, priority: int = 0, ignore_sparse: bool = True) -> None:
        """Copies what is stored to `out`."""
        if out is None:
            raise ConflictError("pull: out= must be given")
        for each, arrays in self._pairs(key, out):
            stored = self._require(each)
            for array in arrays:
                array[:] = stored

    def pushpull(self, key: Any, value: Any, out: Any = None, priority: int = 0) -> None:
        self.push(key, value, priority)
        self.pull(key, value if out is None else out, priority)

    def row_sparse_pull(self, key: Any, out: Any = None, priority: int = 0, row_ids: Any = None) -> None:
        """Copies what is stored to `out`: all rows, since storage is dense."""
        if row_ids is None:
            raise ConflictError("row_sparse_pull: row_ids= must be given")
        self.pull(key, out, priority)

    def set_gradient_compression(self, compression_params: Mapping[str, Any]) -> None:
        """Not there: raises SymcError."""
        raise SymcError("gradient compression is not supported; leave compression_params out")

    def set_optimizer(self, optimizer: opt.Optimizer) -> None:
        self._set_updater(opt.get_updater(optimizer))

    def _set_updater(self, updater: Any) -> None:
        self._updater = updater

    def save_optimizer_states(self, fname: str, dump_optimizer: bool = False) -> None:
        if self._updater is None:
            raise ConflictError("Cannot save states: the store has no optimizer")
        with open(fname, "wb") as file:
            file.write(self._updater.get_states(dump_optimizer))

    def load_optimizer_states(self, fname: str) -> None:
        if self._updater is None:
            raise ConflictError("Cannot load states: the store has no optimizer")
        with open(fname, "rb") as file:
            self._updater.set_states(file.read())

    @property
    def type(self) -> str:
        return self._type

    @property
    def rank(self) -> int:
        return 0

    @property
    def num_workers(self) -> int:
        return 1

    def _barrier(self) -> None:
        """Waits for all workers: there is one."""

    def _require(self, key: Key) -> NDArray:
        if key not in self._stored:
            raise SymcError(f"key {key} has not been inited")
        return self._stored[key]

    def _pairs(self, key: Any, value: Any) -> Iterator[tuple[Key, list[NDArray]]]:
        """Each key once, with its arrays."""
        grouped: dict[Key, list[NDArray]] = {}
        for each, arrays in _flat(key, value):
            grouped.setdefault(each, []).extend(arrays)
        kinds = {type(each) for each in (*grouped, *list(self._stored)[:1])}
        if len(kinds) > 1:
            raise SymcError("a KVStore has keys of one kind: ints or strings, not both")
        return iter(grouped.items())


def _flat(key: Any, value: Any) -> Iterator[tuple[Key, list[NDArray]]]:
    if isinstance(key, (list, tuple)):
        if len(key) != len(value):
            raise ConflictError(f"{len(key)} keys for {len(value)} values")
        for pair in zip(key, value):
            yield from _flat(*pair)
        return
    if not isinstance(key, (int, str)):
        raise ConflictError(f"unexpected type for keys: {type(key)}")
    arrays = [value] if isinstance(value, NDArray) else list(value)
    if not all(isinstance(array, NDArray) for array in arrays):
        raise ConflictError(f"key {key}: expected an NDArray or a list of them")
    yield key, arrays


def _summed(arrays: Sequence[NDArray]) -> NDArray:
    total = arrays[0].copy()
    for array in arrays[1:]:
        total += array
    return total


@KVStoreBase.register
class TestStore(KVStoreBase):
    """A store without optimizer: sums, and remembers nothing."""

    def broadcast(self, key: Any, value: Any, out: Any, priority: int = 0) -> None:
        for array in out if isinstance(out, list) else [out]:
            array[:] = value

    def pushpull(self, key: Any, value: Any, out: Any = None, priority: int = 0) -> None:
        values = [value] if isinstance(value, NDArray) else value
        total = _summed([x.as_in_context(values[0].context) for x in values])
        targets = values if out is None else out if isinstance(out, list) else [out]
        for array in targets:
            array[:] = total

    @staticmethod
    def is_capable(capability: str) -> bool:  # type: ignore[override]
        if capability.lower() != KVStoreBase.OPTIMIZER:
            raise ArgumentError(f"Unknown capability: {capability}")
        return False

    @property
    def type(self) -> str:
        return "teststore"

    @property
    def rank(self) -> int:
        return 0

    @property
    def num_workers(self) -> int:
        return 1


def create(name: str = "local") -> KVStoreBase:
    """A store: a registered one, or one of this process ("local", "device", and any other name, as in MXNet).

    Raises SymcError for those that reach beyond this process.
    """
    if not isinstance(name, str):
        raise ArgumentTypeError("name must be a string")
    name = name.lower()
    if name in KVStoreBase.kv_registry:
        return KVStoreBase.kv_registry[name]()
    if any(kind in name for kind in ELSEWHERE):
        raise SymcError(f"kvstore {name!r} is not supported: symc trains in one process; use 'local' or 'device'")
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
