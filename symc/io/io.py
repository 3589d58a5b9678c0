"""`mx.io.io`: where MXNet keeps what `mx.io` has."""

from __future__ import annotations

from symc.core.divided import rest_of

from .utils import _getdata_by_idx, _has_instance, _init_data, _slice_along_batch_axis

__all__ = ["_getdata_by_idx", "_has_instance", "_init_data", "_slice_along_batch_axis"]
__getattr__ = rest_of(__name__)  # DataBatch, NDArrayIter ...
