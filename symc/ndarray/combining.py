"""Functions of MXNet's nd module that are more than one operator: moveaxis, concatenate, histogram, split_v2, ..."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from symc.core.errors import ArgumentError, ArgumentTypeError

from .creation import array
from .ndarray import NDArray
from .operators import call


def concatenate(arrays: Sequence[NDArray], axis: int = 0, always_copy: bool = True) -> NDArray:
    """The arrays one after the other along `axis`; a single one itself if not `always_copy`.

    Raises ShapeError and DTypeError where the arrays do not fit.
    """
    if not isinstance(arrays, (list, tuple)) or not arrays or not all(isinstance(a, NDArray) for a in arrays):
        raise ArgumentTypeError("concatenate: expected a list of NDArrays that is not empty")
    if len(arrays) == 1 and not always_copy:
        return arrays[0]
    return call("Concat", *arrays, dim=axis, num_args=len(arrays))


def moveaxis(tensor: NDArray, source: int | Sequence[int], destination: int | Sequence[int]) -> NDArray:
    """The array with some axes at other places, the others in order; raises ArgumentError for axes that do not fit."""
    sources, targets = (_axes("moveaxis", axes, tensor.ndim) for axes in (source, destination))
    if len(sources) != len(targets):
        raise ArgumentError("moveaxis: `source` and `destination` must have the same number of axes")
    order = [a for a in range(tensor.ndim) if a not in sources]
    for target, axis in sorted(zip(targets, sources)):
        order.insert(target, axis)
    return call("transpose", tensor, axes=tuple(order))


def _axes(what: str, axes: int | Sequence[int], ndim: int) -> list[int]:
    """Axis numbers from 0; raises ArgumentError for one that does not exist or is given twice."""
    given = [axes] if isinstance(axes, int) else list(axes)
    found = [a + ndim if a < 0 else a for a in given]
    if not all(0 <= a < ndim for a in found) or len(set(found)) < len(found):
        raise ArgumentError(f"{what}: axes {given} do not fit an array of {ndim} dimensions")
    return found


def onehot_encode(indices: NDArray, out: NDArray) -> NDArray:
    """Writes ones at (i, indices[i]) of `out` (N, depth) and zeros elsewhere; gives `out`."""
    return call("one_hot", indices, depth=out.shape[1], dtype=out._dtype.name, out=out)


def split_v2(
    ary: NDArray, indices_or_sections: int | Sequence[int], axis: int = 0, squeeze_axis: bool = False
) -> NDArray | list[NDArray]:
    """Parts along an axis: a number of equal ones, or cut at the given positions.

    Raises ArgumentError where the axis is not a multiple of the number, or for another kind of argument.
    """
    extent = ary.shape[axis]
    if isinstance(indices_or_sections, int):
        sections = indices_or_sections
        if sections < 1 or extent % sections:
            raise ArgumentError("array split does not result in an equal division")
        indices = list(range(0, extent, extent // sections))
    elif isinstance(indices_or_sections, (tuple, list)):
        indices = [0, *indices_or_sections]
    else:
        raise ArgumentError("indices_or_sections must either int, or tuple / list of ints")
    return call("_split_v2", ary, indices=tuple(indices), axis=axis, squeeze_axis=squeeze_axis)


def histogram(a: NDArray, bins: int | NDArray = 10, range: tuple[float, float] | None = None) -> Sequence[NDArray]:
    """Counts per bin (int64) and the bins' edges; `bins` is a number of equal bins within `range` or holds the edges.

    Without `range` it goes from the smallest to the largest element, counts are float32 and a warning says so.
    """
    if isinstance(bins, NDArray):
        return call("_histogram", a, bins)
    if not isinstance(bins, (int, np.integer)):
        raise ArgumentError("bins argument should be either an integer or an NDArray")
    if range is not None:
        return call("_histogram", a, bin_cnt=int(bins), range=range)
    warnings.warn("range is not specified, using numpy's result to ensure consistency with numpy", stacklevel=2)
    counts, edges = np.histogram(a.asnumpy(), bins)
    return array(counts), array(edges)


def imdecode(*args: Any, **kwargs: Any) -> NDArray:
    """Not available, as it was out of use in MXNet: raises ArgumentError."""
    raise ArgumentError("nd.imdecode is not available; mx.image.imdecode decodes images")
