"""mx.image against what MXNet makes of the same images (tests/image/cases.py, recorded in tests/data/image)."""

from __future__ import annotations

import random

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, ArgumentTypeError, ConflictError, FormatError, SymcError

from .cases import CASES, FILES, picture
from .recorded import DATA, array_of, path, recorded

pytest.importorskip("cv2")


RECORDED = recorded("mxnet.npz")


@pytest.mark.parametrize("name", CASES)
def test_as_mxnet(name):
    values = CASES[name](mx, path)
    values = values if isinstance(values, list) else [values]
    assert len(values) == len(RECORDED[name])
    for value, expected in zip(values, RECORDED[name]):
        array = array_of(value)
        assert array.shape == expected.shape and array.dtype == expected.dtype
        if array.dtype == np.uint8:  # OpenCV rounds cubic's values that lie half way in another direction
            is_cubic = name == "short_edge" or (name.startswith("resize") and name.endswith(" 2"))
            assert np.abs(array.astype(int) - expected).max() <= is_cubic
        elif array.dtype.kind == "f":
            np.testing.assert_allclose(array, expected, rtol=1e-5, atol=2e-3 if array.ndim > 1 else 1e-4)
        else:
            assert np.array_equal(array, expected)


def test_every_case_is_recorded():
    assert RECORDED.keys() == CASES.keys()


def test_results_may_go_into_an_array():
    out = mx.nd.zeros((9, 11, 3), dtype="uint8")
    assert mx.image.imresize(picture(mx), 11, 9, out=out) is out
    assert np.array_equal(out.asnumpy(), mx.image.imresize(picture(mx), 11, 9).asnumpy())
    bordered = mx.nd.zeros((15, 20, 3), dtype="uint8")
    assert mx.image.copyMakeBorder(picture(mx), 1, 0, 0, 0, out=bordered) is bordered
    with pytest.raises(ArgumentError, match=r"out is \(15, 20, 3\) uint8, expected \(5, 4, 3\) uint8"):
        mx.image.imread(path("small.png"), out=bordered)


def test_crops_and_what_they_were_cut_from_share_nothing():
    image = picture(mx)
    whole = mx.image.fixed_crop(image, 0, 0, 20, 14)
    whole[:] = 0
    assert image.asnumpy().any()


@pytest.mark.parametrize(
    "data, error, message",
    [
        (b"", FormatError, "Decoding failed. Invalid image file: 0 bytes"),
        (b"clearly not image content", FormatError, "Decoding failed. Invalid image file: 25 bytes"),
        (np.zeros(4, np.float32), ArgumentError, "a buffer of float32"),
        ("text", ArgumentTypeError, "buf must be of type bytes.*got str"),
    ],
)
def test_what_is_no_image_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        mx.image.imdecode(data)


def test_images_cut_off_anywhere_are_read_or_refused():
    for name in FILES:
        whole = (DATA / name).read_bytes()
        for n in range(1, len(whole), 37):
            try:
                found = mx.image.imdecode(whole[:n])
            except FormatError:
                continue
            assert found.shape == mx.image.imdecode(whole).shape


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(SymcError, match=r'Open ".*nowhere.jpg": No such file'):
        mx.image.imread(str(tmp_path / "nowhere.jpg"))
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(FormatError, match=r"empty.jpg: Decoding failed.*: 0 bytes"):
        mx.image.imread(tmp_path / "empty.jpg")
    with pytest.raises(ArgumentError, match="flag -1, expected 1 for three channels or 0"):
        mx.image.imread(path("small.png"), flag=-1)
    with pytest.raises(ArgumentError, match="Unknown interp method 7"):
        mx.image.imresize(picture(mx), 3, 3, interp=7)
    with pytest.raises(ArgumentError, match="expected a width and a height from 1 on"):
        mx.image.resize_short(picture(mx), 0)
    with pytest.raises(ArgumentError, match=r"OpenCV refuses an image \(14, 20, 3\) of int64"):
        mx.image.imresize(picture(mx).astype("int64"), 3, 3)
    with pytest.raises(ConflictError, match="rand_resize needs rand_crop"):
        mx.image.CreateAugmenter((3, 4, 4), rand_resize=True)
    with pytest.raises(ConflictError, match="arrays of 1 or 3 numbers"):
        mx.image.CreateAugmenter((3, 4, 4), mean=np.zeros(2))
    with pytest.raises(ArgumentTypeError, match="Only `float32` images"):
        mx.image.imrotate(picture(mx), 3)
    with pytest.raises(NotImplementedError):
        mx.image.Augmenter()(picture(mx))


def test_min_area_is_the_old_name_of_area():
    random.seed(1)
    with pytest.warns(DeprecationWarning, match="min_area"):
        old = mx.image.random_size_crop(picture(mx), (5, 5), None, (1, 1), min_area=0.5)[1]
    random.seed(1)
    assert old == mx.image.random_size_crop(picture(mx), (5, 5), 0.5, (1, 1))[1]
    with pytest.raises(ArgumentTypeError, match="unexpected keyword arguments for `RandomSizedCropAug`: what"):
        mx.image.RandomSizedCropAug((5, 5), 0.5, (1, 1), what=1)
