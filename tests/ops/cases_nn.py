"""Cases of the layers of neural networks: products, windows, normalisation, activations, losses, embeddings."""

from __future__ import annotations

import itertools
import math

import numpy as np

from .cases import Case, over_dtypes

FLOATS = ("float32", "float64", "float16")
INDEX = ("float32", "int32")  # data and index


def conv(data: tuple[int, ...], weight: tuple[int, ...], bias: int = 0, **params: object) -> Case:
    """A (de)convolution whose kernel is the weight's."""
    op = "Deconvolution" if "deconv" in params else "Convolution"
    params.pop("deconv", None)
    shapes = (data, weight, *(((bias,),) if bias else ()))
    return Case(op, shapes, {"kernel": weight[2:], "no_bias": not bias, **params}, domain=(-1, 1))


def pool(shape: tuple[int, ...], **params: object) -> list[Case]:
    """One window reduced in every way."""
    kinds = [
        {"pool_type": "sum"},
        {"pool_type": "avg"},
        {"pool_type": "avg", "count_include_pad": False},
        {"pool_type": "max"},
    ]
    return [Case("Pooling", (shape,), {**kind, **params}, smooth=kind["pool_type"] != "max") for kind in kinds]


PRODUCTS = [
    *over_dtypes(Case("FullyConnected", ((2, 5), (3, 5), (3,)), {"num_hidden": 3}), FLOATS),
    Case("FullyConnected", ((7, 33), (1, 33)), {"num_hidden": 1, "no_bias": True}),
    Case("FullyConnected", ((2, 3, 2), (4, 6), (4,)), {"num_hidden": 4}),
    Case("FullyConnected", ((2, 3, 5), (4, 5), (4,)), {"num_hidden": 4, "flatten": False}),
    *over_dtypes(Case("dot", ((3, 4), (4, 5))), FLOATS),
    Case("dot", ((4, 3), (4, 5)), {"transpose_a": True}),
    Case("dot", ((3, 4), (5, 4)), {"transpose_b": True}),
    Case("dot", ((4, 3), (5, 4)), {"transpose_a": True, "transpose_b": True}),
    Case("dot", ((7,), (7,))),
    Case("dot", ((3, 4), (4,))),
    Case("dot", ((2, 3, 4), (4, 5))),
    Case("dot", ((2, 3, 4), (2, 5)), {"transpose_a": True}),
    Case("dot", ((5, 2), (4, 3, 2)), {"transpose_b": True}),
    *over_dtypes(Case("batch_dot", ((2, 3, 4), (2, 4, 5))), FLOATS),
    Case("batch_dot", ((2, 4, 3), (2, 4, 5)), {"transpose_a": True}),
    Case("batch_dot", ((2, 3, 4), (2, 5, 4)), {"transpose_b": True}),
    Case("batch_dot", ((2, 4, 3), (2, 5, 4)), {"transpose_a": True, "transpose_b": True}),
    Case("batch_dot", ((5, 33, 7), (5, 7, 1))),
    Case("batch_dot", ((2, 1, 3, 4), (2, 1, 4, 7))),
    Case("batch_dot", ((2, 3, 4, 5), (2, 3, 4, 7)), {"transpose_a": True}),
    Case("batch_dot", ((2, 3, 5, 4), (2, 3, 7, 4)), {"transpose_b": True}),
]

