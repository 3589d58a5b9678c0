"""Iterators over files: text (CSV, LibSVM) and MNIST's."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from symc import ndarray as nd
from symc.core.errors import ArgumentError, FormatError
from symc.core.params import param
from symc.core.reading import reading, size_of

from .batch import DataBatch, DataDesc, require_samples
from .keywords import MXDataIter, Options
from .places import files_of


class FileIter(MXDataIter):
    """Batches of samples that were read from a file: `data` (N, *shape) and `label` (N, *shape)."""

    data: np.ndarray
    label: np.ndarray

    def __init__(self, *positional: Any, **given: Any) -> None:
        super().__init__(positional, given)
        chosen = self._options
        data, label = self.read(chosen)
        n = len(data)
        part = slice(n * chosen.part_index // chosen.num_parts, n * (chosen.part_index + 1) // chosen.num_parts)
        self.data, self.label = data[part], label[part]
        require_samples(type(self).__name__, self.batch_size)
        if not len(self.data):
            raise ArgumentError(f"{type(self).__name__}: 0 samples for batches of {self.batch_size}")
        self._next = 0  # number of the sample that comes next

    def read(self, chosen: Any) -> tuple[np.ndarray, np.ndarray]:
        """Data and labels of all samples."""
        raise NotImplementedError(f"{type(self).__name__} must override read")

    @property
    def provide_data(self) -> list[DataDesc]:
        return [self._description(self._options.data_name, self.data)]

    @property
    def provide_label(self) -> list[DataDesc]:
        return [self._description(self._options.label_name, self.label)]

    def _description(self, name: str, array: np.ndarray) -> DataDesc:
        return DataDesc(name, (self.batch_size, *array.shape[1:]), array.dtype.type)

    def reset(self) -> None:
        # What the last batch took from the beginning belongs to the next epoch.
        n = len(self.data)
        self._next = self._next - n if self._options.round_batch and self._next > n else 0

    def batch(self) -> DataBatch | None:
        n, first = len(self.data), self._next
        if first >= n:
            return None
        self._next = first + self.batch_size
        numbers = np.arange(first, self._next) % n
        pad = max(0, self._next - n)
        data, label = self.data[numbers], self.label[numbers]
        if pad and not self._options.round_batch:
            data[-pad:] = label[-pad:] = 0  # MXNet leaves whatever was there
        arrays = [nd.array(a, dtype=a.dtype) for a in (data, label)]
        return DataBatch(arrays[:1], arrays[1:], pad, numbers.astype("uint64"))


@dataclass(frozen=True, kw_only=True)
class CSVOptions(Options):
    """What CSVIter takes."""

    data_csv: str = param(doc="file, or folder of files")
    data_shape: tuple[int, ...] = param(doc="shape of a sample")
    label_csv: str = param("NULL", doc="file or folder of labels; NULL: all are 0")
    label_shape: tuple[int, ...] = param((1,), doc="shape of a label")


class CSVIter(FileIter):
    """Samples from comma-separated numbers, a line each.  MXNet iterator CSVIter."""

    options = CSVOptions

    def read(self, chosen: CSVOptions) -> tuple[np.ndarray, np.ndarray]:
        dtype = np.dtype(chosen.dtype or "float32")
        data = _numbers(chosen.data_csv, chosen.data_shape, dtype)
        if chosen.label_csv == "NULL":
            return data, _labels(np.zeros((len(data), *chosen.label_shape), dtype))
        return data, _labels(_fitting(_numbers(chosen.label_csv, chosen.label_shape, dtype), data, chosen.label_csv))


@dataclass(frozen=True, kw_only=True)
class LibSVMOptions(Options):
    """What LibSVMIter takes."""

    data_libsvm: str = param(doc="file, or folder of files")
    data_shape: tuple[int, ...] = param(doc="(number of features,)")
    label_libsvm: str = param("NULL", doc="file or folder whose rows are the labels; NULL: those in the data")
    label_shape: tuple[int, ...] = param((1,), doc="shape of a label")


class LibSVMIter(FileIter):
    """Samples from lines `label column:value column:value ...` with columns from 0.  MXNet iterator LibSVMIter, whose
    data are sparse: here they are dense."""

    options = LibSVMOptions

    def read(self, chosen: LibSVMOptions) -> tuple[np.ndarray, np.ndarray]:
        labels, data = _sparse_rows(chosen.data_libsvm, chosen.data_shape)
        if chosen.label_libsvm == "NULL":
            return data, labels
        return data, _labels(
            _fitting(_sparse_rows(chosen.label_libsvm, chosen.label_shape)[1], data, chosen.label_libsvm)
        )


@dataclass(frozen=True, kw_only=True)
class MNISTOptions(Options):
    """What MNISTIter takes."""

    batch_size: int = param(128, low=0, doc="samples of a batch")
    image: str = param("./train-images-idx3-ubyte", doc="file of the images")
    label: str = param("./train-labels-idx1-ubyte", doc="file of the labels")
    shuffle: bool = param(True, doc="whether the samples are shuffled once")
    flat: bool = param(False, doc="images as (784,) instead of (1, 28, 28)")
    seed: int = param(0, doc="of the shuffle")


class MNISTIter(FileIter):
    """MNIST's images in 0..1 and their digits; samples that fill no batch are left out.  MXNet iterator MNISTIter.

    The order of shuffled samples is another than MXNet's.
    """

    options = MNISTOptions

    def read(self, chosen: MNISTOptions) -> tuple[np.ndarray, np.ndarray]:
        images = read_idx(chosen.image, 3).astype("float32") / 256
        labels = _fitting(read_idx(chosen.label, 1).astype("float32"), images, chosen.label)
        images = images.reshape(len(images), -1) if chosen.flat else images[:, None]
        if chosen.shuffle:
            order = np.random.RandomState(chosen.seed).permutation(len(images))
            images, labels = images[order], labels[order]
        return images, labels

    def batch(self) -> DataBatch | None:
        return super().batch() if self._next + self.batch_size <= len(self.data) else None

    def reset(self) -> None:
        self._next = 0


def _lines(place: str) -> Iterator[tuple[str, str]]:
    """Where it stands, and the text, of every line that is not blank."""
    for path in files_of(place):
        with reading(path) as raw, io.TextIOWrapper(raw, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}, line {number}", line


def _numbers(place: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    rows = []
    for where, line in _lines(place):
        cells = line.strip().split(",")
        if len(cells) != math.prod(shape):
            raise FormatError(f"{where}: {len(cells)} numbers, expected {math.prod(shape)} for the shape {shape}")
        try:
            numbers = [float(c) if dtype.kind == "f" or not _is_integer(c) else int(c) for c in cells]
            with np.errstate(over="ignore"):  # to infinity
                rows.append(np.array(numbers, dtype))
        except (ValueError, OverflowError) as error:
            raise FormatError(f"{where}: {error}") from None
    return np.array(rows, dtype).reshape(len(rows), *shape)


def _is_integer(text: str) -> bool:
    return text.strip().lstrip("+-").isdecimal()


def _labels(labels: np.ndarray) -> np.ndarray:
    """Labels of shape (1,) are numbers."""
    return labels[:, 0] if labels.shape[1:] == (1,) else labels


def _fitting(labels: np.ndarray, data: np.ndarray, place: str) -> np.ndarray:
    if len(labels) != len(data):
        raise FormatError(f"{place}: {len(labels)} labels, expected {len(data)}, one for each sample")
    return labels


def _sparse_rows(place: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The first numbers (N,) and the dense rows (N, *shape) of lines of column:value."""
    if len(shape) != 1:
        raise ArgumentError(f"{place}: a row has one dimension, got the shape {shape}")
    firsts, rows = [], []
    for where, line in _lines(place):
        first, *cells = line.split()
        row = np.zeros(shape, "float32")
        try:
            for cell in cells:
                column, value = cell.split(":")
                if not 0 <= int(column) < shape[0]:
                    raise FormatError(f"{where}: column {column}, expected 0 to {shape[0] - 1}")
                row[int(column)] = float(value)
            firsts.append(float(first))
        except ValueError as error:
            raise FormatError(f"{where}: {error}; expected `label column:value ...`") from None
        rows.append(row)
    return np.array(firsts, "float32"), np.array(rows, "float32").reshape(len(rows), *shape)


