"""Files are written whole or not at all, and nothing but a file is ever replaced."""

from __future__ import annotations

import os
import stat

import pytest

from symc.core.errors import MissingFileError, SymcError
from symc.core.replacing import replacing, writing


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), replacing(path) as unfinished:
        unfinished.write_text("half \ud800", encoding="utf-8")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["x"]
    with replacing(path) as unfinished:
        unfinished.write_text("new")
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["x"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link", tmp_path / "folder" / "target"
    link.symlink_to(target)
    with replacing(link) as unfinished:
        unfinished.write_text("new")
    assert link.is_symlink() and target.read_text() == "new"


def test_what_is_no_file_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SymcError, match=r"writing .*pipe: it is a device, a pipe or a socket"), replacing(pipe):
        pytest.fail("something was written")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(SymcError, match="Is a directory"), replacing(tmp_path) as unfinished:
        unfinished.write_text("new")
    with pytest.raises(SymcError, match="No such file or directory"), replacing(tmp_path / "no" / "x") as unfinished:
        unfinished.write_text("new")


def test_a_file_that_a_user_names(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def half(error):
        with writing(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(KeyboardInterrupt):
        half(KeyboardInterrupt())
    with pytest.raises(SymcError, match=f'^Open "{path}": No space left$'):
        half(OSError(28, "No space left"))
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["x"]
    path.chmod(0o640)
    with writing(str(path)) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["x"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with pytest.raises(MissingFileError, match="No such file or directory"), writing(tmp_path / "no" / "x"):
        pytest.fail("something was written")
    with pytest.raises(SymcError, match="no file's name has a NUL in it"), writing("a\0b"):
        pytest.fail("something was written")
    with pytest.raises(TypeError, match="expected the path of a file, got int"), writing(3):
        pytest.fail("something was written")


@pytest.mark.parametrize("opened", [replacing, writing])
def test_an_empty_file_that_is_open_elsewhere_is_read_there(tmp_path, opened):
    path = tmp_path / "x"

    def write(text):
        with opened(path), open(path, "w", encoding="utf-8") as file:
            file.write(text)

    with open(path, "w+b") as handle:
        with pytest.raises(UnicodeEncodeError):
            write("half \ud800")
        assert path.read_bytes() == b"" and os.listdir(tmp_path) == ["x"]
        write("new")
        assert handle.read() == b"new"


def test_a_pipe_that_a_user_names_is_written(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with writing(pipe) as file:
        file.write(b"new")
    assert os.read(reader, 10) == b"new" and stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(reader)
