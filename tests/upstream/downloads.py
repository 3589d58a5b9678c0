"""Files that MXNet's tests download, made here: names, formats and numbers of samples are theirs, contents are not."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

N_IMAGES = 16  # of test_images.tar.gz


def install() -> None:
    """Has downloads of the tests give what is made here, below `data` in the working folder."""
    from symc import test_utils
    from symc.gluon import utils
    from symc.gluon.model_zoo import model_store

    fetch = utils.download
    utils.download = lambda url, *place, **options: (download if _name(url) in MADE else fetch)(url, *place, **options)
    utils.urllib.request.urlopen = _by_requests  # where some tests have their own stand-ins
    model_store.get_model_file = weights
    made = {"download": download, "get_mnist_ubyte": mnist, "get_cifar10": cifar_records}
    vars(test_utils).update(made)
    test_utils.__all__ = [*getattr(test_utils, "__all__", vars(test_utils)), *made]


def _name(url: str) -> str:
    return url.rsplit("/", 1)[-1]


class _Answer(io.BytesIO):
    """What urlopen gives, of a server that does not tell how much it sends."""

    headers: ClassVar[Mapping[str, str]] = {}


def _by_requests(url: str) -> _Answer:
    import requests

    return _Answer(requests.get(url, timeout=10).content)


def download(url: str, path: str | None = None, dirname: str | None = None, **_: Any) -> str:
    """The file that a URL names, put where it is asked for."""
    name = _name(url)
    place = Path(path) if path else Path(dirname or ".") / name
    if place.is_dir():
        place /= name
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(MADE[name]())
    return str(place)


def weights(name: str, root: str | None = None) -> str:
    """A file of weights of a network of the zoo: where trained ones would lie, but drawn."""
    from symc import initializer, nd
    from symc.core.replacing import replacing
    from symc.gluon.model_zoo import vision

    place = Path(root or "data/models", f"{name}.params")
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        net = vision.get_model(name)
        net.initialize(initializer.Xavier())
        net.infer_shape(nd.zeros((1, 3, 299, 299) if name == "inceptionv3" else (1, 3, 224, 224)))
        for parameter in net.collect_params().values():
            parameter._finish_deferred_init()
        with replacing(place) as unfinished:  # tests fetch the same file in several processes at once
            net.save_parameters(str(unfinished))
    return str(place)


def images() -> bytes:
    """An archive of a folder of JPEG images of several sizes."""
    import cv2

    rng = np.random.default_rng(0)
    files = {}
    for k in range(N_IMAGES):
        height, width = rng.integers(60, 300, 2)
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (int(width), int(height)), interpolation=cv2.INTER_CUBIC)
        files[f"test_images/{k}.jpg"] = cv2.imencode(".jpg", image)[1].tobytes()
    return archive(files)


def archive(files: dict[str, bytes]) -> bytes:
    """A .tar.gz file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def idx(*shape: int) -> bytes:
    """A file in MNIST's format: labels 0 to 9 in turn."""
    head = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
    return head + (np.arange(np.prod(shape)) % 10).astype(np.uint8).tobytes()


def cifar(n_images: int, n_labels: int) -> bytes:
    """A file in CIFAR's format."""
    rows = np.zeros((n_images, n_labels + 3 * 32 * 32), np.uint8)
    rows[:, :n_labels] = np.arange(n_images)[:, None] % 10
    return rows.tobytes()


def mnist(folder: str = "data") -> None:
    """MNIST's files, not compressed."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for part, n in (("train", 60000), ("t10k", 10000)):
        Path(folder, f"{part}-images-idx3-ubyte").write_bytes(idx(n, 28, 28))
        Path(folder, f"{part}-labels-idx1-ubyte").write_bytes(idx(n))


def cifar_records() -> None:
    """CIFAR's 50,000 images in a record file."""
    from symc.recordio import MXRecordIO, pack_img

    place = Path("data/cifar/train.rec")
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    writer = MXRecordIO(place, "w")
    rng = np.random.default_rng(0)
    kinds = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(10)]
    records = [pack_img((0, k, k, 0), image) for k, image in enumerate(kinds)]
    for k in range(50000):
        writer.write(records[k % 10])
    writer.close()


def wikitext() -> None:
    """The three texts of WikiText-2: words that say nothing, as many lines, words and distinct words as it has."""
    folder = Path("data/wikitext-2")
    folder.mkdir(parents=True, exist_ok=True)
    for part, n_sequences, n_distinct in (("train", 59305, 33277), ("valid", 6181, 13776), ("test", 6974, 14142)):
        words = ["<unk>", *(f"word{k}" for k in range(n_distinct - 2)), *["English"] * 32]
        words += ["<unk>"] * (35 * n_sequences - len(words))  # and one <eos>: a sequence's labels are one word later
        (folder / f"wiki.{part}.tokens").write_text(" ".join(words) + "\n", encoding="utf-8")


def vectors() -> None:
    """The file of an embedding that a test registers."""
    folder = Path("embeddings/test")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "embedding_test.vec").write_text("hello 1 2 3 4 5\nworld 6 7 8 9 10\n")


def datasets() -> None:
    """The files of gluon's datasets, where its tests look for them."""
    for name in ("mnist", "fashion-mnist"):
        folder = Path("data", name)
        folder.mkdir(parents=True, exist_ok=True)
        mnist(str(folder))
    for name, content in (
        ("cifar10/cifar-10-binary.tar.gz", {f"data_batch_{k}.bin": cifar(10000, 1) for k in range(1, 6)}),
        ("cifar100/cifar-100-binary.tar.gz", {"train.bin": cifar(50000, 2), "test.bin": cifar(10000, 2)}),
    ):
        if "cifar10/" in name:
            content["test_batch.bin"] = cifar(10000, 1)
        Path("data", name).parent.mkdir(parents=True, exist_ok=True)
        Path("data", name).write_bytes(archive(content))


MADE: dict[str, Callable[[], bytes]] = {"test_images.tar.gz": images}
LAID_OUT: dict[str, Callable[[], None]] = {  # before the tests of a file
    "test_gluon_data": datasets,
    "test_contrib_io": lambda: mnist("datasets/mnist"),
    "test_gluon_contrib": wikitext,
    "test_contrib_text": vectors,
}
