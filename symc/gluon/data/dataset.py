"""Datasets: sequences of samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from symc.core.errors import ArgumentTypeError, ConflictError, MissingFileError
from symc.ndarray import NDArray
from symc.recordio import MXIndexedRecordIO

from .sampler import Sampler


class Dataset:
    """Base of datasets: `dataset[k]` is a sample, or a tuple of its parts; `len(dataset)` says how many there are."""

    def __getitem__(self, idx: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must override __getitem__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must override __len__")

    def filter(self, fn: Callable[[Any], bool]) -> Dataset:
        """The samples for which `fn(sample)` is true; all are looked at now."""
        return SampledDataset(self, [k for k in range(len(self)) if fn(self[k])])

    def shard(self, num_shards: int, index: int) -> Dataset:
        """Part `index` of `num_shards` consecutive parts, of which the first ones are longer by one if need be."""
        if not isinstance(index, int) or not 0 <= index < num_shards:
            raise ConflictError(f"Shard index {index!r} out of bound: expected 0 to {num_shards - 1}")
        size, rest = divmod(len(self), num_shards)
        start = size * index + min(index, rest)
        return SampledDataset(self, range(start, start + size + (index < rest)))

    def take(self, count: int | None) -> Dataset:
        """The first samples, all for None."""
        n = len(self) if count is None else min(count, len(self))
        return SampledDataset(self, range(n))

    def sample(self, sampler: Sampler) -> Dataset:
        """The samples in a sampler's order, which is drawn now."""
        if not isinstance(sampler, Sampler):
            raise ArgumentTypeError(f"Invalid sampler type: {type(sampler)}. Expected gluon.data.Sampler instead.")
        return SampledDataset(self, list(sampler))

    def transform(self, fn: Callable[..., Any], lazy: bool = True) -> Dataset:
        """What `fn(*parts)` makes of each sample, whenever it is asked for, or without `lazy` now."""
        transformed = TransformedDataset(self, fn)
        return transformed if lazy else SimpleDataset([transformed[k] for k in range(len(transformed))])

    def transform_first(self, fn: Callable[[Any], Any], lazy: bool = True) -> Dataset:
        """The same for the first part of each sample alone."""
        return self.transform(TransformFirst(fn), lazy)


class SimpleDataset(Dataset):
    """The items of a list or of anything like one."""

    def __init__(self, data: Sequence[Any]) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, idx: int) -> Any:
        return self._data[idx]


class ArrayDataset(Dataset):
    """Samples from arrays, lists or datasets of one length: their k-th items, as a tuple if there are several."""

    def __init__(self, *args: Any) -> None:
        if not args:
            raise ConflictError("Needs at least 1 arrays")
        self._length = len(args[0])
        for k, data in enumerate(args):
            if len(data) != self._length:
                raise ConflictError(
                    f"All arrays must have the same length; array[0] has length {self._length} while array[{k}] has "
                    f"{len(data)}."
                )
        # Numbers rather than arrays of one element.
        self._data = [a.asnumpy() if isinstance(a, NDArray) and a.ndim == 1 else a for a in args]

    def __getitem__(self, idx: int) -> Any:
        if len(self._data) == 1:
            return self._data[0][idx]
        return tuple(data[idx] for data in self._data)

    def __len__(self) -> int:
        return self._length


class RecordFileDataset(Dataset):
    """The records of a file `name.rec` with the index `name.idx`, as bytes; workers may share it."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.idx_file = os.path.splitext(filename)[0] + ".idx"
        self._record = MXIndexedRecordIO(self.idx_file, filename, "r")

    def __getitem__(self, idx: int) -> Any:
        return self._record.read_idx(self._record.keys[idx])

    def __len__(self) -> int:
        return len(self._record.keys)


class DownloadedDataset(Dataset):
    """Base of datasets that keep all their samples: `_get_data`, which a derived class has, sets `_data` and `_label`.

    root        where its files lie; the folder is made if it is not there
    transform   makes a sample of an item of each, or None
    Raises MissingFileError where there can be no such folder. Source: MXNet's `gluon.data.dataset._DownloadedDataset`.
    """

    _data: Any
    _label: Any

    def __init__(self, root: str, transform: Callable[..., Any] | None) -> None:
        self._root = os.path.expanduser(root)
        self._transform = transform
        try:
            os.makedirs(self._root, exist_ok=True)
        except OSError as error:
            raise MissingFileError(f"{type(self).__name__}: there can be no folder {self._root}: {error}") from None
        self._get_data()

    def _get_data(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} must override _get_data")

    def __getitem__(self, idx: int) -> Any:
        sample = self._data[idx], self._label[idx]
        return sample if self._transform is None else self._transform(*sample)

    def __len__(self) -> int:
        return len(self._label)


_DownloadedDataset = DownloadedDataset  # MXNet's name, which other libraries derive from


class SampledDataset(Dataset):
    """Some samples of another dataset, by their numbers."""

    def __init__(self, dataset: Dataset, numbers: Sequence[int]) -> None:
        self._dataset, self._numbers = dataset, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, idx: int) -> Any:
        return self._dataset[self._numbers[idx]]


class TransformedDataset(Dataset):
    """What a function makes of the samples of another dataset; of a tuple it gets the parts."""

    def __init__(self, data: Dataset, fn: Callable[..., Any]) -> None:
        self._data, self._fn = data, fn

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, idx: int) -> Any:
        item = self._data[idx]
        return self._fn(*item) if isinstance(item, tuple) else self._fn(item)


class TransformFirst:
    """A function of a sample's parts that changes the first; can be pickled when what it calls can."""

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        self._fn = fn

    def __call__(self, x: Any, *others: Any) -> Any:
        return (self._fn(x), *others) if others else self._fn(x)
