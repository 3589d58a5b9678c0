"""Samplers: in which order samples are taken, and how they are put into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from typing import Any

import numpy as np

from symc.core.errors import ArgumentError
from symc.io.batch import require_samples


class Sampler:
    """Base of samplers: iterating gives numbers of samples, or lists of them."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} must override __iter__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must override __len__")


class SequentialSampler(Sampler):
    """`length` numbers from `start` on."""

    def __init__(self, length: int, start: int = 0) -> None:
        self._length, self._start = length, start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._start, self._start + self._length))

    def __len__(self) -> int:
        return self._length


class RandomSampler(Sampler):
    """The numbers 0 to `length` - 1, each once, in an order that np.random draws every time."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __iter__(self) -> Iterator[int]:
        order = np.arange(self._length)
        np.random.shuffle(order)  # noqa: NPY002 - the stream that scripts seed
        return iter(order)

    def __len__(self) -> int:
        return self._length


class FilterSampler(Sampler):
    """The numbers of the samples of a dataset for which `fn(sample)` is true; all are looked at now."""

    def __init__(self, fn: Callable[[Any], bool], dataset: Any) -> None:
        self._numbers = [k for k in range(len(dataset)) if fn(dataset[k])]

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


class BatchSampler(Sampler):
    """Lists of `batch_size` numbers of another sampler.

    last_batch   what becomes of numbers that fill no batch: "keep" gives them, "discard" leaves them out, "rollover"
                 has the next epoch begin with them
    """

    def __init__(self, sampler: Any, batch_size: int, last_batch: str = "keep") -> None:
        if last_batch not in ("keep", "discard", "rollover"):
            raise ArgumentError(f"last_batch must be one of 'keep', 'discard', or 'rollover', but got {last_batch}")
        require_samples("BatchSampler", batch_size)
        self._sampler: Sized = sampler
        self._batch_size = batch_size
        self._last_batch = last_batch
        self._left: list[Any] = []

    def __iter__(self) -> Iterator[list[Any]]:
        batch, self._left = self._left, []
        for number in self._sampler:  # type: ignore[attr-defined]
            batch.append(number)
            if len(batch) == self._batch_size:
                yield batch
                batch = []
        if batch and self._last_batch == "keep":
            yield batch
        elif self._last_batch == "rollover":
            self._left = batch

    def __len__(self) -> int:
        if self._last_batch == "keep":
            return -(-len(self._sampler) // self._batch_size)
        return (len(self._left) + len(self._sampler)) // self._batch_size
