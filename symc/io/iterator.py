"""Iterators over batches: their contract, and iterators made of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from symc.core.errors import ConflictError

from .batch import DataBatch, DataDesc, renamed


class DataIter:
    """Base of iterators; a subclass gives provide_data, provide_label, and either `next` or what `next` asks for."""

    def __init__(self, batch_size: int = 0) -> None:
        self.batch_size = batch_size

    def __iter__(self) -> DataIter:
        return self

    def __next__(self) -> DataBatch:
        return self.next()

    def reset(self) -> None:
        """Starts the next epoch."""

    def next(self) -> DataBatch:
        """The next batch; raises StopIteration at the end of the epoch."""
        if not self.iter_next():
            raise StopIteration
        return DataBatch(self.getdata(), self.getlabel(), self.getpad(), self.getindex())

    def iter_next(self) -> bool:
        """Moves to the next batch; whether there is one."""
        raise NotImplementedError(f"{type(self).__name__} must override iter_next")

    def getdata(self) -> Any:
        """The data of the batch moved to."""
        raise NotImplementedError(f"{type(self).__name__} must override getdata")

    def getlabel(self) -> Any:
        """Its labels."""
        raise NotImplementedError(f"{type(self).__name__} must override getlabel")

    def getindex(self) -> Any:
        """The numbers of its samples, None where they are not known."""
        return None

    def getpad(self) -> Any:
        """How many of its samples only fill it."""
        raise NotImplementedError(f"{type(self).__name__} must override getpad")


class FromBatches(DataIter):
    """An iterator that makes whole batches in `batch`: the other methods tell of the current one."""

    current_batch: DataBatch | None = None

    def batch(self) -> DataBatch | None:
        """The next batch, None at the end of the epoch."""
        raise NotImplementedError(f"{type(self).__name__} must override batch")

    def iter_next(self) -> bool:
        self.current_batch = self.batch()
        return self.current_batch is not None

    def next(self) -> DataBatch:
        if not self.iter_next():
            raise StopIteration
        assert self.current_batch is not None
        return self.current_batch

    def getdata(self) -> Any:
        return self._current().data

    def getlabel(self) -> Any:
        return self._current().label

    def getindex(self) -> Any:
        return self._current().index

    def getpad(self) -> Any:
        return self._current().pad

    def _current(self) -> DataBatch:
        if self.current_batch is None:
            raise ConflictError(f"{type(self).__name__} is at no batch; call iter_next() first")
        return self.current_batch


class ResizeIter(FromBatches):
    """An iterator whose epochs have `size` batches, whatever the length of those of `data_iter`.

    With `reset_internal` false an epoch goes on where the last one stopped.
    """

    def __init__(self, data_iter: Any, size: int, reset_internal: bool = True) -> None:
        super().__init__()
        self.data_iter = data_iter
        self.size = size
        self.reset_internal = reset_internal
        self.cur = 0
        self.provide_data = data_iter.provide_data
        self.provide_label = data_iter.provide_label
        self.batch_size = data_iter.batch_size
        if hasattr(data_iter, "default_bucket_key"):
            self.default_bucket_key = data_iter.default_bucket_key

    def reset(self) -> None:
        self.cur = 0
        if self.reset_internal:
            self.data_iter.reset()

    def batch(self) -> DataBatch | None:
        if self.cur == self.size:
            return None
        self.cur += 1
        try:
            return self.data_iter.next()
        except StopIteration:
            self.data_iter.reset()
            return self.data_iter.next()


class PrefetchingIter(FromBatches):
    """Fetches the next batch of each of several iterators, in threads, while the last one is being used.

    A batch has the data and labels of all; `rename_data` and `rename_label` are lists with a mapping from old to new
    names for each iterator.
    """

    def __init__(
        self,
        iters: Any,
        rename_data: Sequence[Mapping[str, str]] | None = None,
        rename_label: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__()
        self.iters = list(iters) if isinstance(iters, (list, tuple)) else [iters]
        if not self.iters:
            raise ConflictError("PrefetchingIter needs at least one iterator")
        self.n_iter = len(self.iters)
        self.rename_data = rename_data
        self.rename_label = rename_label
        self.batch_size = self.provide_data[0][1][0]
        self._threads = ThreadPoolExecutor(self.n_iter, thread_name_prefix="symc prefetch")
        self._fetched: list[Future[DataBatch | None]] | None = None
        self._fetch()

    @property
    def provide_data(self) -> list[DataDesc]:
        return self._descriptions("provide_data", self.rename_data)

    @property
    def provide_label(self) -> list[DataDesc]:
        return self._descriptions("provide_label", self.rename_label)

    def _descriptions(self, kind: str, names: Sequence[Mapping[str, str]] | None) -> list[DataDesc]:
        listed = names or [None] * self.n_iter
        return [d for it, mapping in zip(self.iters, listed) for d in renamed(getattr(it, kind), mapping)]

    def reset(self) -> None:
        self._arrived()
        for it in self.iters:
            it.reset()
        self._fetch()

    def batch(self) -> DataBatch | None:
        batches = self._arrived()
        if any(b is None for b in batches):
            if not all(b is None for b in batches):
                raise ConflictError("PrefetchingIter: its iterators have different numbers of batches")
            return None
        found = [b for b in batches if b is not None]
        if len({b.pad for b in found}) > 1:
            raise ConflictError("PrefetchingIter: the batches of its iterators have different pads")
        self._fetch()
        first = found[0]
        return DataBatch(
            [a for b in found for a in b.data or ()],
            [a for b in found for a in b.label or ()],
            first.pad,
            first.index,
            provide_data=self.provide_data,
            provide_label=self.provide_label,
        )

    def _fetch(self) -> None:
        self._fetched = [self._threads.submit(_next_of, it) for it in self.iters]

    def _arrived(self) -> list[DataBatch | None]:
        """What was being fetched; at the end of an epoch, None again and again."""
        if self._fetched is None:
            return [None] * self.n_iter
        fetched, self._fetched = self._fetched, None
        return [f.result() for f in fetched]

    def __del__(self) -> None:
        if hasattr(self, "_threads"):
            self._threads.shutdown(wait=False)


def _next_of(iterator: Any) -> DataBatch | None:
    try:
        return iterator.next()
    except StopIteration:
        return None
