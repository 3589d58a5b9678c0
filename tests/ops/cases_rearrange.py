"""Cases of operators that rearrange images and matrices."""

from __future__ import annotations

import numpy as np

from .cases import Case, over_dtypes

ALL = ("float32", "float64", "float16", "int32", "uint8")
NEAREST = {"sample_type": "nearest", "scale": 2}


def _columns(name: str, shape: tuple, kernel: tuple, **more: object) -> Case:
    return Case(name, (shape,), {"kernel": kernel, **more})


CASES = [
    *over_dtypes(Case("depth_to_space", ((2, 8, 2, 3),), {"block_size": 2}), ALL),
    Case("depth_to_space", ((1, 9, 1, 2),), {"block_size": 3}),
    Case("depth_to_space", ((1, 1, 2, 3),), {"block_size": 1}),
    *over_dtypes(Case("space_to_depth", ((2, 2, 4, 6),), {"block_size": 2}), ALL),
    Case("space_to_depth", ((1, 1, 3, 6),), {"block_size": 3}),
    Case("Crop", ((1, 2, 6, 7),), {"h_w": (3, 4), "offset": (1, 2), "num_args": 1}),
    Case("Crop", ((1, 2, 6, 7),), {"h_w": (3, 4), "center_crop": True, "num_args": 1}),
    Case("Crop", ((2, 1, 6, 7), (1, 3, 4, 4)), {"num_args": 2}),
    Case("Crop", ((2, 1, 6, 7), (1, 3, 6, 3)), {"num_args": 2, "center_crop": True}),
    *over_dtypes(Case("UpSampling", ((1, 2, 3, 4),), {**NEAREST, "num_args": 1}), ("float32", "float64")),
    Case("UpSampling", ((1, 2, 3, 4), (1, 3, 6, 8)), {**NEAREST, "num_args": 2}),
    Case("UpSampling", ((1, 2, 2, 4), (1, 2, 1, 2)), {**NEAREST, "num_args": 2, "multi_input_mode": "sum"}),
    Case("UpSampling", ((2, 3, 3, 2), (3, 1, 4, 4)), {"sample_type": "bilinear", "scale": 2, "num_filter": 3,
                                                      "num_args": 2}),
    Case("UpSampling", ((1, 1, 2, 2), (1, 1, 5, 5)), {"sample_type": "bilinear", "scale": 3, "num_filter": 1,
                                                      "num_args": 2}),
    _columns("im2col", (2, 3, 5, 6), (3, 2), stride=(2, 1), pad=(1, 0)),
    _columns("im2col", (1, 2, 5, 5), (2, 2), dilate=(2, 2)),
    _columns("im2col", (2, 2, 7), (3,), pad=(2,), stride=(3,)),
    _columns("im2col", (1, 1, 3, 4, 3), (2, 2, 2)),
    _columns("im2col", (1, 1, 1, 1), (1, 1)),
    _columns("col2im", (2, 18, 9), (3, 2), output_size=(5, 4), stride=(2, 1), pad=(1, 0)),
    _columns("col2im", (1, 8, 9), (2, 2), output_size=(5, 5), dilate=(2, 2)),
    *(Case("diag", ((3, 4),), {"k": k}) for k in (0, 1, -2, 3)),
    *(Case("diag", ((3,),), {"k": k}) for k in (0, 2, -1)),
    Case("diag", ((2, 3, 4),), {"axis1": 0, "axis2": 2, "k": 1}),
    Case("diag", ((2, 3, 4),), {"axis1": -3, "axis2": -1, "k": 4}),  # a diagonal without elements
    Case("diag", ((2, 3, 4),), {"axis1": -1, "axis2": 1}),
    *over_dtypes(Case("diag", ((3, 3),)), ALL),
]  # fmt: skip


def _depth_to_space(x: np.ndarray, block_size: int) -> np.ndarray:
    (n, c, h, w), b = x.shape, block_size
    return x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


def _space_to_depth(x: np.ndarray, block_size: int) -> np.ndarray:
    (n, c, h, w), b = x.shape, block_size
    return x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)


def _crop(x, like=None, num_args=1, h_w=(0, 0), offset=(0, 0), center_crop=False):
    h, w = h_w if like is None else like.shape[2:]
    top, left = ((x.shape[2] - h) // 2, (x.shape[3] - w) // 2) if center_crop else offset
    return x[:, :, top : top + h, left : left + w]


def _diag(x: np.ndarray, k: int = 0, axis1: int = 0, axis2: int = 1) -> np.ndarray:
    return np.diag(x, k) if x.ndim == 1 else np.diagonal(x, k, axis1, axis2)


# What NumPy says in float64.
ORACLE = {"depth_to_space": _depth_to_space, "space_to_depth": _space_to_depth, "Crop": _crop, "diag": _diag}
