"""Datasets of images: the well-known ones, from files that are there already, and those of users."""

from __future__ import annotations

import os
import tarfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from symc import image
from symc import ndarray as nd
from symc.base import data_dir
from symc.core.errors import FormatError, MissingFileError, SymcError
from symc.gluon.data.dataset import Dataset, DownloadedDataset, RecordFileDataset
from symc.image.iterator import labels_of, read_list
from symc.io.files import read_idx
from symc.ndarray import NDArray
from symc.recordio import unpack

Transform = Callable[[NDArray, Any], Any]
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")


class StoredDataset(DownloadedDataset):
    """Images uint8 (H, W, C) and labels int32 from files in `root`, by default $MXNET_HOME/datasets/<folder>.

    train       whether it is the part for training, or for testing
    transform   makes a sample of an image and its label
    Nothing is downloaded: SymcError tells which files are to be put where.
    """

    folder: ClassVar[str]
    source: ClassVar[str]  # where the files can be had

    def __init__(self, root: str | None = None, train: bool = True, transform: Transform | None = None) -> None:
        self._train = train
        super().__init__(root or os.path.join(data_dir(), "datasets", self.folder), transform)

    def _get_data(self) -> None:
        images, self._label = self.read()
        self._data = nd.array(images, dtype="uint8")

    @property
    def place(self) -> Path:
        """The folder of the files."""
        return Path(self._root)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """The images (N, H, W, C) and their labels (N,)."""
        raise NotImplementedError(f"{type(self).__name__} must override read")

    def missing(self, names: Sequence[str]) -> SymcError:
        """The error for files that are not there."""
        return SymcError(
            f"{type(self).__name__}: put {' and '.join(names)} into {self._root}; they can be had from {self.source}. "
            "Nothing is downloaded without being asked: mx.gluon.utils.download(url, path) does"
        )


