"""Iterators over images: what they refuse, and the shapes they give; their batches are recorded (cases.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, ConflictError, FormatError, SymcError
from symc.recordio import MXIndexedRecordIO, pack

cv2 = pytest.importorskip("cv2")
DATA = Path(__file__).parents[1] / "data" / "image"
OBJECTS = [2, 5, 1, 0.1, 0.2, 0.5, 0.7]


def path(name):
    return str(DATA / name)


@pytest.fixture
def records(tmp_path):
    writer = MXIndexedRecordIO(tmp_path / "a.idx", tmp_path / "a.rec", "w")
    for k in range(5):
        writer.write_idx(k * 10, pack((0, k, k, 0), (DATA / "small.png").read_bytes()))
    writer.close()
    return str(tmp_path / "a.rec"), str(tmp_path / "a.idx")


def labels(iterator):
    found = [[int(v) for v in batch.label[0].asnumpy()[: 2 - batch.pad]] for batch in iterator]
    iterator.reset()
    return found


def test_record_files_in_order_shuffled_and_in_parts(records, tmp_path):
    rec, idx = records
    plain = mx.image.ImageIter(2, (3, 4, 4), path_imgrec=rec)
    assert labels(plain) == labels(plain) == [[0, 1], [2, 3], [4]]
    shuffled = mx.image.ImageIter(2, (3, 4, 4), path_imgrec=rec, path_imgidx=idx, shuffle=True)
    assert sorted(v for batch in labels(shuffled) for v in batch) == [0, 1, 2, 3, 4]
    part = mx.image.ImageIter(2, (3, 4, 4), path_imgrec=rec, path_imgidx=idx, num_parts=2, part_index=1)
    assert labels(part) == [[2, 3]]
    (tmp_path / "a.lst").write_text("".join(f"{k * 10}\t{k + 5}\tnowhere\n" for k in range(5)))
    relabelled = mx.image.ImageIter(
        2, (3, 4, 4), path_imgrec=rec, path_imgidx=idx, path_imglist=str(tmp_path / "a.lst")
    )
    assert labels(relabelled) == [[5, 6], [7, 8], [9]]


def test_few_images_fill_a_batch_again_and_again():
    batch = mx.image.ImageIter(5, (3, 4, 4), imglist=[[1, "small.png"], [2, "colour.jpg"]], path_root=str(DATA)).next()
    assert batch.label[0].asnumpy().tolist() == [1, 2, 1, 2, 1] and batch.pad == 3


def test_bad_iterators_are_refused(records, tmp_path):
    rec, _ = records
    with pytest.raises(ConflictError, match="needs path_imgrec, path_imglist or imglist"):
        mx.image.ImageIter(2, (3, 4, 4))
    with pytest.raises(ConflictError, match="its index is needed, path_imgidx"):
        mx.image.ImageIter(2, (3, 4, 4), path_imgrec=rec, shuffle=True)
    with pytest.raises(ArgumentError, match="expects inputs to have 3 channels"):
        mx.image.ImageIter(2, (1, 4, 4), path_imgrec=rec)
    with pytest.raises(ArgumentError, match="dimensions CxHxW"):
        mx.image.ImageIter(2, (3, 4), path_imgrec=rec)
    with pytest.raises(ConflictError, match="uint8 label not supported"):
        mx.image.ImageIter(2, (3, 4, 4), path_imgrec=rec, dtype="uint8")
    with pytest.raises(ConflictError, match="part_index 2 of 2 parts"):
        mx.image.ImageIter(2, (3, 4, 4), imglist=[[0, "a"]], num_parts=2, part_index=2)
    (tmp_path / "a.lst").write_text("0\t1\ta.jpg\nx\t1\ta.jpg\n")
    with pytest.raises(FormatError, match=r"a.lst, line 2: 'x\\t1\\ta.jpg', expected `key<tab>label"):
        mx.image.ImageIter(2, (3, 4, 4), path_imglist=str(tmp_path / "a.lst"))


def test_broken_and_missing_images_are_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    broken = mx.image.ImageIter(1, (3, 4, 4), imglist=[[1, "broken.jpg"]], path_root=str(tmp_path))
    with pytest.raises(FormatError, match=r"Broken image filename: broken.jpg, Decoding failed"):
        broken.next()
    missing = mx.image.ImageIter(1, (3, 4, 4), imglist=[[1, "nowhere.jpg"]], path_root=str(tmp_path))
    with pytest.raises(SymcError, match=r'Open ".*nowhere.jpg": No such file'):
        missing.next()
    wide = mx.image.ImageIter(1, (3, 4, 4), imglist=[[1, 2, path("small.png")]], path_root="")
    with pytest.raises(FormatError, match=r"image filename: .*small.png has 2 labels, expected label_width=1"):
        wide.next()


def test_objects_of_detection(tmp_path):
    few = mx.image.ImageDetIter(1, (3, 8, 8), imglist=[[*OBJECTS, path("small.png")]], path_root="")
    many = mx.image.ImageDetIter(1, (3, 8, 8), imglist=[[*OBJECTS, *OBJECTS[2:], path("small.png")]], path_root="")
    assert few.sync_label_shape(many) is many and few.label_shape == many.label_shape == (2, 5)
    assert few.next().label[0].asnumpy()[0, 1].tolist() == [-1] * 5
    few.reshape((3, 4, 4))
    few.reset()
    with pytest.raises(ArgumentError, match=r"augmenters make images \(3, 8, 8\), expected data_shape \(3, 4, 4\)"):
        few.next()
    few.reshape((3, 8, 8))
    few.reset()
    with pytest.raises(ArgumentError, match="Attempts to reduce label count from 2 to 1"):
        few.reshape(label_shape=(1, 5))
    (image,) = few.draw_next(color=(255, 0, 0), id2labels={1: "it"})
    assert image.dtype == np.uint8 and image.shape == (8, 8, 3)
    with pytest.raises(FormatError, match=r"the label \[1.0, 5.0.*expected 2 or more in front"):
        mx.image.ImageDetIter(1, (3, 8, 8), imglist=[[1, *OBJECTS[1:], path("small.png")]], path_root="")


def test_augmenters_without_a_range_warn_and_do_nothing():
    with pytest.warns(UserWarning, match="Skip DetRandomPadAug due to invalid area_range"):
        pad = mx.image.DetRandomPadAug(area_range=(0.5, 1.0))
    with pytest.warns(UserWarning, match="Skip DetRandomCropAug due to invalid aspect_ratio_range"):
        crop = mx.image.DetRandomCropAug(aspect_ratio_range=0)
    image, label = mx.nd.zeros((4, 4, 3)), np.array([OBJECTS[2:]])
    for augmenter in (pad, crop):
        assert augmenter(image, label) == (image, label)
    with pytest.raises(ConflictError, match=r"lists of \[2, 3, 1, 1, 1\] values"):
        mx.image.CreateMultiRandCropAugmenter([0.1, 0.2], [(1, 1)] * 3)
