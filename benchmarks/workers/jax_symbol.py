"""A symbol of MXNet's as a function of JAX arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

from workers.symbol_file import nodes_of

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "gelu": lambda x: jax.nn.gelu(x, approximate=False)}


def pooling(at: dict[str, Any], x: Any) -> Any:
    if at.get("global_pool"):
        return x.mean((2, 3), keepdims=True)
    kernel, stride, pad = at["kernel"], at.get("stride", (1, 1)), at.get("pad", (0, 0))
    is_full, is_max = at.get("pooling_convention") == "full", at["pool_type"] == "max"
    if is_full and not is_max:
        raise NotImplementedError("averages over windows that stick out")
    # "full": one more window where the last one does not end with the image
    outside = [-(size + 2 * p - k) % s * is_full for size, k, s, p in zip(x.shape[2:], kernel, stride, pad)]
    pads = ((0, 0), (0, 0), *((p, p + more) for p, more in zip(pad, outside)))
    first, join = (-jnp.inf, lax.max) if is_max else (0.0, lax.add)
    pooled = lax.reduce_window(x, first, join, (1, 1, *kernel), (1, 1, *stride), pads)
    return pooled if is_max else pooled / (kernel[0] * kernel[1])


def convolution(at: dict[str, Any], x: Any, weight: Any, bias: Any = None) -> Any:
    pads = [(p, p) for p in at.get("pad", (0, 0))]
    groups = at.get("num_group", 1)
    product = lax.conv_general_dilated(x, weight, at.get("stride", (1, 1)), pads, feature_group_count=groups)
    return product if bias is None else product + bias[:, None, None]


def deconvolution(at: dict[str, Any], x: Any, weight: Any) -> Any:
    dimensions = ("NCHW", "OIHW", "NCHW")
    return lax.conv_transpose(x, weight, at["stride"], "VALID", dimension_numbers=dimensions, transpose_kernel=True)


def batch_norm(at: dict[str, Any], x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
    if at["is_training"]:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    scale = gamma * lax.rsqrt(var + at["eps"])
    return x * scale[:, None, None] + (beta - mean * scale)[:, None, None]


def layer_norm(at: dict[str, Any], x: Any, gamma: Any, beta: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + at["eps"]) * gamma + beta


def fully_connected(at: dict[str, Any], x: Any, weight: Any, bias: Any) -> Any:
    return (x.reshape(len(x), -1) if at.get("flatten", True) else x) @ weight.T + bias


# What the workloads' networks are made of, none of them trained with Dropout; SoftmaxOutput is the loss's part, so its
# scores go on.
OPERATORS: dict[str, Callable[..., Any]] = {
    "Activation": lambda at, x: ACTIVATIONS[at["act_type"]](x),
    "BatchNorm": batch_norm,
    "Concat": lambda at, *parts: jnp.concatenate(parts, at.get("dim", 1)),
    "Convolution": convolution,
    "Deconvolution": deconvolution,
    "Dropout": lambda at, x: x,
    "Flatten": lambda at, x: x.reshape(len(x), -1),
    "FullyConnected": fully_connected,
    "LayerNorm": layer_norm,
    "LeakyReLU": lambda at, x: ACTIVATIONS[at["act_type"]](x),
    "Pooling": pooling,
    "SoftmaxOutput": lambda at, x, label: x,
    "_copy": lambda at, x: x,
    "_div_scalar": lambda at, x: x / at["scalar"],
    "batch_dot": lambda at, x, y: x @ (y.swapaxes(1, 2) if at.get("transpose_b") else y),
    "clip": lambda at, x: x.clip(at["a_min"], at["a_max"]),
    "elemwise_add": lambda at, x, y: x + y,
    "elemwise_mul": lambda at, x, y: x * y,
    "reshape": lambda at, x: x.reshape(at["shape"]),
    "sigmoid": lambda at, x: jax.nn.sigmoid(x),
    "softmax": lambda at, x: jax.nn.softmax(x, at["axis"]),
    "tanh": lambda at, x: jnp.tanh(x),
    "transpose": lambda at, x: x.transpose(at["axes"]),
}
OPERATORS |= {"Reshape": OPERATORS["reshape"], "_Plus": OPERATORS["elemwise_add"], "_plus": OPERATORS["elemwise_add"]}
OPERATORS |= {"_Mul": OPERATORS["elemwise_mul"], "_mul": OPERATORS["elemwise_mul"]}


def function_of(path: str, is_training: bool) -> Callable[[Mapping[str, Any]], Any]:
    """What the symbol in a file computes of its variables' values, which are given by name.

    In training, BatchNorm's moving statistics are not kept. A label may be missing: nobody reads it.
    """
    nodes = nodes_of(path)

    def apply(variables: Mapping[str, Any]) -> Any:
        values: list[Any] = []
        for node in nodes:
            if node.operator == "null":
                values.append(variables.get(node.name))
                continue
            attributes = {**node.attributes, "is_training": is_training}
            values.append(OPERATORS[node.operator](attributes, *(values[i] for i in node.inputs)))
        return values[-1]

    return apply
