"""`mx.gluon.data`: datasets, samplers and loaders."""

from . import dataloader, dataset, sampler
from .dataloader import DataLoader
from .dataset import ArrayDataset, Dataset, SimpleDataset
from .sampler import BatchSampler, FilterSampler, RandomSampler, Sampler, SequentialSampler

__all__ = [
    "ArrayDataset", "BatchSampler", "DataLoader", "Dataset", "FilterSampler", "RandomSampler", "Sampler",
    "SequentialSampler", "SimpleDataset", "dataloader", "dataset", "sampler",
]  # fmt: skip
