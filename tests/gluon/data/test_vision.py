"""mx.gluon.data.vision: datasets and transforms against MXNet's (recorded), files that are missing or damaged."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, ArgumentTypeError, FormatError, MissingFileError, SymcError
from symc.gluon.data import DataLoader, vision
from symc.gluon.data.vision import transforms
from tests.image.cases_vision import CASES, picture
from tests.image.recorded import array_of, path, recorded

pytest.importorskip("cv2")
RECORDED = recorded("mxnet_vision.npz")


@pytest.mark.parametrize("name", CASES)
def test_as_mxnet(name):
    values = CASES[name](mx, path)
    assert len(values) == len(RECORDED[name])
    for value, expected in zip(values, RECORDED[name]):
        array = array_of(value)
        assert array.shape == expected.shape and array.dtype == expected.dtype
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-4)
        else:
            assert np.array_equal(array, expected)


def test_sizes_are_operators_of_symbols():
    image = picture(mx, 9, 12, 3)
    plain, compiled = transforms.CropResize(1, 2, 6, 5), transforms.CropResize(1, 2, 6, 5)
    compiled.hybridize()
    assert np.array_equal(plain(image).asnumpy(), compiled(image).asnumpy())
    symbol = transforms.CropResize(1, 2, 6, 5, (4, 3))(transforms.Resize(9, True)(mx.sym.var("data")))
    assert symbol.infer_shape(data=(10, 20, 3))[1] == [(3, 4, 3)]


def test_a_function_can_be_applied_to_every_transform():
    seen = []
    chain = transforms.Compose([transforms.Resize(3), transforms.CenterCrop(2), transforms.CropResize(0, 0, 2, 2)])
    assert chain.apply(lambda block: seen.append(type(block).__name__)) is chain
    assert seen == ["Resize", "CenterCrop", "CropResize", "Compose"]


def test_images_of_all_sizes_are_compiled_once():
    compose = transforms.Compose([transforms.Resize(6), transforms.ToTensor(), transforms.Normalize(0.5, 0.25)])
    assert [type(child).__name__ for child in compose._children.values()] == ["Resize", "HybridSequential"]
    for size in range(7, 12):
        assert compose(picture(mx, size, 2 * size, 3)).shape == (3, 6, 6)
    listed = [transforms.ToTensor()]
    assert len(transforms.Compose(listed)) == 1 and len(listed) == 1


@pytest.mark.parametrize(
    "transform, attributes",
    [
        (transforms.RandomFlipLeftRight(), {}),
        (transforms.RandomFlipTopBottom(), {}),
        (transforms.RandomBrightness(0.25), dict(min_factor="0.75", max_factor="1.25")),
        (transforms.RandomContrast(0.25), dict(min_factor="0.75", max_factor="1.25")),
        (transforms.RandomSaturation(1.5), dict(min_factor="0", max_factor="2.5")),
        (transforms.RandomHue(0.25), dict(min_factor="0.75", max_factor="1.25")),
        (transforms.RandomColorJitter(0.1, 0.2, 0.3, 0.4), dict(brightness="0.1", contrast="0.2", saturation="0.3")),
        (transforms.RandomLighting(0.5), dict(alpha_std="0.5")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_random_transforms_are_operators(transform, attributes):
    symbol = transform(mx.sym.var("data"))
    assert symbol.infer_shape(data=(4, 5, 3))[1] == [(4, 5, 3)]
    (found,) = [a for name, a in symbol.attr_dict().items() if name != "data"] or [{}]
    assert attributes.items() <= found.items()


def test_bad_transforms_are_refused():
    image = picture(mx, 9, 12, 3)
    for transform, message in (
        (transforms.Resize(-5), r"size \(-5, -5\), expected a width and a height"),
        (transforms.Resize((5, 5, 5)), r"size \(5, 5, 5\), expected a width and a height"),
        (transforms.CropResize(0, 0, 13, 5), r"13 x 5 from \(0, 0\) lies outside of \(9, 12, 3\)"),
        (transforms.CropResize(0, 0, -1, 5), "lies outside"),
    ):
        with pytest.raises(ArgumentError, match=message):
            transform(image)
    with pytest.raises(ArgumentTypeError, match=r"only supports float32. Consider calling it after ToTensor"):
        transforms.Rotate(10)(image)
    with pytest.raises(ArgumentError, match="must be an ordered tuple"):
        transforms.RandomRotation((3, 3))
    with pytest.raises(ArgumentError, match="should be between 0 and 1, got 2"):
        transforms.RandomRotation((1, 3), rotate_with_proba=2)


def idx(*shape):
    """A file in MNIST's format."""
    data = np.arange(np.prod(shape)) % 10
    return struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape) + data.astype(np.uint8).tobytes()


