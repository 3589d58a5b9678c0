"""Cases of operators that move elements: reshaping, slicing, reordering, repeating, joining, padding."""

from __future__ import annotations

import numpy as np

from .cases import Case, over_dtypes

ALL = ("float32", "float64", "float16", "int32", "uint8")
D3 = ((2, 3, 4),)


def _reshape(shape: tuple, codes: tuple, **more: object) -> Case:
    return Case("Reshape", (shape,), {"shape": codes, **more})


RESHAPES = [
    _reshape((2, 3, 4), (4, 0, 2)), _reshape((2, 3, 4), (-1,)), _reshape((2, 3, 4), (6, -1)),
    _reshape((2, 3, 4), (-2,)), _reshape((2, 3, 4), (2, -2)), _reshape((2, 3, 4), (-2, 1, 1)),
    _reshape((2, 3, 4), (-3, 4)), _reshape((2, 3, 4, 5), (-3, -3)), _reshape((2, 3, 4), (0, -3)),
    _reshape((2, 3, 4), (-4, 1, 2, -2)), _reshape((2, 3, 4), (2, -4, -1, 3, -2)),
    _reshape((4, 3, 5), (-4, 2, -1, 0, 0)),
    _reshape((10, 5, 4), (-1, 0)), _reshape((10, 5, 4), (-1, 0), reverse=True),
    _reshape((2, 3, 4), (-3, 0), reverse=True), _reshape((2, 3, 4), (0, 0, -1), reverse=True),
    _reshape((8, 3), (2, 4, 3), reverse=True), _reshape((7,), (7, 1)), _reshape((6, 35), (2, 3, 5, 7)),
    _reshape((6, 10), (4, 15)), Case("Reshape", ((2, 6),), {"target_shape": (3, 0)}),
    Case("Reshape", ((2, 6),), {"target_shape": (0, 3, 2), "keep_highest": True}),
]  # fmt: skip

CASES = [
    *RESHAPES,
    *over_dtypes(Case("Reshape", ((2, 6),), {"shape": (3, 4)}), ALL),
    *(Case("Flatten", (s,)) for s in [(3, 4, 5), (7,), (2, 3), (1, 1, 1)]),
    *(Case("expand_dims", ((2, 3),), {"axis": a}) for a in (0, 1, 2, -1, -2, -3)),
    Case("squeeze", ((1, 2, 1, 3),)),
    *(Case("squeeze", ((1, 2, 1, 3),), {"axis": a}) for a in (0, 2, -2, (0, 2))),
    Case("squeeze", ((1, 1),)),
    Case("reshape_like", ((6,), (2, 3)), grads=(0,)),
    *(
        Case("reshape_like", (lhs, (15, 2, 4)), {**span, "rhs_begin": 0, "rhs_end": 2}, grads=(0,))
        for lhs, span in (((30, 7), {"lhs_begin": 0, "lhs_end": 1}), ((7, 30), {"lhs_begin": -1}))
    ),
    *(Case("transpose", ((2, 3, 4),), {"axes": a}) for a in [(), (0, 2, 1), (2, 0, 1), (1, 2, 0)]),
    Case("transpose", ((2, 3, 4, 5),), {"axes": (0, 2, 3, 1)}),
    Case("transpose", ((7,),)),
    Case("SwapAxis", D3, {"dim1": 0, "dim2": 2}),
    Case("SwapAxis", D3, {"dim1": 1, "dim2": -1}),
    *(Case("reverse", D3, {"axis": a}) for a in (1, (0, 2), 2)),
    Case("slice", ((3, 5, 4),), {"begin": (0, 1), "end": (2, 3)}),
    Case("slice", ((3, 5, 4),), {"begin": (1,), "end": (3,)}),
    Case("slice", ((3, 5, 4),), {"begin": (None, -3), "end": (None, -1)}),
    Case("slice", ((3, 5, 4),), {"begin": (None, 4), "end": (None, 0), "step": (1, -2)}),
    Case("slice", ((3, 7),), {"begin": (None, None), "end": (None, None), "step": (2, 3)}),
    Case("slice", ((3, 7),), {"begin": (2, -1), "end": (None, None), "step": (-1, -3)}),
    Case("slice", ((3, 7),), {"begin": (0, 1), "end": (100, 6), "step": (None, 2)}),
    Case("slice_axis", ((3, 5, 4),), {"axis": 0, "begin": 1, "end": 3}),
    Case("slice_axis", ((3, 5, 4),), {"axis": 1, "begin": 0, "end": None}),
    Case("slice_axis", ((3, 5, 4),), {"axis": -1, "begin": -3, "end": -1}),
    Case("slice_like", ((4, 5), (2, 3)), grads=(0,)),
    Case("slice_like", ((4, 5, 6), (2, 3)), {"axes": (0, 1)}, grads=(0,)),
    Case("slice_like", ((4, 5, 6), (2, 3, 4)), {"axes": (-1,)}, grads=(0,)),
    *(Case("Concat", ((2, 3), (2, 3)), {"num_args": 2, "dim": d}) for d in (0, 1, -1)),
    Case("Concat", ((2, 1, 3), (2, 2, 3), (2, 4, 3)), {"num_args": 3, "dim": 1}),
    Case("Concat", ((2, 3),), {"num_args": 1, "dim": 0}),
    *over_dtypes(Case("Concat", ((2, 3), (1, 3)), {"num_args": 2, "dim": 0}), ALL),
    *(Case("stack", ((2, 3),) * 3, {"num_args": 3, "axis": a}) for a in (0, 1, 2, -1)),
    Case("stack", ((2, 3),), {"num_args": 1, "axis": 1}),
    Case("SliceChannel", ((2, 6, 3),), {"num_outputs": 3}),
    Case("SliceChannel", ((2, 3, 4),), {"num_outputs": 3, "squeeze_axis": True}),
    Case("SliceChannel", ((2, 3, 4),), {"num_outputs": 4, "axis": -1, "squeeze_axis": True}),
    Case("SliceChannel", ((2, 3),), {"num_outputs": 1}),
    Case("_split_v2", ((7, 3),), {"indices": (0, 2, 5), "axis": 0}),
    Case("_split_v2", ((2, 6),), {"indices": (), "sections": 3, "axis": 1}),
    Case("_split_v2", ((2, 3),), {"indices": (), "sections": 3, "axis": -1, "squeeze_axis": True}),
    *(Case("tile", ((2, 3),), {"reps": r}) for r in [(2,), (2, 1, 2), (1, 3), (2, 2)]),
    Case("tile", ((3,),), {"reps": (2, 4)}),
    *(Case("repeat", ((2, 3),), {"repeats": 2, **a}) for a in ({}, {"axis": 0}, {"axis": 1}, {"axis": -2})),
    Case("broadcast_axis", ((2, 1, 3),), {"axis": 1, "size": 3}),
    Case("broadcast_axis", ((1, 2, 1),), {"axis": (0, 2), "size": (3, 4)}),
    Case("broadcast_to", ((1, 3, 1),), {"shape": (2, 3, 4)}),
    Case("broadcast_to", ((1, 3, 1),), {"shape": (2, 0, 0)}),
    Case("broadcast_like", ((1, 3), (2, 3)), grads=(0,)),
    Case("broadcast_like", ((1, 3, 1), (5, 6, 7)), {"lhs_axes": (0,), "rhs_axes": (2,)}, grads=(0,)),
    Case("broadcast_like", ((1, 3, 1), (5, 6, 7)), {"lhs_axes": (0, -1), "rhs_axes": (-1, 0)}, grads=(0,)),
    *(
        Case("Pad", ((2, 3, 4, 5),), {"mode": m, "pad_width": (0, 0, 0, 0, 1, 2, 2, 1), **more})
        for m, more in (("constant", {}), ("constant", {"constant_value": 2.5}), ("edge", {}), ("reflect", {}))
    ),
    *(
        Case("Pad", ((1, 2, 3, 4, 3),), {"mode": m, "pad_width": (0, 0, 0, 0, 1, 1, 0, 2, 2, 1)})
        for m in ("constant", "edge", "reflect")
    ),
]


