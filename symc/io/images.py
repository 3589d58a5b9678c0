"""Iterators over the images in record files, decoded and augmented by threads."""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from symc import ndarray as nd
from symc.core.errors import ArgumentError, FormatError
from symc.core.opencv import opencv
from symc.core.params import param
from symc.core.reading import contents
from symc.recordio import unpack

from .augmentation import Augmentation
from .batch import DataBatch, DataDesc, require_samples
from .keywords import MXDataIter, Options, parsed
from .records import CHUNK_BYTES, IndexedRecords, RecordFiles

CHANNELS = "rgba"
# Which channel of OpenCV's (blue, green, red, opacity) each of the result's is.
ORDERS = {1: (0,), 3: (2, 1, 0), 4: (2, 1, 0, 3)}


@dataclass(frozen=True, kw_only=True)
class ImageOptions(Options):
    """What both iterators take."""

    path_imgrec: str = param(doc="record file, folder of such, or several, separated by semicolons")
    path_imgidx: str = param("", doc="its index: all is shuffled together")
    path_imglist: str = param("", doc="list file with other labels, by the images' ids")
    aug_seq: str = param("aug_default", choices=("aug_default", ""), doc="which augmentation; empty: none")
    label_width: int = param(1, low=1, doc="labels of an image")
    data_shape: tuple[int, ...] = param(doc="(channels, height, width)")
    preprocess_threads: int = param(4, low=1, doc="threads that decode and augment")
    prefetch_buffer: int = param(4, low=0, doc="batches that are being made ahead")
    shuffle: bool = param(False, doc="whether every epoch has another order")
    seed: int = param(0, doc="of that order")
    seed_aug: int | None = param(None, doc="of the augmentation; by default as `seed`")
    shuffle_chunk_size: int = param(0, low=0, doc="MB that are shuffled together without an index, 0: 64")
    dtype: str | None = param(None, choices=("float32", "uint8", "int8"), dtype=True, doc="of the data")
    mean_img: str = param("", doc="file of the mean image, which is made if it is not there")
    mean_r: float = param(0.0, doc="taken from red, or grey")
    mean_g: float = param(0.0, doc="from green")
    mean_b: float = param(0.0, doc="from blue")
    mean_a: float = param(0.0, doc="from opacity")
    std_r: float = param(1.0, doc="red, or grey, is divided by it")
    std_g: float = param(1.0, doc="green")
    std_b: float = param(1.0, doc="blue")
    std_a: float = param(1.0, doc="opacity")
    scale: float = param(1.0, doc="factor of all")


@dataclass(frozen=True, kw_only=True)
class ClassOptions(ImageOptions):
    """What ImageRecordIter takes beside Augmentation's."""

    mirror: bool = param(False, doc="whether left and right are exchanged")
    rand_mirror: bool = param(False, doc="whether they are in every second image, by lot")
    max_random_contrast: float = param(0.0, doc="that factor times 1 - v to 1 + v")
    max_random_illumination: float = param(0.0, doc="-v to v added, times the scale")