WINDOWS = [
    conv((2, 3, 7, 6), (4, 3, 3, 2), bias=4, num_filter=4),
    conv((1, 3, 7, 6), (4, 3, 3, 3), num_filter=4, stride=(2, 3), pad=(1, 2)),
    conv((1, 2, 9, 8), (2, 2, 3, 3), num_filter=2, dilate=(2, 1), pad=(2, 0)),
    conv((1, 4, 5, 5), (6, 2, 3, 3), bias=6, num_filter=6, num_group=2),
    conv((1, 5, 4, 5), (5, 1, 3, 3), num_filter=5, num_group=5, pad=(1, 1)),
    conv((2, 3, 9), (4, 3, 3), bias=4, num_filter=4, stride=(2,), pad=(1,)),
    conv((1, 2, 4, 3, 5), (3, 2, 2, 3, 1), num_filter=3, pad=(0, 1, 0)),
    conv((1, 3, 4, 5), (3, 2, 3, 3), num_filter=2, deconv=True),
    conv((1, 3, 4, 3), (3, 2, 4, 4), bias=2, num_filter=2, stride=(2, 2), pad=(1, 1), deconv=True),
    conv((1, 4, 3, 3), (4, 1, 3, 3), num_filter=2, num_group=2, stride=(3, 2), adj=(2, 1), deconv=True),
    conv((2, 3, 5), (3, 2, 3), num_filter=2, stride=(2,), dilate=(2,), deconv=True),
    *pool((1, 2, 7, 8), kernel=(3, 2), stride=(2, 3), pad=(1, 1)),
    *pool((1, 2, 7, 8), kernel=(3, 3), stride=(2, 2), pooling_convention="full"),
    *pool((2, 3, 8), kernel=(3,), stride=(2,), pad=(1,), pooling_convention="full"),
    Case(
        "Pooling",
        ((1, 2, 9),),
        {"pool_type": "max", "kernel": (4,), "stride": (3,), "pad": (3,), "pooling_convention": "full"},
        "float16",
        points=(1.0, -2.0, 0.5),
        smooth=False,
    ),  # its last window lies in the padding
    *pool((1, 1, 4, 5, 3), kernel=(2, 2, 2), stride=(2, 1, 1)),
    *pool((2, 3, 4, 5), global_pool=True),
    *pool((1, 1, 33, 7), kernel=(5, 5), pad=(2, 2)),
    *(
        Case("Pooling_v1", (shape,), {"pool_type": kind, **params}, smooth=kind != "max")
        for kind in ("max", "avg", "sum")
        for shape, params in [
            ((1, 2, 7, 8), {"kernel": (3, 2), "stride": (2, 3), "pad": (1, 1)}),
            ((1, 2, 7, 8), {"kernel": (3, 3), "stride": (2, 2), "pooling_convention": "full"}),
            ((1, 2, 6, 7), {"kernel": (3, 2), "stride": (2, 2), "pad": (1, 0), "pooling_convention": "full"}),
            ((1, 2, 3, 2), {"kernel": (7, 5), "pad": (4, 2)}),  # most of a window is never in the data
            ((1, 2, 5, 5), {"kernel": (2, 1), "stride": (1, 2), "pad": (0, 1)}),
            ((2, 3, 4, 5), {"kernel": (1, 1), "global_pool": True}),
        ]
    ),
]

NORMS = [
    *(
        Case("BatchNorm", (shape, (c,), (c,), (c,), (c,)), params, domain=(0.5, 2), smooth=False)
        for shape, c, params in [
            ((4, 3, 5), 3, {}),
            ((4, 3), 3, {"fix_gamma": False}),
            ((2, 3, 4, 2), 3, {"fix_gamma": False, "eps": 1e-5}),
            ((2, 3, 5), 5, {"fix_gamma": False, "axis": -1}),
            ((2, 3, 5), 3, {"fix_gamma": False, "use_global_stats": True}),
        ]
    ),
    *(
        Case("BatchNorm_v1", ((2, 3, 4, 2), (3,), (3,), (3,), (3,)), params, domain=(0.5, 2), smooth=False)
        for params in ({}, {"fix_gamma": False, "momentum": 0.5}, {"use_global_stats": True})
    ),
    *over_dtypes(Case("LayerNorm", ((2, 3, 8), (8,), (8,))), ("float32", "float64")),
    Case("LayerNorm", ((2, 3, 4), (3,), (3,)), {"axis": 1, "eps": 1e-3}),
    Case("InstanceNorm", ((2, 3, 4, 5), (3,), (3,))),
    Case("GroupNorm", ((2, 6, 3), (2,), (2,)), {"num_groups": 2}),
    *(Case("L2Normalization", ((2, 3, 4),), {"mode": mode}) for mode in ("instance", "channel", "spatial")),
    Case("LRN", ((2, 7, 3, 2),), {"nsize": 5, "alpha": 0.5}),
]

