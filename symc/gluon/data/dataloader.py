"""`DataLoader`: batches of a dataset, made by this thread, by others, or by other processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from multiprocessing.reduction import ForkingPickler  # noqa: F401  # other libraries have it from here
from typing import Any

from symc.context import cpu_pinned
from symc.core.errors import ArgumentError, SymcError

from .batches import Batchify, batch_of, default_batchify_fn, in_context
from .pooled import MultiWorkerIter as _MultiWorkerIter  # noqa: F401
from .sampler import BatchSampler, RandomSampler, SequentialSampler
from .workers import Workers

default_mp_batchify_fn = default_batchify_fn  # arrays come from other processes as they are
_as_in_context = in_context  # MXNet's name, which other libraries import


class DataLoader:
    """Iterates over batches of a dataset.

    batch_size, shuffle, sampler, last_batch   how batches are made: of consecutive samples, in random order, or in a
                  sampler's; see BatchSampler for last_batch ("keep" by default)
    batch_sampler instead of these: gives the list of numbers of each batch
    batchify_fn   makes a batch of a list of samples
    num_workers   processes that make batches (forked now, with the dataset as it is now); with `thread_pool` threads
    prefetch      how many batches are being made ahead; by default twice the number of workers
    timeout       seconds that a batch of a worker may take
    pin_memory    whether batches lie in cpu_pinned(pin_device_id)
    `try_nopython` and `auto_reload` have no effect: batches are the same without them.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = None,
        shuffle: bool = False,
        sampler: Any = None,
        last_batch: str | None = None,
        batch_sampler: Any = None,
        batchify_fn: Batchify | None = None,
        num_workers: int = 0,
        pin_memory: bool = False,
        pin_device_id: int = 0,
        prefetch: int | None = None,
        thread_pool: bool = False,
        timeout: float = 120,
        try_nopython: bool | None = None,
        auto_reload: bool = False,
    ) -> None:
        if timeout <= 0:
            raise ArgumentError(f"timeout must be more than 0 seconds, got {timeout}")
        if batch_sampler is None:
            batch_sampler = _batches(dataset, batch_size, shuffle, sampler, last_batch)
        elif batch_size is not None or shuffle or sampler is not None or last_batch is not None:
            raise ArgumentError(
                "batch_size, shuffle, sampler and last_batch must not be specified if batch_sampler is specified."
            )
        self._dataset = dataset
        self._batch_sampler = batch_sampler
        self._timeout = timeout
        self._pin_memory, self._pin_device_id = pin_memory, pin_device_id
        self._num_workers = max(0, num_workers)
        self._prefetch = max(0, 2 * self._num_workers if prefetch is None else prefetch)
        self._batchify = batchify_fn or default_batchify_fn
        self._threads: ThreadPoolExecutor | None = None
        self._processes: Workers | None = None
        if self._num_workers and thread_pool:
            self._threads = ThreadPoolExecutor(self._num_workers, thread_name_prefix="symc data")
        elif self._num_workers:
            self._processes = Workers(self._num_workers, dataset)

    def __iter__(self) -> Iterator[Any]:
        return self._ahead() if self._threads or self._processes else map(self._made, self._batch_sampler)

    def __len__(self) -> int:
        return len(self._batch_sampler)

    def _made(self, numbers: Sequence[int]) -> Any:
        return self._placed(batch_of(numbers, self._batchify, self._dataset))

    def _placed(self, batch: Any) -> Any:
        """The batch in the memory that was asked for."""
        return in_context(batch, cpu_pinned(self._pin_device_id)) if self._pin_memory else batch

    def _begun(self, numbers: Sequence[int]) -> Future[Any]:
        """A batch that a worker is making."""
        if self._threads is not None:
            return self._threads.submit(self._made, numbers)
        assert self._processes is not None
        return self._processes.submit(numbers, self._batchify)

    def _ahead(self) -> Iterator[Any]:
        """The batches in order, while others are being made."""
        waiting: deque[Future[Any]] = deque()
        for numbers in self._batch_sampler:
            waiting.append(self._begun(numbers))
            if len(waiting) > self._prefetch:
                yield self._arrived(waiting.popleft())
        while waiting:
            yield self._arrived(waiting.popleft())

    def _arrived(self, begun: Future[Any]) -> Any:
        done, _ = wait([begun], self._timeout)
        if not done:
            raise SymcError(
                f"DataLoader: a batch was not there after {self._timeout} s; timeout= gives it longer, num_workers=0 "
                "shows where it stays"
            )
        return self._placed(begun.result())

    def __del__(self) -> None:
        if getattr(self, "_processes", None) is not None:
            self._processes.end()  # type: ignore[union-attr]
        if getattr(self, "_threads", None) is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)  # type: ignore[union-attr]


def _batches(dataset: Any, batch_size: int | None, shuffle: bool, sampler: Any, last_batch: str | None) -> BatchSampler:
    if batch_size is None:
        raise ArgumentError("batch_size must be specified unless batch_sampler is specified")
    if sampler is None:
        sampler = RandomSampler(len(dataset)) if shuffle else SequentialSampler(len(dataset))
    elif shuffle:
        raise ArgumentError("shuffle must not be specified if sampler is specified")
    return BatchSampler(sampler, batch_size, last_batch or "keep")