class ImageRecordIter(MXDataIter):
    """Batches of images (N, channels, height, width) and labels (N,), or (N, label_width), of record files.

    MXNet iterator ImageRecordIter. An epoch's orders and changes depend on the seeds alone, not on threads; they are
    others than MXNet's.
    """

    options: ClassVar[type[ImageOptions]] = ClassOptions

    def __init__(self, *positional: Any, **given: Any) -> None:
        super().__init__(positional, given)
        chosen: ImageOptions = self._options
        name = type(self).__name__
        if len(chosen.data_shape) != 3 or chosen.data_shape[0] not in ORDERS or min(chosen.data_shape) < 1:
            raise ArgumentError(f"{name}: data_shape {chosen.data_shape}, expected (1, 3 or 4, height, width)")
        require_samples(name, chosen.batch_size)
        self._prepare(given)
        self._labels = _listed(chosen.path_imglist, chosen.label_width) if chosen.path_imglist else None
        place, part = chosen.path_imgrec, (chosen.part_index, chosen.num_parts)
        self._files: RecordFiles | IndexedRecords
        self._files = (
            IndexedRecords(place, chosen.path_imgidx, *part) if chosen.path_imgidx else RecordFiles(place, *part)
        )
        n_threads = min(chosen.preprocess_threads, os.cpu_count() or 1)
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="symc images")
        self._n_threads = n_threads
        self._order = random.Random(chosen.seed)
        self._n_epochs = 0  # begun
        self._measure_labels()
        self._mean: np.ndarray | None = None
        self._begin()
        self._mean = self._mean_image()

    def _prepare(self, given: dict[str, Any]) -> None:
        """Reads how images are changed."""
        name, n_channels = type(self).__name__, self._options.data_shape[0]
        self._augmentation: Augmentation = parsed(Augmentation, given, name)
        if self._augmentation.changes_colours and n_channels != 3:
            raise ArgumentError(f"{name}: colours of {n_channels} channels are not changed, expected 3")

    def _measure_labels(self) -> None:
        """Finds out how large labels are, where that is not told."""

    @property
    def _dtype(self) -> np.dtype:
        return np.dtype(self._options.dtype or "float32")

    @property
    def provide_data(self) -> list[DataDesc]:
        chosen = self._options
        return [DataDesc(chosen.data_name, (chosen.batch_size, *chosen.data_shape), self._dtype.type)]

    @property
    def provide_label(self) -> list[DataDesc]:
        return [DataDesc(self._options.label_name, self._label_shape())]

    def _label_shape(self) -> tuple[int, ...]:
        chosen = self._options
        return (chosen.batch_size, chosen.label_width) if chosen.label_width > 1 else (chosen.batch_size,)

    # -- epochs -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Starts at the first record."""
        self._records = self._epoch()
        self._pending: deque[Pending] = deque()
        self._has_more = True  # records of this epoch
        self._goes_on = False  # the next epoch begins behind what filled this one's last batch

    def _epoch(self) -> Iterator[tuple[bytes, int]]:
        """Records, each with the seed of its changes."""
        chosen = self._options
        seed = chosen.seed if chosen.seed_aug is None else chosen.seed_aug
        epoch, self._n_epochs = self._n_epochs, self._n_epochs + 1
        chunk = chosen.shuffle_chunk_size << 20 or CHUNK_BYTES
        for n, record in enumerate(self._files.epoch(self._order if chosen.shuffle else None, chunk)):
            yield record, (seed << 64) + (epoch << 32) + n

    def reset(self) -> None:
        if self._goes_on and not self._pending:
            self._has_more, self._goes_on = True, False
            return
        for pending in self._pending:
            pending.cancel()
        self._begin()

    def batch(self) -> DataBatch | None:
        while self._has_more and len(self._pending) <= self._options.prefetch_buffer:
            self._send()
        return self._pending.popleft().batch() if self._pending else None

    def _send(self) -> None:
        """Gives the records of the next batch to the threads."""
        size, taken = self.batch_size, []
        for item in self._records:
            taken.append(item)
            if len(taken) == size:
                break
        n = len(taken)
        if n < size:
            self._has_more = False
            if not n:
                return
            self._fill(taken)
        self._pending.append(Pending(self, taken, size - n))

    def _fill(self, taken: list[tuple[bytes, int]]) -> None:
        """Fills the last batch from the beginning."""
        while self._options.round_batch and len(taken) < self.batch_size:
            self._goes_on, self._records = True, self._epoch()
            missing = self.batch_size - len(taken)
            taken += [item for _, item in zip(range(missing), self._records)]

    # -- images, in threads -----------------------------------------------------------------------------------------

    def _put(self, items: Sequence[tuple[int, tuple[bytes, int]]], batch: Pending) -> None:
        """Puts images, each with its number in the batch, into the batch's arrays."""
        for n, (record, seed) in items:
            header, data = unpack(record)
            who = f"{type(self).__name__}: image {header.id} of {self._options.path_imgrec}"
            try:
                image, labels = decoded(data, self._options.data_shape[0]), self._labels_of(header)
                self._finish(image, labels, random.Random(seed), batch, n)
            except (FormatError, ArgumentError) as error:
                raise type(error)(f"{who}: {error}") from None
            except opencv().error as error:
                raise ArgumentError(f"{who}: OpenCV refuses what it is to do: {error}") from None
            batch.index[n] = header.id

    def _labels_of(self, header: Any) -> np.ndarray:
        """Of the list file, or of the record."""
        if self._labels is not None:
            if header.id not in self._labels:
                raise FormatError(f"no label in {self._options.path_imglist}")
            return self._labels[header.id]
        labels = np.atleast_1d(np.asarray(header.label, np.float32))
        if len(labels) != self._options.label_width > 0:
            raise FormatError(f"{len(labels)} labels, expected label_width={self._options.label_width}")
        return labels

    def _finish(self, image: np.ndarray, labels: np.ndarray, rng: random.Random, batch: Pending, n: int) -> None:
        """Changes an image and puts it into a batch with its labels."""
        chosen = self._options
        if chosen.aug_seq:
            image = self._augmentation.apply(image, chosen.data_shape[1:], rng)
        if image.shape[:2] != chosen.data_shape[1:]:
            raise ArgumentError(f"an image {image.shape[:2]}, expected {chosen.data_shape[1:]}; aug_seq cuts it")
        is_mirrored = (chosen.rand_mirror and rng.random() < 0.5) or chosen.mirror
        contrast = 1 + rng.uniform(-1, 1) * chosen.max_random_contrast
        light = rng.uniform(-1, 1) * chosen.max_random_illumination
        self._normalize(image, batch.data[n], is_mirrored, contrast, light)
        batch.label[n] = labels if chosen.label_width > 1 else labels[0]

    def _normalize(
        self, image: np.ndarray, out: np.ndarray, is_mirrored: bool, contrast: float = 1, light: float = 0
    ) -> None:
        """Moves and scales the colours of an image (height, width, channels) into `out` (channels, height, width)."""
        chosen, cv2 = self._options, opencv()
        planes = cv2.split(cv2.flip(image, 1) if is_mirrored else image)
        for k, channel in enumerate(ORDERS[len(planes)]):
            plane = planes[channel]
            if out.dtype == np.uint8:
                out[k] = plane
                continue
            mean: Any = np.float32(getattr(chosen, f"mean_{CHANNELS[k]}"))
            if self._mean is not None:
                mean = self._mean[k, : plane.shape[0], : plane.shape[1]]
                mean = mean[:, ::-1] if is_mirrored else mean
            if out.dtype == np.int8:
                out[k] = np.clip(plane - _rounded(mean), -128, 127)
                continue
            deviation = np.float32(getattr(chosen, f"std_{CHANNELS[k]}") or 1)
            np.subtract(plane, mean, out=out[k])
            out[k] *= np.float32(contrast * chosen.scale) / deviation
            out[k] += np.float32(light * chosen.scale) / deviation

    def _mean_image(self) -> np.ndarray | None:
        """The mean image of the file, or of all images, which is saved then; float32 (channels, height, width)."""
        path = self._options.mean_img
        if not path or self._dtype == np.uint8:
            return None
        if not Path(path).exists():
            nd.save(path, {"mean_img": nd.array(self._measured())})
        loaded = nd.load(path)
        arrays = list(loaded.values()) if isinstance(loaded, dict) else loaded
        if len(arrays) != 1 or arrays[0].shape != self._options.data_shape:
            raise FormatError(f"{path}: {[a.shape for a in arrays]}, expected one array {self._options.data_shape}")
        return arrays[0].asnumpy()

    def _measured(self) -> np.ndarray:
        """The mean of all images."""
        total, n_images = np.zeros(self._options.data_shape), 0
        while (batch := self.batch()) is not None:
            images = batch.data[0].asnumpy()[: self.batch_size - batch.pad]
            total += images.sum(axis=0, dtype=np.float64)
            n_images += len(images)
        self._begin()
        return total / n_images

    def __del__(self) -> None:
        if hasattr(self, "_threads"):
            self._threads.shutdown(wait=False, cancel_futures=True)


