"""`mx.io`: iterators over batches."""

from .arrays import NDArrayIter
from .batch import DataBatch, DataDesc
from .files import CSVIter, LibSVMIter, MNISTIter
from .iterator import DataIter, PrefetchingIter, ResizeIter

__all__ = [
    "CSVIter", "DataBatch", "DataDesc", "DataIter", "LibSVMIter", "MNISTIter", "NDArrayIter", "PrefetchingIter",
    "ResizeIter",
]  # fmt: skip
