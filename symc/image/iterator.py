"""`ImageIter`: batches of images from a record file, a list of files, or both."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np

from symc import ndarray as nd
from symc.core.errors import ArgumentError, ConflictError, FormatError, SymcError
from symc.core.reading import contents
from symc.io import DataBatch, DataIter
from symc.io.batch import require_samples
from symc.ndarray import NDArray
from symc.recordio import MXIndexedRecordIO, MXRecordIO, unpack

from .augment import CreateAugmenter
from .image import imdecode, made, pixels

Listed = dict[Any, tuple[NDArray, str]]  # key -> labels, path
LABEL_DTYPES = ("int32", "float32", "int64", "float64")


class ImageIter(DataIter):
    """Batches of images (C, H, W) = data_shape and their labels.

    path_imgrec         a record file; with path_imgidx, its index, it can be shuffled and divided into parts
    path_imglist        a file of lines `key<tab>label...<tab>path`; beside a record file it gives other labels
    imglist             the same as a list of [label..., path]
    path_root           folder that the paths begin in
    part_index, num_parts   which of how many parts of the images; images that are left over are in none
    aug_list            augmenters, else CreateAugmenter makes them of the other keywords
    dtype               of the labels in lists
    last_batch_handle   what becomes of images that fill no batch: "pad" fills it from the beginning, "discard" leaves
                        them out, "roll_over" has them begin the next epoch
    Images that cannot be read end the epoch with an error; subclasses may override the steps from `next_sample` to
    `postprocess_data`.
    """

    def __init__(
        self,
        batch_size: int,
        data_shape: tuple[int, int, int],
        label_width: int = 1,
        path_imgrec: str | None = None,
        path_imglist: str | None = None,
        path_root: str | None = None,
        path_imgidx: str | None = None,
        shuffle: bool = False,
        part_index: int = 0,
        num_parts: int = 1,
        aug_list: Sequence[Any] | None = None,
        imglist: list[Any] | None = None,
        data_name: str = "data",
        label_name: str = "softmax_label",
        dtype: str = "float32",
        last_batch_handle: str = "pad",
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_size)
        require_samples(type(self).__name__, batch_size)
        if not (path_imgrec or path_imglist or isinstance(imglist, list)):
            raise ConflictError("ImageIter: needs path_imgrec, path_imglist or imglist")
        if dtype not in LABEL_DTYPES:
            raise ConflictError(f"{dtype} label not supported: expected one of {', '.join(LABEL_DTYPES)}")
        self.check_data_shape(data_shape)
        self.imgrec: MXRecordIO | None = None
        self.imgidx: list[Any] | None = None
        if path_imgrec:
            logging.info("%s: loading recordio %s...", type(self).__name__, path_imgrec)
            self._open(path_imgrec, path_imgidx)
        self.imglist = self._listed(path_imglist, imglist, dtype)
        self.path_root = path_root
        self.provide_data = [(data_name, (batch_size, *data_shape))]
        self.provide_label = [(label_name, (batch_size, label_width) if label_width > 1 else (batch_size,))]
        self.data_shape = data_shape
        self.label_width = label_width
        self.shuffle = shuffle
        self.seq = self._order(shuffle or num_parts > 1 or bool(path_imgidx), part_index, num_parts)
        self.num_image = None if self.seq is None else len(self.seq)
        self.auglist = CreateAugmenter(data_shape, **kwargs) if aug_list is None else aug_list
        self.last_batch_handle = last_batch_handle
        self.cur = 0
        self._is_over = False  # the last batch was filled from the beginning: only reset() begins anew
        self._begun: tuple[np.ndarray, np.ndarray, int] | None = None  # a batch that the next epoch will fill
        self.reset()

    def _open(self, records: str, index: str | None) -> None:
        if not index:
            self.imgrec = MXRecordIO(records, "r")
            return
        indexed = MXIndexedRecordIO(index, records, "r")
        self.imgrec, self.imgidx = indexed, list(indexed.keys)

    def _listed(self, path: str | None, given: list[Any] | None, dtype: str) -> Listed | None:
        """Labels and paths by key, from a file or as they were given."""
        if path:
            logging.info("%s: loading image list %s...", type(self).__name__, path)
            return read_list(path, dtype)
        if isinstance(given, list):
            return {str(k): (labels_of(entry, dtype), entry[-1]) for k, entry in enumerate(given, 1)}
        return None

    def _order(self, is_needed: bool, part_index: int, num_parts: int) -> list[Any] | None:
        """The keys of this part; None for a record file that is read from its beginning to its end."""
        if self.imgrec is None:
            assert self.imglist is not None
            keys = list(self.imglist)
        elif not is_needed:
            return None
        elif self.imgidx is None:
            raise ConflictError("ImageIter: to shuffle or divide a record file its index is needed, path_imgidx")
        else:
            keys = self.imgidx
        if not 0 <= part_index < num_parts:
            raise ConflictError(f"ImageIter: part_index {part_index} of {num_parts} parts")
        size = len(keys) // num_parts
        return keys[part_index * size : (part_index + 1) * size] if num_parts > 1 else keys

    def reset(self) -> None:
        """Starts the next epoch; a batch begun by the last one is filled first."""
        self._shuffle()
        if self.last_batch_handle != "roll_over" or self._begun is None:
            self._begin()

    def hard_reset(self) -> None:
        """Starts an epoch without what was left over from the last one."""
        self._shuffle()
        self._begun = None
        self._begin()

    def _shuffle(self) -> None:
        if self.seq is not None and self.shuffle:
            random.shuffle(self.seq)

    def _begin(self) -> None:
        if self.imgrec is not None:
            self.imgrec.reset()
        self.cur = 0
        self._is_over = False

    def next_sample(self) -> tuple[Any, bytes]:
        """Label and bytes of the next image; raises StopIteration after the last one, and then begins anew."""
        if self._is_over:
            raise StopIteration
        if self.seq is None:
            return self._next_record()
        if self.cur >= len(self.seq):
            if self.last_batch_handle != "discard":
                self.cur = 0
            raise StopIteration
        key = self.seq[self.cur]
        self.cur += 1
        if isinstance(self.imgrec, MXIndexedRecordIO):
            header, data = unpack(self.imgrec.read_idx(key))
            return header.label if self.imglist is None else self.imglist[key][0], data
        assert self.imglist is not None
        label, path = self.imglist[key]
        return label, self.read_image(path)

    def _next_record(self) -> tuple[Any, bytes]:
        assert self.imgrec is not None
        record = self.imgrec.read()
        if record is None:
            if self.last_batch_handle != "discard":
                self.imgrec.reset()
            raise StopIteration
        self.cur += 1
        header, data = unpack(record)
        return header.label, data

    def next(self) -> DataBatch:
        if self._begun is not None:
            data, label, n = self._begun
        else:
            data, label = self._empty()
            n = self._batchify(data, label)
        pad = self.batch_size - n
        if pad and self.last_batch_handle == "discard":
            raise StopIteration
        if pad and self.last_batch_handle == "roll_over" and self._begun is None:
            self._begun = data, label, n
            raise StopIteration
        if pad:
            self._fill(data, label, n)
            self._is_over = self.last_batch_handle == "pad"
            self._begun = None
        return DataBatch([made(data)], [made(label)], pad=pad)

    def _fill(self, data: np.ndarray, label: np.ndarray, n: int) -> None:
        """Fills a batch from the beginning, again and again where there are few images."""
        while n < self.batch_size:
            n = self._batchify(data, label, n)

    def _empty(self) -> tuple[np.ndarray, np.ndarray]:
        """Arrays for the data and the labels of a batch."""
        return np.zeros(self.provide_data[0][1], np.float32), np.zeros(self.provide_label[0][1], np.float32)

    def _batchify(self, batch_data: np.ndarray, batch_label: np.ndarray, start: int = 0) -> int:
        """Puts samples into a batch, and says how many are in it; raises StopIteration where there are none."""
        n = start
        try:
            while n < self.batch_size:
                label, data = self.next_sample()
                image = self.augmentation_transform(self.imdecode(data))
                batch_data[n] = self._data(image)
                batch_label[n] = self._label(label)
                n += 1
        except StopIteration:
            if not n:
                raise
        return n

    def _data(self, image: NDArray) -> np.ndarray:
        array = pixels(self.postprocess_data(image))
        if array.shape != tuple(self.data_shape):
            raise ArgumentError(
                f"{type(self).__name__}: the augmenters make images {array.shape}, expected data_shape "
                f"{self.data_shape}"
            )
        return array

    def _label(self, label: Any) -> np.ndarray:
        labels = np.ravel(label if isinstance(label, Number) else pixels(label))
        if labels.size != self.label_width:
            raise FormatError(
                f"{type(self).__name__}: image {self._current()} has {labels.size} labels, expected label_width="
                f"{self.label_width}"
            )
        return labels if self.label_width > 1 else labels[0]

    def check_data_shape(self, data_shape: Sequence[int]) -> None:
        """Raises ArgumentError for what is no shape of images of three channels."""
        if len(data_shape) != 3:
            raise ArgumentError(f"data_shape should have length 3, with dimensions CxHxW, got {data_shape}")
        if data_shape[0] != 3:
            raise ArgumentError(f"This iterator expects inputs to have 3 channels, got {data_shape}")

    def imdecode(self, s: bytes) -> NDArray:
        """The image in bytes; raises FormatError that says which one is broken."""
        try:
            return imdecode(s)
        except SymcError as error:
            raise FormatError(f"Broken image {self._current()}, {error}") from None

    def _current(self) -> str:
        if self.seq is None:
            return f"number {self.cur - 1} of {self.imgrec.uri if self.imgrec else ''}"
        key = self.seq[self.cur - 1]
        return f"index: {key}" if self.imglist is None else f"filename: {self.imglist[key][1]}"

    def read_image(self, fname: str) -> bytes:
        """The bytes of a file."""
        return contents(os.path.join(self.path_root or "", fname))

    def augmentation_transform(self, data: NDArray) -> NDArray:
        """What the augmenters make of an image."""
        for augmenter in self.auglist:
            data = augmenter(data)
        return data

    def postprocess_data(self, datum: NDArray) -> NDArray:
        """An image (H, W, C) as (C, H, W)."""
        return made(pixels(datum).transpose(2, 0, 1))


def read_list(path: str, dtype: str = "float32") -> Listed:
    """Labels and path by key, of a file of lines `key<tab>label...<tab>path`."""
    lines = contents(path).decode("utf-8", "surrogateescape").splitlines()
    found: Listed = {}
    for number, line in enumerate(lines, 1):
        try:
            key, *labels, name = line.strip().split("\t")
            found[int(key)] = nd.array(np.array([float(v) for v in labels], dtype), dtype=dtype), name
        except ValueError:
            raise FormatError(f"{path}, line {number}: {line!r}, expected `key<tab>label...<tab>path`") from None
    return found


def labels_of(entry: Sequence[Any], dtype: str = "float32") -> NDArray:
    """The labels of an entry [label..., path]; one may be a list of them."""
    labels = entry[:-1] if len(entry) > 2 else [entry[0]] if isinstance(entry[0], Number) else entry[0]
    return nd.array(labels, dtype=dtype)
