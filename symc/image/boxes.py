"""Augmenters of images with objects: labels are rows (class, left, top, right, bottom, ...) with edges of 0 to 1."""

from __future__ import annotations

import json
import logging
import random
import warnings
from collections.abc import Sequence
from math import sqrt
from numbers import Number
from typing import Any

import numpy as np

from symc.core.errors import ArgumentError, ArgumentTypeError, ConflictError
from symc.ndarray import NDArray

from .augment import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Augmenter,
    ForceResizeAug,
    ResizeAug,
    colour_augmenters,
    of_channels,
)
from .image import CUBIC, copyMakeBorder, fixed_crop, made, pixels

Range = tuple[float, float]
ISOLATED = 16  # OpenCV's border of a colour, whatever lies around the image in memory
MIN_PIXELS = 2  # of an object that counts


class DetAugmenter:
    """Base of augmenters of images with objects; a subclass overrides `__call__`."""

    def __init__(self, **kwargs: Any) -> None:
        self._kwargs = {k: pixels(v).tolist() if isinstance(v, (NDArray, np.ndarray)) else v for k, v in kwargs.items()}

    def dumps(self) -> Any:
        """The name and the parameters as JSON."""
        return json.dumps([type(self).__name__.lower(), self._kwargs])

    def __call__(self, src: NDArray, label: np.ndarray) -> tuple[NDArray, np.ndarray]:
        raise NotImplementedError(f"{type(self).__name__} must override __call__")


class DetBorrowAug(DetAugmenter):
    """An augmenter of images that leaves labels as they are."""

    def __init__(self, augmenter: Augmenter) -> None:
        if not isinstance(augmenter, Augmenter):
            raise ArgumentTypeError(f"Borrowing from invalid Augmenter: {type(augmenter).__name__}")
        super().__init__(augmenter=augmenter.dumps())
        self.augmenter = augmenter

    def dumps(self) -> Any:
        return [type(self).__name__.lower(), self.augmenter.dumps()]

    def __call__(self, src: NDArray, label: np.ndarray) -> tuple[NDArray, np.ndarray]:
        return self.augmenter(src), label


class DetRandomSelectAug(DetAugmenter):
    """One of several augmenters, or with probability `skip_prob` none."""

    def __init__(self, aug_list: Any, skip_prob: float = 0) -> None:
        super().__init__(skip_prob=skip_prob)
        augmenters = aug_list if isinstance(aug_list, (list, tuple)) else [aug_list]
        if not all(isinstance(a, DetAugmenter) for a in augmenters):
            raise ArgumentError("Allow DetAugmenter in list only")
        self.aug_list = list(augmenters)
        self.skip_prob = skip_prob if augmenters else 1

    def dumps(self) -> Any:
        return [type(self).__name__.lower(), [a.dumps() for a in self.aug_list]]

    def __call__(self, src: NDArray, label: np.ndarray) -> tuple[NDArray, np.ndarray]:
        if random.random() < self.skip_prob:
            return src, label
        random.shuffle(self.aug_list)
        return self.aug_list[0](src, label)


