"""What a batch is: samples put together, in the memory that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symc import ndarray as nd
from symc.context import Context
from symc.core.errors import ArgumentError
from symc.ndarray import NDArray

Batchify = Callable[[list[Any]], Any]


def default_batchify_fn(data: Sequence[Any]) -> Any:
    """Samples as one array with a new first axis; of tuples, a list with one array for each part.

    NDArrays are stacked, all else goes through NumPy and keeps its dtype. Raises ArgumentError for samples of different
    shapes.
    """
    if isinstance(data[0], NDArray):
        return nd.stack(*data)
    if isinstance(data[0], tuple):
        return [default_batchify_fn(part) for part in zip(*data)]
    try:
        array = np.asarray(data)
    except ValueError as error:
        shapes = ", ".join(sorted({str(np.shape(sample)) for sample in data}))
        raise ArgumentError(
            f"a batch of samples of the shapes {shapes}; make them equal with transform(), or give batchify_fn"
        ) from error
    return nd.array(array, dtype=array.dtype)


def batch_of(numbers: Sequence[int], batchify: Batchify, dataset: Any) -> Any:
    """The batch of some samples of a dataset."""
    return batchify([dataset[k] for k in numbers])


def in_context(batch: Any, context: Context) -> Any:
    """A batch, or the arrays of a list of them, in a context."""
    if isinstance(batch, (list, tuple)):
        return [in_context(part, context) for part in batch]
    return batch.as_in_context(context) if isinstance(batch, NDArray) else batch
