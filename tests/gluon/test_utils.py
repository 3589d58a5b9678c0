"""`mx.gluon.utils`: downloads, from files instead of servers."""

from __future__ import annotations

import socket
import threading

import pytest

import symc as mx
from symc.core.errors import DownloadError, UsageError
from symc.gluon.utils import download


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "weights.params"
    path.write_bytes(b"weights")
    return path


def test_what_is_there_is_not_fetched_again(source, tmp_path, capsys):
    target = tmp_path / "new" / "copy.params"
    for _ in range(2):
        assert download(source.as_uri(), str(target)) == str(target)
    assert target.read_bytes() == b"weights" and capsys.readouterr().out.count("Downloading") == 1


@pytest.mark.parametrize("url", ["file:///nowhere/x.params", "http://127.0.0.1:9/x.params", "nothing://x.params"])
def test_what_cannot_be_fetched_is_told_with_its_address(url, tmp_path, capsys):
    with pytest.raises(DownloadError, match=rf"^fetching {url}: .*; put the file at {tmp_path}/x.params by other") as e:
        download(url, str(tmp_path), retries=2)
    assert isinstance(e.value, OSError) and isinstance(e.value, mx.MXNetError)
    assert capsys.readouterr().out.count("1 attempt left") == 1
    assert not list(tmp_path.iterdir())


def test_another_content_than_expected(source, tmp_path):
    target = tmp_path / "copy.params"
    for before in (None, b"what was there"):
        if before is not None:
            target.write_bytes(before)
        with pytest.raises(UsageError, match="the content hash does not match"):
            download(source.as_uri(), str(target), sha1_hash="0" * 40, retries=0)
        assert (target.read_bytes() if target.exists() else None) == before
    assert {path.name for path in tmp_path.iterdir()} == {"copy.params", "weights.params"}


def test_what_is_cut_off_is_no_file(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nten bytes.")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.params"
        with pytest.raises(DownloadError, match="the connection ended after 10 of 1000 bytes"):
            download(url, str(tmp_path), retries=1)
        thread.join()
    assert not list(tmp_path.iterdir())