EDGES = (0.0, 1.0, -1.0, 30.0, -30.0, 100.0, -100.0)

ACTIVATIONS = [
    *(
        case
        for kind in ("relu", "sigmoid", "softrelu", "softsign", "tanh")
        for case in (
            *over_dtypes(Case("Activation", ((3, 7),), {"act_type": kind}, smooth=kind != "relu"), FLOATS),
            Case("Activation", ((7,),), {"act_type": kind}, points=EDGES, smooth=False),
        )
    ),
    *(Case("LeakyReLU", ((3, 4),), {"act_type": kind}) for kind in ("leaky", "elu", "gelu")),
    Case("LeakyReLU", ((3, 4),), {"act_type": "selu"}, smooth=False),  # MXNet's slope is not the derivative
    Case("LeakyReLU", ((3, 4),), {"act_type": "rrelu"}, grads=()),
    *over_dtypes(Case("LeakyReLU", ((3, 4),), {"slope": 0.1}), FLOATS),
    Case("LeakyReLU", ((2, 3, 4), (3,)), {"act_type": "prelu"}),
    Case("LeakyReLU", ((2, 3, 4), (1,)), {"act_type": "prelu"}),
    *(
        Case(name, (shape,), params)
        for name in ("softmax", "softmin", "log_softmax")
        for shape, params in [((3, 7), {}), ((2, 3, 4), {"axis": 1}), ((33, 1), {}), ((3, 4), {"temperature": 2.0})]
    ),
    Case("softmax", ((2, 3),), points=(1e4, -1e4, 9999.0), smooth=False),
    Case("softmax", ((1, 4), (1,)), {"use_length": True}, ("float32", "int32"), (2, 3), smooth=False),
    Case("SoftmaxActivation", ((3, 5),)),
    Case("SoftmaxActivation", ((2, 3, 4),), {"mode": "channel"}),
    Case("Dropout", ((3, 4),), grads=()),
    Case("Dropout", ((3, 4),), {"p": 0.0}),
]

LOSSES = [
    Case("SoftmaxOutput", ((5, 4), (5,)), domain=(0, 3), smooth=False),
    Case("SoftmaxOutput", ((2, 3, 4), (2, 4)), {"multi_output": True}, domain=(0, 2), smooth=False),
    Case("SoftmaxOutput", ((2, 3, 4), (2, 3)), {"preserve_shape": True}, domain=(0, 2), smooth=False),
    *(Case(f"{name}RegressionOutput", ((4, 3), (4, 3)), smooth=False) for name in ("Linear", "Logistic", "MAE")),
    Case("MakeLoss", ((3, 4),), smooth=False),
    *(Case("MakeLoss", (s,), {"normalization": "batch"}, smooth=False) for s in ((2, 3, 4), (5,))),
    Case("SVMOutput", ((5, 4), (5,)), domain=(0, 3), smooth=False),
    Case("softmax_cross_entropy", ((5, 4), (5,)), domain=(0, 3), grads=(0,)),
]

INDEXING = [
    Case("Embedding", ((2, 3), (5, 4)), {"input_dim": 5, "output_dim": 4}, ("int32", "float32"), (-1, 6)),
    *(
        Case("take", ((4, 3, 2), (2, 2)), {"axis": axis, "mode": mode}, INDEX, (-5, 6))
        for axis, mode in itertools.product((0, 1, -1), ("clip", "wrap"))
    ),
    *(
        Case("pick", (shape, index), params, INDEX, (-5, 6))
        for shape, index, params in [
            ((3, 4), (3,), {}),
            ((2, 3, 4), (2, 4), {"axis": 1, "mode": "wrap"}),
            ((2, 3, 4), (2, 1, 4), {"axis": 1, "keepdims": True}),
        ]
    ),
    Case("batch_take", ((3, 4), (3,)), {}, INDEX, (-1, 5), grads=()),
    Case("one_hot", ((2, 3),), {"depth": 4, "on_value": 2.0, "off_value": -1.0}, "int32", (-1, 5), grads=()),
]

