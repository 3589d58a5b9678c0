"""What the real MXNet gave for the cases (see record.py), and when two arrays count as equal."""

from __future__ import annotations

import functools
import json
import pathlib
from dataclasses import dataclass, field

import numpy as np

DIRECTORY = pathlib.Path(__file__).parent / "recorded"
# rtol, atol by dtype; float16 is computed in float32 by symc and in steps of float16 by MXNet
TOLERANCE = {"float64": (1e-8, 1e-9), "float32": (1e-4, 1e-5), "float16": (1e-2, 1e-2)}


@dataclass(frozen=True)
class Recorded:
    """MXNet's outputs of one case, predicting and in training, and what a training step gives; or its error.

    grads, states   gradients, and auxiliary states afterwards, by position of the input
    after           inputs that an optimizer's update wrote, by position
    """

    outs: list[np.ndarray] = field(default_factory=list)
    train_outs: list[np.ndarray] = field(default_factory=list)
    grads: dict[int, np.ndarray] = field(default_factory=dict)
    states: dict[int, np.ndarray] = field(default_factory=dict)
    after: dict[int, np.ndarray] = field(default_factory=dict)
    error: str = ""


@functools.cache
def recorded(family: str) -> dict[str, Recorded]:
    """Every recorded case of a family by its name."""
    path = DIRECTORY / f"{family}.npz"
    return read(path) if path.exists() else {}


def read(path: pathlib.Path) -> dict[str, Recorded]:
    """Every case of a file by its name."""
    with np.load(path) as z:
        index, blob = json.loads(str(z["index"])), z["blob"].tobytes()

    def array(entry: list) -> np.ndarray:
        dtype, shape, offset = entry
        return np.frombuffer(blob, dtype, int(np.prod(shape)), offset).reshape(shape)

    def by_position(entries: dict[str, list]) -> dict[int, np.ndarray]:
        return {int(k): array(e) for k, e in entries.items()}

    return {
        name: Recorded(
            [array(e) for e in r.get("outs", ())],
            [array(e) for e in r.get("train_outs", r.get("outs", ()))],
            by_position(r.get("grads", {})),
            by_position(r.get("states", {})),
            by_position(r.get("after", {})),
            r.get("error", ""),
        )
        for name, r in index.items()
    }


def assert_close(got: np.ndarray, want: np.ndarray, what: str) -> None:
    """Equal shape, dtype and values: integers exactly, floats within the tolerance of their dtype, NaN equals NaN."""
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    assert got.dtype == want.dtype, f"{what}: dtype {got.dtype}, expected {want.dtype}"
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=what)
        return
    rtol, atol = TOLERANCE[str(want.dtype)]
    largest = float(np.max(np.abs(want[np.isfinite(want)]), initial=0))
    np.testing.assert_allclose(
        got.astype("float64"), want.astype("float64"), rtol, max(atol, rtol * 0.01 * largest), err_msg=what
    )