def test_mnist(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(3, 28, 28)))
    with pytest.raises(SymcError, match=rf"put train-images-idx3-ubyte.gz and .*gz into {tmp_path}; they can be had"):
        vision.MNIST(str(tmp_path))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(3))
    for kind in (vision.MNIST, vision.FashionMNIST):
        dataset = kind(str(tmp_path), transform=lambda image, label: (image, label + 1))
        image, label = dataset[1]
        assert len(dataset) == 3 and image.shape == (28, 28, 1) and image.dtype is np.uint8
        assert label == 2 and label.dtype == np.int32 and image.asnumpy()[0, 1, 0] == 5
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(4))
    with pytest.raises(FormatError, match="3 images and 4 labels"):
        vision.MNIST(str(tmp_path))
    with pytest.raises(SymcError, match=r"FashionMNIST: put t10k-images-idx3-ubyte.gz"):
        vision.FashionMNIST(str(tmp_path), train=False)


def rows(n, n_labels):
    """Pictures in CIFAR's format: all of a colour, red first."""
    colours = np.repeat(np.arange(n * 3, dtype=np.uint8).reshape(n, 3), 32 * 32, axis=1)
    labels = np.arange(n * n_labels, dtype=np.uint8).reshape(n, n_labels)
    return np.hstack([labels, colours]).tobytes()


def archive(place, files):
    with tarfile.open(place, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-binary/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_cifar(tmp_path):
    with pytest.raises(SymcError, match=rf"CIFAR10: put cifar-10-binary.tar.gz into {tmp_path}"):
        vision.CIFAR10(tmp_path)
    archive(tmp_path / "cifar-10-binary.tar.gz", {f"data_batch_{k}.bin": rows(2, 1) for k in range(1, 6)})
    dataset = vision.CIFAR10(tmp_path)
    image, label = dataset[3]
    assert len(dataset) == 10 and image.shape == (32, 32, 3) and label == 1
    assert (image.asnumpy() == [3, 4, 5]).all()
    with pytest.raises(FormatError, match=r"cifar-10-binary.tar.gz: not the archive of CIFAR10: KeyError"):
        vision.CIFAR10(tmp_path, train=False)
    (tmp_path / "train.bin").write_bytes(rows(3, 2))
    assert vision.CIFAR100(tmp_path)[2][1] == 4 and vision.CIFAR100(tmp_path, fine_label=True)[2][1] == 5
    (tmp_path / "train.bin").write_bytes(rows(3, 2)[:-1])
    with pytest.raises(FormatError, match=r"train.bin has 9221 bytes, expected a multiple of 3074"):
        vision.CIFAR100(tmp_path)


def test_lists_of_images(tmp_path):
    (tmp_path / "a.lst").write_text(f"0\t1\t{path('small.png')}\n1\t2\t3\t{path('alpha.png')}\n")
    for listed in ("a.lst", [[1, path("small.png")], [2, 3, path("alpha.png")]]):
        dataset = vision.ImageListDataset(str(tmp_path), listed)
        image, label = dataset[0]
        assert len(dataset) == 2 and image.shape == (5, 4, 3) and label == 1
        assert dataset[1][1].tolist() == [2, 3]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(MissingFileError, match=r"there is no folder .*nowhere; expected one"):
        vision.ImageFolderDataset(str(tmp_path / "nowhere"))


def test_folders_say_what_they_leave_out(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("")
    (tmp_path / "b.txt").write_text("")
    with pytest.warns(UserWarning, match="Ignoring .*") as seen:
        dataset = vision.ImageFolderDataset(str(tmp_path))
    assert len(dataset) == 0 and dataset.synsets == ["a"]
    assert sorted(str(w.message).rpartition("/")[2] for w in seen) == [
        "b.txt, which is not a directory.",
        "x.txt of type .txt. Only support .jpg, .jpeg, .png",
    ]


@pytest.mark.parametrize(
    "options", [dict(num_workers=2), dict(num_workers=2, thread_pool=True)], ids=["processes", "threads"]
)
def test_workers_share_a_record_file(tmp_path, options):
    writer = mx.recordio.MXIndexedRecordIO(tmp_path / "a.idx", tmp_path / "a.rec", "w")
    for k in range(12):
        writer.write_idx(k, mx.recordio.pack_img((0, k, k, 0), np.full((8, 9, 3), k, np.uint8), 3, ".png"))
    writer.close()
    transform = transforms.Compose([transforms.RandomResizedCrop(6), transforms.ToTensor()])
    dataset = vision.ImageRecordDataset(str(tmp_path / "a.rec")).transform_first(transform)
    for _ in range(2):
        found = [(x.asnumpy(), y.asnumpy()) for x, y in DataLoader(dataset, 5, **options)]
        assert np.concatenate([y for _, y in found]).tolist() == [*range(12)]
        for images, labels in found:
            assert images.shape[1:] == (3, 6, 6)
            np.testing.assert_allclose(images, labels[:, None, None, None] / np.ones((1, 3, 6, 6)) / 255, rtol=1e-6)
