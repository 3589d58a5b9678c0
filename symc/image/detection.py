"""Images with objects: `ImageDetIter`, and the augmenters it takes."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from symc.core.errors import ArgumentError, ConflictError, FormatError
from symc.core.opencv import opencv
from symc.ndarray import NDArray

from .augment import IMAGENET_MEAN, IMAGENET_STD, of_channels
from .boxes import (
    CreateDetAugmenter,
    CreateMultiRandCropAugmenter,
    DetAugmenter,
    DetBorrowAug,
    DetHorizontalFlipAug,
    DetRandomCropAug,
    DetRandomPadAug,
    DetRandomSelectAug,
)
from .image import pixels
from .iterator import ImageIter

__all__ = [
    "CreateDetAugmenter", "CreateMultiRandCropAugmenter", "DetAugmenter", "DetBorrowAug", "DetHorizontalFlipAug",
    "DetRandomCropAug", "DetRandomPadAug", "DetRandomSelectAug", "ImageDetIter",
]  # fmt: skip

MIN_WIDTH = 5  # of an object: its class and its edges


class ImageDetIter(ImageIter):
    """Batches of images (C, H, W) = data_shape and of their objects (most objects of an image, numbers of an object).

    An image's label is: how many numbers come before the objects (2 or more), how many each object has (5 or more),
    what else comes before them, and the objects: class, left, top, right, bottom, ..., edges from 0 to 1. Rows without
    an object are -1. Images without one are left out.

    The parameters are those of ImageIter; other keywords are those of CreateDetAugmenter.
    """

    def __init__(
        self,
        batch_size: int,
        data_shape: tuple[int, int, int],
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
        label_name: str = "label",
        last_batch_handle: str = "pad",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            batch_size,
            data_shape,
            path_imgrec=path_imgrec,
            path_imglist=path_imglist,
            path_root=path_root,
            path_imgidx=path_imgidx,
            shuffle=shuffle,
            part_index=part_index,
            num_parts=num_parts,
            aug_list=[],
            imglist=imglist,
            data_name=data_name,
            label_name=label_name,
            last_batch_handle=last_batch_handle,
        )
        self.auglist = CreateDetAugmenter(data_shape, **kwargs) if aug_list is None else aug_list
        self.label_shape = self._estimate_label_shape()
        self.provide_label = [(label_name, (batch_size, *self.label_shape))]

    def _estimate_label_shape(self) -> tuple[int, int]:
        """Most objects of an image, and numbers of an object; looks at all images."""
        shapes = []
        self.reset()
        try:
            while True:
                shapes.append(self._objects(self.next_sample()[0]).shape)
        except StopIteration:
            self.reset()
        widths = {width for _, width in shapes}
        if len(widths) != 1:
            raise FormatError(f"ImageDetIter: objects of {sorted(widths)} numbers, expected one width")
        return max(n for n, _ in shapes), widths.pop()

    def _objects(self, label: Any) -> np.ndarray:
        """The objects of a label that have an area, (N, width)."""
        numbers = np.ravel(pixels(label))
        lead, width = (int(v) for v in numbers[:2]) if numbers.size >= 2 else (0, 0)
        if lead < 2 or width < MIN_WIDTH or numbers.size < lead or (numbers.size - lead) % width:
            raise FormatError(
                f"{type(self).__name__}: image {self._current()} has the label {numbers[:8].tolist()} ({numbers.size} "
                "numbers), expected 2 or more in front, 5 or more of an object, and objects of that width"
            )
        objects = numbers[lead:].reshape(-1, width)
        return objects[_has_area(objects)]

    def _batchify(self, batch_data: np.ndarray, batch_label: np.ndarray, start: int = 0) -> int:
        n = start
        try:
            while n < self.batch_size:
                label, data = self.next_sample()
                image, objects = self._augmented(label, data)
                if not len(objects):
                    logging.debug("Invalid image, skipping: %s has no object", self._current())
                    continue
                batch_data[n] = self._data(image)
                batch_label[n] = -1
                batch_label[n, : len(objects)] = objects
                n += 1
        except StopIteration:
            if not n:
                raise
        return n

    def _augmented(self, label: Any, data: bytes) -> tuple[NDArray, np.ndarray]:
        """An image and its objects, none where nothing valid is left."""
        image, objects = self.imdecode(data), self._objects(label)
        if not len(objects):
            return image, objects
        image, objects = self.augmentation_transform(image, objects)
        is_valid = (objects[:, 0] >= 0) & _has_area(objects)
        return image, objects if is_valid.any() else objects[:0]

    def _fill(self, data: np.ndarray, label: np.ndarray, n: int) -> None:
        label[n:] = -1
        super()._fill(data, label, n)

    def augmentation_transform(self, data: NDArray, label: np.ndarray) -> tuple[NDArray, np.ndarray]:  # type: ignore[override]
        """What the augmenters make of an image and its objects."""
        for augmenter in self.auglist:
            data, label = augmenter(data, label)
        return data, label

    def reshape(self, data_shape: Any = None, label_shape: Any = None) -> None:
        """Changes the shape of images, or of an image's objects: room for more of them."""
        if data_shape is not None:
            self.check_data_shape(data_shape)
            self.provide_data = [(self.provide_data[0][0], (self.batch_size, *data_shape))]
            self.data_shape = data_shape
        if label_shape is not None:
            self.check_label_shape(label_shape)
            self.provide_label = [(self.provide_label[0][0], (self.batch_size, *label_shape))]
            self.label_shape = tuple(label_shape)

    def check_label_shape(self, label_shape: Sequence[int]) -> None:
        """Raises ArgumentError for a shape that does not hold the objects there are."""
        if len(label_shape) != 2:
            raise ArgumentError(f"label_shape should have length 2, got {label_shape}")
        if label_shape[0] < self.label_shape[0]:
            raise ArgumentError(
                f"Attempts to reduce label count from {self.label_shape[0]} to {label_shape[0]}, not allowed."
            )
        if label_shape[1] != self.label_shape[1]:
            raise ArgumentError(f"label_shape object width inconsistent: {self.label_shape[1]} vs {label_shape[1]}.")

    def sync_label_shape(self, it: ImageDetIter, verbose: bool = False) -> ImageDetIter:
        """Gives this iterator and another the room of the one that has more; returns the other."""
        if not isinstance(it, ImageDetIter):
            raise ConflictError(f"Synchronize with invalid iterator: {type(it).__name__}")
        shapes = self.label_shape, it.label_shape
        if shapes[0][1] != shapes[1][1]:
            raise ConflictError(f"object width mismatch: {shapes[0][1]} and {shapes[1][1]}")
        for iterator in (self, it):
            iterator.reshape(label_shape=max(shapes))
        if verbose and shapes[0] != shapes[1]:
            logging.info("Resized label_shape to (%d, %d).", *max(shapes))
        return it

    def draw_next(
        self,
        color: Any = None,
        thickness: int = 2,
        mean: Any = None,
        std: Any = None,
        clip: bool = True,
        waitKey: int | None = None,
        window_name: str = "draw_next",
        id2labels: dict[int, str] | None = None,
    ) -> Iterator[np.ndarray]:
        """The images with boxes around their objects, blue first, uint8 (H, W, 3).

        color       of the boxes, red first; None: by lot
        mean, std   what was taken from the images and they were divided by; True: ImageNet's
        waitKey     shows each image in a window for so many milliseconds, 0: until a key is pressed
        """
        cv2 = opencv()
        mean, std = of_channels(mean, IMAGENET_MEAN), of_channels(std, IMAGENET_STD)
        while True:
            try:
                label, data = self.next_sample()
            except StopIteration:
                return
            source, objects = self._augmented(label, data)
            image = pixels(source) * (1 if std is None else std) + (0 if mean is None else mean)
            image = np.ascontiguousarray((np.clip(image, 0, 255) if clip else image)[:, :, ::-1].astype(np.uint8))
            for number, *edges in objects[:, :MIN_WIDTH]:
                if edges[0] < 0:
                    continue
                height, width = image.shape[:2]
                left, top, right, bottom = (int(e * size) for e, size in zip(edges, (width, height) * 2))
                line = [random.uniform(0, 255) for _ in range(3)] if color is None else color[::-1]
                cv2.rectangle(image, (left, top), (right, bottom), line, thickness)
                if id2labels and int(number) in id2labels:
                    place = (left + 5, top + 20)
                    cv2.putText(image, id2labels[int(number)], place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255,) * 3, 2)
            if waitKey is not None:
                cv2.imshow(window_name, image)
                cv2.waitKey(waitKey)
            yield image


def _has_area(objects: np.ndarray) -> np.ndarray:
    return (objects[:, 3] > objects[:, 1]) & (objects[:, 4] > objects[:, 2])
