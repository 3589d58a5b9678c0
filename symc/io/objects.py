"""`ImageDetRecordIter`: images with objects from record files, turned, cut and padded together with their boxes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from random import Random
from typing import Any, ClassVar

import numpy as np

from symc.core.errors import ArgumentError, FormatError
from symc.core.opencv import opencv
from symc.core.params import param
from symc.recordio import unpack

from .augmentation import moved_colours, resize_short, resized
from .images import ImageOptions, ImageRecordIter, Pending
from .keywords import parsed

Box = tuple[float, float, float, float]  # left, top, width, height, as parts of the image
LABEL_HEAD = 4  # channels, height, width of the image in the batch, and how many numbers of its label follow
MIN_PAD_SCALE = 1.05


@dataclass(frozen=True, kw_only=True)
class ObjectOptions(ImageOptions):
    """What ImageDetRecordIter takes beside ObjectAugmentation's."""

    aug_seq: str = param("det_aug_default", choices=("det_aug_default", ""), doc="which augmentation; empty: none")
    label_width: int = param(-1, doc="numbers of an image's label; -1: any")
    label_pad_width: int = param(0, doc="room for a label; by default for the longest")
    label_pad_value: float = param(-1.0, doc="what fills it")
    std_r: float = param(0.0, doc="red, or grey, is divided by it, unless it is 0")
    std_g: float = param(0.0, doc="green")
    std_b: float = param(0.0, doc="blue")
    std_a: float = param(0.0, doc="opacity")


