"""`symc im2rec`: lists as MXNet's tool writes them, records that are read again, and images that are broken."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import symc as mx

cv2 = pytest.importorskip("cv2")
DATA = Path(__file__).parents[1] / "data" / "image"


@pytest.fixture
def pictures():
    """A folder `pictures` with images in three folders."""
    for name, source in (
        ("b/1.JPG", "colour.jpg"), ("a/2.jpg", "grey.jpg"), ("a/c/3.png", "small.png"), ("4.png", "alpha.png"),
        ("a/x.txt", "records.rec"), *((f"a/{k}.png", "small.png") for k in range(5, 10)),
    ):  # fmt: skip
        path = Path("pictures", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DATA / source, path)


def listed(name):
    return [line.split("\t") for line in Path(name).read_text().splitlines()]


def records(name):
    reader = mx.recordio.MXIndexedRecordIO(f"{name}.idx", f"{name}.rec", "r")
    return {key: mx.recordio.unpack(reader.read_idx(key)) for key in reader.keys}


def test_a_list_of_folders(read, pictures):
    facts = read("im2rec", "x", "pictures", "--list", "--recursive")
    assert facts["classes"] == {".": 0, "a": 1, "a/c": 2, "b": 3}
    assert facts["lists"] == [{"path": "x.lst", "n_images": 9}]
    # The order that MXNet's tool draws.
    assert [row[2] for row in listed("x.lst")] == (
        "a/7.png 4.png a/8.png b/1.JPG a/9.png a/2.jpg a/6.png a/c/3.png a/5.png".split()
    )
    assert [row[0] for row in listed("x.lst")] == "4 0 5 8 6 1 3 7 2".split()
    assert {row[2]: row[1] for row in listed("x.lst")}["a/c/3.png"] == "2.000000"


def test_lists_in_parts(read, pictures):
    read(
        "im2rec",
        "x",
        "pictures",
        "--list",
        "--recursive",
        "--no-shuffle",
        "--train-ratio",
        "0.6",
        "--test-ratio",
        "0.2",
    )
    parts = {part: [int(row[0]) for row in listed(f"x_{part}.lst")] for part in ("test", "train", "val")}
    assert parts == {"test": [0], "train": [1, 2, 3, 4, 5], "val": [6, 7, 8]}
    facts = read("im2rec", "y", "pictures", "--list", "--recursive", "--chunks", "2", "--train-ratio", "0.5")
    assert [one["path"] for one in facts["lists"]] == ["y_0_val.lst", "y_0_train.lst", "y_1_val.lst", "y_1_train.lst"]
    assert read("im2rec", "z", "pictures", "--list", "--exts", ".png")["lists"][0]["n_images"] == 1


def test_files_are_packed_as_they_are(read, pictures):
    Path("x.lst").write_text("3\t1.5\t2\ta/2.jpg\n7\t4\t5\tb/1.JPG\n")
    facts = read("im2rec", "x", "pictures", "--pass-through", "--pack-label", "--num-thread", "2")
    (made,) = facts["records"]
    assert made["n_images"] == 2 and made["size_bytes"] == Path("x.rec").stat().st_size and made["broken"] == []
    (header, data), (_, other) = records("x").values()
    assert list(records("x")) == [3, 7] and header.label.tolist() == [1.5, 2] and header.id == 3
    assert data == (DATA / "grey.jpg").read_bytes() and other == (DATA / "colour.jpg").read_bytes()


@pytest.mark.parametrize(
    "options, shape",
    [
        (["--resize", "9"], (9, 12, 3)),
        (["--resize", "9", "--center-crop", "--encoding", ".png", "--quality", "9"], (9, 9, 3)),
        (["--color", "0", "--center-crop"], (13, 13)),
    ],
)
def test_images_are_cut_and_resized(read, pictures, options, shape):
    Path("x.lst").write_text("0\t3\t8\tb/1.JPG\n")
    read("im2rec", "x", "pictures", *options)
    ((header, data),) = records("x").values()
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.shape == shape and header.label == 3
    assert data.startswith(b"\x89PNG" if ".png" in options else b"\xff\xd8")


def test_broken_images_are_left_out_and_told(run, pictures):
    Path("pictures/broken.jpg").write_bytes(b"no image")
    Path("x.lst").write_text("0\t1\tbroken.jpg\n1\t2\tb/1.JPG\n2\t3\tnowhere.jpg\n")
    for options in ([], ["--pass-through", "--force"]):
        code, out, err = run("im2rec", "x", "pictures", *options)
        assert code == 1 and "pictures/nowhere.jpg: No such file" in err
        assert ("pictures/broken.jpg: no image" in err) == (not options)
        assert f"{2 - bool(options)} images could not be read and are left out" in out
        assert 1 in records("x") and 2 not in records("x")


def test_what_cannot_be_done_is_refused(run, pictures):
    def refused(*arguments, exit_code=2):
        code, out, err = run("im2rec", *arguments)
        assert code == exit_code and not out
        return err

    assert "nowhere: no such folder" in refused("x", "nowhere")
    assert "x: no list begins with it; --list makes one of a folder" in refused("x", "pictures")
    assert "no image ending in .bmp; --recursive goes into folders" in refused(
        "x", "pictures", "--list", "--exts", ".bmp"
    )
    assert "expected parts of 1" in refused("x", "pictures", "--list", "--train-ratio", "0.9", "--test-ratio", "0.2")
    assert "--chunks 0, expected 1 or more" in refused("x", "pictures", "--list", "--chunks", "0")
    Path("x.lst").write_text("0\t1\tb/1.JPG\nx\t2\tb/1.JPG\n")
    assert "x.lst exists: give --force" in refused("x", "pictures", "--list")
    assert "--quality 101, expected 1 to 100 for .jpg" in refused("x", "pictures", "--quality", "101")
    assert r"x.lst, line 2: 'x\t2\tb/1.JPG', expected `id<tab>label" in refused("x", "pictures", exit_code=1)
    Path("x.lst").write_text("0\t1\tb/1.JPG\n")
    assert run("im2rec", "x", "pictures")[0] == 0
    assert "x.rec" in refused("x", "pictures") and "give --force" in refused("x", "pictures")
