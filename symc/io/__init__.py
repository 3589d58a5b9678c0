"""`mx.io`: iterators over batches."""

from . import io, utils
from .arrays import NDArrayIter
from .batch import DataBatch, DataDesc
from .files import CSVIter, LibSVMIter, MNISTIter
from .images import ImageRecordInt8Iter, ImageRecordIter, ImageRecordUInt8Iter
from .iterator import DataIter, PrefetchingIter, ResizeIter
from .keywords import MXDataIter
from .objects import ImageDetRecordIter

__all__ = [
    "CSVIter", "DataBatch", "DataDesc", "DataIter", "ImageDetRecordIter", "ImageRecordInt8Iter", "ImageRecordIter",
    "ImageRecordUInt8Iter", "LibSVMIter", "MNISTIter", "MXDataIter", "NDArrayIter", "PrefetchingIter", "ResizeIter",
    "io", "utils",
]  # fmt: skip
