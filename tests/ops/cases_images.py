"""Cases of image operators; factors are drawn from ranges of one number."""

from __future__ import annotations

from typing import Any, List, Tuple

from .cases import Case

COLOURS = (0.0, 255.0)
RESIZE = "_image_resize"


def _image(name: str, shape: Tuple[int, ...] = (4, 6, 3), dtype: str = "uint8", **params: Any) -> Case:
    return Case(f"_image_{name}", (shape,), params, dtypes=dtype, domain=COLOURS, smooth=False)


def _both(name: str, *values: float) -> List[Case]:
    """Random enhancements by each factor, of bytes and of numbers."""
    return [
        _image(name, dtype=dtype, min_factor=value, max_factor=value)
        for value in values
        for dtype in ("uint8", "float32")
    ]


CASES = [
    *(_image("to_tensor", shape, dtype)
      for shape, dtype in (((4, 6, 3), "uint8"), ((2, 3, 4, 1), "uint8"), ((2, 2, 5), "float32"),
                           ((2, 3, 3), "float64"), ((1, 2, 3), "int32"))),
    _image("normalize", (3, 4, 5), "float32", mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 7.0)),
    _image("normalize", (2, 3, 4, 5), "float32", mean=(0.5,), std=(2.0, 3.0, 4.0)),
    _image("normalize", (1, 3, 2), "float64", mean=(100.0,), std=(3.0,)),
    _image("normalize", (1, 1, 3, 2), "float16", mean=(100.0,), std=(3.0,)),
    _image("crop", x=1, y=2, width=3, height=2),
    _image("crop", (2, 5, 4, 1), "float32", x=0, y=1, width=4, height=1),
    *(_image(f"flip_{axis}", (4, 6, 3), dtype)
      for axis in ("left_right", "top_bottom") for dtype in ("uint8", "float32")),
    *_both("random_brightness", 0.5, 1.7),
    *_both("random_contrast", 0.5, 1.7),
    *_both("random_saturation", 0.5, 1.7),
    *_both("random_hue", 0.1, 0.55),
    _image("random_contrast", (3, 4, 1), "float32", min_factor=0.7, max_factor=0.7),
    _image("random_saturation", (3, 4, 1), "float32", min_factor=0.7, max_factor=0.7),
    Case("_image_random_hue", ((3, 5, 3),), {"min_factor": 0.25, "max_factor": 0.25}, smooth=False,
         points=(10.0, 10.0, 10.0, 200.0, 30.0, 30.0, 30.0, 200.0, 100.0, 0.0, 255.0, 255.0, 255.0, 0.0, 200.0)),
    *(_image("adjust_lighting", (3, 4, 3), dtype, alpha=(0.5, -0.3, 0.2)) for dtype in ("uint8", "float32")),
    *(Case(RESIZE, ((7, 9, 3),), {"size": size, "interp": interp}, dtypes=dtype, domain=COLOURS, grads=())
      for size in ((5, 4), (20, 13), (9, 3)) for interp in (0, 1, 3) for dtype in ("uint8", "float32", "float64")),
    *(Case(RESIZE, ((7, 9, 3),), {"size": size, "interp": 2}, dtypes=dtype, domain=COLOURS, grads=())
      for size in ((5, 4), (20, 13)) for dtype in ("uint8", "float32", "float64")),
    *(Case(RESIZE, ((7, 9, 3),), {"size": (20, 4), "interp": 4}, dtypes=dtype, domain=COLOURS, grads=())
      for dtype in ("uint8", "float32", "float64")),
    *(Case(RESIZE, ((8, 6, 3),), {"size": (3, 4), "interp": interp}, dtypes=dtype, domain=COLOURS, grads=())
      for interp in (1, 2, 3) for dtype in ("uint8", "float32")),
    *(Case(RESIZE, ((12, 9, 3),), {"size": (3, 2), "interp": 3}, dtypes=dtype, domain=COLOURS, grads=())
      for dtype in ("uint8", "float64")),
    Case(RESIZE, ((4, 9, 1),), {"size": (6, 6), "interp": 3}, dtypes="uint8", domain=COLOURS, grads=()),
    Case(RESIZE, ((2, 5, 8, 1),), {"size": (11,), "keep_ratio": True}, dtypes="uint8", domain=COLOURS, grads=()),
    Case(RESIZE, ((40, 30, 3),), {"size": (17,), "keep_ratio": True}, dtypes="uint8", domain=COLOURS, grads=()),
    Case(RESIZE, ((40, 30, 3),), {"size": (17, 13), "interp": 3}, dtypes="uint8", domain=COLOURS, grads=()),
    Case(RESIZE, ((5, 8, 5),), {"size": (3,)}, dtypes="uint8", domain=COLOURS, grads=()),
    Case(RESIZE, ((1, 1, 1),), {"size": (3,)}, dtypes="uint8", domain=COLOURS, grads=()),
]  # fmt: skip

ORACLE = {}  # the values recorded from MXNet stand here for NumPy
