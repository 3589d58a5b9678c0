"""Cases of operators of two and more operands, in all their forms."""

from __future__ import annotations

import numpy as np

from .cases import Case, over_dtypes

FLOATS = ("float32", "float64", "float16")
ALL = (*FLOATS, "int32", "int64", "int8", "uint8")
EDGES = (5.0, -5.0, 0.0, float("inf"), -3.0, float("nan"), 1.0)

ARITHMETIC = "add sub mul div mod power hypot maximum minimum"
PREDICATES = "equal not_equal greater greater_equal lesser lesser_equal logical_and logical_or logical_xor"
BROADCASTS = [((2, 3, 4), (1, 3, 1)), ((2, 1, 4), (2, 3, 1)), ((3, 1), (1, 1)), ((3, 4), (4,)), ((1,), (5, 1))]


def elementwise(name: str) -> str:
    """The name of the form for equal shapes."""
    return f"elemwise_{name}" if name in ("add", "sub", "mul", "div") else f"_{name}"


SCALARS = (
    "_plus_scalar _minus_scalar _rminus_scalar _mul_scalar _div_scalar _rdiv_scalar _mod_scalar _rmod_scalar "
    "_power_scalar _rpower_scalar _hypot_scalar _maximum_scalar _minimum_scalar"
).split()

CASES = [
    *(
        c
        for name in (*ARITHMETIC.split(), *PREDICATES.split())
        for c in over_dtypes(Case(elementwise(name), ((3, 4), (3, 4)), domain=(1, 5), smooth=name != "mod"), ALL)
    ),
    *(
        Case(f"broadcast_{name}", shapes, domain=(0.5, 4), smooth=name != "mod")
        for name in (*ARITHMETIC.split(), *PREDICATES.split())
        for shapes in BROADCASTS
    ),
    *(Case(f"broadcast_{name}", ((7, 1), (1, 7)), points=EDGES, smooth=False) for name in ARITHMETIC.split()),
    *(Case(elementwise(name), ((3, 4), (3, 4)), points=(1, 2, 2, 3, 3), smooth=False) for name in PREDICATES.split()),
    *(Case(name, ((6,), (6,)), points=(1, 2, 2, 3, 3, 3), smooth=False) for name in ("_maximum", "_minimum")),
    *(
        c
        for name in (*SCALARS, *(f"_{p}_scalar" for p in PREDICATES.split()))
        for s in (2.0, 1.5)
        for c in over_dtypes(Case(name, ((3, 5),), {"scalar": s}, domain=(1, 5), smooth="mod" not in name), ALL)
    ),
    *(Case(name, ((3, 5),), {"scalar": s}, smooth=False) for name in SCALARS for s in (-2.0, 0.0, 2.0, 3.0)),
    *(Case(name, ((3, 5),), {"scalar": 2.5, "is_int": False}, "int32", (1, 5)) for name in SCALARS),
    *(Case(name, ((3, 5),), {"scalar": 2.5}, "bool", (1, 5)) for name in SCALARS if "rdiv" not in name),
    *(Case(name, ((3, 5),), {"scalar": -1}, "uint8", (1, 200)) for name in SCALARS if "rpower" not in name),
    Case("_mod", ((6,), (6,)), points=(7, -7, 3, 5, -3, 2), dtypes="int32"),
    Case("elemwise_div", ((6,), (6,)), points=(7, -7, 3, 5, -3, 2), dtypes="int32"),
    Case("add_n", ((2, 3),), {"num_args": 1}),
    Case("add_n", ((2, 3),) * 3, {"num_args": 3}),
    Case("add_n", ((2, 3),) * 2, {"num_args": 2}, "int32"),
    Case("where", ((3, 4),) * 3, dtypes=("int32", "float32", "float32")),
    Case("where", ((3,), (3, 4), (3, 4)), dtypes=("float64", "float64", "float64"), grads=(1, 2)),
    Case("where", ((4,),) * 3, points=(0.0, float("nan"), 1.0, -1.0), smooth=False),
    Case("where", ((3, 4),) * 3, dtypes=("uint8", "int32", "int32")),
    *over_dtypes(Case("_identity_with_attr_like_rhs", ((3, 4),) * 2), ("float32", "int8")),
]

_TWO = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "mod": np.mod, "power": np.power,
    "hypot": np.hypot, "maximum": np.maximum, "minimum": np.minimum, "equal": np.equal, "not_equal": np.not_equal,
    "greater": np.greater, "greater_equal": np.greater_equal, "lesser": np.less, "lesser_equal": np.less_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor,
}  # fmt: skip
_SCALAR = {**_TWO, "plus": np.add, "minus": np.subtract}

# What NumPy says in float64.
ORACLE = {
    **{elementwise(name): f for name, f in _TWO.items()},
    **{f"broadcast_{name}": f for name, f in _TWO.items()},
    **{f"_{name}_scalar": lambda x, scalar, f=f, **_: f(x, scalar) for name, f in _SCALAR.items()},
    **{
        f"_r{name}_scalar": lambda x, scalar, f=_SCALAR[name], **_: f(scalar, x)
        for name in ("minus", "div", "mod", "power")
    },
    "_identity_with_attr_like_rhs": lambda lhs, rhs: lhs,
    "add_n": lambda *x, num_args: sum(x),
    "where": lambda c, x, y: np.where(c.reshape(c.shape + (1,) * (x.ndim - c.ndim)) != 0, x, y),
}
