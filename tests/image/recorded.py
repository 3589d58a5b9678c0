"""Reads what MXNet makes of the cases (recorded by record.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import symc as mx

DATA = Path(__file__).parents[1] / "data" / "image"


def path(name: str) -> str:
    """The path of a file of tests/data/image."""
    return str(DATA / name)


def array_of(value) -> np.ndarray:
    """A result as it is recorded."""
    return value.asnumpy() if isinstance(value, mx.nd.NDArray) else np.array(value)


def recorded(file: str) -> dict[str, list[np.ndarray]]:
    """The arrays of each case."""
    with np.load(DATA / file) as archive:
        index, data = json.loads(archive["index"].tobytes()), archive["data"].tobytes()
    found, at = {}, 0
    for name, listed in index.items():
        found[name] = []
        for dtype, shape in listed:
            n = int(np.prod(shape))
            found[name].append(np.frombuffer(data, dtype, n, at).reshape(shape))
            at += n * np.dtype(dtype).itemsize
    return found
