"""Iterators over the images in record files: MXNet's batches (recorded), what is drawn at random, and damaged files."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, FormatError, MissingFileError, ParameterError, SymcError
from symc.io.records import IndexedRecords, RecordFiles
from symc.recordio import MXIndexedRecordIO, encoded, pack, pack_img
from tests.image.cases_records import CASES
from tests.image.recorded import array_of, path, recorded

pytest.importorskip("cv2")
RECORDED = recorded("mxnet_records.npz")


@pytest.mark.parametrize("name", CASES)
def test_as_mxnet(name):
    values = CASES[name](mx, path)
    assert len(values) == len(RECORDED[name])
    is_cubic = name.endswith((" 2", " 9", "objects resized"))  # OpenCV rounds halves in another direction
    for value, expected in zip(values, RECORDED[name]):
        array = array_of(value)
        assert array.shape == expected.shape and array.dtype == expected.dtype
        if array.ndim == 4:
            np.testing.assert_allclose(array, expected, rtol=1e-6, atol=1 if is_cubic else 1e-5)
        else:
            assert np.array_equal(array, expected)


def write(folder, images, labels=None, name="a"):
    """A record file of images, or of bytes."""
    writer = MXIndexedRecordIO(folder / f"{name}.idx", folder / f"{name}.rec", "w")
    for k, image in enumerate(images):
        header = (0, k if labels is None else labels[k], k, 0)
        is_bytes = isinstance(image, bytes)
        writer.write_idx(k, pack(header, image) if is_bytes else pack_img(header, image, 3, ".png"))
    writer.close()
    return str(folder / f"{name}.rec")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Nine images whose pixels say where they are: (row, column, number)."""
    row, column = np.mgrid[:12, :16]
    images = [np.stack([np.full_like(row, k), column, row], axis=2).astype(np.uint8) for k in range(9)]
    return write(tmp_path_factory.mktemp("places"), images)


def data_of(iterator):
    """The images of an epoch, without those that fill the last batch."""
    found = [batch.data[0].asnumpy()[: iterator.batch_size - batch.pad] for batch in iterator]
    iterator.reset()
    return np.concatenate(found)


def numbers(iterator):
    found = [batch.label[0].asnumpy()[: iterator.batch_size - batch.pad] for batch in iterator]
    iterator.reset()
    return np.concatenate(found).astype(int).tolist()


def test_crops_lie_anywhere_and_in_all_images(places):
    iterator = mx.io.ImageRecordIter(
        path_imgrec=places, data_shape=(3, 5, 6), batch_size=4, rand_crop=True, rand_mirror=True, round_batch=False
    )
    epochs = [data_of(iterator) for _ in range(4)]
    assert all(len(e) == 9 for e in epochs) and not np.array_equal(epochs[0], epochs[1])
    images = np.concatenate(epochs)
    rows, columns = images[:, 0], images[:, 1]
    assert (np.diff(rows, axis=1) == 1).all() and (np.diff(rows, axis=2) == 0).all()
    steps = np.diff(columns, axis=2)[:, 0, 0]
    assert (np.diff(columns, axis=2) == steps[:, None, None]).all() and {*steps} == {-1, 1}
    assert {*rows[:, 0, 0]} == {*range(8)} and {*columns.min(axis=(1, 2))} >= {0, 10}