CASES = [
    Case(
        "IdentityAttachKLSparseReg",
        ((5, 3), (3,)),
        {"sparseness_target": 0.2, "penalty": 0.1, "momentum": 0.8},
        domain=(0.1, 0.9),
        grads=(0,),
        smooth=False,
    ),
    Case(
        "Convolution_v1",
        ((2, 3, 5, 6), (4, 3, 3, 3), (4,)),
        {"kernel": (3, 3), "num_filter": 4, "pad": (1, 1), "stride": (2, 2)},
    ),
    Case(
        "_contrib_SyncBatchNorm",
        ((2, 3, 4, 2), (3,), (3,), (3,), (3,)),
        {"key": "bn", "fix_gamma": False},
        domain=(0.5, 2),
        smooth=False,
    ),
    *(
        Case(
            "_contrib_BatchNormWithReLU", ((2, 3, 4, 2), *((3,),) * 4), params, "float64", domain=(0.5, 2), grads=(0, 2)
        )
        for params in ({"fix_gamma": False}, {"use_global_stats": True})
    ),
    *PRODUCTS,
    *WINDOWS,
    *NORMS,
    *ACTIVATIONS,
    *LOSSES,
    *INDEXING,
]

# -- what NumPy says in float64 -------------------------------------------------------------------------------------


def _dense(x, w, b=None, flatten=True, **_):
    x = x.reshape(len(x), -1) if flatten else x
    return x @ w.T + (0 if b is None else b)


def _dot(a, b, transpose_a=False, transpose_b=False):
    a = np.moveaxis(a, 0, -1) if transpose_a else a
    b = np.moveaxis(b, -1, 0) if transpose_b else b
    return np.atleast_1d(np.tensordot(a, b, axes=1))


def _batch_dot(a, b, transpose_a=False, transpose_b=False):
    return (a.swapaxes(-1, -2) if transpose_a else a) @ (b.swapaxes(-1, -2) if transpose_b else b)


def _taps(kernel):
    return itertools.product(*(range(k) for k in kernel))


def _windows(tap, out, stride, dilate):
    """Where a tap of every window lies in the padded data."""
    return tuple(slice(t * d, t * d + (n - 1) * s + 1, s) for t, n, s, d in zip(tap, out, stride, dilate))


def _geometry(kernel, stride=(), dilate=(), pad=(), **_):
    ones = (1,) * len(kernel)
    return kernel, stride or ones, dilate or ones, pad or (0,) * len(kernel)


def _convolution(x, w, b=None, num_group=1, **params):
    kernel, stride, dilate, pad = _geometry(**params)
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    out = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilate)]
    y = np.zeros((len(x), len(w), *out))
    c, o = w.shape[1], len(w) // num_group
    for tap, g in itertools.product(_taps(kernel), range(num_group)):
        seen = x[(slice(None), slice(g * c, (g + 1) * c), *_windows(tap, out, stride, dilate))]
        weight = w[(slice(g * o, (g + 1) * o), slice(None), *tap)]
        y[:, g * o : (g + 1) * o] += np.einsum("nc...,oc->no...", seen, weight)
    return y if b is None else y + b.reshape(-1, *(1,) * len(kernel))


def _deconvolution(x, w, b=None, num_group=1, adj=(), **params):
    kernel, stride, dilate, pad = _geometry(**params)
    adj = adj or (0,) * len(kernel)
    whole = [s * (n - 1) + (k - 1) * d + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilate)]
    c, o = x.shape[1] // num_group, w.shape[1]
    y = np.zeros((len(x), o * num_group, *(n + a for n, a in zip(whole, adj))))
    for tap, g in itertools.product(_taps(kernel), range(num_group)):
        at = _windows(tap, x.shape[2:], stride, dilate)
        weight = w[(slice(g * c, (g + 1) * c), slice(None), *tap)]
        part = np.einsum("nc...,co->no...", x[:, g * c : (g + 1) * c], weight)
        y[(slice(None), slice(g * o, (g + 1) * o), *at)] += part
    y = y[(..., *(slice(p, n - p) for p, n in zip(pad, y.shape[2:])))]
    return y if b is None else y + b.reshape(-1, *(1,) * len(kernel))


