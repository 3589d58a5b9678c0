"""Cases of operators on sequences of different lengths, and of running sums."""

from __future__ import annotations

import numpy as np

from .cases import Case, over_dtypes

USE = {"use_sequence_length": True}
LENGTHS = {"dtypes": ("float32", "float32"), "grads": (0,), "smooth": False}


def _lengths(name: str, shape: tuple, axis: int = 0, **more: object) -> Case:
    """Lengths are drawn from 1 to the number of steps, as floats with a fraction."""
    data, lengths = shape, (shape[1 - axis],)
    return Case(name, (data, lengths), {**USE, "axis": axis, **more}, domain=(1.0, shape[axis] + 0.99), **LENGTHS)


CASES = [
    *(Case(name, ((4, 3, 2),)) for name in ("SequenceMask", "SequenceLast", "SequenceReverse")),
    *(_lengths(name, (5, 3, 2)) for name in ("SequenceMask", "SequenceLast", "SequenceReverse")),
    *(_lengths(name, (3, 5, 2), 1) for name in ("SequenceMask", "SequenceLast")),
    *(_lengths(name, (1, 1)) for name in ("SequenceMask", "SequenceLast", "SequenceReverse")),
    *(_lengths(name, (7, 4)) for name in ("SequenceMask", "SequenceLast", "SequenceReverse")),
    _lengths("SequenceMask", (5, 3), value=-2.5),
    *(Case(name, ((5, 3), (3,)), USE, dtypes=("float32", "int32"), domain=(1, 5), grads=(0,), smooth=False)
      for name in ("SequenceMask", "SequenceLast", "SequenceReverse")),
    *(Case("cumsum", ((2, 3, 4),), {"axis": a}) for a in (0, 1, 2, -1, None)),
    *over_dtypes(Case("cumsum", ((3, 7),), {"axis": 1}), ("float32", "float64", "float16", "int32", "int64", "int8")),
    Case("cumsum", ((3, 7),), {"axis": 0, "dtype": "float64"}),
    Case("cumsum", ((3, 7),), {"axis": 0, "dtype": "int32"}, smooth=False, grads=()),
    Case("cumsum", ((1,),)),
    Case("cumsum", ((2, 33, 17),), {"axis": 1}, smooth=False),
]  # fmt: skip


def _mask(x, lengths=None, use_sequence_length=False, axis=0, value=0.0):
    if lengths is None:
        return x
    x = np.swapaxes(x, 0, axis).copy()
    for n, length in enumerate(lengths.astype(int)):
        x[length:, n] = value
    return np.swapaxes(x, 0, axis)


def _last(x, lengths=None, use_sequence_length=False, axis=0):
    x = np.swapaxes(x, 0, axis)
    return x[-1] if lengths is None else np.stack([x[length - 1, n] for n, length in enumerate(lengths.astype(int))])


def _reverse(x, lengths=None, use_sequence_length=False, axis=0):
    y = x[::-1].copy() if lengths is None else x.copy()
    for n, length in enumerate([] if lengths is None else lengths.astype(int)):
        y[:length, n] = x[:length, n][::-1]
    return y


# What NumPy says in float64.
ORACLE = {
    "SequenceMask": _mask,
    "SequenceLast": _last,
    "SequenceReverse": _reverse,
    "cumsum": lambda x, axis=None, dtype=None: np.cumsum(x.astype(dtype or x.dtype), axis),
}