@dataclass(frozen=True, kw_only=True)
class ObjectAugmentation:
    """What is changed; crops have several samplers, each with its limits (one number is all samplers')."""

    resize: int = param(-1, doc="what the shorter edge becomes first")
    rand_crop_prob: float = param(0.0, doc="probability of a crop")
    num_crop_sampler: int = param(1, doc="how many samplers there are")
    min_crop_scales: tuple[float, ...] = param((0.0,), low=0, doc="the least part of both sizes")
    max_crop_scales: tuple[float, ...] = param((1.0,), high=1, doc="the largest")
    min_crop_aspect_ratios: tuple[float, ...] = param((1.0,), low=0, doc="the least width/height of the crop")
    max_crop_aspect_ratios: tuple[float, ...] = param((1.0,), doc="the largest")
    min_crop_overlaps: tuple[float, ...] = param(
        (0.0,), doc="the least common part of crop and an object, of their union"
    )
    max_crop_overlaps: tuple[float, ...] = param((1.0,), doc="the largest")
    min_crop_sample_coverages: tuple[float, ...] = param((0.0,), doc="the same, of the crop")
    max_crop_sample_coverages: tuple[float, ...] = param((1.0,), doc="the largest")
    min_crop_object_coverages: tuple[float, ...] = param((0.0,), doc="the same, of the object")
    max_crop_object_coverages: tuple[float, ...] = param((1.0,), doc="the largest")
    max_crop_trials: tuple[int, ...] = param((25,), doc="crops that a sampler tries")
    crop_emit_mode: str = param(
        "center",
        choices=("center", "overlap"),
        doc="which objects stay: their centre is in the crop, or enough of them",
    )
    emit_overlap_thresh: float = param(0.3, low=0, doc="the part that is enough")
    rand_pad_prob: float = param(0.0, doc="probability of a border")
    max_pad_scale: float = param(1.0, doc="the largest factor of both sizes with the border")
    max_random_hue: int = param(0, doc="hue moved by -v to v")
    random_hue_prob: float = param(0.0, doc="probability of that")
    max_random_saturation: int = param(0, doc="saturation moved by -v to v")
    random_saturation_prob: float = param(0.0, doc="probability of that")
    max_random_illumination: int = param(0, doc="lightness moved by -v to v")
    random_illumination_prob: float = param(0.0, doc="probability of that")
    max_random_contrast: float = param(0.0, doc="colours times 1 - v to 1 + v")
    random_contrast_prob: float = param(0.0, doc="probability of that")
    rand_mirror_prob: float = param(0.0, doc="probability that left and right are exchanged")
    fill_value: int = param(127, doc="colour of the border")
    inter_method: int = param(1, doc="0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos, 9 by size, 10 by lot")
    resize_mode: str = param(
        "force",
        choices=("force", "shrink", "fit"),
        doc="to the shape, into it if too large, or into it; the latter keep the ratio",
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, tuple) and len(value) not in (1, self.num_crop_sampler):
                raise ArgumentError(
                    f"{f.name} {value}: expected 1 or num_crop_sampler = {self.num_crop_sampler} numbers"
                )
        for k in range(self.num_crop_sampler):
            for name in ("scales", "aspect_ratios", "overlaps", "sample_coverages", "object_coverages"):
                low, high = self.limits(name, k)
                if low > high or (name == "scales" and low == high):
                    raise ArgumentError(f"min_crop_{name} {low} and max_crop_{name} {high} are no range")

    def limits(self, name: str, sampler: int) -> tuple[float, float]:
        """The least and the largest number of a sampler."""
        low, high = (getattr(self, f"{end}_crop_{name}") for end in ("min", "max"))
        return low[sampler % len(low)], high[sampler % len(high)]

    @property
    def changes_colours(self) -> bool:
        """Whether colours are changed, which only images of three channels have."""
        names = ("hue", "saturation", "illumination", "contrast")
        return any(getattr(self, f"random_{name}_prob") > 0 for name in names)

    def apply(self, image: np.ndarray, objects: np.ndarray, shape: Any, rng: Random) -> tuple[np.ndarray, np.ndarray]:
        """An image that fits (height, width) = shape, and its objects (N, 5 or more)."""
        if self.resize != -1:
            image = resize_short(image, self.resize, self.inter_method, rng)
        if self.changes_colours:
            image = self._recoloured(image, rng)
        if self.rand_mirror_prob > 0 and rng.random() < self.rand_mirror_prob:
            image = opencv().flip(image, 1)
            objects[:, (1, 3)] = 1 - objects[:, (3, 1)]
        if self.rand_pad_prob > 0 and self.max_pad_scale > 1 and rng.random() < self.rand_pad_prob:
            image, objects = self._padded(image, objects, rng)
        if self.rand_crop_prob > 0 and self.num_crop_sampler > 0 and rng.random() < self.rand_crop_prob:
            image, objects = self._cropped(image, objects, rng)
        return self._fitted(image, shape, rng), objects

    def _recoloured(self, image: np.ndarray, rng: Random) -> np.ndarray:
        def drawn(name: str) -> float:
            amount = rng.uniform(-1, 1) * getattr(self, f"max_random_{name}")
            return amount if rng.random() < getattr(self, f"random_{name}_prob") else 0

        hue, saturation, light = (int(drawn(name)) for name in ("hue", "saturation", "illumination"))
        factor = drawn("contrast")
        if hue or saturation or light:
            image = moved_colours(image, hue, light, saturation)
        if abs(factor) > 1e-3:
            image = np.clip(np.rint(image * np.float32(1 + factor)), 0, 255).astype(np.uint8)
        return image

    def _padded(self, image: np.ndarray, objects: np.ndarray, rng: Random) -> tuple[np.ndarray, np.ndarray]:
        scale = rng.uniform(1, self.max_pad_scale)
        if scale < MIN_PAD_SCALE:
            return image, objects
        left, top = rng.uniform(0, scale - 1), rng.uniform(0, scale - 1)
        height, width = image.shape[:2]
        x, y = int(left * width), int(top * height)
        right, bottom = int((scale - left - 1) * width), int((scale - top - 1) * height)
        cv2 = opencv()
        fill = (self.fill_value,) * 3
        padded = cv2.copyMakeBorder(image, y, bottom, x, right, cv2.BORDER_CONSTANT, value=fill)
        return padded, projected(objects, (-left, -top, scale, scale))

    def _cropped(self, image: np.ndarray, objects: np.ndarray, rng: Random) -> tuple[np.ndarray, np.ndarray]:
        """What the first sampler finds, in random order, whose limits can be kept; else all."""
        height, width = image.shape[:2]
        for k in rng.sample(range(self.num_crop_sampler), self.num_crop_sampler):
            for _ in range(self.max_crop_trials[k % len(self.max_crop_trials)]):
                box = self._drawn_box(k, width / height, rng)
                x, y, w, h = (int(part * n) for part, n in zip(box, (width, height) * 2))
                kept = self._kept(objects, box, k)
                if kept is not None and w and h:
                    return image[y : y + h, x : x + w], kept
        return image, objects

    def _drawn_box(self, sampler: int, image_ratio: float, rng: Random) -> Box:
        scale = rng.uniform(*self.limits("scales", sampler)) + 1e-12
        low, high = self.limits("aspect_ratios", sampler)
        ratio = rng.uniform(max(low / image_ratio, scale**2), min(high / image_ratio, scale**-2)) ** 0.5
        w, h = min(1, scale * ratio), min(1, scale / ratio)
        return rng.uniform(0, 1 - w), rng.uniform(0, 1 - h), w, h

    def _kept(self, objects: np.ndarray, box: Box, sampler: int) -> np.ndarray | None:
        """The objects that stay, as a crop sees them; None where one of its limits is not kept, or none stays."""
        if not len(objects):
            return objects
        left, top, w, h = box
        begin, end = objects[:, 1:3], objects[:, 3:5]
        areas = (end - begin).prod(axis=1)
        common = np.maximum(0, np.minimum(end, (left + w, top + h)) - np.maximum(begin, (left, top))).prod(axis=1)
        parts = {
            "overlaps": common / (areas + w * h - common),
            "sample_coverages": common / (w * h),
            "object_coverages": common / areas,
        }
        is_good = np.ones(len(objects), bool)
        for name, part in parts.items():
            low, high = self.limits(name, sampler)
            is_good &= (part >= low) & (part <= high)
        middle = (begin + end) / 2
        is_inside = ((middle >= (left, top)) & (middle < (left + w, top + h))).all(axis=1)
        stays = is_inside if self.crop_emit_mode == "center" else common / areas > self.emit_overlap_thresh
        return projected(objects[stays], box) if is_good.any() and stays.any() else None

    def _fitted(self, image: np.ndarray, shape: Any, rng: Random) -> np.ndarray:
        height, width = image.shape[:2]
        size = (shape[1], shape[0])
        if self.resize_mode != "force":
            ratio = min(np.float32(shape[0]) / np.float32(height), np.float32(shape[1]) / np.float32(width))
            if self.resize_mode == "shrink" and ratio >= 1:
                return image
            size = (int(ratio * np.float32(width)), int(ratio * np.float32(height)))
        return resized(image, size, self.inter_method, rng)


