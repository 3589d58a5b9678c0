"""Parameter sets of operators that work element by element, of reductions and of rows."""

from __future__ import annotations

from typing import Dict

from tests.ops.cases import Case

from .draw import FLOATS, NUMBERS, Draw, Generator

UNARY = (
    "BlockGrad _contrib_div_sqrt_dim _contrib_round_ste _contrib_sign_ste _copy abs arcsinh arctan cbrt ceil cos cosh "
    "degrees erf exp expm1 fix floor logical_not make_loss negative ones_like radians rcbrt reciprocal relu rint round "
    "sigmoid sign sin sinh softsign square tan tanh trunc zeros_like hard_sigmoid Flatten shape_array size_array"
).split()
# Outside of it most give NaN, which is drawn as well, but less.
DOMAINS = {
    **dict.fromkeys("arccos arcsin arctanh erfinv".split(), (-0.99, 0.99)),
    **dict.fromkeys("log log10 log2 log1p sqrt rsqrt gamma gammaln".split(), (0.1, 6.0)),
    "arccosh": (1.1, 6.0),
}
BINARY = "_equal _greater _greater_equal _hypot _lesser _lesser_equal _logical_and _logical_or _logical_xor _maximum "
BINARY += "_minimum _mod _not_equal _power elemwise_add elemwise_div elemwise_mul elemwise_sub"
BROADCAST = "add div equal greater greater_equal hypot lesser lesser_equal logical_and logical_or logical_xor maximum "
BROADCAST += "minimum mod mul not_equal power sub"
SCALAR = "div equal greater_equal greater hypot lesser_equal lesser logical_and logical_or logical_xor maximum minimum "
SCALAR += "minus mod mul not_equal plus power rdiv rminus rmod rpower"


def unary(d: Draw) -> Case:
    if d.op == "hard_sigmoid":
        return d.case(d.shape(), dtypes=FLOATS, alpha=d.real(0.1, 1), beta=d.real(-1, 1), special=0.2)
    domain = DOMAINS.get(d.op) if d.chance(0.7) else None
    return d.case(d.shape(), dtypes=FLOATS if d.op == "erfinv" else NUMBERS, domain=domain, special=0.2)


def binary(d: Draw) -> Case:
    shape = d.shape()
    return d.case(shape, shape, special=0.2)


def broadcast(d: Draw) -> Case:
    shape = d.shape()
    return d.case(d.broadcast(shape), d.broadcast(shape), special=0.2)


def scalar(d: Draw) -> Case:
    value = float(d.integer(-3, 3)) if d.chance(0.5) else d.real(-3, 3)
    if d.op == "_rdiv_scalar":  # no integer is divided by 0
        return d.case(d.shape(), scalar=value, domain=(1.0, 9.0))
    return d.case(d.shape(), scalar=value, special=0.2)


def add_n(d: Draw) -> Case:
    n = d.integer(1, 6)
    return d.case(*[d.shape()] * n, num_args=n)


def where(d: Draw) -> Case:
    shape = d.shape()
    condition, data = d.pick(NUMBERS), d.pick(NUMBERS)
    first = shape[:1] if d.chance(0.3) else shape
    return d.case(first, shape, shape, dtypes=[condition, data, data], domain=(-1.0, 1.0))


def cast(d: Draw) -> Case:
    return d.case(d.shape(), dtype=d.pick(sorted(set(NUMBERS))), domain=d.pick([(-2.0, 2.0), (-100.0, 100.0)]))


def multicast(d: Draw) -> Case:
    n = d.integer(1, 4)
    return d.case(*[d.shape() for _ in range(n)], dtypes=[d.pick(FLOATS) for _ in range(n)], num_outputs=n)


def clip(d: Draw) -> Case:
    low = d.real(-3, 1)
    return d.case(d.shape(), a_min=low, a_max=low + d.real(0, 3), special=0.2)


def parametric(d: Draw) -> Case:
    """Operators of one input and a few numbers."""
    if d.op == "_contrib_quadratic":
        return d.case(d.shape(), a=d.real(-2, 2), b=d.real(-2, 2), c=d.real(-2, 2), special=0.1)
    return d.case(d.shape(), scalar=d.real(0.1, 3), special=0.2)


def activation(d: Draw) -> Case:
    return d.case(d.shape(), dtypes=FLOATS, act_type=d.pick("relu sigmoid softrelu softsign tanh".split()), special=0.2)


def leaky(d: Draw) -> Case:
    kind = d.pick("elu gelu leaky prelu selu rrelu".split())
    shape = d.shape(2, 4) if kind == "prelu" else d.shape()
    slope = {} if d.chance(0.3) else {"slope": d.real(0.01, 0.9)}
    if kind == "prelu":
        return d.case(shape, (d.pick([1, shape[1]]),), dtypes=FLOATS, act_type=kind, **slope)
    return d.case(shape, dtypes=FLOATS, act_type=kind, grads=() if kind == "rrelu" else "some", special=0.2, **slope)