def _pooling(x, pool_type, kernel=(), global_pool=False, pooling_convention="valid", count_include_pad=True, **params):
    if global_pool:
        kernel, params = x.shape[2:], {}
    kernel, stride, _, pad = _geometry(kernel, **params)
    rounding = math.ceil if pooling_convention == "full" else math.floor
    out = [1 + rounding((n + 2 * p - k) / s) for n, k, s, p in zip(x.shape[2:], kernel, stride, pad)]
    y = np.zeros((*x.shape[:2], *out))
    for q in itertools.product(*(range(n) for n in out)):
        start = [i * s - p for i, s, p in zip(q, stride, pad)]
        stop = [min(a + k, n + p) for a, k, n, p in zip(start, kernel, x.shape[2:], pad)]
        inside = [slice(max(a, 0), min(b, n)) for a, b, n in zip(start, stop, x.shape[2:])]
        seen = x[(..., *inside)].reshape(*x.shape[:2], -1)
        size = math.prod(b - a for a, b in zip(start, stop)) if count_include_pad else seen.shape[-1]
        y[(..., *q)] = {"max": seen.max(-1), "sum": seen.sum(-1), "avg": seen.sum(-1) / size}[pool_type]
    return y


def _pooling_v1(x, pool_type, kernel, pad=(0, 0), **params):
    """Padding counts as zeros, also in a maximum; averages divide by the whole window."""
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    if pool_type == "avg":
        n = math.prod(x.shape[2:] if params.get("global_pool") else kernel)
        return _pooling(x, "sum", kernel, **params) / n
    return _pooling(x, pool_type, kernel, **params)


def _normal(x, axes, eps):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def _along(vector, rank, axis):
    return vector.reshape([-1 if a == axis % rank else 1 for a in range(rank)])


def _batch_norm(x, gamma, beta, mean, var, fix_gamma=True, axis=1, eps=1e-3, **_):
    gamma, beta, mean, var = (_along(v, x.ndim, axis) for v in (gamma, beta, mean, var))
    return (x - mean) / np.sqrt(var + eps) * (1 if fix_gamma else gamma) + beta


def _layer_norm(x, gamma, beta, axis=-1, eps=1e-5):
    return _normal(x, axis, eps) * _along(gamma, x.ndim, axis) + _along(beta, x.ndim, axis)


def _instance_norm(x, gamma, beta, eps=1e-3):
    return _normal(x, tuple(range(2, x.ndim)), eps) * _along(gamma, x.ndim, 1) + _along(beta, x.ndim, 1)


def _group_norm(x, gamma, beta, num_groups=1, eps=1e-5):
    seen = x.reshape(len(x), num_groups, -1)
    return (_normal(seen, 2, eps) * _along(gamma, 3, 1) + _along(beta, 3, 1)).reshape(x.shape)


def _l2(x, mode="instance", eps=1e-10):
    axes = {"instance": tuple(range(1, x.ndim)), "channel": 1, "spatial": tuple(range(2, x.ndim))}[mode]
    return x / np.sqrt((x * x).sum(axes, keepdims=True) + eps)


