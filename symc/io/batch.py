"""What iterators give: batches, and descriptions of the arrays in them."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from symc.core.errors import ArgumentError, ConflictError
from symc.ndarray import NDArray


def require_samples(owner: str, batch_size: int) -> None:
    """Raises ArgumentError for a batch of no samples: batches of none would never come to an end."""
    if batch_size < 1:
        raise ArgumentError(f"{owner}: a batch has at least one sample, got batch_size={batch_size}")


class DataDesc(namedtuple("DataDesc", ("name", "shape"))):
    """The name and shape of an array in a batch: a pair, with a dtype and a layout such as "NCHW" as attributes."""

    dtype: Any
    layout: str | None

    def __new__(cls, name: str, shape: Sequence[int], dtype: Any = np.float32, layout: str | None = "NCHW") -> DataDesc:
        made = super().__new__(cls, name, shape)
        made.dtype, made.layout = dtype, layout
        return made

    def __repr__(self) -> str:
        return f"DataDesc[{self.name},{self.shape},{self.dtype},{self.layout}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return DataDesc, (self.name, self.shape, self.dtype, self.layout)

    @staticmethod
    def get_batch_axis(layout: str | None) -> int:
        """The axis of the batch: where the layout has an N, -1 where it has none, 0 without a layout."""
        return 0 if layout is None else layout.find("N")

    @staticmethod
    def get_list(
        shapes: Iterable[tuple[str, Sequence[int]]], types: Iterable[tuple[str, Any]] | None
    ) -> list[DataDesc]:
        """Descriptions from pairs of names and shapes and pairs of names and dtypes."""
        if types is None:
            return [DataDesc(name, shape) for name, shape in shapes]
        dtypes = dict(types)
        return [DataDesc(name, shape, dtypes[name]) for name, shape in shapes]


class DataBatch:
    """One batch.

    data, label                 lists of NDArrays (label may be None)
    pad                         how many samples at its end are there only to fill it
    index                       numbers of the samples, where the iterator knows them
    bucket_key                  which network of a BucketingModule it is for
    provide_data, provide_label DataDescs, for batches whose shapes differ from the iterator's
    """

    def __init__(
        self,
        data: Sequence[NDArray] | None,
        label: Sequence[NDArray] | None = None,
        pad: int | None = None,
        index: Any = None,
        bucket_key: Any = None,
        provide_data: Any = None,
        provide_label: Any = None,
    ) -> None:
        for what, arrays in (("Data", data), ("Label", label)):
            if arrays is not None and not isinstance(arrays, (list, tuple)):
                raise ConflictError(f"{what} must be list of NDArrays, got {type(arrays).__name__}")
        self.data = data
        self.label = label
        self.pad = pad
        self.index = index
        self.bucket_key = bucket_key
        self.provide_data = provide_data
        self.provide_label = provide_label

    def __str__(self) -> str:
        def shapes(arrays: Sequence[NDArray] | None) -> list[tuple[int, ...]] | None:
            return [a.shape for a in arrays] if arrays else None

        return f"{type(self).__name__}: data shapes: {shapes(self.data)} label shapes: {shapes(self.label)}"


Named = Mapping[str, str]


def renamed(descs: Iterable[DataDesc | tuple[str, Sequence[int]]], names: Named | None) -> list[Any]:
    """Descriptions with other names, as a mapping from old to new says."""
    if names is None:
        return list(descs)
    return [
        DataDesc(names[d.name], d.shape, d.dtype, d.layout) if isinstance(d, DataDesc) else DataDesc(names[d[0]], d[1])
        for d in descs
    ]
