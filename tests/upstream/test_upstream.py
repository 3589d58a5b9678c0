"""The harness for MXNet's tests sees what passes, fails, skips itself and cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SAMPLE = """
import mxnet as mx
from mxnet.base import MXNetError
from nose.tools import assert_raises, make_decorator
import unittest
import warnings

def twice(test):
    @make_decorator(test)
    def run():
        test(2)
    return run

@twice
def test_passes(n):
    with warnings.catch_warnings(record=True) as seen:
        warnings.warn("is seen")
    assert len(seen) == 1
    assert mx.nd.ones((n, 3)).shape == (2, 3)
    assert_raises(MXNetError, mx.sym.load_json, "{}")

def test_fails():
    assert mx.nd.ones((2, 3)).shape == (3, 2)

@unittest.skip("no reason")
def test_skips():
    pass
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.upstream", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_tells_what_does_not_pass(tmp_path):
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    (tmp_path / "test_broken.py").write_text("import mxnet.nowhere\n")
    seen = run(tmp_path, "test_sample", "test_broken", "--list")
    assert seen.returncode == 1, seen.stderr
    assert seen.stdout.endswith("\nnot as expected\n")
    assert "test_sample            1/3" in seen.stdout
    assert "test_fails: assert (2, 3) == (3, 2)" in seen.stdout
    assert "test_skips: skips itself: Skipped: no reason" in seen.stdout
    assert "(import): symc.core.errors.MissingModuleError: no module named 'mxnet.nowhere'" in seen.stdout
    assert "test_passes" not in seen.stdout


def test_exit_status_is_zero_when_all_pass(tmp_path):
    for name in ("unittest", "quantization"):
        (tmp_path / name).mkdir()
    (tmp_path / "quantization" / "test_sample.py").write_text(SAMPLE)
    seen = run(tmp_path / "unittest", "../quantization/test_sample", "--only", "passes or skips")
    assert seen.stdout == "test_sample            1/2\nas expected\n"
    assert seen.returncode == 0


def test_tests_that_are_kept_do_not_run_again(tmp_path):
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    kept = tmp_path / "kept"
    first = run(tmp_path, "test_sample", "--only", "passes", "--keep", str(kept))
    assert first.stderr == f"{'test_sample':<28}   1/1\n"
    assert kept.read_text() == '["test_sample.py::test_passes", null]\n'
    kept.write_text('["test_sample.py::test_fails", null]\n')  # it did pass once
    second = run(tmp_path, "test_sample", "--keep", str(kept))
    assert second.stdout == "test_sample            2/3\nas expected\n"
    tests = [json.loads(line)[0].partition("::")[2] for line in kept.read_text().splitlines()]
    assert tests == ["test_fails", "test_passes", "test_skips"]


def test_a_missing_file_is_an_argument_error(tmp_path):
    seen = run(tmp_path, "test_nowhere")
    assert seen.returncode == 2
    assert "no test_nowhere.py" in seen.stderr
