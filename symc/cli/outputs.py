"""Outputs of a run: what is told about each, and its file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from symc.core.replacing import replacing

from .arrays import write_npz
from .report import writing

N_SAMPLES = 20  # shown


def describe(name: str, output: np.ndarray, n_top: int) -> dict[str, Any]:
    """Shape and range; of scores of classes, the best classes of every sample.

    Each entry of "top" has its row (the sample), the class and the score, the best one of a row first.
    """
    numbers = output.astype(np.float64)
    found: dict[str, Any] = {"name": name, "shape": list(output.shape), "dtype": output.dtype.name}
    if output.size:
        found |= {"min": float(numbers.min()), "max": float(numbers.max()), "mean": float(numbers.mean())}
    if n_top > 0 and _are_class_scores(output):
        best = np.argsort(-numbers, axis=1, kind="stable")[:, :n_top]
        found["top"] = [
            {"row": row, "class": int(k), "score": float(numbers[row, k])} for row, ks in enumerate(best) for k in ks
        ]
    return found


def _are_class_scores(output: np.ndarray) -> bool:
    """Whether every row is a distribution over classes, as probabilities or as their logarithms.

    Nothing else says what the numbers of a row are: those of an embedding are no scores.
    """
    if output.ndim != 2 or not output.shape[0] or output.shape[1] < 2 or output.dtype.kind != "f":
        return False
    numbers = output.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        probabilities = np.exp(numbers) if (numbers <= 0).all() else numbers
        return bool((probabilities >= 0).all() and np.allclose(probabilities.sum(axis=1), 1, atol=1e-2))


def output_paths(target: Path, names: Sequence[str]) -> list[Path]:
    """The files of outputs: target/<name>.npy of each, or a target .npz of all."""
    if _is_archive(target):
        return [target]
    return [target / f"{name}.npy" for name in _unique([re.sub(r"[^\w.-]", "_", n).lstrip(".") for n in names])]


def save_outputs(target: Path, names: Sequence[str], outputs: Sequence[np.ndarray]) -> list[Path]:
    """Writes the outputs to their files."""
    folder = target.parent if _is_archive(target) else target
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = output_paths(target, names)
    if _is_archive(target):
        with replacing(target) as unfinished:
            write_npz(unfinished, dict(zip(_unique(names), outputs)))
        return paths
    for path, output in zip(paths, outputs):
        with replacing(path) as unfinished, open(unfinished, "wb") as file:
            np.save(file, output, allow_pickle=False)
    return paths


def _is_archive(target: Path) -> bool:
    return target.suffix == ".npz" and not target.is_dir()


def _unique(names: Sequence[str]) -> list[str]:
    """The names, those that several outputs have with the output's number behind them."""
    numbered = [name if names.count(name) == 1 else f"{name}_{k}" for k, name in enumerate(names)]
    return numbered if len({*numbered}) == len(numbered) else _unique(numbered)


def lines(described: Mapping[str, Any]) -> list[str]:
    """A description in lines: the classes of a sample one below the other, of several samples beside, or the range."""
    from symc.runtime.table import shape_text

    head = f"{described['name']}: {shape_text(described['shape'])} {described['dtype']}"
    if "top" not in described:
        return [f"{head}, {range_text(described)}" if "min" in described else head]
    rows = _rows(described)
    if len(rows) == 1:
        return [head, *(f"  class {t['class']:>5}  {t['score']:.6f}" for t in rows[0])]
    shown = [
        f"  sample {k}: " + ", ".join(f"class {t['class']} {t['score']:.6f}" for t in row)
        for k, row in enumerate(rows[:N_SAMPLES])
    ]
    more = [f"  ... {len(rows) - N_SAMPLES} more samples"] if len(rows) > N_SAMPLES else []
    return [head, *shown, *more]


def short_text(described: Mapping[str, Any]) -> str:
    """The best class of each sample, or the range, on one line."""
    if "top" not in described:
        return range_text(described) if "min" in described else ""
    best = [row[0] for row in _rows(described)]
    shown = "; ".join(f"class {t['class']}, {t['score']:.6f}" for t in best[:N_SAMPLES])
    return f"{shown}; ... {len(best) - N_SAMPLES} more" if len(best) > N_SAMPLES else shown


def _rows(described: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    return [list(row) for _, row in groupby(described["top"], key=itemgetter("row"))]


def range_text(described: Mapping[str, Any]) -> str:
    """Smallest, largest and mean value."""
    return f"{described['min']:.6g} to {described['max']:.6g}, mean {described['mean']:.6g}"
