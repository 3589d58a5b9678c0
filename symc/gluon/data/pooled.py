"""Batches made by a pool of `multiprocessing`, as loaders derived from MXNet's (GluonCV's, for instance) make them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import TimeoutError as PoolTimeoutError
from multiprocessing.pool import AsyncResult, Pool
from typing import Any

from symc.context import cpu_pinned
from symc.core.errors import SymcError

from .batches import Batchify, batch_of, in_context


class MultiWorkerIter:
    """Iterates over batches that the workers of a pool make; the attributes and `_push_next` are for derived classes.

    worker_fn   called in a worker as `worker_fn(numbers, batchify_fn, dataset)`; without `dataset`, where the worker
                has its own, it gives a pickled batch
    prefetch    how many batches are asked for at once
    timeout     seconds that a batch may take; SymcError tells when it was not there

    DataLoader does not use it: one pipe for all workers, as a pool has it, can hold up their end (workers.py).
    Source: MXNet's `gluon.data.dataloader._MultiWorkerIter`.
    """

    def __init__(
        self,
        worker_pool: Pool,
        batchify_fn: Batchify,
        batch_sampler: Sequence[list[int]],
        pin_memory: bool = False,
        pin_device_id: int = 0,
        worker_fn: Callable[..., Any] | None = None,
        prefetch: int = 0,
        dataset: Any = None,
        data_loader: Any = None,
        timeout: float = 120,
    ) -> None:
        self._worker_pool = worker_pool
        self._batchify_fn = batchify_fn
        self._batch_sampler = batch_sampler
        self._pin_memory, self._pin_device_id = pin_memory, pin_device_id
        self._worker_fn = worker_fn or batch_of
        self._dataset = dataset
        self._data_loader = data_loader  # lives as long as its batches are wanted
        self._timeout = timeout
        self._iter = iter(batch_sampler)
        self._data_buffer: dict[int, AsyncResult] = {}
        self._rcvd_idx = self._sent_idx = 0
        for _ in range(prefetch):
            self._push_next()

    def __len__(self) -> int:
        return len(self._batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        return self

    def _push_next(self) -> None:
        """Asks for one more batch, if there is one."""
        numbers = next(self._iter, None)
        if numbers is None:
            return
        asked = self._worker_pool.apply_async(self._worker_fn, (numbers, self._batchify_fn, self._dataset))
        self._data_buffer[self._sent_idx] = asked
        self._sent_idx += 1

    def __next__(self) -> Any:
        self._push_next()
        if self._rcvd_idx == self._sent_idx:
            raise StopIteration
        asked = self._data_buffer.pop(self._rcvd_idx)
        self._rcvd_idx += 1
        try:
            batch = asked.get(self._timeout)
        except PoolTimeoutError as error:
            raise SymcError(
                f"DataLoader: a batch was not there after {self._timeout} s; timeout= gives it longer"
            ) from error
        except Exception:
            self._worker_pool.terminate()
            raise
        if self._dataset is None:
            batch = pickle.loads(batch)
        return in_context(batch, cpu_pinned(self._pin_device_id)) if self._pin_memory else batch

    next = __next__
