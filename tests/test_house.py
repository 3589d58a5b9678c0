"""ruff and mypy as tests, so that one command checks everything."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run_tool(tool: str, *arguments: str) -> None:
    """Fails with what the tool found; skips where it is not installed."""
    if find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed; pip install -e '.[test]'")
    found = subprocess.run([sys.executable, "-m", tool, *arguments], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.fail(f"{tool} {version(tool)}:\n{found.stdout}{found.stderr}", pytrace=False)


def test_ruff():
    run_tool("ruff", "check", "--no-fix", "--output-format", "concise", ".")


def test_ruff_format():
    run_tool("ruff", "format", "--check", "--output-format", "concise", ".")


def test_mypy():
    run_tool("mypy")


def test_a_fault_is_reported(tmp_path):
    (tmp_path / "bad.py").write_text("import os\n")
    with pytest.raises(pytest.fail.Exception, match="F401"):
        run_tool("ruff", "check", "--isolated", str(tmp_path))
