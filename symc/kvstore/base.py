"""What a store is to those who train with it, and a store that remembers nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from symc import optimizer as opt
from symc.core.errors import ArgumentError
from symc.ndarray import NDArray
from symc.registry import add_by_name

Class = TypeVar("Class", bound=type)


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


def summed(arrays: Sequence[NDArray]) -> NDArray:
    """The sum, as a new array."""
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
        total = summed([x.as_in_context(values[0].context) for x in values])
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
