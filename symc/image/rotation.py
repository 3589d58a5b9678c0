"""Rotating images (C, H, W) and batches of them by any angle."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np

from symc import ndarray as nd
from symc.core.errors import ArgumentError, ArgumentTypeError
from symc.ndarray import NDArray

from .image import pixels


def imrotate(src: NDArray, rotation_degrees: Any, zoom_in: bool = False, zoom_out: bool = False) -> NDArray:
    """Float32 images (C, H, W) or (N, C, H, W) rotated about their middle; what lies outside is 0.

    rotation_degrees   one angle, or for a batch one for each image
    zoom_in, zoom_out  enlarge so that nothing outside is seen, or make smaller so that all of the image is
    """
    if zoom_in and zoom_out:
        raise ArgumentError("`zoom_in` and `zoom_out` cannot be both True")
    if src.dtype is not np.float32:
        raise ArgumentTypeError(f"Only `float32` images are supported by this function, got {np.dtype(src.dtype)}")
    if src.ndim not in (3, 4):
        raise ArgumentError(f"Only 3D and 4D are supported by this function, got {src.shape}")
    if src.ndim == 3:
        if not isinstance(rotation_degrees, Number):
            raise ArgumentTypeError("When a single image is passed the rotation angle is required to be a scalar.")
        return imrotate(src.expand_dims(axis=0), rotation_degrees, zoom_in, zoom_out)[0]
    n, _, height, width = src.shape
    degrees = np.full(n, rotation_degrees) if isinstance(rotation_degrees, Number) else pixels(rotation_degrees)
    if len(degrees) != n:
        raise ArgumentError(f"The number of images must be equal to the number of rotation angles: {n}, {len(degrees)}")
    radians = np.pi * degrees.astype(np.float64).reshape(n, 1, 1) / 180
    grid = _grid(radians, height, width) * _zoom(radians, height, width, zoom_in, zoom_out)[:, None]
    return nd.BilinearSampler(src, nd.array(grid))


def _grid(radians: np.ndarray, height: int, width: int) -> np.ndarray:
    """Where each pixel comes from, (N, 2, H, W): x and y from -1 to 1."""
    y_middle, x_middle = (height - 1) / 2, (width - 1) / 2
    y, x = np.arange(height).reshape(1, -1, 1) - y_middle, np.arange(width) - x_middle
    cos, sin = np.cos(radians), np.sin(radians)
    return np.stack([(x * cos - y * sin) / x_middle, (x * sin + y * cos) / y_middle], axis=1)


def _zoom(radians: np.ndarray, height: int, width: int, zoom_in: bool, zoom_out: bool) -> np.ndarray:
    """By how much each image shrinks, (N, 1, 1)."""
    if not (zoom_in or zoom_out):
        return np.ones_like(radians)
    diagonal, angle, turn = np.hypot(height, width), np.arctan(height / width), np.abs(radians)
    x_extent, y_extent = (
        np.maximum(np.abs(diagonal * part(angle + turn)), np.abs(diagonal * part(angle - turn)))
        for part in (np.cos, np.sin)
    )
    if zoom_out:
        return np.maximum(x_extent / width, y_extent / height)
    return np.minimum(width / x_extent, height / y_extent)


def random_rotate(src: NDArray, angle_limits: Any, zoom_in: bool = False, zoom_out: bool = False) -> NDArray:
    """`imrotate` by angles between two limits that np.random draws, one for each image."""
    low, high = angle_limits
    drawn = np.random.uniform(low, high, None if src.ndim == 3 else len(src))  # noqa: NPY002 - scripts seed it
    return imrotate(src, drawn, zoom_in, zoom_out)
