"""What PyTorch (cuBLAS, cuDNN) takes for the workloads of first_light.py: eager, compiled, as a CUDA graph."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from workers.torch_symbol import network_of

Arrays = Mapping[str, torch.Tensor]
OPERATORS: dict[str, Callable[[Arrays], torch.Tensor]] = {
    "relu(x + y)": lambda a: torch.relu(a["x"] + a["y"]),
    "tanh": lambda a: torch.tanh(a["x"]),
    "transpose": lambda a: a["x"].t().contiguous(),
    "softmax": lambda a: a["x"].softmax(-1),
    "LayerNorm": lambda a: F.layer_norm(a["x"], a["norm_gamma"].shape, a["norm_gamma"], a["norm_beta"], 1e-5),
    "sum of rows": lambda a: a["x"].sum(1),
    "sum of columns": lambda a: a["x"].sum(0),
    "order of rows": lambda a: a["x"].argsort(-1).float(),
    "dot": lambda a: a["x"] @ a["y"],
    "FullyConnected, 1 row": lambda a: F.linear(a["x"], a["fc_weight"]),
    "Convolution 3x3": lambda a: F.conv2d(a["x"], a["c_weight"], padding=1),
}
OPERATORS |= {"dot, float16": OPERATORS["dot"], "Convolution, float16": OPERATORS["Convolution 3x3"]}


def bert_layer(a: Arrays) -> torch.Tensor:
    """roofline.bert_layer."""
    x = a["data"]

    def dense(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, a[f"{name}_weight"], a[f"{name}_bias"])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], a[f"{name}_gamma"], a[f"{name}_beta"], 1e-5)

    heads = [dense(x, n).unflatten(2, (12, 64)).transpose(1, 2) for n in ("query", "key", "value")]
    mixed = F.scaled_dot_product_attention(*heads)
    x = norm(x + dense(mixed.transpose(1, 2).flatten(2), "out"), "first")
    return norm(x + dense(F.gelu(dense(x, "wide")), "back"), "last")


def lstm(a: Arrays) -> Callable[[], torch.Tensor]:
    """roofline.lstm, by cuDNN."""
    n_units, device = a["state"].shape[2], a["data"].device
    module = torch.nn.LSTM(a["data"].shape[2], n_units, 2).to(device)
    layers = module.all_weights
    parameters = [p for layer in layers for p in layer[:2]] + [p for layer in layers for p in layer[2:]]
    with torch.no_grad():
        for parameter, part in zip(parameters, a["parameters"].split([p.numel() for p in parameters])):
            parameter.copy_(part.view_as(parameter))
    return lambda: module(a["data"], (a["state"], a["state_cell"]))[0]


def function_of(name: str, symbol: Any, arrays: Mapping[str, np.ndarray], device: str) -> Callable[[], torch.Tensor]:
    """A workload's function of no arguments, over tensors on a device."""
    tensors = {key: torch.from_numpy(value).to(device) for key, value in arrays.items()}
    if name.startswith("LSTM"):
        return lstm(tensors)
    if name.startswith("BERT"):
        return lambda: bert_layer(tensors)
    if name in OPERATORS:
        return lambda: OPERATORS[name](tensors)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(symbol.tojson())
        file.flush()
        parameters = {key: value for key, value in arrays.items() if key != "data"}
        network = network_of(file.name, ["data"], parameters, is_training=False).to(device)
    network = network.to(memory_format=torch.channels_last)
    data = tensors["data"].contiguous(memory_format=torch.channels_last)
    return lambda: network(data).softmax(1)  # the symbols' SoftmaxOutput, which `network_of` leaves to a loss


def times(
    name: str, symbol: Any, arrays: Mapping[str, np.ndarray], allow_tf32: bool, n_runs: int, is_over: Callable[[], bool]
) -> dict[str, Any]:
    """Microseconds of a call in each way, and the output; compiles only while `is_over` denies."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allow_tf32
    with torch.no_grad():
        call = function_of(name, symbol, arrays, "cuda")
        found = {"output": call().float().cpu().numpy(), "eager": time_us(call, n_runs)}
        found["graph"] = time_us(captured(call), n_runs)
        if not is_over():
            found["compiled"] = time_us(torch.compile(call), n_runs)
    return found


def captured(call: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """The call as one graph; called before, so that libraries have chosen their kernels."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def time_us(call: Callable[[], Any], n_runs: int) -> float:
    """The least time of a call of those that are waited for alone, by the host's clock, as first_light.py measures."""
    for _ in range(3):
        call()
    best = float("inf")
    for _ in range(n_runs):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best * 1e6
