"""Iterators over files, against MXNet's batches (recorded from it) and with damaged files."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, FormatError, MissingFileError, ParameterError


@pytest.fixture
def files(tmp_path):
    np.savetxt(tmp_path / "data.csv", np.arange(10).reshape(5, 2), delimiter=",")
    np.savetxt(tmp_path / "label.csv", np.arange(5), delimiter=",")
    (tmp_path / "data.svm").write_text("1 0:0.5 2:1.5\n0 1:2\n\n2 0:1 1:1 2:1\n")
    images = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2)
    (tmp_path / "images").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 3, 2, 2) + images.tobytes())
    with gzip.open(tmp_path / "labels.gz", "wb") as file:
        file.write(struct.pack(">4BI", 0, 0, 8, 1, 3) + bytes((7, 8, 9)))
    return tmp_path


def batches(iterator, n_epochs=1):
    found = []
    for _ in range(n_epochs):
        found.append(
            [
                (b.data[0].asnumpy().ravel().tolist(), b.label[0].asnumpy().tolist(), b.pad, b.index.tolist())
                for b in iterator
            ]
        )
        iterator.reset()
    return found


def test_csv_goes_on_where_the_last_batch_ended(files):
    csv = mx.io.CSVIter(
        data_csv=str(files / "data.csv"), data_shape=(2,), label_csv=str(files / "label.csv"), batch_size=2
    )
    assert csv.provide_data == [("data", (2, 2))] and csv.provide_label == [("softmax_label", (2,))]
    first = [([0, 1, 2, 3], [0, 1], 0, [0, 1]), ([4, 5, 6, 7], [2, 3], 0, [2, 3]), ([8, 9, 0, 1], [4, 0], 1, [4, 0])]
    second = [([2, 3, 4, 5], [1, 2], 0, [1, 2]), ([6, 7, 8, 9], [3, 4], 0, [3, 4])]
    assert batches(csv, 3) == [first, second, first]


def test_getters_give_arrays(files):
    csv = mx.io.CSVIter(data_csv=files / "data.csv", data_shape=(2,), batch_size=2)
    assert csv.iter_next() and csv.getdata().shape == (2, 2) and csv.getlabel().shape == (2,) and csv.getpad() == 0


def test_scripts_tell_iterators_over_files_from_others(files):
    """As MXNet's those are of one class, by which the d2l book knows what to reset."""
    from_file = mx.io.CSVIter(data_csv=files / "data.csv", data_shape=(2,), batch_size=2)
    assert isinstance(from_file, mx.io.MXDataIter)
    assert not isinstance(mx.io.NDArrayIter(np.zeros((2, 2))), mx.io.MXDataIter)


def test_csv_without_rounding_labels_or_floats(files):
    csv = mx.io.CSVIter(
        data_csv=files / "data.csv", data_shape="(1,2)", batch_size="2", dtype="int32", round_batch=0, unknown=1
    )
    assert csv.provide_data[0].dtype is np.int32 and csv.provide_data[0].shape == (2, 1, 2)
    assert (
        batches(csv, 2)
        == [[([0, 1, 2, 3], [0, 0], 0, [0, 1]), ([4, 5, 6, 7], [0, 0], 0, [2, 3]), ([8, 9, 0, 0], [0, 0], 1, [4, 0])]]
        * 2
    )


def test_csv_integers_are_exact(tmp_path):
    (tmp_path / "a.csv").write_text(f"{2**62 + 1}, -3\n")
    (batch,) = mx.io.CSVIter(data_csv=tmp_path / "a.csv", data_shape=(2,), batch_size=1, dtype="int64")
    assert batch.data[0].asnumpy().tolist() == [[2**62 + 1, -3]]


def test_a_folder_and_parts(files):
    for name, rows in (("b.csv", [[3], [4]]), ("a.csv", [[1], [2]])):
        (files / "folder").mkdir(exist_ok=True)
        np.savetxt(files / "folder" / name, rows)
    parts = [
        mx.io.CSVIter(data_csv=files / "folder", data_shape=(1,), batch_size=1, num_parts=3, part_index=k)
        for k in range(3)
    ]
    assert [[b[0] for b in batches(part)[0]] for part in parts] == [[[1]], [[2]], [[3], [4]]]


def test_libsvm(files):
    svm = mx.io.LibSVMIter(data_libsvm=files / "data.svm", data_shape=(3,), batch_size=2)
    assert batches(svm, 2) == [
        [([0.5, 0, 1.5, 0, 2, 0], [1, 0], 0, [0, 1]), ([1, 1, 1, 0.5, 0, 1.5], [2, 1], 1, [2, 0])],
        [([0, 2, 0, 1, 1, 1], [0, 2], 0, [1, 2])],
    ]
    labelled = mx.io.LibSVMIter(
        data_libsvm=files / "data.svm", data_shape=(3,), label_libsvm=files / "data.svm", label_shape=(3,), batch_size=3
    )
    (batch,) = labelled
    np.testing.assert_array_equal(batch.label[0].asnumpy(), batch.data[0].asnumpy())


