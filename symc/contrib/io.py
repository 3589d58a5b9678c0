"""`mx.contrib.io`: Gluon's data loaders as iterators for modules."""

from __future__ import annotations

from typing import Any

from symc import ndarray as nd
from symc.io import DataDesc, DataIter
from symc.ndarray import NDArray

__all__ = ["DataLoaderIter"]


class DataLoaderIter(DataIter):
    """The batches of a DataLoader whose samples are pairs of data and label, cast to a dtype.

    The first batch says what is provided. A smaller one at the end is filled up with zeros; `getpad` says by how many.
    """

    def __init__(
        self, loader: Any, data_name: str = "data", label_name: str = "softmax_label", dtype: Any = "float32"
    ) -> None:
        data, label = next(iter(loader))
        super().__init__(data.shape[0])
        self._loader = loader
        self.dtype = dtype
        self.provide_data = [DataDesc(data_name, data.shape, dtype)]
        self.provide_label = [DataDesc(label_name, label.shape, dtype)]
        self._current: Any = None
        self.reset()

    def reset(self) -> None:
        self._batches = iter(self._loader)

    def iter_next(self) -> bool:
        self._current = next(self._batches, None)
        return self._current is not None

    def getdata(self) -> list[NDArray]:
        return [self._filled(self._current[0])]

    def getlabel(self) -> list[NDArray]:
        return [self._filled(self._current[1])]

    def getpad(self) -> int:
        return self.batch_size - self._current[0].shape[0]

    def _filled(self, array: NDArray) -> NDArray:
        found = array.astype(self.dtype)
        if not self.getpad():
            return found
        return nd.concat(found, nd.zeros((self.getpad(), *array.shape[1:]), dtype=self.dtype), dim=0)