def reduction(d: Draw) -> Case:
    shape = d.shape()
    axis = d.axes(len(shape))
    domain = (0.5, 1.5) if "prod" in d.op else None
    if d.op == "norm":  # of integers MXNet divides them while it scales them
        axis = axis[:2] if isinstance(axis, tuple) else axis
        return d.case(shape, dtypes=FLOATS, axis=axis, ord=d.pick([1, 2]))
    return d.case(shape, axis=axis, domain=domain, special=0.1)


def square_sum(d: Draw) -> Case:
    shape = d.shape()
    return d.case(shape, dtypes=FLOATS, axis=d.axes(len(shape)))


def stored(d: Draw) -> Case:
    return d.case(d.shape(), stype="default")


def like(d: Draw) -> Case:
    shape = d.shape()
    return d.case(shape, shape, grads=(0,))


def dropout(d: Draw) -> Case:
    shape = d.shape()
    shared = tuple(d.some(range(len(shape)))) if d.chance(0.3) else ()
    return d.case(shape, dtypes=FLOATS, p=d.real(0.1, 0.9), axes=shared)


def moments(d: Draw) -> Case:
    shape = d.shape()
    return d.case(shape, axes=tuple(d.some(range(len(shape)))), dtypes=FLOATS)


def softmax(d: Draw) -> Case:
    shape = d.shape()
    warm = {"temperature": d.real(0.3, 4)} if d.chance(0.4) else {}
    if d.op in ("softmax", "softmin") and len(shape) > 1 and d.chance(0.3):
        axis = d.integer(1, len(shape) - 1)
        lengths = tuple(n for a, n in enumerate(shape) if a != axis)
        many = tuple(float(d.integer(1, shape[axis])) for _ in range(12))
        if d.op == "softmax":
            return d.case(
                shape, lengths, dtypes=[d.pick(FLOATS), d.pick(["int32", "int64"])], use_length=True,
                axis=axis, given={1: many}, grads=(0,), **warm,
            )  # fmt: skip
    typed = {"dtype": d.pick(FLOATS)} if d.chance(0.2) else {}
    return d.case(shape, dtypes=FLOATS, axis=d.axis(len(shape)), use_length=False, special=0.2, **warm, **typed)


def all_equal(d: Draw) -> Case:
    shape = d.shape()
    return d.case(shape, shape, dtypes=FLOATS, rtol=d.real(0.1, 1), atol=d.real(0.1, 1), grads=())


def finite(d: Draw) -> Case:
    n = d.integer(1, 4) if d.op.startswith("multi") else 1
    many = {"num_arrays": n} if d.op.startswith("multi") else {}
    return d.case(*[d.shape() for _ in range(n)], dtypes=FLOATS, special=0.5, grads=(), init_output=True, **many)


def sums_of_squares(d: Draw) -> Case:
    n = d.integer(1, 4)
    return d.case(*[d.shape() for _ in range(n)], dtypes=FLOATS, num_arrays=n, grads=())


def cumsum(d: Draw) -> Case:
    shape = d.shape()
    axis = {} if d.chance(0.2) else {"axis": d.integer(0, len(shape) - 1)}
    typed = {"dtype": d.pick("float16 float32 float64 int32 int64 int8".split())} if d.chance(0.3) else {}
    return d.case(shape, special=0.1, **axis, **typed)


def smooth_l1(d: Draw) -> Case:
    return d.case(d.shape(), dtypes=FLOATS, scalar=d.real(0.5, 3), special=0.1)


GENERATORS: Dict[str, Generator] = {
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys(DOMAINS, unary),
    **dict.fromkeys(BINARY.split(), binary),
    **{f"broadcast_{name}": broadcast for name in BROADCAST.split()},
    **{f"_{name}_scalar": scalar for name in SCALAR.split()},
    "add_n": add_n,
    "where": where,
    "Cast": cast,
    "amp_cast": cast,
    "amp_multicast": multicast,
    "clip": clip,
    "_contrib_quadratic": parametric,
    "_contrib_gradientmultiplier": parametric,
    "smooth_l1": smooth_l1,
    "Activation": activation,
    "LeakyReLU": leaky,
    **dict.fromkeys("max mean min nanprod nansum norm prod sum".split(), reduction),
    "moments": moments,
    "Dropout": dropout,
    "_square_sum": square_sum,
    "cast_storage": stored,
    "_identity_with_attr_like_rhs": like,
    **dict.fromkeys("log_softmax softmax softmin".split(), softmax),
    "SoftmaxActivation": lambda d: d.case(d.shape(3, 4), dtypes=FLOATS[:2]),
    "_contrib_allclose": all_equal,
    "all_finite": finite,
    "multi_all_finite": finite,
    "multi_sum_sq": sums_of_squares,
    "cumsum": cumsum,
}