def test_mnist(files):
    names = {"image": files / "images", "label": files / "labels.gz"}
    mnist = mx.io.MNISTIter(**names, batch_size=2, shuffle=False)
    assert mnist.provide_data == [("data", (2, 1, 2, 2))]
    for _ in range(2):
        (batch,) = mnist
        assert batch.label[0].asnumpy().tolist() == [7, 8] and batch.pad == 0
        np.testing.assert_array_equal(batch.data[0].asnumpy().ravel(), np.arange(8) / 256)
        mnist.reset()
    assert mx.io.MNISTIter(**names, batch_size=3, flat=True).provide_data == [("data", (3, 4))]
    labels = {tuple(next(mx.io.MNISTIter(**names, batch_size=3, seed=k)).label[0].asnumpy()) for k in range(9)}
    assert len(labels) > 1 and all(sorted(found) == [7, 8, 9] for found in labels)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"data_csv": "none"}, MissingFileError, 'Open "none": no such file'),
        ({"data_csv": ""}, MissingFileError, 'Open "": no such file'),
        ({"data_shape": (3,)}, FormatError, "line 1: 2 numbers, expected 3 for the shape"),
        ({"batch_size": None}, ParameterError, "Invalid Parameter format for batch_size"),
        ({"batch_size": 0}, ArgumentError, "CSVIter: a batch has at least one sample"),
        ({"dtype": "float16"}, ParameterError, "valid values are"),
        ({"label_csv": "short.csv"}, FormatError, "1 labels, expected 5"),
        ({"data_csv": "words.csv"}, FormatError, "words.csv, line 2: could not convert string to float: 'two'"),
        ({"data_csv": "empty.csv"}, ArgumentError, "0 samples for batches of 1"),
        ({"part_index": 1}, ArgumentError, "part_index 1 of 1 parts"),
        ({"data_csv": "huge.csv", "dtype": "int32"}, FormatError, "huge.csv, line 2: .*out of bounds for int32"),
        ({"data_csv": "nan.csv", "dtype": "int32"}, FormatError, "nan.csv, line 1: cannot convert float NaN"),
    ],
)
def test_what_is_wrong_with_csv_is_said(files, monkeypatch, given, error, text):
    monkeypatch.chdir(files)
    (files / "short.csv").write_text("1\n")
    (files / "words.csv").write_text("1,2\ntwo,3\n")
    (files / "empty.csv").write_text("\n")
    (files / "huge.csv").write_text(f"1,2\n3,{2**31}\n")
    (files / "nan.csv").write_text("nan,2\n")
    with pytest.raises(error, match=text):
        mx.io.CSVIter(**{"data_csv": "data.csv", "data_shape": (2,), "batch_size": 1, **given})


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("1 3:1", "column 3, expected 0 to 2"),
        ("1 x", "expected `label column:value"),
        ("a 0:1", "could not convert"),
        ("1 0:b", "could not convert"),
    ],
)
def test_what_is_wrong_with_libsvm_is_said(tmp_path, line, text):
    (tmp_path / "x.svm").write_text(f"1 0:1\n{line}\n")
    with pytest.raises(FormatError, match=f"line 2: .*{text}"):
        mx.io.LibSVMIter(data_libsvm=tmp_path / "x.svm", data_shape=(3,), batch_size=1)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "begins with"),
        (struct.pack(">4B3I", 0, 0, 8, 1, 3, 2, 2), "expected 00 00 08 03"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 3, 2, 2) + b"123", "3 bytes after byte 16"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**31, 2), "more than the file can have"),
    ],
)
def test_what_is_wrong_with_mnist_is_said(files, content, text):
    (files / "images").write_bytes(content)
    with pytest.raises(FormatError, match=text):
        mx.io.MNISTIter(image=files / "images", label=files / "labels.gz")


GZIP_DAMAGES = {
    "another file": lambda content: b"no gzip",
    "cut off": lambda content: content[:-9],
    "other bytes": lambda content: content[:-12] + b"\xff\xff" + content[-10:],
    "another checksum": lambda content: content[:-8] + b"\0\0\0\0" + content[-4:],
}


@pytest.mark.parametrize("damage", GZIP_DAMAGES.values(), ids=GZIP_DAMAGES)
def test_a_damaged_compressed_file_is_said(files, damage):
    (files / "labels.gz").write_bytes(damage((files / "labels.gz").read_bytes()))
    with pytest.raises(FormatError, match=r"labels\.gz: "):
        mx.io.MNISTIter(image=files / "images", label=files / "labels.gz")


def test_float_csv_beyond_float32_is_infinite(tmp_path, recwarn):
    (tmp_path / "a.csv").write_text("1e300\n")
    (batch,) = mx.io.CSVIter(data_csv=tmp_path / "a.csv", data_shape=(1,), batch_size=1)
    assert np.isinf(batch.data[0].asscalar()) and not recwarn.list


def test_positions_are_refused():
    with pytest.raises(TypeError, match="takes keywords only"):
        mx.io.CSVIter("data.csv")
