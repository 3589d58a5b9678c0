"""Pooling over regions of interest: boxes of an image, each cut into the same number of bins."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from symc.core.shapes import FullShape, size_of

from .routine import Routine, even_parts

COLLECTED = 1024  # samples of a turned region whose places and weights are kept at a time
MAX_SAMPLES = 2**30  # of a bin along an axis, most of them outside any image


@dataclass(frozen=True)
class RoiMax(Routine):
    """The largest element of each bin: data (N, C, H, W), rois (R, 5) = (image, x1, y1, x2, y2) ->
    values (R, C, *bins) and their positions in the image plane, int32; 0 and -1 for an empty bin.

    Corners are scaled and rounded, the last row and column included; bin k of n covers the rows from floor(k * h / n)
    to ceil((k + 1) * h / n) of the region's h (Girshick, Fast R-CNN, 2015; MXNet computes the quotient in floats).
    """

    bins: tuple[int, int]
    scale: float

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        data, rois = ins
        values, places = outs
        values[...], places[...] = 0, -1
        for r, roi in enumerate(rois):
            if not 0 <= int(roi[0]) < len(data):
                continue
            for (a, b), rows, columns in self._bins(data, roi):
                box = data[int(roi[0]), :, rows, columns]
                flat = box.reshape(data.shape[1], -1)
                if flat.shape[1]:
                    best = flat.argmax(1)
                    row, column = np.divmod(best, box.shape[2])
                    values[r, :, a, b] = np.take_along_axis(flat, best[:, None], 1)[:, 0]
                    places[r, :, a, b] = (rows.start + row) * data.shape[3] + columns.start + column

    def _bins(self, data: np.ndarray, roi: np.ndarray) -> Iterator[tuple[tuple[int, int], slice, slice]]:
        """The bins of one region with the rows and columns each covers."""
        scaled = roi[1:].astype("float64") * self.scale
        x1, y1, x2, y2 = (int(math.copysign(math.floor(abs(v) + 0.5), v)) for v in scaled)
        for a in range(self.bins[0]):
            for b in range(self.bins[1]):
                rows = self._span(a, y1, y2, self.bins[0], data.shape[2])
                columns = self._span(b, x1, x2, self.bins[1], data.shape[3])
                yield (a, b), rows, columns

    def _span(self, k: int, first: int, last: int, n_bins: int, extent: int) -> slice:
        size = max(last - first + 1, 1)
        ends = (k * size // n_bins + first, -(-(k + 1) * size // n_bins) + first)
        start, stop = (min(max(p, 0), extent) for p in ends)
        return slice(start, max(start, stop))

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        data, rois = shapes
        return even_parts(rois[0] * data[1], size_of(data[2:]))

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        data, rois = shapes
        return rois[0] * size_of(data[1:])


def _reaching(start: float, size: float, n: int, least: float, most: float) -> range:
    """Which of the samples start + (k + 0.5) * size / n lie in least..most, or a few more."""
    if not size > 0:
        return range(n)
    low, high = ((edge - start) / size * n for edge in (least, most))
    if not (low <= n and high >= 0):  # also for a box without a place: NaN
        return range(0)
    return range(max(0, math.floor(max(low, 0)) - 1), min(n, math.ceil(min(high, n)) + 1))


def around(y: float, x: float, height: int, width: int) -> Iterator[tuple[int, int, float]]:
    """(row, column, weight) of the four pixels around a place; none further than a pixel outside."""
    if not (-1 <= y <= height and -1 <= x <= width):
        return
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    row, column = int(y), int(x)
    for i, up in ((row, 1 - y + row), (min(row + 1, height - 1), y - row)):
        for j, across in ((column, 1 - x + column), (min(column + 1, width - 1), x - column)):
            yield i, j, up * across


@dataclass(frozen=True)
class RoiAlign(Routine):
    """The mean of samples in each bin, each interpolated between four pixels: data of `shape` (N, C, H, W),
    rois (R, 5) -> (R, channels, *bins); or the adjoint, which gives (R, channels, *bins) back to the pixels.

    A bin has sample_ratio x sample_ratio samples, or as many as it has pixels (rounded up).  By position, each bin of a
    channel reads a plane of its own (R-FCN).  Samples further than one pixel outside count as 0.  Regions are at least
    one pixel wide, or, when aligned, shifted by half a pixel (He et al., Mask R-CNN, 2017).
    """

    shape: tuple[int, int, int, int]
    channels: int
    bins: tuple[int, int]
    scale: float
    sample_ratio: int
    by_position: bool
    is_aligned: bool
    is_adjoint: bool = False

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        pixels, pooled = (outs[0], ins[0]) if self.is_adjoint else (ins[0], outs[0])
        outs[0][...] = 0
        for r, roi in enumerate(ins[1].astype("float64")):
            if not 0 <= int(roi[0]) < len(pixels):
                continue
            planes = pixels[int(roi[0])]
            for a, b in np.ndindex(*self.bins):
                step = a * self.bins[1] + b
                mine = planes[step :: self.bins[0] * self.bins[1]] if self.by_position else planes
                for row, column, weight in self._samples(roi, a, b):
                    if self.is_adjoint:
                        mine[:, row, column] += pooled[r, :, a, b] * weight
                    else:
                        pooled[r, :, a, b] += mine[:, row, column] * weight

    def _samples(self, roi: np.ndarray, a: int, b: int) -> Iterator[tuple[int, int, float]]:
        """(row, column, weight) of every pixel that a bin is made of."""
        _, _, height, width = self.shape
        shift, least = (0.5, 0.0) if self.is_aligned else (0.0, 1.0)
        x1, y1, x2, y2 = roi[1:] * self.scale - shift
        size = max(y2 - y1, least) / self.bins[0], max(x2 - x1, least) / self.bins[1]
        counts = [self.sample_ratio if self.sample_ratio > 0 else math.ceil(min(s, MAX_SAMPLES)) for s in size]
        downs, rights = (
            _reaching(start + k * s, s, n, -1, extent)
            for start, k, s, n, extent in zip((y1, x1), (a, b), size, counts, (height, width))
        )
        for down, right in product(downs, rights):
            y = y1 + a * size[0] + (down + 0.5) * size[0] / counts[0]
            x = x1 + b * size[1] + (right + 0.5) * size[1] / counts[1]
            for row, column, weight in around(y, x, height, width):
                yield row, column, weight / (counts[0] * counts[1])

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        return even_parts(self.channels, shapes[1][0] * 16 * size_of(self.bins))

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        samples = max(1, self.sample_ratio) ** 2
        return shapes[1][0] * self.channels * size_of(self.bins) * samples * 11


@dataclass(frozen=True)
class RotatedAlign(Routine):
    """The mean of samples in each bin of turned regions: data (N, C, H, W), rois (R, 6) = (image, centre x, centre y,
    width, height, degrees counter-clockwise) -> (R, C, *bins).

    Samples are counted and interpolated as by RoiAlign; regions are at least one pixel wide (Ma et al., 2018).
    """

    bins: tuple[int, int]
    scale: float
    sample_ratio: int

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        data, (pooled,) = ins[0], outs
        pooled[...] = 0
        height, width = data.shape[2:]
        for r, (image, x, y, *size, angle) in enumerate(ins[1].astype("float64")):
            if not 0 <= int(image) < len(data):
                continue
            right, down = (max(s * self.scale, 1.0) for s in size)
            steps = down / self.bins[0], right / self.bins[1]
            counts = [self.sample_ratio if self.sample_ratio > 0 else math.ceil(min(s, MAX_SAMPLES)) for s in steps]
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            for a, b in np.ndindex(*self.bins):
                for i, j in np.ndindex(*counts):
                    v = -down / 2 + (a + (i + 0.5) / counts[0]) * steps[0]
                    u = -right / 2 + (b + (j + 0.5) / counts[1]) * steps[1]
                    place = v * cos - u * sin + y * self.scale, u * cos + v * sin + x * self.scale
                    for row, column, weight in around(*place, height, width):
                        pooled[r, :, a, b] += data[int(image), :, row, column] * (weight / (counts[0] * counts[1]))

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        return even_parts(shapes[1][0], 16 * shapes[0][1] * size_of(self.bins))

    def scratch(self, shapes: Sequence[FullShape]) -> tuple[tuple[FullShape, str], ...]:
        """Of the collected samples: bin, place of the first pixel, the steps to the others; the four weights."""
        shape = self.n_parts(shapes), COLLECTED, 4
        return (shape, "int32"), (shape, "float64")

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        samples = max(1, self.sample_ratio) ** 2
        return shapes[1][0] * shapes[0][1] * size_of(self.bins) * samples * 11


@dataclass(frozen=True)
class RoiMean(Routine):
    """The mean of each bin's pixels: data of `shape` (N, C, H, W), rois (R, 5) = (image, x1, y1, x2, y2) ->
    (R, channels, *bins); or the adjoint, which gives (R, channels, *bins) back to the pixels.

    Corners are rounded, the last row and column included, then scaled, and at least 0.1 pixels apart; a bin covers all
    pixels it touches, and reads the plane of its part of the region: groups x groups planes for each channel (R-FCN).
    All this is computed in the dtype of the data, as in MXNet: whether a pixel is touched depends on it.
    """

    shape: tuple[int, int, int, int]
    channels: int
    bins: int
    groups: int
    scale: float
    is_adjoint: bool = False

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        pixels, pooled = (outs[0], ins[0]) if self.is_adjoint else (ins[0], outs[0])
        outs[0][...] = 0
        for r, roi in enumerate(ins[1]):
            if not 0 <= int(roi[0]) < len(pixels):
                continue
            rows, columns = (self._spans(roi, axis) for axis in (1, 0))
            for a, b in np.ndindex(self.bins, self.bins):
                size = (rows[a].stop - rows[a].start) * (columns[b].stop - columns[b].start)
                plane = a * self.groups // self.bins * self.groups + b * self.groups // self.bins
                planes = pixels[int(roi[0]), plane :: self.groups**2][: self.channels, rows[a], columns[b]]
                if size and self.is_adjoint:
                    planes += (pooled[r, :, a, b] / size)[:, None, None]
                elif size:
                    pooled[r, :, a, b] = planes.sum((1, 2)) / size

    def _spans(self, roi: np.ndarray, axis: int) -> list[slice]:
        """The rows (axis 1) or columns that each bin covers."""
        real, extent = roi.dtype.type, self.shape[3 - axis]
        first, last = (real(math.copysign(math.floor(abs(v) + 0.5), v)) for v in (roi[1 + axis], roi[3 + axis]))
        start, scale = first * real(self.scale), real(self.scale)
        step = max((last + real(1)) * scale - start, real(0.1)) / real(self.bins)
        found = []
        for k in range(self.bins):
            ends = math.floor(real(k) * step + start), math.ceil(real(k + 1) * step + start)
            low, high = (min(max(p, 0), extent) for p in ends)
            found.append(slice(low, max(low, high)))
        return found

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        return even_parts(self.channels, shapes[1][0] * 4 * self.bins**2)

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        return shapes[1][0] * self.channels * size_of(self.shape[2:])
