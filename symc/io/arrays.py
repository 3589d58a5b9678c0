"""`NDArrayIter`: batches of arrays in memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from symc import ndarray as nd
from symc.core.errors import ArgumentError, ArgumentTypeError, ConflictError
from symc.ndarray import NDArray

from .batch import DataBatch, DataDesc, require_samples
from .iterator import DataIter

Source = tuple[str, Any]  # name, array


class NDArrayIter(DataIter):
    """Batches of `batch_size` consecutive samples of arrays.

    data, label         an array (NDArray, NumPy, h5py), a list of them, named _0_data, _1_data, ..., or a mapping from
                        names to arrays; what is no NDArray, lists of numbers too, becomes float32
    shuffle             whether every epoch, the first one too, has another order, drawn from np.random; then all arrays
                        become float32
    last_batch_handle   what becomes of samples that fill no batch: "pad" fills it from the beginning, "discard" leaves
                        them out, "roll_over" has them begin the next epoch
    layout              what the axes of data and labels stand for, told by `provide_data` and `provide_label`; N, the
                        samples, is the first
    """

    def __init__(
        self,
        data: Any,
        label: Any = None,
        batch_size: int = 1,
        shuffle: bool = False,
        last_batch_handle: str = "pad",
        data_name: str = "data",
        label_name: str = "softmax_label",
        layout: str = "NCHW",
    ) -> None:
        super().__init__(batch_size)
        require_samples("NDArrayIter", batch_size)
        self.data = sources(data, data_name)
        if not self.data:
            raise ConflictError("NDArrayIter: there is no data")
        self.label = sources(label, label_name)
        self.num_data = self.data[0][1].shape[0]
        if last_batch_handle not in ("pad", "discard", "roll_over"):
            raise ArgumentError(
                f"NDArrayIter: last_batch_handle {last_batch_handle!r}; expected pad, discard or roll_over"
            )
        if DataDesc.get_batch_axis(layout) != 0:
            raise ArgumentError(f"NDArrayIter: layout {layout!r}; expected one whose first axis is N, the samples")
        if last_batch_handle == "roll_over" and batch_size > self.num_data:
            raise ArgumentError(f"NDArrayIter: {self.num_data} samples fill no batch of {batch_size}")
        for name, array in (*self.data, *self.label):
            if array.shape[0] < self.num_data:
                raise ArgumentError(f"NDArrayIter: {name} has {array.shape[0]} samples, expected {self.num_data}")
        self.idx = np.arange(self.num_data)
        self.shuffle = shuffle
        self.last_batch_handle = last_batch_handle
        self.layout = layout
        self.cursor = -batch_size  # the first sample of the current batch
        self.num_source = len(self.data) + len(self.label)
        self._begun: tuple[list[NDArray], list[NDArray]] | None = None  # a batch that the next epoch will fill
        self.reset()

    @property
    def data_list(self) -> list[Any]:
        """All arrays, data first."""
        return [array for _, array in (*self.data, *self.label)]

    @property
    def provide_data(self) -> list[DataDesc]:
        return self._descriptions(self.data)

    @property
    def provide_label(self) -> list[DataDesc]:
        return self._descriptions(self.label)

    def _descriptions(self, listed: list[Source]) -> list[DataDesc]:
        return [
            DataDesc(name, (self.batch_size, *a.shape[1:]), np.dtype(a.dtype).type, self.layout) for name, a in listed
        ]

    def hard_reset(self) -> None:
        """Starts an epoch without what was left over from the last one."""
        if self.shuffle:
            self._shuffle()
        self.cursor = -self.batch_size
        self._begun = None

    def reset(self) -> None:
        if self.shuffle:
            self._shuffle()
        n_left = self.num_data - self.cursor
        is_left = self.last_batch_handle == "roll_over" and 0 < n_left < self.batch_size
        self.cursor = -n_left - self.batch_size if is_left else -self.batch_size

    def iter_next(self) -> bool:
        self.cursor += self.batch_size
        return self.cursor < self.num_data

    def next(self) -> DataBatch:
        if not self.iter_next():
            raise StopIteration
        data, label = self.getdata(), self.getlabel()
        if data[0].shape[0] != self.batch_size:
            self._begun = data, label
            raise StopIteration
        return DataBatch(data, label, self.getpad())

    def getdata(self) -> list[NDArray]:
        return self._batch(self.data, 0)

    def getlabel(self) -> list[NDArray]:
        return self._batch(self.label, 1)

    def getpad(self) -> int:
        if self.last_batch_handle == "pad":
            return max(0, self.cursor + self.batch_size - self.num_data)
        return max(0, -self.cursor)

    def _batch(self, listed: list[Source], kind: int) -> list[NDArray]:
        """The current batch of one kind of arrays, 0 for data, 1 for labels."""
        if self.cursor >= self.num_data:
            raise ConflictError("NDArrayIter: the epoch is over; call reset() first")
        end = self.cursor + self.batch_size
        if self.cursor < 0:
            if self._begun is None:
                raise ConflictError("NDArrayIter: the batch that the last epoch began is not there any more")
            pairs = zip(self._begun[kind], listed)
            return [nd.concat(begun, _rows(array, 0, end), dim=0) for begun, (_, array) in pairs]
        if end <= self.num_data or self.last_batch_handle != "pad":
            return [_rows(array, self.cursor, min(end, self.num_data)) for _, array in listed]
        return [self._padded(array, end) for _, array in listed]

    def _padded(self, array: Any, end: int) -> NDArray:
        """The samples up to `end`, beginning again where there are no more."""
        parts, missing = [_rows(array, self.cursor, self.num_data)], end - self.num_data
        while missing > 0:
            parts.append(_rows(array, 0, min(missing, self.num_data)))
            missing -= self.num_data
        return nd.concat(*parts, dim=0)

    def _shuffle(self) -> None:
        """Another order of what is there now."""
        np.random.shuffle(self.idx)  # noqa: NPY002 - the stream that scripts seed
        self.data = [(name, in_order(array, self.idx)) for name, array in self.data]
        self.label = [(name, in_order(array, self.idx)) for name, array in self.label]


def sources(arrays: Any, default_name: str) -> list[Source]:
    """Names and arrays, sorted by name; nothing for None."""
    if arrays is None:
        return []
    if isinstance(arrays, (list, tuple)):
        is_one = len(arrays) == 1
        arrays = {default_name if is_one else f"_{k}_{default_name}": a for k, a in enumerate(arrays)}
    elif not isinstance(arrays, Mapping):
        if not _is_array(arrays):
            raise ArgumentTypeError(
                "Input must be NDArray, numpy.ndarray, h5py.Dataset a list of them or dict with them as values"
            )
        arrays = {default_name: arrays}
    return sorted((name, _with_samples(name, array)) for name, array in arrays.items())


def _is_array(value: Any) -> bool:
    return isinstance(value, (NDArray, np.ndarray)) or _is_on_disk(value)


def _with_samples(name: str, value: Any) -> Any:
    """An array with an axis of samples; one on disk stays there."""
    try:
        array = value if isinstance(value, NDArray) or _is_on_disk(value) else nd.array(value)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(
            f"Invalid type '{type(value)}' for {name}, should be NDArray, numpy.ndarray or h5py.Dataset"
        ) from error
    if not array.shape:
        raise ArgumentError(f"NDArrayIter: {name} is a number, expected an array whose first axis is N, the samples")
    return array


def _is_on_disk(value: Any) -> bool:
    """Whether a value is a dataset of h5py, which nobody can have who has not imported it."""
    h5py = sys.modules.get("h5py")
    return h5py is not None and isinstance(value, h5py.Dataset)


def _rows(array: Any, begin: int, end: int) -> NDArray:
    rows = array[begin:end]
    return rows if isinstance(rows, NDArray) else nd.array(rows)


def in_order(array: Any, order: np.ndarray) -> Any:
    """The first samples of an array in another order, as many as the order has; float32, as from MXNet's NumPy."""
    if isinstance(array, NDArray):
        return nd.take(array, nd.array(order, dtype="int64"), axis=0).astype("float32", copy=False)
    return nd.array(array[:][order])
