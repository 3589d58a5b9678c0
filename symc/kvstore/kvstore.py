"""A store of this process: arrays by key, to which gradients of several contexts are pushed and summed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from symc import optimizer as opt
from symc.core.errors import ArgumentError, ConflictError, ShapeError, SymcError
from symc.core.reading import contents
from symc.core.replacing import replacing
from symc.ndarray import NDArray
from symc.optimizer.fused import takes_many

from .base import KVStoreBase, summed

Key = int | str


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
        """Sums the values of each key; then they replace what is stored, or update it.

        Raises ShapeError where what is to replace has another shape.
        """
        pairs = list(self._pairs(key, value))
        stored = [self._require(each) for each, _ in pairs]
        keys = [each for each, _ in pairs]
        totals = self._summed(keys, [[x.as_in_context(s.context) for x in xs] for (_, xs), s in zip(pairs, stored)])
        if isinstance(self._updater, opt.Updater) and takes_many(self._updater.optimizer):
            self._updater(keys, totals, stored)  # all by one program; a class of the user's own gets one, as in MXNet
            return
        for each, total, target in zip(keys, totals, stored):
            if self._updater is not None:
                self._updater(each, total, target)
            elif total.shape != target.shape:
                raise ShapeError(f"push: key {each} has shape {target.shape}, got {total.shape}")
            else:
                target[:] = total

    def _summed(self, keys: Sequence[Key], values: Sequence[Sequence[NDArray]]) -> Sequence[NDArray]:
        """The sum of the values of each key, in arrays that a push may use up."""
        return [summed(arrays) for arrays in values]

    def pull(self, key: Any, out: Any = None, priority: int = 0, ignore_sparse: bool = True) -> None:
        """Copies what is stored to `out`."""
        if out is None:
            raise ConflictError("pull: out= must be given")
        for each, arrays in self._pairs(key, out):
            stored = self._require(each)
            for array in arrays:
                if array.shape != stored.shape:
                    raise ShapeError(f"pull: key {each} has shape {stored.shape}, out has {array.shape}")
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
        with replacing(Path(fname)) as unfinished:
            unfinished.write_bytes(self._updater.get_states(dump_optimizer))

    def load_optimizer_states(self, fname: str) -> None:
        if self._updater is None:
            raise ConflictError("Cannot load states: the store has no optimizer")
        self._updater.set_states(contents(fname))

    @property
    def type(self) -> str:
        return self._type

    @property
    def rank(self) -> int:
        return 0

    @property
    def num_workers(self) -> int:
        return 1

    def barrier(self) -> None:
        """Waits for all workers: there is one."""

    def _barrier(self) -> None:
        self.barrier()

    def _send_command_to_servers(self, head: int, body: str) -> None:
        """There are none: raises SymcError."""
        raise SymcError("there are no servers to send commands to; what would update on them updates on every worker")

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