def read_idx(place: str, n_axes: int) -> np.ndarray:
    """The bytes of a file in MNIST's format (magic 0, 0, 8, axes; extents, big-endian; bytes), compressed or not.

    Raises FormatError for a damaged file, SymcError where it cannot be read.
    """
    with reading(place) as raw:
        most = size_of(raw) * 1100  # more than gzip can compress
        file = gzip.GzipFile(fileobj=raw) if place.endswith(".gz") else raw
        try:
            head = file.read(4 + 4 * n_axes)
            if len(head) < 4 + 4 * n_axes or head[:4] != bytes((0, 0, 8, n_axes)):
                raise FormatError(f"{place}: begins with {head[:4].hex(' ')}, expected 00 00 08 0{n_axes}")
            extents = struct.unpack(f">{n_axes}I", head[4:])
            if math.prod(extents) > most:
                raise FormatError(f"{place}: says it has {extents} bytes, which is more than the file can have")
            data = file.read(math.prod(extents))
            file.read(1)  # looks at the checksum behind what is compressed
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise FormatError(f"{place}: {error}") from None
    if len(data) != math.prod(extents):
        raise FormatError(f"{place}: {len(data)} bytes after byte {len(head)}, expected {extents}")
    return np.frombuffer(data, np.uint8).reshape(extents)
