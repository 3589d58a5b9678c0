"""What a module asks of a batch: the shapes that it brings, and one batch made of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symc import ndarray as nd
from symc.io import DataBatch, DataDesc
from symc.ndarray import NDArray


def joined(parts: Sequence[Any]) -> Any:
    """One batch of several, whose samples follow one another."""

    def arrays(kind: str) -> list[NDArray] | None:
        listed = [getattr(part, kind) for part in parts]
        return None if any(found is None for found in listed) else [nd.concat(*a, dim=0) for a in zip(*listed)]

    return DataBatch(arrays("data"), arrays("label"))


def described(batch: Any, data: Sequence[DataDesc], labels: Sequence[DataDesc] | None) -> tuple[Any, Any] | None:
    """Descriptions of a batch's data and labels, after those of another one; None where its data have the same shapes.

    Where a batch tells nothing of its labels, they have as many samples as its data.
    """
    found = [tuple(a.shape) for a in batch.data]
    if found == [tuple(d.shape) for d in data]:
        return None
    of_data = getattr(batch, "provide_data", None) or _reshaped(data, found)
    of_labels = getattr(batch, "provide_label", None)
    given = getattr(batch, "label", None)  # scripts make batches of their own classes
    if not of_labels and labels:
        of_labels = _reshaped(labels, [a.shape for a in given]) if given else _resized(labels, of_data[0])
    return of_data, of_labels or None


def _reshaped(descs: Sequence[DataDesc], shapes: Sequence[tuple[int, ...]]) -> list[DataDesc]:
    return [DataDesc(d.name, shape, d.dtype, d.layout) for d, shape in zip(descs, shapes)]


def _resized(labels: Sequence[DataDesc], data: DataDesc) -> list[DataDesc]:
    """Labels for as many samples as the data have."""
    size = data.shape[max(0, DataDesc.get_batch_axis(data.layout))]
    axes = [DataDesc.get_batch_axis(d.layout) for d in labels]
    return _reshaped(
        labels, [tuple(size if k == axis else n for k, n in enumerate(d.shape)) for d, axis in zip(labels, axes)]
    )
