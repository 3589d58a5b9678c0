"""Data sets that scripts ask for by name, read from the current folder; what is not there is downloaded."""

from __future__ import annotations

import gzip
import logging
import os
import struct
import zipfile

import numpy as np

from symc.gluon import utils
from symc.io import DataIter, MNISTIter

MNIST = "http://data.mxnet.io/data/mnist/"
ZIPPED = "http://data.mxnet.io/mxnet/data/"


def download(
    url: str, fname: str | None = None, dirname: str | None = None, overwrite: bool = False, retries: int = 5
) -> str:
    """Fetches a file, unless it is there; gives its name."""
    path = fname or url.split("/")[-1]
    if dirname is not None:
        path = os.path.join(dirname, path)
    if os.path.exists(path) and not overwrite:
        logging.info("%s exists, skipping download", path)
        return path
    return utils.download(url, path, overwrite=overwrite, retries=retries)


def get_mnist() -> dict[str, np.ndarray]:
    """MNIST as arrays: `train_data` (60000, 1, 28, 28) float32 in 0 to 1, `train_label` (60000,) int8, `test_`...

    Reads MNIST's four .gz files.
    """
    found: dict[str, np.ndarray] = {}
    for part, prefix in (("train", "train"), ("test", "t10k")):
        with gzip.open(download(f"{MNIST}{prefix}-labels-idx1-ubyte.gz")) as file:
            file.read(8)
            label = np.frombuffer(file.read(), np.int8)
        with gzip.open(download(f"{MNIST}{prefix}-images-idx3-ubyte.gz")) as file:
            _, n, rows, columns = struct.unpack(">IIII", file.read(16))
            image = np.frombuffer(file.read(), np.uint8).reshape(n, 1, rows, columns)
        found |= {f"{part}_data": image.astype(np.float32) / 255, f"{part}_label": label}
    return found


def get_mnist_ubyte() -> None:
    """Sees that MNIST's four files lie in `data/`."""
    names = [f"{p}-{k}-ubyte" for p in ("train", "t10k") for k in ("images-idx3", "labels-idx1")]
    _unpack("mnist.zip", [f"data/{name}" for name in names])


def get_mnist_iterator(
    batch_size: int, input_shape: tuple[int, ...], num_parts: int = 1, part_index: int = 0
) -> tuple[DataIter, DataIter]:
    """Iterators over MNIST's two parts, the first shuffled; images are flat unless `input_shape` has three axes."""
    get_mnist_ubyte()
    common = dict(
        batch_size=batch_size, input_shape=input_shape, flat=len(input_shape) != 3, num_parts=num_parts,
        part_index=part_index,
    )  # fmt: skip
    train, test = (
        MNISTIter(image=f"data/{p}-images-idx3-ubyte", label=f"data/{p}-labels-idx1-ubyte", **common, **more)
        for p, more in (("train", {"shuffle": True}), ("t10k", {}))
    )
    return train, test


def get_cifar10() -> None:
    """Sees that CIFAR-10's record files lie in `data/cifar/`."""
    _unpack("cifar10.zip", [f"data/cifar/{name}" for name in ("train.rec", "test.rec", "train.lst", "test.lst")])


def _unpack(archive: str, wanted: list[str]) -> None:
    """Unpacks an archive into `data/` where a file is missing."""
    os.makedirs("data", exist_ok=True)
    if all(map(os.path.exists, wanted)):
        return
    with zipfile.ZipFile(download(ZIPPED + archive, dirname="data")) as file:
        file.extractall("data")
