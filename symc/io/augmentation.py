"""How ImageRecordIter changes an image before it is cut into shape: uint8 (H, W, C), blue first, as OpenCV decodes it.

Numbers are float32 where MXNet's are, so that what they round to is the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from symc.core.errors import ArgumentError
from symc.core.opencv import opencv
from symc.core.params import param

f32 = np.float32
ATTEMPTS = 10  # at a crop of random area and ratio that fits into the image
NO_LIMIT = 1e10
# Directions of the colours of ImageNet's pictures, times how far they reach (Krizhevsky and others, 2012).
LIGHT = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], np.float32)
LIGHT = LIGHT * np.array([55.46, 4.794, 1.148], np.float32)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is changed, and how much; each step that draws does so from the image's own random numbers."""

    resize: int = param(-1, doc="what the shorter edge becomes first")
    rand_crop: bool = param(False, doc="whether the crop lies anywhere, not in the middle")
    random_resized_crop: bool = param(False, doc="whether the crop has a random area and ratio")
    max_rotate_angle: int = param(0, low=0, doc="turn by -v to v degrees")
    rotate: int = param(-1, doc="turn by so many degrees")
    rotate_list: str = param("", doc="turn by one of these degrees, separated by commas")
    max_aspect_ratio: float = param(0.0, doc="width/height changes by 1 - v to 1 + v, or min_aspect_ratio to v")
    min_aspect_ratio: float | None = param(None, doc="the least such factor")
    max_shear_ratio: float = param(0.0, doc="shear by -v to v")
    max_crop_size: int = param(-1, doc="crop a square of at most so many pixels, and resize it")
    min_crop_size: int = param(-1, doc="of at least so many")
    max_random_scale: float = param(1.0, doc="the largest factor of both sizes")
    min_random_scale: float = param(1.0, doc="the smallest")
    max_random_area: float = param(1.0, doc="the largest part of the image that random_resized_crop takes")
    min_random_area: float = param(1.0, doc="the smallest")
    max_img_size: float = param(NO_LIMIT, doc="the largest size after all that")
    min_img_size: float = param(0.0, doc="the smallest")
    brightness: float = param(0.0, doc="colours times 1 - v to 1 + v")
    contrast: float = param(0.0, doc="their distances from the mean grey times 1 - v to 1 + v")
    saturation: float = param(0.0, doc="their distances from grey times 1 - v to 1 + v")
    pca_noise: float = param(0.0, doc="deviation of a move along the main directions of colours")
    random_h: int = param(0, doc="hue moved by -v to v, of 180")
    random_s: int = param(0, doc="saturation moved by -v to v, of 255")
    random_l: int = param(0, doc="lightness moved by -v to v, of 255")
    fill_value: int = param(255, doc="colour of what lies outside of the image")
    inter_method: int = param(
        1, doc="0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos, 9 by whether it grows, 10 by lot"
    )
    pad: int = param(0, doc="width of a border of fill_value")

    def __post_init__(self) -> None:
        if self.inter_method not in (0, 1, 2, 3, 4, 9, 10):
            raise ArgumentError(f"inter_method {self.inter_method}: expected 0 to 4, 9 or 10")
        if self.random_resized_crop and (
            self.rand_crop or self._ranges("crop_size") != (-1, -1) or self._ranges("random_scale") != (1, 1)
        ):
            raise ArgumentError("random_resized_crop goes with no rand_crop, min/max_crop_size, min/max_random_scale")
        if self._crops_squares and self.max_crop_size < self.min_crop_size:
            raise ArgumentError(f"max_crop_size {self.max_crop_size} is less than min_crop_size {self.min_crop_size}")
        low, high = self.aspect_ratios
        if self.random_resized_crop and not (0 < low <= high and self.min_random_area <= self.max_random_area):
            raise ArgumentError(
                f"random_resized_crop of aspect ratios {low} to {high} and areas {self.min_random_area} to "
                f"{self.max_random_area}: expected ratios above 0, and ranges"
            )

    def _ranges(self, name: str) -> tuple[Any, Any]:
        return getattr(self, f"min_{name}"), getattr(self, f"max_{name}")

    @property
    def aspect_ratios(self) -> tuple[float, float]:
        """The range of the factor of width/height."""
        if self.min_aspect_ratio is None:
            return 1 - self.max_aspect_ratio, 1 + self.max_aspect_ratio
        return self.min_aspect_ratio, self.max_aspect_ratio

    @property
    def changes_colours(self) -> bool:
        """Whether colours are changed, which only images of three channels have."""
        amounts = (self.brightness, self.contrast, self.saturation, self.pca_noise)
        return any(v > 0 for v in amounts) or bool(self.random_h or self.random_s or self.random_l)

    @property
    def _crops_squares(self) -> bool:
        return not self.random_resized_crop and self._ranges("crop_size") != (-1, -1)

    @property
    def _is_affine(self) -> bool:
        """Whether the image is turned, sheared or scaled."""
        return bool(
            self.max_rotate_angle > 0
            or self.max_shear_ratio > 0
            or self.rotate > 0
            or self.rotate_list
            or self._ranges("random_scale") != (1, 1)
            or (not self.random_resized_crop and self.aspect_ratios != (1, 1))
            or self._ranges("img_size") != (0, NO_LIMIT)
        )

    def apply(self, image: np.ndarray, shape: Sequence[int], rng: Random) -> np.ndarray:
        """An image (height, width) = shape."""
        if self.resize != -1:
            image = resize_short(image, self.resize, self.inter_method, rng)
        if self._is_affine:
            image = self._turned(image, rng)
        if self.pad > 0:
            cv2, n = opencv(), self.pad
            image = cv2.copyMakeBorder(image, n, n, n, n, cv2.BORDER_CONSTANT, value=(self.fill_value,) * 3)
        cropped = None
        if self.random_resized_crop:
            cropped = self._random_part(image, shape, rng)
        elif self._crops_squares:
            cropped = self._square(image, shape, rng)
        return self._recoloured(self._part(image, shape, rng) if cropped is None else cropped, rng)

    def _turned(self, image: np.ndarray, rng: Random) -> np.ndarray:
        """Sheared, turned and scaled about the middle."""
        if self.inter_method == 0:
            raise ArgumentError("inter_method 0 (nearest) does not go with rotation, shear or scale; expected 1 to 10")
        height, width = image.shape[:2]
        shear = f32(rng.random() * self.max_shear_ratio * 2 - self.max_shear_ratio)
        angle = math.radians(self._angle(rng))
        cos, sin = f32(math.cos(angle)), f32(math.sin(angle))
        scale = ratio = f32(1)
        if not self.random_resized_crop:
            low, high = self.aspect_ratios
            scale = f32(rng.uniform(self.min_random_scale, self.max_random_scale))
            ratio = f32(rng.uniform(low, high))
        y_scale = 2 * scale / (1 + ratio)
        x_scale = ratio * y_scale
        new_width, new_height = (
            max(f32(self.min_img_size), min(f32(self.max_img_size), scale * f32(n))) for n in (width, height)
        )
        turn = np.array(
            [
                [y_scale * cos - shear * sin * x_scale, y_scale * sin + shear * cos * x_scale],
                [-sin * x_scale, cos * x_scale],
            ],
            f32,
        )
        middle = np.array([f32(new_width), f32(new_height)]) - turn @ np.array([width, height], f32)
        matrix = np.hstack([turn, (middle / 2).reshape(2, 1)]).astype(f32)
        size = (int(new_width), int(new_height))
        return warped(image, matrix, size, way_of(self.inter_method, image, size, rng), self.fill_value)

    def _angle(self, rng: Random) -> int:
        """In degrees."""
        if self.rotate_list:
            return rng.choice([int(v) for v in self.rotate_list.strip("[]() ").split(",")])
        return self.rotate if self.rotate > 0 else rng.randint(-self.max_rotate_angle, self.max_rotate_angle)

    def _random_part(self, image: np.ndarray, shape: Sequence[int], rng: Random) -> np.ndarray | None:
        """A part of random area and ratio, resized; None where none fits, or nothing is random."""
        low, high = self.aspect_ratios
        height, width = image.shape[:2]
        if self._ranges("random_area") == (1, 1) and (low, high) == (1, 1):
            return None
        for _ in range(ATTEMPTS):
            area = rng.uniform(self.min_random_area, self.max_random_area) * height * width
            ratio = rng.uniform(low, high)
            h, w = (math.floor(math.sqrt(part) + 0.5) for part in (area / ratio, area * ratio))
            if rng.random() > 0.5:
                h, w = w, h
            if 0 < h <= height and 0 < w <= width:
                top, left = rng.randint(0, height - h), rng.randint(0, width - w)
                return resized(image[top : top + h, left : left + w], (shape[1], shape[0]), self.inter_method, rng)
        return None

    def _square(self, image: np.ndarray, shape: Sequence[int], rng: Random) -> np.ndarray:
        """A square of random size, resized."""
        if min(image.shape[:2]) < self.max_crop_size:
            raise ArgumentError(f"input image size {image.shape[:2]} smaller than max_crop_size {self.max_crop_size}")
        n = rng.randint(self.min_crop_size, self.max_crop_size)
        return resized(self._cut(image, (n, n), rng), (shape[1], shape[0]), self.inter_method, rng)

    def _part(self, image: np.ndarray, shape: Sequence[int], rng: Random) -> np.ndarray:
        """A part as large as the result; a smaller image is enlarged first."""
        height, width = shape
        way = way_of(self.inter_method, image, (width, height), rng)
        if image.shape[0] < height:
            image = resized(image, (int(f32(height) / f32(image.shape[0]) * f32(image.shape[1])), height), way, rng)
        if image.shape[1] < width:
            image = resized(image, (width, int(f32(width) / f32(image.shape[1]) * f32(image.shape[0]))), way, rng)
        return self._cut(image, (height, width), rng)

    def _cut(self, image: np.ndarray, shape: tuple[int, int], rng: Random) -> np.ndarray:
        """A part (height, width) = shape from anywhere or the middle."""
        rest = [n - m for n, m in zip(image.shape, shape)]
        top, left = (rng.randint(0, n) if self.rand_crop else n // 2 for n in rest)
        return image[top : top + shape[0], left : left + shape[1]]

    def _recoloured(self, image: np.ndarray, rng: Random) -> np.ndarray:
        """Colours changed."""
        if not self.changes_colours:
            return image
        if self.brightness > 0 or self.contrast > 0 or self.saturation > 0:
            image = self._jittered(np.ascontiguousarray(image), rng)
        if self.random_h or self.random_s or self.random_l:
            image = self._moved(np.ascontiguousarray(image), rng)
        if self.pca_noise > 0:
            alphas = np.array([rng.gauss(0, self.pca_noise) for _ in range(3)], f32)
            moved = image.astype(np.int32) + (LIGHT @ alphas)[::-1]
            image = np.clip(np.trunc(moved), 0, 255).astype(np.uint8)
        return image

    def _jittered(self, image: np.ndarray, rng: Random) -> np.ndarray:
        """Brightness, contrast and saturation, in random order; as MXNet it takes blue for red when it makes grey."""
        cv2 = opencv()
        bright, contrast, saturation = (
            1 + rng.uniform(-v, v) for v in (self.brightness, self.contrast, self.saturation)
        )

        def grey(image: np.ndarray) -> np.ndarray:
            return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)

        def scaled(image: np.ndarray, alpha: float, beta: float) -> np.ndarray:
            return np.clip(np.rint(image * f32(alpha) + f32(beta)), 0, 255).astype(np.uint8)

        def mixed(image: np.ndarray) -> np.ndarray:
            greys = cv2.cvtColor(grey(image), cv2.COLOR_GRAY2BGR)
            return cv2.addWeighted(image, saturation, greys, 1 - saturation, 0)

        steps = [
            lambda image: scaled(image, bright, 0),
            lambda image: scaled(image, contrast, (1 - contrast) * f32(cv2.mean(grey(image))[0])),
            mixed,
        ]
        rng.shuffle(steps)
        for step in steps:
            image = step(image)
        return image

    def _moved(self, image: np.ndarray, rng: Random) -> np.ndarray:
        """Hue, lightness and saturation moved, the middle of the ranges more often than their ends."""
        hue, saturation, lightness = (
            int((rng.random() + 4 * rng.random()) / 5 * v * 2 - v)
            for v in (self.random_h, self.random_s, self.random_l)
        )
        return moved_colours(image, hue, lightness, saturation)


