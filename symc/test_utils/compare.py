"""Whether arrays agree: tolerances by dtype, predicates, and assertions that show the worst elements."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any

import numpy as np

from symc.ndarray import NDArray
from symc.ndarray.ndarray import as_numpy

Tolerance = float | Mapping[np.dtype, float] | None

_EXACT = {np.dtype(d): 0 for d in ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")}


def default_rtols() -> dict[np.dtype, float]:
    """Relative tolerance by dtype."""
    return {np.dtype("float16"): 1e-2, np.dtype("float32"): 1e-4, np.dtype("float64"): 1e-5, **_EXACT}


def default_atols() -> dict[np.dtype, float]:
    """Absolute tolerance by dtype."""
    return {np.dtype("float16"): 1e-1, np.dtype("float32"): 1e-3, np.dtype("float64"): 1e-20, **_EXACT}


def default_numeric_eps() -> dict[np.dtype, float]:
    """The step of central differences by dtype: powers of two, which add without rounding."""
    return {np.dtype("float16"): 2.0**-6, np.dtype("float32"): 2.0**-9, np.dtype("float64"): 2.0**-14}


def effective_dtype(dat: Any) -> np.dtype:
    """The dtype that decides the tolerance for an array."""
    return np.dtype(dat.dtype)


def get_tolerance(dat: Any, tol: Tolerance, default_tol: Mapping[np.dtype, float]) -> float:
    """The tolerance given, as a number or by dtype, or else the default for the array's dtype."""
    if isinstance(tol, Number):
        return tol  # type: ignore[return-value]
    dtype = effective_dtype(dat)
    given: Mapping[np.dtype, float] = tol or {}  # type: ignore[assignment]
    return given[dtype] if dtype in given else default_tol[dtype]


def get_tols(x: Any, y: Any, rtol: Tolerance, atol: Tolerance) -> tuple[float, float]:
    """The wider of the tolerances of two arrays or numbers, relative and absolute."""
    pair = [np.asarray(v) if isinstance(v, Number) else v for v in (x, y)]
    return (
        max(get_tolerance(v, rtol, default_rtols()) for v in pair),
        max(get_tolerance(v, atol, default_atols()) for v in pair),
    )


def get_atol(atol: float | None = None, dtype: Any = np.float64) -> float:
    """The absolute tolerance given, or the default for a dtype."""
    return default_atols()[np.dtype(dtype)] if atol is None else atol


def get_rtol(rtol: float | None = None, dtype: Any = np.float64) -> float:
    """The relative tolerance given, or the default for a dtype."""
    return default_rtols()[np.dtype(dtype)] if rtol is None else rtol


def get_etol(etol: float | None = None) -> float:
    """The share of wrong elements that is tolerated."""
    return 0 if etol is None else etol


def same(a: Any, b: Any) -> bool:
    """Whether two arrays have equal shapes and elements."""
    return np.array_equal(a, b)


def same_array(array1: NDArray, array2: NDArray) -> bool:
    """Whether two NDArrays show the same memory."""
    return array1.shape == array2.shape and array1._address == array2._address


def almost_equal(
    a: Any,
    b: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    use_broadcast: bool = True,
) -> bool:
    """Whether |a - b| <= atol + rtol * |b| everywhere."""
    if not use_broadcast:
        checkShapes(a, b)
    return np.allclose(a, b, rtol=get_rtol(rtol), atol=get_atol(atol), equal_nan=equal_nan)


def checkShapes(a: Any, b: Any) -> None:
    """Asserts that two arrays have one shape."""
    assert a.shape == b.shape, f"a.shape = {a.shape} and b.shape = {b.shape} are not equal"


def assert_almost_equal(
    a: Any,
    b: Any,
    rtol: Tolerance = None,
    atol: Tolerance = None,
    names: tuple[str, str] = ("a", "b"),
    equal_nan: bool = False,
    use_broadcast: bool = True,
    mismatches: tuple[int, int] = (10, 10),
) -> None:
    """Asserts that two arrays or numbers agree within tolerances, which depend on their dtypes unless given.

    mismatches   the number of worst elements the message shows, first of the pair
    """
    if not use_broadcast:
        checkShapes(a, b)
    rtol, atol = get_tols(a, b, rtol, atol)
    x, y = as_numpy(a), as_numpy(b)
    if x.dtype == np.bool_ and y.dtype == np.bool_:
        np.testing.assert_equal(x, y)
    elif not almost_equal(x, y, rtol, atol, equal_nan):
        raise AssertionError(_difference(x, y, rtol, atol, names, equal_nan, mismatches[0]))


def assert_allclose(a: Any, b: Any, rtol: float = 1e-07, atol: float = 0, equal_nan: bool = True) -> None:
    """`assert_almost_equal` with tolerances that do not depend on the dtype."""
    assert_almost_equal(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)