def projected(objects: np.ndarray, box: Box) -> np.ndarray:
    """Objects as a box sees them."""
    left, top, w, h = box
    moved = objects.copy()
    moved[:, 1:5] = (objects[:, 1:5] - (left, top, left, top)) / (w, h, w, h)
    moved[:, 1:3], moved[:, 3:5] = np.maximum(0, moved[:, 1:3]), np.minimum(1, moved[:, 3:5])
    return moved


class ImageDetRecordIter(ImageRecordIter):
    """Batches of images (N, channels, height, width) and labels (N, 4 + label_pad_width), of record files.

    A label is: channels, height, width of the image in the batch, how many numbers follow, these, and fill. They are
    what stands in the record: how many come before the objects, how many each object has, what else comes before, and
    the objects: class, left, top, right, bottom, ..., edges from 0 to 1.

    MXNet iterator ImageDetRecordIter. What is drawn depends on the seeds alone, and is other than MXNet's.
    """

    options: ClassVar[type[ObjectOptions]] = ObjectOptions

    def _prepare(self, given: dict[str, Any]) -> None:
        name = type(self).__name__
        self._augmentation: Any = parsed(ObjectAugmentation, given, name)
        if self._augmentation.changes_colours and self._options.data_shape[0] != 3:
            raise ArgumentError(f"{name}: colours of other than 3 channels are not changed")

    def _measure_labels(self) -> None:
        """Finds out how much room labels need, which looks at all records."""
        longest = max((len(labels) for labels in self._all_labels()), default=0)
        given = self._options.label_pad_width
        if 0 < given < longest:
            raise ArgumentError(f"ImageDetRecordIter: label_pad_width {given}, but the longest label has {longest}")
        self._label_room = max(given, longest)

    def _all_labels(self) -> Iterable[np.ndarray]:
        if self._labels is not None:
            return self._labels.values()
        return (self._labels_of(unpack(record)[0]) for record in self._files.epoch(None))

    def _label_shape(self) -> tuple[int, ...]:
        return (self.batch_size, LABEL_HEAD + self._label_room)

    def _finish(self, image: np.ndarray, labels: np.ndarray, rng: Random, batch: Pending, n: int) -> None:
        chosen = self._options
        head, objects = objects_of(labels)
        if chosen.aug_seq:
            image, objects = self._augmentation.apply(image, objects, chosen.data_shape[1:], rng)
        height, width = image.shape[:2]
        if height > chosen.data_shape[1] or width > chosen.data_shape[2]:
            raise ArgumentError(f"an image {image.shape[:2]}, larger than {chosen.data_shape[1:]}; aug_seq cuts it")
        batch.data[n] = 0
        self._normalize(image, batch.data[n, :, :height, :width], is_mirrored=False)
        numbers = np.concatenate([head, objects.ravel()])
        batch.label[n] = chosen.label_pad_value
        batch.label[n, :LABEL_HEAD] = (chosen.data_shape[0], height, width, len(numbers))
        batch.label[n, LABEL_HEAD : LABEL_HEAD + len(numbers)] = numbers


def objects_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What stands before the objects of a label, and those of them (N, 5 or more) that have an area."""
    lead, width = (int(v) for v in labels[:2]) if len(labels) >= 2 else (0, 0)
    if lead < 2 or width < 5 or len(labels) < lead or (len(labels) - lead) % width:
        raise FormatError(
            f"the label {labels[:8].tolist()} ({len(labels)} numbers), expected 2 or more in front, 5 or more of an "
            "object, and objects of that width"
        )
    objects = labels[lead:].reshape(-1, width)
    return labels[:lead], objects[(objects[:, 3] > objects[:, 1]) & (objects[:, 4] > objects[:, 2])]
