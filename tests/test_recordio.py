"""Files of records: equal to MXNet's byte for byte, refused where they are damaged, shared by threads and forks."""

from __future__ import annotations

import multiprocessing
import pickle
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies

import symc as mx
from symc.core.errors import ArgumentError, ConflictError, FormatError, MissingKeyError, MissingPackageError, SymcError
from symc.recordio import MAGIC, IRHeader, MXIndexedRecordIO, MXRecordIO, encoded, pack, record_at, unpack

from .image.records import RECORDS

DATA = Path(__file__).parent / "data" / "image"
MXNET = DATA / "records.rec", DATA / "records.idx"


def written(folder, records=RECORDS):
    paths = folder / "new.idx", folder / "new.rec"
    writer = MXIndexedRecordIO(*map(str, paths), "w")
    for key, record in enumerate(records):
        writer.write_idx(key, record)
    return writer, *paths


def test_files_are_mxnets_byte_for_byte(tmp_path):
    writer, index, records = written(tmp_path)
    writer.write_idx(100, pack(IRHeader(0, 3, 7, 1), b"image"))
    writer.write_idx(101, pack((9, [1, 2.5], 8, 0), b"images"))
    assert writer.tell() == MXNET[0].stat().st_size
    writer.close()
    assert records.read_bytes() == MXNET[0].read_bytes() and index.read_text() == MXNET[1].read_text()


def test_mxnets_file_is_read():
    reader = mx.recordio.MXIndexedRecordIO(MXNET[1], MXNET[0], "r")
    assert [reader.read() for _ in RECORDS] == list(RECORDS)
    header, data = unpack(reader.read())
    assert (header, data) == ((0, 3.0, 7, 1), b"image") and repr(header) == "HEADER(flag=0, label=3.0, id=7, id2=1)"
    header, data = unpack(reader.read_idx(101))
    assert header.flag == 2 and header.label.tolist() == [1, 2.5] and data == b"images"
    assert reader.read() is None and reader.read() is None
    reader.reset()
    assert reader.read() == RECORDS[0]
    reader.seek(5)
    assert reader.read() == RECORDS[5] and reader.read() == RECORDS[6]


@settings(max_examples=30)
@given(strategies.lists(strategies.lists(strategies.sampled_from([b"\n", b"\x0a#\xd7\xce", b"\0", b"ab"])), max_size=4))
def test_what_is_written_is_read(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("records") / "a.rec"
    joined = [b"".join(r) for r in records]
    path.write_bytes(b"".join(map(encoded, joined)))
    assert path.stat().st_size % 4 == 0
    reader = MXRecordIO(path, "r")
    assert [reader.read() for _ in joined] == joined and reader.read() is None


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path):
    record = b"1234" + struct.pack("<I", MAGIC) + b"56"
    whole = encoded(record)
    for n in range(1, len(whole)):
        (tmp_path / "cut.rec").write_bytes(whole[:n])
        with open(tmp_path / "cut.rec", "rb") as file:
            if n >= len(whole) - 2:  # the zeros that fill up the last part say nothing
                assert record_at(file.fileno(), 0, "cut.rec") == (record, len(whole))
                continue
            with pytest.raises(FormatError, match=r"cut.rec: .*cut off"):
                record_at(file.fileno(), 0, "cut.rec")


@pytest.mark.parametrize(
    "data, message",
    [
        (b"\0" * 8, "no record begins at byte 0"),
        (encoded(b"a") + b"x" * 8, "no record begins at byte 12"),
        (struct.pack("<II", MAGIC, 2 << 29), "no record begins at byte 0"),  # the middle of nothing
        (struct.pack("<II", MAGIC, 1 << 29) + encoded(b""), "no record begins at byte 8"),  # a beginning without an end
        (struct.pack("<II", MAGIC, 500), "0 bytes after byte 8, expected 500"),
    ],
)
def test_damaged_files_are_refused(tmp_path, data, message):
    (tmp_path / "bad.rec").write_bytes(data)
    reader = MXRecordIO(tmp_path / "bad.rec", "r")
    with pytest.raises(FormatError, match=rf"bad.rec: {message}"):
        list(iter(reader.read, None))


def test_damaged_indexes_are_refused(tmp_path):
    for text in (b"1\n", b"x\t0\n", b"1\ty\n", b"1\t-4\n", b"\xff\t0\n"):
        (tmp_path / "a.idx").write_bytes(b"0\t0\n" + text)
        with pytest.raises(FormatError, match=r"a.idx, line 2"):
            MXIndexedRecordIO(tmp_path / "a.idx", MXNET[0], "r")
    (tmp_path / "a.idx").write_text("0\t1000\n")
    reader = MXIndexedRecordIO(tmp_path / "a.idx", MXNET[0], "r")
    with pytest.raises(FormatError, match="ends before byte 1000"):
        reader.read_idx(0)
    with pytest.raises(MissingKeyError, match="has no record 7; it has 1"):
        reader.read_idx(7)
    with pytest.raises(KeyError):
        reader.seek(7)


