"""When a result counts as MXNet's: by dtype, looser where MXNet itself uses less exact functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class Mismatch(AssertionError):
    """What differs from MXNet, in one line."""


# Relative and absolute, by dtype; integers and booleans must be equal. The absolute one grows with the largest value.
TOLERANCES = {"float64": (1e-8, 1e-9), "float32": (1e-4, 1e-5), "float16": (1e-2, 1e-2)}
LOOSE_FLOAT32 = (1e-3, 1e-4)
# Operators with float32 gradients or values that single precision cannot give to 1e-4.
LOOSE = (
    "exp", "pow", "gamma", "linalg", "RNN", "sinh", "cosh", "erfinv", "CTC", "ctc", "tan", "arc", "norm", "det",
)  # fmt: skip


def is_loose(op: str) -> bool:
    """Whether results of this operator get the looser float32 tolerance."""
    return any(part in op for part in LOOSE)


def expect_close(what: str, got: Any, want: np.ndarray, loose: bool = False) -> None:
    """Raises Mismatch unless shape, dtype and values agree; a NaN equals a NaN."""
    got = np.asarray(got)
    if got.shape != want.shape:
        raise Mismatch(f"{what}: shape {got.shape}, MXNet's {want.shape}")
    if got.dtype != want.dtype:
        raise Mismatch(f"{what}: dtype {got.dtype}, MXNet's {want.dtype}")
    if want.dtype.name not in TOLERANCES:
        if not np.array_equal(got, want):
            raise Mismatch(f"{what}: integers differ at {np.argwhere(got != want)[0].tolist()}")
        return
    rtol, atol = LOOSE_FLOAT32 if loose and want.dtype == np.float32 else TOLERANCES[want.dtype.name]
    _expect_values(what, got.astype("f8"), want.astype("f8"), rtol, max(atol, 0.01 * rtol * _largest(want)))


def expect_near(what: str, got: Any, want: np.ndarray, rtol: float, atol_of_largest: float) -> None:
    """Raises Mismatch unless the values agree to `rtol` or to a fraction of the largest one."""
    got = np.asarray(got)
    if got.shape != want.shape:
        raise Mismatch(f"{what}: shape {got.shape}, MXNet's {want.shape}")
    _expect_values(what, got.astype("f8"), want.astype("f8"), rtol, atol_of_largest * _largest(want))


def expect_norm(what: str, got: np.ndarray, want: np.ndarray, tolerance: float) -> None:
    """Raises Mismatch unless the norm of the difference is within a fraction of the norm."""
    if got.shape != want.shape:
        raise Mismatch(f"{what}: shape {got.shape}, MXNet's {want.shape}")
    difference = np.linalg.norm(got.astype("f8") - want.astype("f8"))
    if not difference <= tolerance * np.linalg.norm(want.astype("f8")):
        raise Mismatch(f"{what}: the difference has norm {difference:.3g}, MXNet's value {np.linalg.norm(want):.3g}")


def expect_fingerprint(
    what: str, got: np.ndarray, want: Mapping[str, Any], tolerance: float, tolerance_of_values: float | None = None
) -> None:
    """Raises Mismatch unless shape, mean, std, l2 and the first eight values agree.

    tolerance             of the l2 norm relative to itself, of mean and std relative to the root mean square
    tolerance_of_values   of single values, also relative to the root mean square; default: the same
    """
    values = got.astype("f8")
    if list(values.shape) != want["shape"]:
        raise Mismatch(f"{what}: shape {list(values.shape)}, MXNet's {want['shape']}")
    scale = want["l2"] / np.sqrt(max(values.size, 1))
    for name, measured, reference in (
        ("l2", np.linalg.norm(values), want["l2"]),
        ("mean", values.mean(), scale),
        ("std", values.std(), scale),
    ):
        if not abs(measured - want[name]) <= tolerance * reference:
            raise Mismatch(f"{what}: {name} {measured:.7g}, MXNet's {want[name]:.7g}, tolerance {tolerance:g}")
    allowed = tolerance if tolerance_of_values is None else tolerance_of_values
    first = np.array(want["first"])
    _expect_values(f"{what}, first values", values.reshape(-1)[: first.size], first, allowed, allowed * scale)


def expect_equal(what: str, got: Any, want: Any) -> None:
    """Raises Mismatch unless both are equal."""
    if got != want:
        raise Mismatch(f"{what}: {got}, MXNet's {want}")


def _largest(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size else 0.0


def _expect_values(what: str, got: np.ndarray, want: np.ndarray, rtol: float, atol: float) -> None:
    good = np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
    if good.all():
        return
    where = tuple(np.argwhere(~good)[0])
    raise Mismatch(
        f"{what}: {(~good).sum()} of {good.size} values differ, the first at {[int(k) for k in where]}: "
        f"{got[where]:.7g}, MXNet's {want[where]:.7g} (rtol {rtol:g}, atol {atol:.1g})"
    )
