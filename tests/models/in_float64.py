"""What a network gives, by NumPy in float64, one operator at a time from the JSON that `Symbol.tojson` writes.

It shares nothing with symc but that file, and knows the operators of the model zoo and of a transformer's layer.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray
Attributes = dict[str, Any]


def in_float64(symbol_json: str, arrays: Mapping[str, Array]) -> Array:
    """The symbol's first output from the arrays of its variables.

    Raises KeyError for an operator or an attribute's value that is not known here.
    """
    graph = json.loads(symbol_json)
    found: list[Array] = []
    for node in graph["nodes"]:
        if node["op"] == "null":
            found.append(arrays[node["name"]].astype("float64"))
            continue
        attributes = {name: _parsed(text) for name, text in node.get("attrs", {}).items()}
        found.append(OPERATORS[node["op"]]([found[source] for source, *_ in node["inputs"]], attributes))
    return found[graph["heads"][0][0]]


def _parsed(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _seen(x: Array, kernel: Sequence[int], stride: Sequence[int]) -> list[Array]:
    """What each tap sees: (N, C, *outputs), taps in row-major order."""
    ends = [(n - k) // s * s + 1 for n, k, s in zip(x.shape[2:], kernel, stride)]
    return [
        x[(..., *(slice(first, first + end, step) for first, end, step in zip(tap, ends, stride)))]
        for tap in np.ndindex(*kernel)
    ]


def _bordered(x: Array, pad: Sequence[int], behind: Sequence[int], value: float) -> Array:
    """`x` between `pad` values in front and `behind` more of them at the end of each axis of its images."""
    return np.pad(x, [(0, 0), (0, 0), *((p, p + more) for p, more in zip(pad, behind))], constant_values=value)


def _convolution(ins: Sequence[Array], of: Attributes) -> Array:
    x, w, *bias = ins
    kernel, groups = of["kernel"], of.get("num_group", 1)
    grouped = w.reshape(groups, len(w) // groups, w.shape[1], -1)
    seen = _seen(_bordered(x, of.get("pad", (0, 0)), (0, 0), 0), kernel, of.get("stride", (1, 1)))
    images = (len(x), groups, w.shape[1], -1)
    total = sum(grouped[..., tap] @ inputs.reshape(images) for tap, inputs in enumerate(seen))
    y = total.reshape(len(x), len(w), *seen[0].shape[2:])
    return y + bias[0][:, None, None] if bias else y


def _pooling(ins: Sequence[Array], of: Attributes) -> Array:
    (x,) = ins
    reduce, border = {"max": (np.max, -math.inf), "avg": (np.mean, 0.0)}[of["pool_type"]]
    if of.get("global_pool"):
        return reduce(x, axis=(2, 3), keepdims=True)
    kernel, stride, pad = of["kernel"], of.get("stride", (1, 1)), of.get("pad", (0, 0))
    behind = [-(n + 2 * p - k) % s for n, p, k, s in zip(x.shape[2:], pad, kernel, stride)]
    is_whole = {"valid": True, "full": not any(behind) or of["pool_type"] == "max"}
    assert is_whole[of.get("pooling_convention", "valid")], "an average over windows that end early"
    behind = behind if of.get("pooling_convention") == "full" else [0, 0]
    return reduce(_seen(_bordered(x, pad, behind, border), kernel, stride), axis=0)


def _batch_norm(ins: Sequence[Array], of: Attributes) -> Array:
    x, gamma, beta, mean, variance = (a if a.ndim > 1 else a[:, None, None] for a in ins)
    y = (x - mean) / np.sqrt(variance + of.get("eps", 1e-3))
    return (y if of.get("fix_gamma", True) else y * gamma) + beta


def _layer_norm(ins: Sequence[Array], of: Attributes) -> Array:
    x, gamma, beta = ins
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + of.get("eps", 1e-5)) * gamma + beta


def _dense(ins: Sequence[Array], of: Attributes) -> Array:
    x, w, *bias = ins
    y = (x.reshape(len(x), -1) if of.get("flatten", True) else x) @ w.T
    return y + bias[0] if bias else y


def _batch_dot(ins: Sequence[Array], of: Attributes) -> Array:
    x, y = ins
    return x @ (y.swapaxes(1, 2) if of.get("transpose_b") else y)


def _softmax(ins: Sequence[Array], of: Attributes) -> Array:
    powers = np.exp(ins[0] - ins[0].max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _gelu(ins: Sequence[Array], of: Attributes) -> Array:
    return {"gelu": ins[0] * (1 + np.vectorize(math.erf)(ins[0] / math.sqrt(2))) / 2}[of["act_type"]]


OPERATORS: dict[str, Callable[[Sequence[Array], Attributes], Array]] = {
    "Activation": lambda ins, of: {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}[of["act_type"]](ins[0]),
    "BatchNorm": _batch_norm,
    "Concat": lambda ins, of: np.concatenate(ins, of.get("dim", 1)),
    "Convolution": _convolution,
    "Dropout": lambda ins, of: ins[0],
    "Flatten": lambda ins, of: ins[0].reshape(len(ins[0]), -1),
    "FullyConnected": _dense,
    "LayerNorm": _layer_norm,
    "LeakyReLU": _gelu,
    "Pooling": _pooling,
    "_copy": lambda ins, of: ins[0],
    "_div_scalar": lambda ins, of: ins[0] / of["scalar"],
    "batch_dot": _batch_dot,
    "clip": lambda ins, of: np.clip(ins[0], of["a_min"], of["a_max"]),
    "elemwise_add": lambda ins, of: ins[0] + ins[1],
    "Reshape": lambda ins, of: ins[0].reshape(of["shape"]),
    "softmax": _softmax,
    "transpose": lambda ins, of: ins[0].transpose(of["axes"]),
}
