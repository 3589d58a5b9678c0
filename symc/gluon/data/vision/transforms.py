"""What is done to images, (H, W, C) up to ToTensor, (C, H, W) from there on; as blocks, and mostly hybrid ones.

Sizes are (width, height). Random numbers come from where MXNet takes them: crops from Python's `random`, rotations from
np.random, all else from mx.random.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np

from symc import image
from symc.core.errors import ArgumentError, ArgumentTypeError
from symc.gluon.block import Block, HybridBlock
from symc.gluon.nn import HybridSequential, Sequential
from symc.image.image import cropped, made, pixels, resized, short_size
from symc.ndarray import NDArray


class Compose(Sequential):
    """Several transforms, one after the other; those that can be compiled together are.

    Not together are those that see images of all sizes: each size would be compiled anew.
    """

    def __init__(self, transforms: Sequence[Block]) -> None:
        super().__init__()
        together: list[HybridBlock] = []
        for transform in transforms:
            if isinstance(transform, HybridBlock) and not isinstance(transform, _OfAnySize):
                together.append(transform)
                continue
            self._add_compiled(together)
            together = []
            self.add(transform)
        self._add_compiled(together)

    def _add_compiled(self, transforms: list[HybridBlock]) -> None:
        if len(transforms) < 2:
            self.add(*transforms)
            return
        run = HybridSequential()
        run.add(*transforms)
        run.hybridize()
        self.add(run)


class RandomApply(Sequential):
    """A transform, with probability `p`."""

    def __init__(self, transforms: Block, p: float = 0.5) -> None:
        super().__init__()
        self.transforms = transforms
        self.p = p

    def forward(self, x: Any) -> Any:
        return x if self.p < random.random() else self.transforms(x)


class Cast(HybridBlock):
    """Another dtype."""

    def __init__(self, dtype: Any = "float32") -> None:
        super().__init__()
        self._dtype = dtype

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.cast(x, self._dtype)


class ToTensor(HybridBlock):
    """(H, W, C) or (N, H, W, C) of 0 to 255 -> (C, H, W) or (N, C, H, W) float32 of 0 to 1."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.image.to_tensor(x)


class Normalize(HybridBlock):
    """(x - mean) / std of (C, H, W) or (N, C, H, W), with a number for each channel or one for all."""

    def __init__(self, mean: Any = 0.0, std: Any = 1.0) -> None:
        super().__init__()
        self._mean, self._std = mean, std

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.image.normalize(x, self._mean, self._std)


# -- sizes ----------------------------------------------------------------------------------------------------------


class _OfAnySize(HybridBlock):
    """A transform of images that come in all sizes: OpenCV does arrays, as in MXNet; a symbol is an operator."""

    def forward(self, x: Any) -> Any:
        if not isinstance(x, NDArray) or self._active:
            return super().forward(x)
        if x.ndim == 4:
            return made(np.stack([self._changed(one) for one in pixels(x)]))
        return made(self._changed(pixels(x)))

    def _changed(self, x: np.ndarray) -> np.ndarray:
        """What becomes of an image (H, W, C)."""
        raise NotImplementedError


class Resize(_OfAnySize):
    """Another size: (width, height), or one number for both, or with `keep_ratio` for the shorter edge.

    interpolation   0: nearest, 1: linear, 2: cubic, 3: area, 4: Lanczos
    """

    def __init__(self, size: Any, keep_ratio: bool = False, interpolation: int = 1) -> None:
        super().__init__()
        self._size, self._keep, self._interpolation = size, keep_ratio, interpolation

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.image.resize(x, self._size, self._keep, self._interpolation)

    def _changed(self, x: np.ndarray) -> np.ndarray:
        size = self._size
        if isinstance(size, Number):
            size = short_size(x, size) if self._keep else (size, size)
        return resized(x, size, self._interpolation)


class CropResize(_OfAnySize):
    """A rectangle of the image, resized to `size` if that is given."""

    def __init__(
        self, x: int, y: int, width: int, height: int, size: Any = None, interpolation: int | None = None
    ) -> None:
        super().__init__()
        self._at = (x, y, width, height)
        self._size, self._interpolation = size, 1 if interpolation is None else interpolation

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        part = F.image.crop(x, *self._at)
        return F.image.resize(part, self._size, False, self._interpolation) if self._size else part

    def _changed(self, x: np.ndarray) -> np.ndarray:
        left, top, width, height = self._at
        if min(left, top) < 0 or min(width, height) < 1 or top + height > x.shape[0] or left + width > x.shape[1]:
            raise ArgumentError(f"CropResize: {width} x {height} from ({left}, {top}) lies outside of {x.shape}")
        return cropped(x, self._at, _both(self._size) if self._size else None, self._interpolation)