def _pieces(x: np.ndarray, cuts: object, axis: int, squeeze_axis: bool) -> tuple:
    parts = np.split(x, cuts, axis)
    return tuple(p.squeeze(axis) if squeeze_axis else p for p in parts)


def _pad(x: np.ndarray, mode: str, pad_width: tuple, constant_value: float = 0) -> np.ndarray:
    more = {"constant_values": constant_value} if mode == "constant" else {}
    return np.pad(x, list(zip(pad_width[::2], pad_width[1::2])), mode, **more)


def _slice(x: np.ndarray, begin: tuple, end: tuple, step: tuple = ()) -> np.ndarray:
    return x[tuple(slice(*t) for t in zip(begin, end, step or (None,) * len(begin)))]


# What NumPy says.
ORACLE = {
    "Flatten": lambda x: x.reshape(x.shape[0], -1),
    "expand_dims": np.expand_dims,
    "transpose": lambda x, axes=(): np.transpose(x, axes or None),
    "SwapAxis": lambda x, dim1, dim2: np.swapaxes(x, dim1, dim2),
    "reverse": np.flip,
    "slice": _slice,
    "slice_axis": lambda x, axis, begin, end: np.moveaxis(np.moveaxis(x, axis, 0)[begin:end], 0, axis),
    "slice_like": lambda x, y, axes=(): x[
        tuple(slice(y.shape[a] if not axes or a in [b % x.ndim for b in axes] else None) for a in range(x.ndim))
    ],
    "Concat": lambda *x, num_args, dim: np.concatenate(x, dim),
    "stack": lambda *x, num_args, axis: np.stack(x, axis),
    "SliceChannel": lambda x, num_outputs, axis=1, squeeze_axis=False: _pieces(x, num_outputs, axis, squeeze_axis),
    "tile": np.tile,
    "repeat": np.repeat,
    "broadcast_to": lambda x, shape: np.broadcast_to(x, [m or n for m, n in zip(shape, x.shape)]),
    "Pad": _pad,
}