class ImageRecordUInt8Iter(ImageRecordIter):
    """ImageRecordIter with dtype uint8.  MXNet iterator ImageRecordUInt8Iter."""

    def __init__(self, *positional: Any, **given: Any) -> None:
        super().__init__(*positional, **{**given, "dtype": "uint8"})


class ImageRecordInt8Iter(ImageRecordIter):
    """ImageRecordIter with dtype int8.  MXNet iterator ImageRecordInt8Iter."""

    def __init__(self, *positional: Any, **given: Any) -> None:
        super().__init__(*positional, **{**given, "dtype": "int8"})


class Pending:
    """A batch that threads are making."""

    def __init__(self, maker: ImageRecordIter, taken: Sequence[tuple[bytes, int]], pad: int) -> None:
        (data,), (label,) = maker.provide_data, maker.provide_label
        # Zeros where an epoch ends without images to fill the batch.
        self.data = (np.zeros if len(taken) < data.shape[0] else np.empty)(data.shape, data.dtype)
        self.label = np.zeros(label.shape, np.float32)
        self.index = np.zeros(data.shape[0], np.uint64)
        self._pad = pad
        items, n = list(enumerate(taken)), maker._n_threads
        self._works: list[Future] = [maker._threads.submit(maker._put, items[k::n], self) for k in range(n)]

    def batch(self) -> DataBatch:
        """The batch, when it is made."""
        for work in self._works:
            work.result()
        return DataBatch([nd.from_numpy(self.data)], [nd.from_numpy(self.label)], self._pad, self.index)

    def cancel(self) -> None:
        """Nobody wants it any more."""
        for work in self._works:
            work.cancel()


def decoded(data: bytes, n_channels: int) -> np.ndarray:
    """An image uint8 (H, W) or (H, W, C), blue first."""
    cv2 = opencv()
    flag = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR, 4: cv2.IMREAD_UNCHANGED}[n_channels]
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None
    if image is None:
        raise FormatError(f"{len(data)} bytes that are no image")
    if image.dtype != np.uint8 or (1 if image.ndim == 2 else image.shape[2]) != n_channels:
        raise FormatError(f"an image {image.shape} of {image.dtype}, expected {n_channels} channels of uint8")
    return image


def _rounded(mean: Any) -> Any:
    """Halves away from zero."""
    return (np.sign(mean) * np.floor(np.abs(mean) + 0.5)).astype(np.int32)


def _listed(path: str, label_width: int) -> dict[int, np.ndarray]:
    """Labels by the image's id, of a file of lines `id<tab>label...<tab>path`; label_width -1: as many as there are."""
    found = {}
    for number, line in enumerate(contents(path).decode(errors="replace").splitlines(), 1):
        cells = line.split("\t")
        labels = cells[1:-1] if label_width < 0 else cells[1 : 1 + label_width]
        try:
            found[int(cells[0])] = np.array([float(v) for v in labels], np.float32)
        except ValueError:
            labels = []
        if not labels or len(labels) < label_width:
            raise FormatError(f"{path}, line {number}: {line!r}, expected an id, {label_width} labels and a path")
    return found
