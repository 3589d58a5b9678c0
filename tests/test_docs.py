"""The code in README.md and docs/*.md runs, and prints what the pages say it prints.

Each page runs top to bottom in one fresh process, in an empty directory:

    ```python     is executed; all blocks of a page share one namespace
    ```console    lines `$ symc ...` are executed and must succeed
    ```output     is what the block before it prints; "..." stands for anything, kernels' hashes may differ

`python tests/test_docs.py PAGE...` runs pages and writes the real output into their output blocks.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
HASH = re.compile(r"_[0-9a-f]{16}\b")
ELLIPSIS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` is the number of its first line of text."""

    kind: str
    text: str
    line: int
    span: tuple[int, int]


def blocks(page: str) -> list[Block]:
    """All fenced blocks in order."""
    return [Block(m[1], m[2], page.count("\n", 0, m.start(2)) + 1, m.span(2)) for m in FENCE.finditer(page)]


def run(path: Path) -> Iterator[tuple[Block, str]]:
    """Executes a page in this process; yields each output block with what was really printed before it."""
    namespace = {"__name__": "__main__"}
    printed = ""
    for block in blocks(path.read_text(encoding="utf-8")):
        if block.kind == "python":
            # Blank lines in front make line numbers in tracebacks those of the page.
            code = compile("\n" * (block.line - 1) + block.text, str(path), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, namespace)
            printed = out.getvalue()
        elif block.kind == "console":
            commands = [line[2:] for line in block.text.splitlines() if line.startswith("$ symc")]
            printed = "".join(run_command(c, f"{path}:{block.line}") for c in commands)
        elif block.kind == "output":
            yield block, printed


def run_command(command: str, where: str) -> str:
    """What `symc ...` prints; a failure names the page."""
    words = shlex.split(command, comments=True)[1:]
    done = subprocess.run([sys.executable, "-m", "symc", *words], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{where}: `{command}` exited with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def check(path: Path) -> None:
    """Executes a page and compares its output blocks; the first difference raises AssertionError."""
    for block, printed in run(path):
        expected, seen = (HASH.sub("_#", text) for text in (block.text, printed))
        if not doctest.OutputChecker().check_output(expected, seen, ELLIPSIS):
            raise AssertionError(f"{path}:{block.line}: expected\n{block.text}\nprinted\n{printed}")


def accept(path: Path) -> None:
    """Writes what a page really prints into its output blocks."""
    page = path.read_text(encoding="utf-8")
    for block, printed in reversed(list(run(path))):
        page = page[: block.span[0]] + printed.rstrip("\n") + "\n" + page[block.span[1] :]
    path.write_text(page, encoding="utf-8")


def in_fresh_process(mode: str, path: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """`check` or `accept` in a process and a directory of its own: pages register operators and passes, write files."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, mode, str(path)]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_page(path, tmp_path):
    done = in_fresh_process("check", path, tmp_path)
    if done.returncode:
        pytest.fail(done.stderr, pytrace=False)


@pytest.mark.parametrize(
    "text, line, error",
    [
        ("```python\nx = 1\n```\nand\n```python\n\n1 / 0\n```\n", 7, "ZeroDivisionError"),
        ("```python\nprint('a b')\n```\n```output\na c\n```\n", 5, "expected"),
        ("\n```console\n$ symc no-such-verb\n```\n", 3, "exited with"),
    ],
)
def test_a_wrong_page_fails_with_its_line(tmp_path, text, line, error):
    page = tmp_path / "page.md"
    page.write_text(text)
    done = in_fresh_process("check", page, tmp_path)
    assert done.returncode == 1
    assert error in done.stderr
    assert re.search(rf'page.md(:|", line ){line}\b', done.stderr)


def test_accept_writes_what_is_printed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nprint(6 * 7)\n```\n```output\n```\ntext\n```python\nprint('a')\n```\n```output\nb\n```\n"
    )
    accept(page)
    assert [b.text for b in blocks(page.read_text()) if b.kind == "output"] == ["42\n", "a\n"]
    check(page)


if __name__ == "__main__":
    if sys.argv[1] in ("check", "accept"):
        {"check": check, "accept": accept}[sys.argv[1]](Path(sys.argv[2]))
    else:
        for name in sys.argv[1:]:
            with tempfile.TemporaryDirectory() as empty:
                sys.stderr.write(in_fresh_process("accept", Path(name).resolve(), Path(empty)).stderr)
