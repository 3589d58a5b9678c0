"""SYMC_DUMP=dir: every step of a compilation as text, and a page that shows them with what each one changed."""

from __future__ import annotations

import difflib
import html
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from .lowered import Lowered
from .report import MemoryReport, explain

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
    """
    folder = _new_folder(directory, _title(lowered))
    for k, step in enumerate(lowered.trace.steps):
        if step.text:
            (folder / f"{k:02d}-{step.name}.txt").write_text(step.text, encoding="utf-8")
    (folder / "explain.txt").write_text(explain(lowered) + "\n", encoding="utf-8")
    (folder / "memory.txt").write_text(str(MemoryReport.of(lowered)) + "\n", encoding="utf-8")
    (folder / "kernels").mkdir()
    for name, code in lowered.codes.items():
        (folder / "kernels" / f"{name}.py").write_text(code.source, encoding="utf-8")
    (folder / "index.html").write_text(_page(lowered), encoding="utf-8")
    return folder


def _title(lowered: Lowered) -> str:
    mode = "train" if lowered.kernels.training else "predict"
    heads = lowered.kernels.heads[0].name if lowered.kernels.heads else "nothing"
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', heads)[:40]}-{mode}"


def _new_folder(directory: Path, title: str) -> Path:
    """The first free number wins, so that compilations (also of several processes) keep their order."""
    directory.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(len(list(directory.iterdir()))):
        folder = directory / f"{number:03d}-{title}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError


def _page(lowered: Lowered) -> str:
    parts = [f"<h1>{html.escape(_title(lowered))}</h1>", "<h2>Steps</h2>"]
    before: tuple[str, bool] | None = None  # text, and whether it shows kernels rather than a graph
    for step in lowered.trace.steps:
        label = f"{html.escape(step.name)} <span class=time>{step.time_s * 1e3:.2f} ms, {step.n_nodes}</span>"
        if not step.text:
            parts.append(f"<p>{label}</p>")
            continue
        shows_kernels = step.name in ("lower", "plan_memory")
        is_comparable = before is not None and before[1] == shows_kernels
        changes = "".join(_changes(before[0], step.text)) if is_comparable and before else None
        if changes == "":
            parts.append(f"<p>{label}: no change</p>")
        else:
            shown = f"<pre>{changes}</pre>" if changes else ""
            whole = f"<details><summary>whole text</summary><pre>{html.escape(step.text)}</pre></details>"
            parts.append(f"<details><summary>{label}</summary>{shown}{whole}</details>")
        before = (step.text, shows_kernels)
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