def _lrn(x, nsize, alpha=1e-4, beta=0.75, knorm=2.0):
    padded = np.pad(x * x, [(0, 0), (nsize // 2,) * 2, (0, 0), (0, 0)])
    around = sum(padded[:, k : k + x.shape[1]] for k in range(nsize))
    return x / (knorm + alpha / nsize * around) ** beta


def _activation(x, act_type):
    return {
        "relu": lambda: np.maximum(x, 0),
        "sigmoid": lambda: 1 / (1 + np.exp(-x)),
        "softrelu": lambda: np.logaddexp(x, 0),
        "softsign": lambda: x / (1 + np.abs(x)),
        "tanh": lambda: np.tanh(x),
    }[act_type]()


def _leaky(x, gamma=None, act_type="leaky", slope=0.25):
    if act_type == "gelu":
        return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    scale, alpha = (1.0507009873554805, 1.6732632423543772) if act_type == "selu" else (1, slope)
    below = {
        "leaky": lambda: slope * x,
        "prelu": lambda: _along(gamma, x.ndim, 1) * x,
        "rrelu": lambda: (0.125 + 0.334) / 2 * x,
        "elu": lambda: alpha * np.expm1(x),
        "selu": lambda: scale * alpha * np.expm1(x),
    }[act_type]()
    return np.where(x > 0, scale * x, below)


def _softmax(x, length=None, axis=-1, temperature=1.0, use_length=False):
    if use_length:
        rows = np.arange(x.shape[axis]) < np.expand_dims(length, axis)
        return np.where(rows, _softmax(np.where(rows, x, -np.inf)), 0)
    weights = np.exp((x - x.max(axis, keepdims=True)) / temperature)
    return weights / weights.sum(axis, keepdims=True)


def _softmax_output(x, label, multi_output=False, preserve_shape=False):
    return _softmax(x, axis=1 if multi_output else -1)


def _cross_entropy(x, label):
    return -np.log(_softmax(x)[np.arange(len(x)), label.astype(int)]).sum(keepdims=True)


def _placed(index, extent, mode):
    whole = np.trunc(index).astype(int)
    return whole % extent if mode == "wrap" else np.clip(whole, 0, extent - 1)


def _take(a, index, axis=0, mode="clip"):
    return np.take(a, _placed(index, a.shape[axis], mode), axis)


def _pick(a, index, axis=-1, mode="clip", keepdims=False):
    at = _placed(index, a.shape[axis], mode)
    found = np.take_along_axis(a, at if at.ndim == a.ndim else np.expand_dims(at, axis), axis)
    return found if keepdims else found.squeeze(axis)


def _one_hot(index, depth, on_value=1.0, off_value=0.0):
    return np.where(np.arange(depth) == index[..., None], on_value, off_value)


ORACLE = {
    "FullyConnected": _dense,
    "dot": _dot,
    "batch_dot": _batch_dot,
    "Convolution": lambda *a, num_filter, no_bias, **p: _convolution(*a, **p),
    "Deconvolution": lambda *a, num_filter, no_bias, **p: _deconvolution(*a, **p),
    "Pooling": _pooling,
    "Pooling_v1": _pooling_v1,
    "BatchNorm": _batch_norm,
    "_contrib_BatchNormWithReLU": lambda *x, **params: np.maximum(_batch_norm(*x, **params), 0),
    "BatchNorm_v1": _batch_norm,
    "LayerNorm": _layer_norm,
    "InstanceNorm": _instance_norm,
    "GroupNorm": _group_norm,
    "L2Normalization": _l2,
    "LRN": _lrn,
    "Activation": _activation,
    "LeakyReLU": _leaky,
    "softmax": _softmax,
    "softmin": lambda x, **p: _softmax(-x, **p),
    "log_softmax": lambda x, **p: np.log(_softmax(x, **p)),
    "SoftmaxActivation": lambda x, mode="instance": _softmax(x, axis=1 if mode == "channel" else -1),
    "Dropout": lambda x, p=0.5: x,
    "SoftmaxOutput": _softmax_output,
    "LinearRegressionOutput": lambda x, label: x,
    "LogisticRegressionOutput": lambda x, label: 1 / (1 + np.exp(-x)),
    "MAERegressionOutput": lambda x, label: x,
    "MakeLoss": lambda x, **_: x,
    "SVMOutput": lambda x, label: x,
    "softmax_cross_entropy": _cross_entropy,
    "Embedding": lambda data, weight, **_: weight[_placed(data, len(weight), "clip")],
    "take": _take,
    "pick": _pick,
    "batch_take": lambda a, index: _pick(a, index),
    "one_hot": _one_hot,
}
