"""Files go from MXNet to symc and back: parameters, symbols, checkpoints, states of optimizers."""

from __future__ import annotations

import json
import os
import zipfile

import pytest

import symc as mx

from .cases import read_all, write_all
from .record import DATA, by_mxnet

READ = json.loads((DATA / "read.json").read_text())  # by MXNet


@pytest.mark.filterwarnings("ignore:Cannot decide type")  # of an import's data, as in MXNet
def test_symc_reads_what_mxnet_wrote(tmp_path):
    with zipfile.ZipFile(DATA / "files.zip") as archive:
        archive.extractall(tmp_path)
    assert read_all(mx, tmp_path) == READ


def test_symc_writes_what_mxnet_writes(tmp_path):
    """To the byte; so MXNet reads it."""
    write_all(mx, tmp_path)
    with zipfile.ZipFile(DATA / "files.zip") as archive:
        wanted = {name: archive.read(name) for name in archive.namelist()}
    written = {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert sorted(written) == sorted(wanted)
    assert [name for name in wanted if written[name] != wanted[name]] == []


@pytest.mark.skipif("MXNET_PYTHON" not in os.environ, reason="MXNET_PYTHON names no interpreter that has MXNet")
def test_mxnet_reads_what_symc_writes(tmp_path):
    write_all(mx, tmp_path)
    assert by_mxnet(os.environ["MXNET_PYTHON"], "read", tmp_path) == READ
