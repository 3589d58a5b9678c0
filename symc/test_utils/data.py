"""Data sets that scripts ask for by name, read from the current folder; what is not there is downloaded."""

from __future__ import annotations

import bz2
import gzip
import logging
import os
import shutil
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from symc.core.errors import MissingKeyError
from symc.gluon import utils
from symc.io import DataIter, MNISTIter

MNIST = "http://data.mxnet.io/data/mnist/"
ZIPPED = "http://data.mxnet.io/mxnet/data/"
MODELS = "http://data.mxnet.io/models/"
CHECKPOINTS = {  # of the models that `download_model` knows: where symbol and parameters lie, below MODELS
    "imagenet1k-inception-bn": ("imagenet/inception-bn/Inception-BN", 126),
    **{f"imagenet1k-resnet-{n}": (f"imagenet/resnet/{n}-layers/resnet-{n}", 0) for n in (18, 34, 50, 101, 152)},
    **{f"imagenet1k-resnext-{n}": (f"imagenet/resnext/{n}-layers/resnext-{n}", 0) for n in (50, 101)},
    "imagenet1k-resnext-101-64x4d": ("imagenet/resnext/101-layers/resnext-101-64x4d", 0),
    "imagenet11k-resnet-152": ("imagenet-11k/resnet-152/resnet-152", 0),
    **{f"imagenet11k-place365ch-resnet-{n}": (f"imagenet-11k-place365-ch/resnet-{n}", 0) for n in (50, 152)},
}


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


def download_model(
    model_name: str, dst_dir: str = "./", meta_info: Mapping[str, Mapping[str, str]] | None = None
) -> tuple[str | None, int]:
    """Fetches a checkpoint into a folder, unless it is there; gives its prefix and epoch 0, as `load_checkpoint` asks.

    `meta_info` has for each name the addresses of "symbol" and "params"; without it those of ResNets, ResNeXts and
    Inception that MXNet's server had. A name that it has not gives (None, 0).
    """
    if meta_info is None:
        meta_info = {
            name: {"symbol": f"{MODELS}{path}-symbol.json", "params": f"{MODELS}{path}-{epoch:04}.params"}
            for name, (path, epoch) in CHECKPOINTS.items()
        }
    if model_name not in meta_info:
        return None, 0
    prefix = os.path.join(dst_dir, model_name)
    for kind, end in (("symbol", "-symbol.json"), ("params", "-0000.params")):
        if kind not in meta_info[model_name]:
            raise MissingKeyError(f"meta_info of {model_name!r} has no address of its {kind!r}")
        download(meta_info[model_name][kind], prefix + end)
    return prefix, 0


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


def get_mnist_pkl() -> None:
    """Sees that `data/mnist.pkl.gz` is there."""
    download("http://deeplearning.net/data/mnist/mnist.pkl.gz", dirname="data")


def get_zip_data(data_dir: str, url: str, data_origin_name: str) -> None:
    """Fetches an archive into a folder and unpacks it there, unless the archive is there already."""
    archive = os.path.join(data_dir, data_origin_name)
    if os.path.exists(archive):
        return
    download(url, dirname=data_dir)
    with zipfile.ZipFile(archive) as file:
        file.extractall(data_dir)


def get_bz2_data(data_dir: str, data_name: str, url: str, data_origin_name: str) -> None:
    """Sees that a folder has a file, which is fetched compressed by bzip2."""
    wanted = os.path.join(data_dir, data_name)
    if os.path.exists(wanted):
        return
    compressed = download(url, data_origin_name, dirname=data_dir)
    with bz2.open(compressed) as source, open(wanted, "wb") as file:
        shutil.copyfileobj(source, file)
    os.remove(compressed)


def get_im2rec_path(home_env: str = "MXNET_HOME") -> str:
    """A script that packs images into record files, for `python PATH prefix root ...`; `home_env` says nothing here."""
    return str(Path(__file__).parents[1] / "tools" / "im2rec.py")


def _unpack(archive: str, wanted: list[str]) -> None:
    """Unpacks an archive into `data/` where a file is missing."""
    os.makedirs("data", exist_ok=True)
    if all(map(os.path.exists, wanted)):
        return
    with zipfile.ZipFile(download(ZIPPED + archive, dirname="data")) as file:
        file.extractall("data")
