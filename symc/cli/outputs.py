"""Outputs of a run: what is told about each, and its file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .report import writing


def describe(name: str, output: np.ndarray, n_top: int) -> dict[str, Any]:
    """Shape, range and, for one row of scores a sample, the best classes of the first sample."""
    numbers = output.astype(np.float64)
    found: dict[str, Any] = {"name": name, "shape": list(output.shape), "dtype": output.dtype.name}
    if output.size:
        found |= {"min": float(numbers.min()), "max": float(numbers.max()), "mean": float(numbers.mean())}
    if output.ndim == 2 and output.shape[0] and output.shape[1] > 1 and output.dtype.kind == "f" and n_top > 0:
        best = np.argsort(-numbers[0], kind="stable")[:n_top]
        found["top"] = [{"class": int(k), "score": float(numbers[0, k])} for k in best]
    return found


def save_outputs(folder: Path, names: Sequence[str], outputs: Sequence[np.ndarray]) -> list[Path]:
    """Writes each output to <folder>/<name>.npy."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, (name, output) in enumerate(zip(names, outputs)):
        unique = name if names.count(name) == 1 else f"{name}_{k}"
        paths.append(folder / (re.sub(r"[^\w.-]", "_", unique).lstrip(".") + ".npy"))
        with writing(paths[-1]):
            np.save(paths[-1], output, allow_pickle=False)
    return paths


def lines(described: Mapping[str, Any]) -> list[str]:
    """A description in lines: a class on each, or the range."""
    from symc.runtime.table import shape_text

    head = f"{described['name']}: {shape_text(described['shape'])} {described['dtype']}"
    if "top" in described:
        return [head, *(f"  class {t['class']:>5}  {t['score']:.6f}" for t in described["top"])]
    return [f"{head}, {range_text(described)}" if "min" in described else head]


def short_text(described: Mapping[str, Any]) -> str:
    """The best class, or the range, on one line."""
    if "top" in described:
        best = described["top"][0]
        return f"class {best['class']}, {best['score']:.6f}"
    return range_text(described) if "min" in described else ""


def range_text(described: Mapping[str, Any]) -> str:
    """Smallest, largest and mean value."""
    return f"{described['min']:.6g} to {described['max']:.6g}, mean {described['mean']:.6g}"