class DetHorizontalFlipAug(DetAugmenter):
    """Left and right exchanged, with probability `p`."""

    def __init__(self, p: float) -> None:
        super().__init__(p=p)
        self.p = p

    def __call__(self, src: NDArray, label: np.ndarray) -> tuple[NDArray, np.ndarray]:
        if random.random() >= self.p:
            return src, label
        flipped = label.copy()
        flipped[:, (1, 3)] = 1 - label[:, (3, 1)]
        return made(pixels(src)[:, ::-1]), flipped


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas of boxes (N, 4)."""
    return np.maximum(0, boxes[:, 2] - boxes[:, 0]) * np.maximum(0, boxes[:, 3] - boxes[:, 1])


def _range(given: Any, what: str) -> Range:
    """A range; one number is its beginning and its end."""
    if isinstance(given, (tuple, list)):
        return given  # type: ignore[return-value]
    if not isinstance(given, Number):
        raise ConflictError(f"{what} is a number or a range, got {given!r}")
    logging.info("Using fixed %s: %s", what, given)
    return (given, given)  # type: ignore[return-value]


class DetRandomCropAug(DetAugmenter):
    """A rectangle that holds enough of the objects in it.

    min_object_covered   the part of every object it touches that it must have more than
    aspect_ratio_range   of its width for a height of 1
    area_range           of its part of the image
    min_eject_coverage   objects with no more of them left are dropped
    max_attempts         after as many rectangles the image stays as it is
    """

    def __init__(
        self,
        min_object_covered: float = 0.1,
        aspect_ratio_range: Any = (0.75, 1.33),
        area_range: Any = (0.05, 1.0),
        min_eject_coverage: float = 0.3,
        max_attempts: int = 50,
    ) -> None:
        self.aspect_ratio_range = _range(aspect_ratio_range, "aspect_ratio_range in DetRandomCropAug")
        self.area_range = _range(area_range, "area_range in DetRandomCropAug")
        self.min_object_covered = min_object_covered
        self.min_eject_coverage = min_eject_coverage
        self.max_attempts = max_attempts
        super().__init__(
            min_object_covered=min_object_covered,
            aspect_ratio_range=self.aspect_ratio_range,
            area_range=self.area_range,
            min_eject_coverage=min_eject_coverage,
            max_attempts=max_attempts,
        )
        self.enabled = _is_sensible(self, self.area_range, 0)

    def __call__(self, src: NDArray, label: np.ndarray) -> tuple[NDArray, np.ndarray]:
        height, width = src.shape[:2]
        if not self.enabled:
            return src, label
        for _ in range(self.max_attempts):
            size = self._drawn_size(height, width)
            if size is None:
                continue
            w, h = size
            top, left = random.randint(0, max(0, height - h)), random.randint(0, max(0, width - w))
            if w * h < MIN_PIXELS or not self._covers_enough(label, left, top, w, h, height, width):
                continue
            moved = self._moved(label, left / width, top / height, w / width, h / height)
            if len(moved):
                return fixed_crop(src, left, top, w, h), moved
        return src, label

    def _drawn_size(self, height: int, width: int) -> tuple[int, int] | None:
        """A width and a height in the ranges that fit into the image, None where rounding leaves them."""
        low, high = (part * height * width for part in self.area_range)
        ratio = random.uniform(*self.aspect_ratio_range)
        if ratio <= 0:
            return None
        h, most = round(sqrt(low / ratio)), round(sqrt(high / ratio))
        if round(most * ratio) > width:
            most = int((width + 0.4999999) / ratio)
        most = min(most, height)
        h = min(h, most)
        if h < most:
            h = random.randint(h, most)
        w = round(h * ratio)
        if w * h < low:
            h += 1
            w = round(h * ratio)
        if w * h > high:
            h -= 1
            w = round(h * ratio)
        is_good = low <= w * h <= high and 0 <= w <= width and 0 <= h <= height
        return (w, h) if is_good else None

    def _covers_enough(self, label: np.ndarray, left: int, top: int, w: int, h: int, height: int, width: int) -> bool:
        """Whether all objects that a rectangle touches are covered enough, and there is one."""
        boxes = label[:, 1:5]
        whole = areas(boxes)
        counts = whole * width * height > MIN_PIXELS
        begin = np.maximum(boxes[counts, :2], (left / width, top / height))
        end = np.minimum(boxes[counts, 2:], ((left + w) / width, (top + h) / height))
        covered = areas(np.hstack([begin, end])) / whole[counts]
        covered = covered[covered > 0]
        return bool(covered.size and covered.min() > self.min_object_covered)

    def _moved(self, label: np.ndarray, left: float, top: float, w: float, h: float) -> np.ndarray:
        """The objects with enough of them in a rectangle, as that sees them."""
        moved = label.copy()
        moved[:, 1:5] = np.clip((label[:, 1:5] - (left, top, left, top)) / (w, h, w, h), 0, 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            covered = areas(moved[:, 1:5]) * w * h / areas(label[:, 1:5])
        is_left = (moved[:, 3] > moved[:, 1]) & (moved[:, 4] > moved[:, 2]) & (covered > self.min_eject_coverage)
        return moved[is_left]


class DetRandomPadAug(DetAugmenter):
    """The image somewhere in a larger one of a colour.

    aspect_ratio_range   of the larger one's width for a height of 1
    area_range           of its area for one of the image
    max_attempts         after as many sizes the image stays as it is
    pad_val              the colour
    """

    def __init__(
        self,
        aspect_ratio_range: Any = (0.75, 1.33),
        area_range: Any = (1.0, 3.0),
        max_attempts: int = 50,
        pad_val: Any = (128, 128, 128),
    ) -> None:
        self.pad_val = pad_val
        self.aspect_ratio_range = _range(aspect_ratio_range, "aspect_ratio_range in DetRandomPadAug")
        self.area_range = _range(area_range, "area_range in DetRandomPadAug")
        self.max_attempts = max_attempts
        super().__init__(
            aspect_ratio_range=self.aspect_ratio_range,
            area_range=self.area_range,
            max_attempts=max_attempts,
            pad_val=pad_val,
        )
        self.enabled = _is_sensible(self, self.area_range, 1)

    def __call__(self, src: NDArray, label: np.ndarray) -> tuple[NDArray, np.ndarray]:
        height, width = src.shape[:2]
        size = self._drawn_size(height, width) if self.enabled else None
        if size is None:
            return src, label
        w, h = size
        top, left = random.randint(0, max(0, h - height)), random.randint(0, max(0, w - width))
        moved = label.copy()
        moved[:, (1, 3)] = (label[:, (1, 3)] * width + left) / w
        moved[:, (2, 4)] = (label[:, (2, 4)] * height + top) / h
        colour = (self.pad_val,) * 3 if isinstance(self.pad_val, Number) else self.pad_val
        below, beside = h - top - height, w - left - width
        return copyMakeBorder(src, top, below, left, beside, ISOLATED, values=colour), moved

    def _drawn_size(self, height: int, width: int) -> tuple[int, int] | None:
        """A width and a height in the ranges, each larger than the image's by 2 at least."""
        low, high = (part * height * width for part in self.area_range)
        for _ in range(self.max_attempts):
            ratio = random.uniform(*self.aspect_ratio_range)
            if ratio <= 0:
                continue
            h, most = round(sqrt(low / ratio)), round(sqrt(high / ratio))
            if round(h * ratio) < width:
                h = int((width + 0.499999) / ratio)
            h = min(max(h, height), most)
            if h < most:
                h = random.randint(h, most)
            w = round(h * ratio)
            if h - height >= 2 and w - width >= 2:
                return w, h
        return None


