"""What NumPy did in MXNet's time and does no more, for scripts of that time.

Names are there again (`np.int`, `np.float` ...), sequences of several shapes make arrays of objects, `np.fromstring`
reads bytes, and numbers look as they did. What cannot be restored: `float` of an array of one element, since NumPy 2.4.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

# Names that NumPy has dropped since, and what they were.
OF_OLD_NUMPY = {
    "bool8": "bool_", "float_": "float64", "complex_": "complex128", "string_": "bytes_", "unicode_": "str_",
    "Inf": "inf", "Infinity": "inf", "NaN": "nan", "NAN": "nan", "PINF": "inf", "infty": "inf",
    "alltrue": "all", "sometrue": "any", "cumproduct": "cumprod", "product": "prod", "round_": "round",
    "in1d": "isin", "row_stack": "vstack", "trapz": "trapezoid", "mat": "asmatrix", "cfloat": "complex128",
    "singlecomplex": "complex64", "longfloat": "longdouble", "clongfloat": "clongdouble", "longcomplex": "clongdouble",
    "int0": "intp", "uint0": "uintp", "void0": "void", "object0": "object_", "str0": "str_", "bytes0": "bytes_",
}  # fmt: skip


def restore_old_numpy() -> list[str]:
    """Has NumPy do all of that in this process; gives the names that were missing.

    A number is then printed as 0.5, not as np.float64(0.5): what metrics give is a NumPy number.
    """
    old: dict[str, object] = {"int": int, "float": float, "complex": complex, "object": object, "str": str}
    old |= {"long": int, "unicode": str, "NINF": -np.inf, "PZERO": 0.0, "NZERO": -0.0}
    old |= {"asfarray": lambda a, dtype=float: np.asarray(a, dtype), "msort": lambda a: np.sort(a, axis=0)}
    old |= {name: getattr(np, today) for name, today in OF_OLD_NUMPY.items()}
    missing = [name for name in old if name not in vars(np)]
    for name in missing:
        setattr(np, name, old[name])
    np.set_printoptions(legacy="1.25")
    for name in ("array", "asarray", "asanyarray"):  # the last is what np.save calls
        if not hasattr(getattr(np, name), "__wrapped__"):
            setattr(np, name, _taking_several_shapes(getattr(np, name)))
    if not hasattr(np.fromstring, "__wrapped__"):
        np.fromstring = _reading_bytes(np.fromstring)
    return missing


def _reading_bytes(parse: Callable) -> Callable:
    """`np.fromstring`, which without a separator reads bytes, as it did before NumPy 2.3."""

    @functools.wraps(parse)
    def fromstring(string: str | bytes, dtype: Any = float, count: int = -1, *, sep: str = "", **kwargs: Any) -> Any:
        if sep:
            return parse(string, dtype, count, sep=sep, **kwargs)
        return np.frombuffer(string.encode("latin-1") if isinstance(string, str) else string, dtype, count).copy()

    return fromstring


def _taking_several_shapes(make: Callable) -> Callable:
    """`np.array` and its like, which give an array of objects where the parts are not of one shape, as before 1.24."""

    @functools.wraps(make)
    def function(*args: object, **kwargs: object) -> object:
        try:
            return make(*args, **kwargs)
        except ValueError as error:
            if "inhomogeneous" not in str(error) or len(args) > 1 or "dtype" in kwargs:
                raise
            return make(*args, dtype=object, **kwargs)

    return function