class CenterCrop(Block):
    """The middle of the image; smaller images are enlarged."""

    def __init__(self, size: Any, interpolation: int = 1) -> None:
        super().__init__()
        self._args = (_both(size), interpolation)

    def forward(self, x: NDArray) -> NDArray:
        return image.center_crop(x, *self._args)[0]


class RandomResizedCrop(Block):
    """A rectangle of random area (a part of the image in `scale`) and ratio, resized."""

    def __init__(
        self,
        size: Any,
        scale: Any = (0.08, 1.0),
        ratio: tuple[float, float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: int = 1,
    ) -> None:
        super().__init__()
        self._args = (_both(size), scale, ratio, interpolation)

    def forward(self, x: NDArray) -> NDArray:
        return image.random_size_crop(x, *self._args)[0]


def _both(size: Any) -> Any:
    return (size, size) if isinstance(size, Number) else size


class Rotate(Block):
    """Images (C, H, W) or (N, C, H, W) turned; see mx.image.imrotate."""

    def __init__(self, rotation_degrees: float, zoom_in: bool = False, zoom_out: bool = False) -> None:
        super().__init__()
        self._args = (rotation_degrees, zoom_in, zoom_out)

    def forward(self, x: NDArray) -> NDArray:
        _require_float(x)
        return image.imrotate(x, *self._args)


class RandomRotation(Block):
    """Images (C, H, W) or (N, C, H, W) turned by angles between two limits, with probability `rotate_with_proba`."""

    def __init__(
        self,
        angle_limits: tuple[float, float],
        zoom_in: bool = False,
        zoom_out: bool = False,
        rotate_with_proba: float = 1.0,
    ) -> None:
        super().__init__()
        low, high = angle_limits
        if low >= high:
            raise ArgumentError(f"`angle_limits` must be an ordered tuple, got {angle_limits}")
        if not 0 <= rotate_with_proba <= 1:
            raise ArgumentError(f"Probability of rotating the image should be between 0 and 1, got {rotate_with_proba}")
        self._args = (angle_limits, zoom_in, zoom_out)
        self._rotate_with_proba = rotate_with_proba

    def forward(self, x: NDArray) -> NDArray:
        if np.random.random() > self._rotate_with_proba:  # noqa: NPY002 - the stream that scripts seed
            return x
        _require_float(x)
        return image.random_rotate(x, *self._args)


def _require_float(x: NDArray) -> None:
    if x.dtype is not np.float32:
        raise ArgumentTypeError("This transformation only supports float32. Consider calling it after ToTensor")


# -- at random, by operators ----------------------------------------------------------------------------------------


class _Drawn(HybridBlock):
    """An operator of mx.nd.image and its parameters."""

    operator: str

    def __init__(self, *parameters: float) -> None:
        super().__init__()
        self._args = parameters

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return getattr(F.image, self.operator)(x, *self._args)


def _around_one(amount: float) -> tuple[float, float]:
    return max(0, 1 - amount), 1 + amount


class RandomFlipLeftRight(_Drawn):
    """Left and right exchanged in every second image."""

    operator = "random_flip_left_right"

    def __init__(self) -> None:
        super().__init__()


class RandomFlipTopBottom(_Drawn):
    """Top and bottom exchanged in every second image."""

    operator = "random_flip_top_bottom"

    def __init__(self) -> None:
        super().__init__()


class RandomBrightness(_Drawn):
    """Colours times a factor of 1 - brightness to 1 + brightness."""

    operator = "random_brightness"

    def __init__(self, brightness: float) -> None:
        super().__init__(*_around_one(brightness))


class RandomContrast(_Drawn):
    """Distances from the mean grey times such a factor."""

    operator = "random_contrast"

    def __init__(self, contrast: float) -> None:
        super().__init__(*_around_one(contrast))


class RandomSaturation(_Drawn):
    """Distances from grey times such a factor."""

    operator = "random_saturation"

    def __init__(self, saturation: float) -> None:
        super().__init__(*_around_one(saturation))


class RandomHue(_Drawn):
    """Hues turned by 1 - hue to 1 + hue of the circle, as MXNet does: by -hue to hue."""

    operator = "random_hue"

    def __init__(self, hue: float) -> None:
        super().__init__(*_around_one(hue))


class RandomColorJitter(_Drawn):
    """Brightness, contrast, saturation and hue changed in random order; 0 leaves one out."""

    operator = "random_color_jitter"

    def __init__(self, brightness: float = 0, contrast: float = 0, saturation: float = 0, hue: float = 0) -> None:
        super().__init__(brightness, contrast, saturation, hue)


class RandomLighting(_Drawn):
    """Colours moved along their main directions, by normal numbers of deviation `alpha`."""

    operator = "random_lighting"

    def __init__(self, alpha: float) -> None:
        super().__init__(alpha)