@pytest.mark.parametrize(
    "options",
    [
        dict(random_resized_crop=True, min_random_area=0.1, max_aspect_ratio=0.3, inter_method=10),
        dict(
            max_rotate_angle=20, max_shear_ratio=0.2, min_random_scale=0.5, max_random_scale=1.5, max_aspect_ratio=0.2
        ),
        dict(brightness=0.4, contrast=0.4, saturation=0.4, random_h=20, random_s=30, random_l=30, pca_noise=0.2),
        dict(min_crop_size=4, max_crop_size=10, rand_crop=True),
        dict(max_random_contrast=0.3, max_random_illumination=5.0),
        dict(rotate_list="10,40,90"),
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_is_drawn_depends_on_seeds_alone(places, options):
    def made(n_threads, seed, **more):
        return mx.io.ImageRecordIter(
            path_imgrec=places, data_shape=(3, 5, 6), batch_size=4, shuffle=True, seed=7, seed_aug=seed,
            preprocess_threads=n_threads, **options, **more
        )  # fmt: skip

    one, many = made(1, 2, prefetch_buffer=0), made(4, 2)
    first, second = data_of(one), data_of(one)
    assert np.array_equal(first, data_of(many)) and np.array_equal(second, data_of(many))
    assert not np.array_equal(first, second) and not np.array_equal(first, data_of(made(1, 3)))


def test_colours_change_as_their_formulas_say(tmp_path):
    """Images of one colour stay of one; brightness and contrast multiply, hue turns, noise moves along LIGHT's rows."""
    grey = write(tmp_path, [np.full((6, 6, 3), 100, np.uint8)] * 64, name="grey")
    common = dict(path_imgrec=grey, data_shape=(3, 6, 6), batch_size=64)
    for options, low, high in (
        (dict(brightness=0.3), 70, 130),
        (dict(contrast=0.3), 99, 101),  # all pixels are the mean
        (dict(saturation=0.3), 99, 101),  # they are grey
        (dict(random_l=20), 79, 121),
        (dict(max_random_contrast=0.3), 70, 130),
        (dict(max_random_illumination=30), 70, 130),
    ):
        images = data_of(mx.io.ImageRecordIter(**common, **options))
        assert (images == images[:, :1, :1, :1]).all()
        values = images[:, 0, 0, 0]
        assert low <= values.min() <= values.max() <= high
        assert np.ptp(values) > (high - low) * 0.6 or high - low == 2
    noise = data_of(mx.io.ImageRecordIter(**common, pca_noise=0.1))[:, :, 0, 0] - 100
    # Covariance of the three colours: rows of eigenvectors times eigenvalues, times the deviation.
    vectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    expected = vectors * [55.46, 4.794, 1.148] * 0.1
    np.testing.assert_allclose(np.cov(noise.T), expected @ expected.T, rtol=0.5, atol=0.5)


def test_epochs_are_shuffled(places):
    for options in (dict(path_imgidx=places.replace(".rec", ".idx")), {}, dict(shuffle_chunk_size=1)):
        iterator = mx.io.ImageRecordIter(
            path_imgrec=places, data_shape=(3, 5, 6), batch_size=4, shuffle=True, round_batch=False, **options
        )
        epochs = [numbers(iterator) for _ in range(3)]
        assert [sorted(e) for e in epochs] == [[*range(9)]] * 3
        assert epochs[0] != epochs[1] != epochs[2] and [*range(9)] not in epochs
        assert "indexed" not in options or iterator.next().index.tolist()


def test_reset_in_the_middle_begins_anew(places):
    iterator = mx.io.ImageRecordIter(path_imgrec=places, data_shape=(3, 5, 6), batch_size=4)
    assert iterator.next().index.tolist() == [0, 1, 2, 3]
    iterator.reset()
    assert numbers(iterator) == [*range(9)]  # ends with 8, 0, 1, 2
    assert numbers(iterator) == [3, 4, 5, 6, 7, 8]
    iterator.reset()
    assert iterator.iter_next() and iterator.getdata().shape == (4, 3, 5, 6) and iterator.getlabel().shape == (4,)


def test_the_end_without_rounding_is_zeros(places):
    *_, last = mx.io.ImageRecordIter(path_imgrec=places, data_shape=(3, 5, 6), batch_size=4, round_batch=False)
    assert last.pad == 3 and not last.data[0].asnumpy()[1:].any() and last.data[0].asnumpy()[0].any()


def test_the_mean_image_is_made_once(places, tmp_path):
    file = tmp_path / "mean.bin"
    options = dict(path_imgrec=places, data_shape=(3, 12, 16), batch_size=4, mean_img=str(file))
    plain = data_of(mx.io.ImageRecordIter(path_imgrec=places, data_shape=(3, 12, 16), batch_size=4))
    np.testing.assert_allclose(data_of(mx.io.ImageRecordIter(**options)), plain - plain.mean(axis=0), atol=1e-5)
    assert mx.nd.load(str(file))["mean_img"].shape == (3, 12, 16)
    mx.nd.save(str(file), {"mean_img": mx.nd.ones((3, 12, 16))})
    mirrored = mx.io.ImageRecordIter(**options, mirror=True, dtype="float32")
    np.testing.assert_allclose(data_of(mirrored), plain[..., ::-1] - 1)
    mx.nd.save(str(file), {"mean_img": mx.nd.ones((1, 2, 3))})
    with pytest.raises(FormatError, match=r"mean.bin: \[\(1, 2, 3\)\], expected one array \(3, 12, 16\)"):
        mx.io.ImageRecordIter(**options)


def test_every_record_is_in_one_part(tmp_path):
    rng = random.Random(1)
    magic = b"\x0a\x23\xd7\xce"
    records = [b"".join(rng.choice((magic, b"abc", b"1234")) for _ in range(rng.randrange(9))) for _ in range(40)]
    (tmp_path / "files").mkdir()
    for name, part in (("1.rec", records[:15]), ("2.rec", records[15:])):
        (tmp_path / "files" / name).write_bytes(b"".join(map(encoded, part)))
    writer = MXIndexedRecordIO(tmp_path / "a.idx", tmp_path / "a.rec", "w")
    for k, record in enumerate(records):
        writer.write_idx(k, record)
    writer.close()
    both = ";".join(str(tmp_path / "files" / n) for n in ("1.rec", "2.rec"))
    for n_parts in (1, 2, 3, 7, 60):
        for place in (str(tmp_path / "files"), both):
            parts = [[*RecordFiles(place, k, n_parts).epoch(None)] for k in range(n_parts)]
            assert sum(parts, []) == records  # noqa: RUF017
        parts = [
            [*IndexedRecords(str(tmp_path / "a.rec"), str(tmp_path / "a.idx"), k, n_parts).epoch(None)]
            for k in range(n_parts)
        ]
        assert sum(parts, []) == records  # noqa: RUF017
    chunked = [*RecordFiles(both).epoch(random.Random(3), 40)]
    assert chunked != records and sorted(chunked) == sorted(records)


def boxed(n):
    """Black images with a white rectangle, and their labels."""
    rng = np.random.default_rng(2)
    images, labels = [], []
    for _ in range(n):
        (left, right), (top, bottom) = (np.sort(rng.choice(40, 2, replace=False)) + np.array([0, 6]) for _ in range(2))
        image = np.zeros((48, 50, 3), np.uint8)
        image[top:bottom, left:right] = 255
        images.append(image)
        labels.append([2, 6, 1, left / 50, top / 48, right / 50, bottom / 48, 9])
    return images, labels


@pytest.mark.parametrize(
    "options",
    [
        dict(rand_mirror_prob=0.5),
        dict(rand_pad_prob=1, max_pad_scale=2.5, fill_value=0),
        dict(rand_crop_prob=1, min_crop_scales="(0.6,0.8)", num_crop_sampler=2, max_crop_aspect_ratios=1.5),
        dict(rand_crop_prob=1, min_crop_scales=0.3, min_crop_object_coverages=0.5, crop_emit_mode="overlap"),
        dict(
            rand_crop_prob=1,
            min_crop_scales=0.7,
            rand_pad_prob=1,
            max_pad_scale=2,
            fill_value=0,
            rand_mirror_prob=1,
            resize=60,
        ),
    ],
    ids=lambda options: " ".join(options),
)
def test_boxes_follow_what_is_in_them(tmp_path, options):
    images, labels = boxed(12)
    iterator = mx.io.ImageDetRecordIter(
        path_imgrec=write(tmp_path, images, labels), data_shape=(3, 96, 100), batch_size=6, seed_aug=1, **options
    )
    n_changed = 0
    for batch in iterator:
        for data, label, number in zip(batch.data[0].asnumpy(), batch.label[0].asnumpy(), batch.index):
            assert label[:6].tolist() == [3, 96, 100, 8, 2, 6] and label[6] == 1 and label[11] == 9
            rows, columns = np.where(data[0] > 127)
            seen = [columns.min() / 100, rows.min() / 96, (columns.max() + 1) / 100, (rows.max() + 1) / 96]
            assert np.abs(label[7:11] - seen).max() < 0.06
            n_changed += not np.allclose(label[7:11], labels[int(number)][3:7])
    assert n_changed >= 4


def test_labels_of_objects_get_room(tmp_path):
    images, labels = boxed(3)
    labels[1] = [*labels[1], *labels[1][2:]]
    place = write(tmp_path, images, labels)
    iterator = mx.io.ImageDetRecordIter(path_imgrec=place, data_shape=(3, 9, 9), batch_size=3)
    assert iterator.provide_label[0].shape == (3, 4 + 14)
    fitted = mx.io.ImageDetRecordIter(
        path_imgrec=place, data_shape=(3, 20, 9), batch_size=3, resize_mode="fit", mean_r=-9
    )
    assert not fitted.next().data[0].asnumpy()[:, :, 8:].any()  # beside smaller images there is nothing
    with pytest.raises(ArgumentError, match="label_pad_width 9, but the longest label has 14"):
        mx.io.ImageDetRecordIter(path_imgrec=place, data_shape=(3, 9, 9), batch_size=3, label_pad_width=9)
    wrong = write(tmp_path, images, [[2, 4, 1, 0, 0, 1]] * 3, name="b")
    with pytest.raises(FormatError, match=r"image 0 of .*b.rec: the label \[2.0, 4.0"):
        mx.io.ImageDetRecordIter(path_imgrec=wrong, data_shape=(3, 9, 9), batch_size=3).next()


def test_what_cannot_be_read_is_named(places, tmp_path):
    common = dict(data_shape=(3, 5, 6), batch_size=2)
    broken = write(tmp_path, [b"no image", b""])
    with pytest.raises(FormatError, match=r"ImageRecordIter: image 0 of .*a.rec: 8 bytes that are no image"):
        mx.io.ImageRecordIter(path_imgrec=broken, **common).next()
    with pytest.raises(SymcError, match=r'Open "nowhere.rec": no such file'):
        mx.io.ImageRecordIter(path_imgrec="nowhere.rec", **common)
    with pytest.raises(FormatError, match="1 labels, expected label_width=2"):
        mx.io.ImageRecordIter(path_imgrec=places, label_width=2, **common).next()
    with pytest.raises(FormatError, match="expected 4 channels of uint8"):
        mx.io.ImageRecordIter(path_imgrec=places, data_shape=(4, 5, 6), batch_size=2).next()
    (tmp_path / "a.lst").write_text("0\t1\tx\n1\tx\n")
    with pytest.raises(FormatError, match=r"a.lst, line 2: '1\\tx', expected an id, 1 labels and a path"):
        mx.io.ImageRecordIter(path_imgrec=places, path_imglist=str(tmp_path / "a.lst"), **common)
    (tmp_path / "a.lst").write_text("0\t1\tx\n")
    with pytest.raises(FormatError, match=r"image 1 of .*: no label in .*a.lst"):
        mx.io.ImageRecordIter(path_imgrec=places, path_imglist=str(tmp_path / "a.lst"), **common).next()
    (tmp_path / "empty.rec").write_bytes(b"")
    assert [*mx.io.ImageRecordIter(path_imgrec=str(tmp_path / "empty.rec"), **common)] == []


@pytest.mark.parametrize(
    "options, error, message",
    [
        (dict(data_shape=(2, 5, 6)), ArgumentError, r"data_shape \(2, 5, 6\), expected \(1, 3 or 4, height, width\)"),
        (dict(batch_size=0), ArgumentError, "a batch has at least one sample"),
        (dict(dtype="int32"), ParameterError, "valid values are: {'float32', 'uint8', 'int8'}"),
        (dict(num_parts=2, part_index=2), ArgumentError, "part_index 2 of 2 parts"),
        (dict(data_shape=(1, 5, 6), brightness=0.1), ArgumentError, "colours of 1 channels are not changed"),
        (dict(inter_method=5), ArgumentError, "inter_method 5: expected 0 to 4, 9 or 10"),
        (dict(random_resized_crop=True, rand_crop=True), ArgumentError, "random_resized_crop goes with no rand_crop"),
        (dict(min_crop_size=5, max_crop_size=4), ArgumentError, "max_crop_size 4 is less than min_crop_size 5"),
        (dict(random_resized_crop=True, max_aspect_ratio=2), ArgumentError, "aspect ratios -1.0 to 3.0"),
        (dict(aug_seq="mine"), ParameterError, "valid values are: {'aug_default', ''}"),
    ],
)
def test_bad_options_are_refused(places, options, error, message):
    with pytest.raises(error, match=message):
        mx.io.ImageRecordIter(**{**dict(path_imgrec=places, data_shape=(3, 5, 6), batch_size=2), **options})


def test_images_too_small_for_a_square_are_refused(places):
    iterator = mx.io.ImageRecordIter(path_imgrec=places, data_shape=(3, 5, 6), batch_size=2, max_crop_size=13)
    with pytest.raises(ArgumentError, match=r"image 0 of .*: input image size \(12, 16\) smaller than max_crop_size"):
        iterator.next()
    whole = mx.io.ImageRecordIter(path_imgrec=places, data_shape=(3, 5, 6), batch_size=2, aug_seq="")
    with pytest.raises(ArgumentError, match=r"an image \(12, 16\), expected \(5, 6\)"):
        whole.next()


def test_no_name_is_no_folder_of_records(places, monkeypatch):
    """A name of nothing, as behind the semicolon here, is not the current folder."""
    monkeypatch.chdir(os.path.dirname(places))
    with pytest.raises(MissingFileError, match='Open ""'):
        mx.io.ImageRecordIter(path_imgrec=f"{places};", data_shape=(3, 5, 6), batch_size=4)
