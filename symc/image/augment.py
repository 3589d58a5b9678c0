"""Augmenters: objects that make another image of an image (H, W, C), most of them at random.

Colours are computed in float32. As in MXNet what is drawn comes from Python's `random`, of LightingAug from np.random.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from symc import ndarray as nd
from symc.core.errors import ConflictError
from symc.ndarray import NDArray

from .image import (
    CUBIC,
    Size,
    _area,
    center_crop,
    color_normalize,
    imresize,
    made,
    pixels,
    random_crop,
    random_size_crop,
    resize_short,
)

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green, blue
# Directions of the colours of ImageNet's pictures, and how far they reach (Krizhevsky and others, 2012).
EIGENVALUES = np.array([55.46, 4.794, 1.148])
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
IMAGENET_MEAN, IMAGENET_STD = (123.68, 116.28, 103.53), (58.395, 57.12, 57.375)


class Augmenter:
    """Base of augmenters; a subclass overrides `__call__`. What it is told by keyword is what `dumps` tells."""

    def __init__(self, **kwargs: Any) -> None:
        self._kwargs = {k: pixels(v).tolist() if isinstance(v, (NDArray, np.ndarray)) else v for k, v in kwargs.items()}

    def dumps(self) -> Any:
        """The name and the parameters as JSON."""
        return json.dumps([type(self).__name__.lower(), self._kwargs])

    def __call__(self, src: NDArray) -> NDArray:
        raise NotImplementedError(f"{type(self).__name__} must override __call__")


class SequentialAug(Augmenter):
    """Several augmenters, one after the other."""

    def __init__(self, ts: Sequence[Augmenter]) -> None:
        super().__init__()
        self.ts = ts

    def dumps(self) -> Any:
        return [type(self).__name__.lower(), [t.dumps() for t in self.ts]]

    def __call__(self, src: NDArray) -> NDArray:
        for augmenter in self.ts:
            src = augmenter(src)
        return src


class RandomOrderAug(SequentialAug):
    """Several augmenters in an order drawn anew for every image."""

    def __init__(self, ts: Sequence[Augmenter]) -> None:
        super().__init__(list(ts))

    def __call__(self, src: NDArray) -> NDArray:
        random.shuffle(self.ts)  # type: ignore[arg-type]
        return super().__call__(src)


# -- sizes ----------------------------------------------------------------------------------------------------------


class ResizeAug(Augmenter):
    """The shorter edge becomes `size`."""

    def __init__(self, size: int, interp: int = CUBIC) -> None:
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src: NDArray) -> NDArray:
        return resize_short(src, self.size, self.interp)


class ForceResizeAug(Augmenter):
    """The image becomes (width, height), whatever its ratio is."""

    def __init__(self, size: Size, interp: int = CUBIC) -> None:
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src: NDArray) -> NDArray:
        return imresize(src, *self.size, self.interp)


class RandomCropAug(Augmenter):
    """A rectangle of (width, height) anywhere in the image."""

    def __init__(self, size: Size, interp: int = CUBIC) -> None:
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src: NDArray) -> NDArray:
        return random_crop(src, self.size, self.interp)[0]


class RandomSizedCropAug(Augmenter):
    """A rectangle of random area and ratio, resized to (width, height); see random_size_crop."""

    def __init__(
        self, size: Size, area: float | tuple[float, float], ratio: tuple[float, float], interp: int = CUBIC, **old: Any
    ) -> None:
        super().__init__(size=size, area=area, ratio=ratio, interp=interp)
        self.size, self.ratio, self.interp = size, ratio, interp
        self.area = _area(area, old, type(self).__name__)

    def __call__(self, src: NDArray) -> NDArray:
        return random_size_crop(src, self.size, self.area, self.ratio, self.interp)[0]


class CenterCropAug(Augmenter):
    """The middle of the image, (width, height)."""

    def __init__(self, size: Size, interp: int = CUBIC) -> None:
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src: NDArray) -> NDArray:
        return center_crop(src, self.size, self.interp)[0]


class HorizontalFlipAug(Augmenter):
    """Left and right exchanged, with probability `p`."""

    def __init__(self, p: float) -> None:
        super().__init__(p=p)
        self.p = p

    def __call__(self, src: NDArray) -> NDArray:
        return made(pixels(src)[:, ::-1]) if random.random() < self.p else src


# -- colours --------------------------------------------------------------------------------------------------------


def colours(src: NDArray) -> np.ndarray:
    """A copy in float32."""
    return pixels(src).astype(np.float32)


class CastAug(Augmenter):
    """Another dtype."""

    def __init__(self, typ: str = "float32") -> None:
        super().__init__(type=typ)
        self.typ = typ

    def __call__(self, src: NDArray) -> NDArray:
        return made(pixels(src).astype(self.typ))


class BrightnessJitterAug(Augmenter):
    """Colours times a factor of 1 - brightness to 1 + brightness."""

    def __init__(self, brightness: float) -> None:
        super().__init__(brightness=brightness)
        self.brightness = brightness

    def __call__(self, src: NDArray) -> NDArray:
        return made(colours(src) * np.float32(1 + random.uniform(-self.brightness, self.brightness)))


class ContrastJitterAug(Augmenter):
    """Colours moved away from the mean grey, or to it, by a factor of 1 - contrast to 1 + contrast."""

    def __init__(self, contrast: float) -> None:
        super().__init__(contrast=contrast)
        self.contrast = contrast

    def __call__(self, src: NDArray) -> NDArray:
        factor, image = 1 + random.uniform(-self.contrast, self.contrast), colours(src)
        grey = (1 - factor) * 3 * float(np.mean(image * GREY, dtype=np.float64))
        return made(image * np.float32(factor) + np.float32(grey))


class SaturationJitterAug(Augmenter):
    """Colours moved away from their grey, or to it, by a factor of 1 - saturation to 1 + saturation."""

    def __init__(self, saturation: float) -> None:
        super().__init__(saturation=saturation)
        self.saturation = saturation

    def __call__(self, src: NDArray) -> NDArray:
        factor, image = 1 + random.uniform(-self.saturation, self.saturation), colours(src)
        grey = (image * GREY).sum(axis=2, keepdims=True) * np.float32(1 - factor)
        return made(image * np.float32(factor) + grey)


class HueJitterAug(Augmenter):
    """Hues turned by a part of half the circle of -hue to hue, as a rotation of colours in YIQ."""

    TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
    FROM_YIQ = np.array([[1.0, 0.956, 0.621], [1.0, -0.272, -0.647], [1.0, -1.107, 1.705]])

    def __init__(self, hue: float) -> None:
        super().__init__(hue=hue)
        self.hue = hue

    def __call__(self, src: NDArray) -> NDArray:
        angle = random.uniform(-self.hue, self.hue) * np.pi
        cos, sin = np.cos(angle), np.sin(angle)
        turn = self.FROM_YIQ @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ self.TO_YIQ
        return made(colours(src) @ turn.T.astype(np.float32))


class ColorJitterAug(RandomOrderAug):
    """Brightness, contrast and saturation changed in random order; 0 leaves one out."""

    def __init__(self, brightness: float, contrast: float, saturation: float) -> None:
        kinds = ((BrightnessJitterAug, brightness), (ContrastJitterAug, contrast), (SaturationJitterAug, saturation))
        super().__init__([kind(amount) for kind, amount in kinds if amount > 0])


class LightingAug(Augmenter):
    """All pixels moved along the main directions of colours, by normal numbers of deviation `alphastd`."""

    def __init__(self, alphastd: float, eigval: Any, eigvec: Any) -> None:
        super().__init__(alphastd=alphastd, eigval=eigval, eigvec=eigvec)
        self.alphastd, self.eigval, self.eigvec = alphastd, eigval, eigvec

    def __call__(self, src: NDArray) -> NDArray:
        alpha = np.random.normal(0, self.alphastd, size=(3,))  # noqa: NPY002 - the stream that scripts seed
        return made(colours(src) + np.dot(self.eigvec * alpha, self.eigval).astype(np.float32))


class ColorNormalizeAug(Augmenter):
    """(image - mean) / std, with a number for each channel; None leaves one out."""

    def __init__(self, mean: Any, std: Any) -> None:
        super().__init__(mean=mean, std=std)
        self.mean, self.std = (None if v is None else v if isinstance(v, NDArray) else nd.array(v) for v in (mean, std))

    def __call__(self, src: NDArray) -> NDArray:
        return color_normalize(src, self.mean, self.std)


class RandomGrayAug(Augmenter):
    """Grey in all channels, with probability `p`."""

    WEIGHTS = np.repeat(np.array([[0.21], [0.72], [0.07]], np.float32), 3, axis=1)

    def __init__(self, p: float) -> None:
        super().__init__(p=p)
        self.p = p

    def __call__(self, src: NDArray) -> NDArray:
        return made(colours(src) @ self.WEIGHTS) if random.random() < self.p else src


def CreateAugmenter(
    data_shape: Sequence[int],
    resize: int = 0,
    rand_crop: bool = False,
    rand_resize: bool = False,
    rand_mirror: bool = False,
    mean: Any = None,
    std: Any = None,
    brightness: float = 0,
    contrast: float = 0,
    saturation: float = 0,
    hue: float = 0,
    pca_noise: float = 0,
    rand_gray: float = 0,
    inter_method: int = CUBIC,
) -> list[Augmenter]:
    """The augmenters of an ImageIter that makes images (C, H, W) = data_shape.

    resize        what the shorter edge becomes first, 0: nothing
    rand_crop     a rectangle anywhere, not the middle; with rand_resize of random area and ratio
    mean, std     a number for each channel; True: ImageNet's
    """
    if rand_resize and not rand_crop:
        raise ConflictError("CreateAugmenter: rand_resize needs rand_crop")
    size = (data_shape[2], data_shape[1])
    augmenters: list[Augmenter] = [ResizeAug(resize, inter_method)] if resize > 0 else []
    if rand_resize:
        augmenters.append(RandomSizedCropAug(size, 0.08, (3.0 / 4.0, 4.0 / 3.0), inter_method))
    else:
        augmenters.append((RandomCropAug if rand_crop else CenterCropAug)(size, inter_method))
    augmenters += [HorizontalFlipAug(0.5)] if rand_mirror else []
    mean, std = of_channels(mean, IMAGENET_MEAN, np.float32), of_channels(std, IMAGENET_STD, np.float32)
    return augmenters + colour_augmenters(brightness, contrast, saturation, hue, pca_noise, rand_gray, mean, std)


def of_channels(given: Any, imagenet: Sequence[float], dtype: Any = np.float64) -> Any:
    """A number for each channel: those given, ImageNet's for True, None."""
    if given is True:
        return np.array(imagenet, dtype)
    if given is not None and not (isinstance(given, (np.ndarray, NDArray)) and given.shape[:1] in ((1,), (3,))):
        raise ConflictError(f"mean and std are arrays of 1 or 3 numbers, or True, got {given!r}")
    return given


def colour_augmenters(
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    pca_noise: float,
    rand_gray: float,
    mean: Any,
    std: Any,
) -> list[Augmenter]:
    """What changes colours, in MXNet's order, beginning with the cast to float32."""
    augmenters: list[Augmenter] = [CastAug()]
    if brightness or contrast or saturation:
        augmenters.append(ColorJitterAug(brightness, contrast, saturation))
    if hue:
        augmenters.append(HueJitterAug(hue))
    if pca_noise > 0:
        augmenters.append(LightingAug(pca_noise, EIGENVALUES, EIGENVECTORS))
    if rand_gray > 0:
        augmenters.append(RandomGrayAug(rand_gray))
    if mean is not None or std is not None:
        augmenters.append(ColorNormalizeAug(mean, std))
    return augmenters