def test_misuse_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="Invalid flag a"):
        MXRecordIO(tmp_path / "a.rec", "a")
    with pytest.raises(SymcError, match=r'Open ".*nowhere.rec": No such file'):
        MXRecordIO(tmp_path / "nowhere.rec", "r")
    writer, index, records = written(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'Open ".*nowhere.idx": No such file'):
        MXIndexedRecordIO(tmp_path / "nowhere.idx", records, "r")
    with pytest.raises(ConflictError, match=r"read: .* was opened with flag 'w'"):
        writer.read()
    with pytest.raises(ConflictError, match="is being written"):
        pickle.dumps(writer)
    writer.close()
    with pytest.raises(ConflictError, match=r"write: .* is closed"):
        writer.write(b"")
    reader = MXIndexedRecordIO(index, records, "r")
    with pytest.raises(ConflictError, match=r"write: .* was opened with flag 'r'"):
        reader.write(b"")


def test_a_pickled_reader_opens_its_file_again():
    reader = MXIndexedRecordIO(MXNET[1], MXNET[0], "r")
    reader.read()
    again = pickle.loads(pickle.dumps(reader))
    assert again.keys == reader.keys and again.read() == RECORDS[0] and again.read_idx(4) == RECORDS[4]
    reader.close()
    assert not pickle.loads(pickle.dumps(reader)).is_open
    assert pickle.loads(pickle.dumps(IRHeader(0, 1, 2, 3))) == (0, 1, 2, 3)


def _read_here(reader, writer, queue):
    """In a child: what it reads by key, and what is refused."""
    found = [reader.read_idx(k) for k in (6, 0, 4)]
    for call in (reader.read, lambda: writer.write(b"")):
        try:
            call()
        except SymcError as error:
            found.append(str(error))
    reader.reset()
    found.append(reader.read())
    writer.close()
    queue.put(found)


def test_forked_processes_share_a_reader(tmp_path):
    reader = MXIndexedRecordIO(MXNET[1], MXNET[0], "r")
    reader.read()
    writer, _, path = written(tmp_path, [b"parent"])
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        child = context.Process(target=_read_here, args=(reader, writer, queue))
        child.start()
    *read, no_read, no_write, first = queue.get()
    child.join()
    assert read == [RECORDS[k] for k in (6, 0, 4)] and first == RECORDS[0]
    assert "Forbidden operation in multiple processes" in no_read and "Forbidden operation" in no_write
    assert reader.read() == RECORDS[1]  # the parent goes on where it was
    writer.close()
    assert path.read_bytes() == encoded(b"parent")


def test_headers_that_promise_too_much_are_refused():
    with pytest.raises(FormatError, match="a record of 5 bytes, expected at least the 24"):
        unpack(b"short")
    with pytest.raises(FormatError, match="4 bytes after the header, which says that 2 labels follow"):
        unpack(pack((0, [1, 2], 0, 0), b"")[:-4])
    with pytest.raises(ArgumentError, match="pack: "):
        pack((0, 1, -1, 0), b"")


def test_images_in_records():
    pytest.importorskip("cv2")
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    header, found = mx.recordio.unpack_img(mx.recordio.pack_img((0, 2.0, 3, 0), image, quality=9, img_fmt=".png"))
    assert header == (0, 2, 3, 0) and np.array_equal(found, image)
    _, grey = mx.recordio.unpack_img(mx.recordio.pack_img((0, 2.0, 3, 0), image), iscolor=0)
    assert grey.shape == (5, 7)
    assert mx.recordio.unpack_img(pack((0, 1, 0, 0), b"no image"))[1] is None
    assert mx.recordio.unpack_img(pack((0, 1, 0, 0), b""))[1] is None
    with pytest.raises(ArgumentError, match=r"cannot make .nothing"):
        mx.recordio.pack_img((0, 2.0, 3, 0), image, img_fmt=".nothing")


def test_without_opencv_the_extra_is_named(monkeypatch):
    from symc.core.opencv import opencv

    monkeypatch.setitem(sys.modules, "cv2", None)
    opencv.cache_clear()
    with pytest.raises(MissingPackageError, match=r"pip install 'symc\[image\]'"):
        mx.recordio.unpack_img(pack((0, 1, 0, 0), b"x"))
