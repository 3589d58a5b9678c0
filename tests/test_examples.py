"""Every example runs in an empty folder and prints what it prints when the real MXNet 1.9.1 runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRINTED = {path.stem: path.read_text() for path in (ROOT / "tests/data/examples").glob("*.txt")}
# What these show, tests of other things hold, too.
SLOW = ("adversarial", "autoencoder", "matrix_factorisation", "multi_task", "ssd")


def test_every_example_has_its_text_and_its_line_in_the_list():
    scripts = {path.stem: path.read_text() for path in (ROOT / "examples").glob("*.py")}
    listed = (ROOT / "examples/README.md").read_text()
    assert set(scripts) == set(PRINTED)
    assert all(f"| `{name}.py` |" in listed for name in scripts)
    assert all(text.startswith('"""') and "\nimport symc as mx\n" in text for text in scripts.values())


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in sorted(PRINTED)])
def test_example(name, tmp_path):
    if "pack_img" in (ROOT / "examples" / f"{name}.py").read_text():
        pytest.importorskip("cv2")
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert (ran.returncode, ran.stderr) == (0, "")
    if "no picture:" in ran.stdout:  # the package graphviz is optional
        assert ran.stdout.splitlines()[:-1] == PRINTED[name].splitlines()[:-1]
    else:
        assert ran.stdout == PRINTED[name]