def assert_almost_equal_with_err(
    a: Any,
    b: Any,
    rtol: Tolerance = None,
    atol: Tolerance = None,
    etol: float | None = None,
    names: tuple[str, str] = ("a", "b"),
    equal_nan: bool = False,
    mismatches: tuple[int, int] = (10, 10),
) -> None:
    """`assert_almost_equal`, but a share `etol` of the elements may differ."""
    if not get_etol(etol):
        assert_almost_equal(a, b, rtol, atol, names, equal_nan, mismatches=mismatches)
        return
    rtol, atol = get_tols(a, b, rtol, atol)
    x, y = as_numpy(a), as_numpy(b)
    wrong = 1 - np.isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan).mean()
    if wrong > get_etol(etol):
        raise AssertionError(_difference(x, y, rtol, atol, names, equal_nan, mismatches[0]))


def assert_almost_equal_ignore_nan(
    a: Any, b: Any, rtol: Tolerance = None, atol: Tolerance = None, names: tuple[str, str] = ("a", "b")
) -> None:
    """`assert_almost_equal` of the elements that are NaN in neither array."""
    x, y = as_numpy(a), as_numpy(b)
    is_nan = np.isnan(x) | np.isnan(y)
    assert_almost_equal(np.where(is_nan, 0, x), np.where(is_nan, 0, y), rtol, atol, names)


def _difference(
    a: np.ndarray, b: np.ndarray, rtol: float, atol: float, names: tuple[str, str], equal_nan: bool, n_shown: int
) -> str:
    """What differs, the worst elements first."""
    a, b = np.broadcast_arrays(a, b)
    with np.errstate(all="ignore"):
        excess = np.where(a == b, 0, np.abs(a - b)) / (atol + rtol * np.abs(b) + 1e-20)
    wrong = ~np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)
    excess = np.where(wrong, np.nan_to_num(excess, nan=np.inf, posinf=np.inf), 0)
    order = np.argsort(-excess, axis=None, kind="stable")[: min(n_shown, int(wrong.sum()))]
    lines = []
    for index in zip(*np.unravel_index(order, excess.shape)):
        place = tuple(int(i) for i in index)
        lines.append(f"  {place}: {names[0]}={a[index]:.8g}, {names[1]}={b[index]:.8g}, error {excess[index]:.6g}")
    return (
        f"{names[0]} and {names[1]} differ in {wrong.sum()} of {wrong.size} elements "
        f"(error in units of atol + rtol * |{names[1]}|, rtol={rtol:g}, atol={atol:g}):\n" + "\n".join(lines)
    )


def assert_exception(f: Callable, exception_type: type[BaseException], *args: Any, **kwargs: Any) -> None:
    """Asserts that f(*args, **kwargs) raises that kind of exception."""
    try:
        f(*args, **kwargs)
    except exception_type:
        return
    raise AssertionError(f"{f} did not raise {exception_type.__name__}")


def retry(n: int) -> Callable[[Callable], Callable]:
    """A decorator: a test may fail n - 1 times before it counts."""
    assert n > 0

    def decorate(test: Callable) -> Callable:
        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            for left in reversed(range(n)):
                try:
                    test(*args, **kwargs)
                    return
                except AssertionError:
                    if not left:
                        raise

        return run

    return decorate


def compare_ndarray_tuple(t1: Any, t2: Any, rtol: Tolerance = None, atol: Tolerance = None) -> None:
    """Asserts that two (nested) tuples of arrays agree; None agrees with everything."""
    if t1 is None or t2 is None:
        return
    if isinstance(t1, tuple):
        for s1, s2 in zip(t1, t2):
            compare_ndarray_tuple(s1, s2, rtol, atol)
    else:
        assert_almost_equal(t1, t2, rtol=rtol, atol=atol)


def np_reduce(dat: np.ndarray, axis: Any, keepdims: bool, numpy_reduce_func: Callable) -> np.ndarray:
    """A NumPy reduction that takes one axis at a time, over several axes."""
    axes = [axis] if isinstance(axis, (int, np.integer)) else list(range(dat.ndim) if axis is None else axis)
    result = dat
    for a in sorted(axes, reverse=True):
        result = numpy_reduce_func(result, axis=a)
    if keepdims:
        result = result.reshape(tuple(1 if a in axes else n for a, n in enumerate(dat.shape)))
    return result


def collapse_sum_like(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The sum of `a` over the axes along which an array of `shape` is repeated when it broadcasts to it."""
    lead = a.ndim - len(shape)
    assert lead >= 0
    repeated = [lead + k for k, n in enumerate(shape) if n != a.shape[lead + k]]
    assert all(shape[k - lead] == 1 for k in repeated)
    return a.sum(axis=(*range(lead), *repeated)).reshape(shape)