def moved_colours(image: np.ndarray, hue: int, lightness: int, saturation: int) -> np.ndarray:
    """Hue (0 to 180), lightness and saturation (0 to 255) moved."""
    cv2 = opencv()
    hls = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2HLS) + np.array([hue, lightness, saturation])
    return cv2.cvtColor(np.clip(hls, 0, (180, 255, 255)).astype(np.uint8), cv2.COLOR_HLS2BGR)


def warped(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], way: int, fill: int) -> np.ndarray:
    """An image moved by `matrix` (2, 3) into one of a size (width, height).

    OpenCV's warpAffine as MXNet knows it, with positions in 1/1024 of a pixel, rounded to 1/32; that of OpenCV 5
    computes them in another way, so that a third of the values differ by 1.
    """
    cv2 = opencv()
    (a, b, c), (d, e, f) = matrix.astype(np.float64)
    scale = 1 / (a * e - b * d)
    a, b, d, e = e * scale, -b * scale, -d * scale, a * scale
    c, f = -a * c - b * f, -d * c - e * f
    x, y = np.arange(size[0]), np.arange(size[1])[:, None]
    places = [
        (np.rint(u * x * 1024).astype(np.int32) + np.rint((v * y + w) * 1024).astype(np.int32) + 16) >> 5
        for u, v, w in ((a, b, c), (d, e, f))
    ]
    whole = np.stack(places, axis=2) >> 5
    parts = (places[1] & 31) * 32 + (places[0] & 31)
    return cv2.remap(
        image,
        whole.astype(np.int16),
        parts.astype(np.uint16),
        way,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill,) * 3,
    )


def resized(image: np.ndarray, size: tuple[int, int], method: int, rng: Random) -> np.ndarray:
    """An image in a size (width, height), by the way that `inter_method` means."""
    return opencv().resize(image, size, interpolation=way_of(method, image, size, rng))


def resize_short(image: np.ndarray, size: int, method: int, rng: Random) -> np.ndarray:
    """An image whose shorter edge is `size`."""
    height, width = image.shape[:2]
    whole = (size, size * height // width) if height > width else (size * width // height, size)
    return resized(image, whole, method, rng)


def way_of(method: int, image: np.ndarray, size: tuple[int, int], rng: Random) -> int:
    """OpenCV's interpolation for `inter_method`: 9 goes by whether the image grows or shrinks, 10 by lot."""
    if method == 10:
        return rng.randint(0, 4)
    if method != 9:
        return method
    height, width = image.shape[:2]
    if size[0] > width and size[1] > height:
        return 2
    return 3 if size[0] < width and size[1] < height else 1