def _is_sensible(augmenter: DetAugmenter, area: Range, largest_at_least: float) -> bool:
    """Whether the ranges hold anything; else it warns that the augmenter does nothing."""
    ratio: Range = augmenter.aspect_ratio_range  # type: ignore[attr-defined]
    name = type(augmenter).__name__
    if area[1] <= largest_at_least or area[0] > area[1]:
        warnings.warn(f"Skip {name} due to invalid area_range: {area}", stacklevel=3)
        return False
    if ratio[0] <= 0 or ratio[0] > ratio[1]:
        warnings.warn(f"Skip {name} due to invalid aspect_ratio_range: {ratio}", stacklevel=3)
        return False
    return True


def CreateMultiRandCropAugmenter(
    min_object_covered: Any = 0.1,
    aspect_ratio_range: Any = (0.75, 1.33),
    area_range: Any = (0.05, 1.0),
    min_eject_coverage: Any = 0.3,
    max_attempts: Any = 50,
    skip_prob: float = 0,
) -> DetRandomSelectAug:
    """One of several DetRandomCropAugs by lot; lists of one length give each of them its own parameters."""
    given = (min_object_covered, aspect_ratio_range, area_range, min_eject_coverage, max_attempts)
    lists = [value if isinstance(value, list) else [value] for value in given]
    n = max(len(values) for values in lists)
    if any(len(values) not in (1, n) for values in lists):
        raise ConflictError(
            f"CreateMultiRandCropAugmenter: lists of {[len(v) for v in lists]} values, expected {n} or 1"
        )
    each = zip(*(values * n if len(values) == 1 else values for values in lists))
    return DetRandomSelectAug([DetRandomCropAug(*values) for values in each], skip_prob)


def CreateDetAugmenter(
    data_shape: Sequence[int],
    resize: int = 0,
    rand_crop: float = 0,
    rand_pad: float = 0,
    rand_gray: float = 0,
    rand_mirror: bool = False,
    mean: Any = None,
    std: Any = None,
    brightness: float = 0,
    contrast: float = 0,
    saturation: float = 0,
    pca_noise: float = 0,
    hue: float = 0,
    inter_method: int = CUBIC,
    min_object_covered: Any = 0.1,
    aspect_ratio_range: Any = (0.75, 1.33),
    area_range: Any = (0.05, 3.0),
    min_eject_coverage: Any = 0.3,
    max_attempts: Any = 50,
    pad_val: Any = (127, 127, 127),
) -> list[DetAugmenter]:
    """The augmenters of an ImageDetIter that makes images (C, H, W) = data_shape.

    resize                what the shorter edge becomes first, 0: nothing
    rand_crop, rand_pad   probabilities of DetRandomCropAug and DetRandomPadAug, which get the last six parameters
    mean, std             a number for each channel; True: ImageNet's
    """
    augmenters: list[DetAugmenter] = [DetBorrowAug(ResizeAug(resize, inter_method))] if resize > 0 else []
    if rand_crop > 0:
        ways = (min_object_covered, aspect_ratio_range, area_range, min_eject_coverage, max_attempts)
        augmenters.append(CreateMultiRandCropAugmenter(*ways, skip_prob=1 - rand_crop))
    if rand_mirror:
        augmenters.append(DetHorizontalFlipAug(0.5))
    if rand_pad > 0:
        pad = DetRandomPadAug(aspect_ratio_range, (1.0, area_range[1]), max_attempts, pad_val)
        augmenters.append(DetRandomSelectAug([pad], 1 - rand_pad))
    borrowed = [ForceResizeAug((data_shape[2], data_shape[1]), inter_method)]
    mean, std = of_channels(mean, IMAGENET_MEAN), of_channels(std, IMAGENET_STD)
    borrowed += colour_augmenters(brightness, contrast, saturation, hue, pca_noise, rand_gray, mean, std)  # type: ignore[arg-type]
    return [*augmenters, *map(DetBorrowAug, borrowed)]
