"""A symbol of MXNet's as a PyTorch module, traced into straight-line code, so that nothing is interpreted in a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  (PyTorch's own habit)

from workers.symbol_file import Node, nodes_of

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "gelu": F.gelu}
STATES = ("mean", "var")  # ends of the names that BatchNorm's statistics have


def pooling(at: dict[str, Any], x: Any) -> Any:
    if at.get("global_pool"):
        return F.adaptive_avg_pool2d(x, 1)
    pool = {"max": F.max_pool2d, "avg": F.avg_pool2d}[at["pool_type"]]
    is_full = at.get("pooling_convention") == "full"
    return pool(x, at["kernel"], at.get("stride", 1), at.get("pad", 0), ceil_mode=is_full)


def batch_norm(at: dict[str, Any], x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
    return F.batch_norm(x, mean, var, gamma, beta, at["is_training"], 1 - at.get("momentum", 0.9), at["eps"])


def convolution(at: dict[str, Any], x: Any, weight: Any, bias: Any = None) -> Any:
    return F.conv2d(x, weight, bias, at.get("stride", 1), at.get("pad", 0), groups=at.get("num_group", 1))


def fully_connected(at: dict[str, Any], x: Any, weight: Any, bias: Any) -> Any:
    return F.linear(x.flatten(1) if at.get("flatten", True) else x, weight, bias)


def batch_dot(at: dict[str, Any], x: Any, y: Any) -> Any:
    return torch.bmm(x, y.transpose(1, 2) if at.get("transpose_b") else y)


# What the workloads' networks are made of, none of them trained with Dropout; SoftmaxOutput is the loss's part, so its
# scores go on.
OPERATORS = {
    "Activation": lambda at, x: ACTIVATIONS[at["act_type"]](x),
    "BatchNorm": batch_norm,
    "Concat": lambda at, *parts: torch.cat(parts, at.get("dim", 1)),
    "Convolution": convolution,
    "Deconvolution": lambda at, x, weight: F.conv_transpose2d(x, weight, stride=at["stride"]),
    "Dropout": lambda at, x: x,
    "Flatten": lambda at, x: x.flatten(1),
    "FullyConnected": fully_connected,
    "LayerNorm": lambda at, x, gamma, beta: F.layer_norm(x, gamma.shape, gamma, beta, at["eps"]),
    "LeakyReLU": lambda at, x: ACTIVATIONS[at["act_type"]](x),
    "Pooling": pooling,
    "SoftmaxOutput": lambda at, x, label: x,
    "_copy": lambda at, x: x,
    "_div_scalar": lambda at, x: x / at["scalar"],
    "batch_dot": batch_dot,
    "clip": lambda at, x: x.clamp(at["a_min"], at["a_max"]),
    "elemwise_add": lambda at, x, y: x + y,
    "elemwise_mul": lambda at, x, y: x * y,
    "reshape": lambda at, x: x.reshape(at["shape"]),
    "sigmoid": lambda at, x: x.sigmoid(),
    "softmax": lambda at, x: x.softmax(at["axis"]),
    "tanh": lambda at, x: x.tanh(),
    "transpose": lambda at, x: x.permute(at["axes"]),
}
OPERATORS |= {"Reshape": OPERATORS["reshape"], "_Plus": OPERATORS["elemwise_add"], "_plus": OPERATORS["elemwise_add"]}
OPERATORS |= {"_Mul": OPERATORS["elemwise_mul"], "_mul": OPERATORS["elemwise_mul"]}


class Network(torch.nn.Module):
    """What a symbol computes of its inputs, which are given in the order of their names here."""

    def __init__(
        self, nodes: list[Node], inputs: Sequence[str], arrays: dict[str, np.ndarray], is_training: bool
    ) -> None:
        super().__init__()
        self.nodes, self.inputs, self.is_training = nodes, list(inputs), is_training
        for name, value in arrays.items():
            tensor = torch.from_numpy(value)
            if name.endswith(STATES):
                self.register_buffer(name, tensor)
            else:
                self.register_parameter(name, torch.nn.Parameter(tensor))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        values: list[Any] = []
        for node in self.nodes:
            if node.operator == "null":
                # a label is neither an input nor an attribute, and nobody reads it
                is_input = node.name in self.inputs
                values.append(inputs[self.inputs.index(node.name)] if is_input else getattr(self, node.name, None))
                continue
            attributes = {**node.attributes, "is_training": self.is_training}
            values.append(OPERATORS[node.operator](attributes, *(values[i] for i in node.inputs)))
        return values[-1]


def network_of(
    path: str, inputs: Sequence[str], arrays: dict[str, np.ndarray], is_training: bool
) -> torch.fx.GraphModule:
    """The module of the symbol in a file, with these inputs, parameters and states."""
    return torch.fx.symbolic_trace(Network(nodes_of(path), inputs, arrays, is_training).train(is_training))