class MNIST(StoredDataset):
    """Handwritten digits, (28, 28, 1)."""

    folder = "mnist"
    source = "https://ossci-datasets.s3.amazonaws.com/mnist/"

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        part = "train" if self._train else "t10k"
        names = [f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"]
        images, labels = (read_idx(self._path(name, names), n_axes) for name, n_axes in zip(names, (3, 1)))
        if len(images) != len(labels):
            raise FormatError(f"{self._root}: {len(images)} images and {len(labels)} labels in {' and '.join(names)}")
        return images[..., None], labels.astype(np.int32)

    def _path(self, name: str, names: Sequence[str]) -> str:
        """A file, compressed or not."""
        for path in (self.place / f"{name}.gz", self.place / name):
            if path.is_file():
                return str(path)
        raise self.missing([f"{n}.gz" for n in names])


class FashionMNIST(MNIST):
    """Articles of clothing, (28, 28, 1)."""

    folder = "fashion-mnist"
    source = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"


class CIFAR10(StoredDataset):
    """Photographs of ten kinds of things, (32, 32, 3)."""

    folder = "cifar10"
    source = "https://www.cs.toronto.edu/~kriz/cifar.html"
    archive = "cifar-10-binary.tar.gz"
    files = (tuple(f"data_batch_{k}.bin" for k in range(1, 6)), ("test_batch.bin",))  # of training, of testing
    n_labels = 1  # bytes in front of an image
    label = 0  # which of them is taken

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        names = self.files[0 if self._train else 1]
        if all((self.place / name).is_file() for name in names):
            contents = [(self.place / name).read_bytes() for name in names]
        elif (self.place / self.archive).is_file():
            contents = self._unpacked(names)
        else:
            raise self.missing([self.archive])
        rows = np.concatenate([self._rows(name, content) for name, content in zip(names, contents)])
        images = rows[:, self.n_labels :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(images), rows[:, self.label].astype(np.int32)

    def _unpacked(self, names: Sequence[str]) -> list[bytes]:
        """Files of the archive, which lie in it or in a folder of it."""
        path = self.place / self.archive
        try:
            with tarfile.open(path) as archive:
                members = {os.path.basename(m.name): m for m in archive.getmembers() if m.isfile()}
                return [archive.extractfile(members[name]).read() for name in names]  # type: ignore[union-attr]
        except (tarfile.TarError, EOFError, KeyError, OSError) as error:
            raise FormatError(f"{path}: not the archive of {type(self).__name__}: {error!r}") from None

    def _rows(self, name: str, content: bytes) -> np.ndarray:
        size = self.n_labels + 3 * 32 * 32
        if not content or len(content) % size:
            raise FormatError(f"{self._root}: {name} has {len(content)} bytes, expected a multiple of {size}")
        return np.frombuffer(content, np.uint8).reshape(-1, size)


class CIFAR100(CIFAR10):
    """Photographs of a hundred kinds of things, (32, 32, 3); labels are those of 20 groups, or `fine_label` of all."""

    folder = "cifar100"
    archive = "cifar-100-binary.tar.gz"
    files = (("train.bin",), ("test.bin",))
    n_labels = 2

    def __init__(
        self,
        root: str | None = None,
        fine_label: bool = False,
        train: bool = True,
        transform: Transform | None = None,
    ) -> None:
        self.label = int(fine_label)
        super().__init__(root, train, transform)


class ImageRecordDataset(RecordFileDataset):
    """The images (H, W, C) and labels of a record file with an index.

    flag   1: colours, 0: grey
    """

    def __init__(self, filename: str, flag: int = 1, transform: Transform | None = None) -> None:
        super().__init__(filename)
        self._flag = flag
        self._transform = transform

    def __getitem__(self, idx: int) -> Any:
        header, data = unpack(super().__getitem__(idx))
        picture = image.imdecode(data, self._flag)
        return (picture, header.label) if self._transform is None else self._transform(picture, header.label)


class ImageFolderDataset(Dataset):
    """Images (H, W, C) in folders, one for each class.

    synsets   the names of the classes, sorted
    items     path and label of every image
    Raises MissingFileError where there is no such folder.
    """

    def __init__(self, root: str, flag: int = 1, transform: Transform | None = None) -> None:
        self._root = os.path.expanduser(root)
        if not os.path.isdir(self._root):
            raise MissingFileError(
                f"{type(self).__name__}: there is no folder {self._root}; expected one that has a folder for each class"
            )
        self._flag = flag
        self._transform = transform
        self.synsets: list[str] = []
        self.items: list[tuple[str, int]] = []
        self._list_images()

    def _list_images(self) -> None:
        for name in sorted(os.listdir(self._root)):
            folder = os.path.join(self._root, name)
            if not os.path.isdir(folder):
                warnings.warn(f"Ignoring {folder}, which is not a directory.", stacklevel=3)
                continue
            for file in sorted(os.listdir(folder)):
                path, ending = os.path.join(folder, file), os.path.splitext(file)[1]
                if ending.lower() in IMAGE_ENDINGS:
                    self.items.append((path, len(self.synsets)))
                else:
                    supported = ", ".join(IMAGE_ENDINGS)
                    warnings.warn(f"Ignoring {path} of type {ending}. Only support {supported}", stacklevel=3)
            self.synsets.append(name)

    def __getitem__(self, idx: int) -> Any:
        path, label = self.items[idx]
        picture = image.imread(path, self._flag)
        return (picture, label) if self._transform is None else self._transform(picture, label)

    def __len__(self) -> int:
        return len(self.items)


class ImageListDataset(Dataset):
    """The images (H, W, C) and labels of a list.

    root      folder that the paths begin in
    imglist   a file of lines `key<tab>label...<tab>path`, or a list of [label..., path]
    """

    def __init__(self, root: str = ".", imglist: Any = None, flag: int = 1) -> None:
        self._root = os.path.expanduser(root)
        self._flag = flag
        if isinstance(imglist, (list, tuple)):
            self._items = [(labels_of(entry).asnumpy(), entry[-1]) for entry in imglist]
        else:
            file = os.path.join(self._root, imglist)
            self._items = [(labels.asnumpy(), path) for labels, path in read_list(file).values()]

    def __getitem__(self, idx: int) -> tuple[NDArray, Any]:
        labels, path = self._items[idx]
        return image.imread(os.path.join(self._root, path), self._flag), labels if labels.size > 1 else labels[0]

    def __len__(self) -> int:
        return len(self._items)
