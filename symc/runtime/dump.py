"""SYMC_DUMP=dir: every step of a compilation as text, and a page that shows them with what each one changed."""

from __future__ import annotations

import contextlib
import difflib
import html
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from symc.core.errors import SymcError

from .lowered import Lowered
from .memory_report import MemoryReport
from .report import explain

_CONTEXT_LINES = 2
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; max-width: 120em }
pre { background: #f6f6f4; padding: .6em; overflow-x: auto; font-size: 12px }
summary { cursor: pointer; padding: .2em 0 }
.time { color: #777 } .add { background: #dcf5dc } .del { background: #fadcdc } .at { color: #777 }
@media (prefers-color-scheme: dark) {
  body { background: #1c1c1c; color: #ddd } pre { background: #262626 }
  .add { background: #1f4021 } .del { background: #4a2222 }
}
"""


def dump(directory: Path, lowered: Lowered) -> Path:
    """Writes one compilation into a new folder of `directory` and returns the folder.

    00-eliminate_dead.txt ...   the graph, then the kernels, after each step
    explain.txt, memory.txt     the program and its memory plan
    kernels/<name>.py           the source of each kernel
    index.html                  all of it on one page, with differences

    Raises SymcError naming the file that cannot be written.
    """
    folder = _new_folder(directory, _title(lowered))
    texts = {f"{k:02d}-{stage.name}.txt": stage.text for k, stage in enumerate(lowered.trace.stages) if stage.text}
    texts |= {"explain.txt": explain(lowered) + "\n", "memory.txt": str(MemoryReport.of(lowered)) + "\n"}
    texts |= {f"kernels/{name}.py": code.source for name, code in lowered.codes.items()}
    texts["index.html"] = _page(lowered)
    for name, text in texts.items():
        with _naming(folder / name):
            (folder / name).write_text(text, encoding="utf-8")
    return folder


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Names the file and the variable in the error of a write that fails (a full disk's error names neither)."""
    try:
        yield
    except OSError as error:
        raise SymcError(f"SYMC_DUMP: writing {path}: {error.strerror or error}") from error


def _title(lowered: Lowered) -> str:
    mode = "train" if lowered.kernels.training else "predict"
    heads = lowered.kernels.heads[0].name if lowered.kernels.heads else "nothing"
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', heads)[:40]}-{mode}"


def _new_folder(directory: Path, title: str) -> Path:
    """The first free number wins, so that compilations (also of several processes) keep their order."""
    with _naming(directory):
        directory.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(len(list(directory.iterdir()))):
            folder = directory / f"{number:03d}-{title}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            (folder / "kernels").mkdir()
            return folder
    raise AssertionError


def _page(lowered: Lowered) -> str:
    parts = [f"<h1>{html.escape(_title(lowered))}</h1>", "<h2>Steps</h2>"]
    before: tuple[str, bool] | None = None  # text, and whether it shows kernels rather than a graph
    for stage in lowered.trace.stages:
        label = f"{html.escape(stage.name)} <span class=time>{stage.time_s * 1e3:.2f} ms, {stage.n_nodes}</span>"
        if not stage.text:
            parts.append(f"<p>{label}</p>")
            continue
        shows_kernels = stage.name in ("lower", "plan_memory")
        is_comparable = before is not None and before[1] == shows_kernels
        changes = "".join(_changes(before[0], stage.text)) if is_comparable and before else None
        if changes == "":
            parts.append(f"<p>{label}: no change</p>")
        else:
            shown = f"<pre>{changes}</pre>" if changes else ""
            whole = f"<details><summary>whole text</summary><pre>{html.escape(stage.text)}</pre></details>"
            parts.append(f"<details><summary>{label}</summary>{shown}{whole}</details>")
        before = (stage.text, shows_kernels)
    parts += ["<h2>Program</h2>", f"<pre>{html.escape(explain(lowered))}</pre>"]
    parts += ["<h2>Memory</h2>", f"<pre>{html.escape(str(MemoryReport.of(lowered)))}</pre>", "<h2>Kernels</h2>"]
    parts += [
        f"<details><summary>{html.escape(name)}</summary><pre>{html.escape(code.source)}</pre></details>"
        for name, code in lowered.codes.items()
    ]
    head = f"<!doctype html><meta charset=utf-8><title>{html.escape(_title(lowered))}</title><style>{_STYLE}</style>"
    return "\n".join([head, *parts]) + "\n"


def _changes(before: str, after: str) -> Iterator[str]:
    """The lines of a unified diff as HTML; nothing when the texts are equal."""
    classes = {"+": "add", "-": "del", "@": "at"}
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=_CONTEXT_LINES, lineterm="")
    for line in itertools.islice(lines, 2, None):  # without the file names
        kind = classes.get(line[:1])
        text = html.escape(line)
        yield f'<span class="{kind}">{text}</span>\n' if kind else f"{text}\n"
