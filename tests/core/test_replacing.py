"""Files are written whole or not at all, and nothing but a file is ever replaced."""

from __future__ import annotations

import os
import stat

import pytest

from symc.core.errors import SymcError
from symc.core.replacing import replacing


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
