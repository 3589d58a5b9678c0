"""Makes models with the real MXNet.   usage: python -m peers.make_models DIR [WORKLOAD ...]  (Python 3.8, mxnet 1.9.1)

Writes for each workload named (for all, if none is) NAME-symbol.json and NAME-0000.params (a checkpoint with seeded
weights), NAME-reference.npz (`input:data` ..., `output:0`, for training `gradient:PARAMETER`), and for inference in
float32 NAME.onnx. MXNet runs unfused here (setup.sh sets MXNET_SUBGRAPH_BACKEND=NONE), so that its own fused variants
are checked as well.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet.contrib.quantization import quantize_model
from mxnet.gluon.model_zoo import vision
from peers import gru_onnx, networks

from workloads import RECURRENT, WORKLOADS, Workload


def symbol_of(workload: Workload) -> mx.sym.Symbol:
    if hasattr(networks, workload.network):
        net = getattr(networks, workload.network)()
    else:
        net = vision.get_model(workload.network, classes=1000, prefix="net_")(mx.sym.var("data"))
    if workload.is_training and workload.network in RECURRENT:
        net = mx.sym.MakeLoss(net)
    elif workload.is_training:
        net = mx.sym.SoftmaxOutput(net, mx.sym.var("softmax_label"), normalization="batch", name="softmax")
    return net


def seeded_parameter(name: str, shape: tuple, rng: np.random.RandomState) -> np.ndarray:
    """He-scaled weights; BatchNorm near, but not at, the identity, so that activations neither vanish nor overflow."""
    if name.endswith("weight"):
        values = rng.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif name == "parameters":
        values = rng.randn(*shape) * 0.05
    elif name.endswith("gamma"):
        values = rng.uniform(0.4, 0.8, shape)
    elif name.endswith("var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif name.endswith(("beta", "bias", "mean")):
        values = rng.randn(*shape) * 0.1
    else:
        raise KeyError(f"no seeded value for parameter {name} {shape}")
    return values.astype(np.float32)


def seeded_input(name: str, shape: tuple, n_classes: int, rng: np.random.RandomState) -> np.ndarray:
    values = rng.randint(0, n_classes, shape) if name.endswith("label") else rng.randn(*shape)
    return values.astype(np.float32)


def checked_gradients(parameters: list[str]) -> list[str]:
    """Some of the gradients: of the first weight (the end of the backward pass), a middle gamma, the last weight.

    Recurrent layers have all their parameters in one array.
    """
    if parameters == ["parameters"]:
        return parameters
    weights = [name for name in parameters if name.endswith("weight")]
    gammas = [name for name in parameters if name.endswith("gamma")]
    return [weights[0], *gammas[len(gammas) // 2 :][:1], weights[-1]]


def in_mxnet(arrays: dict[str, np.ndarray]) -> dict[str, mx.nd.NDArray]:
    return {name: mx.nd.array(value, dtype=value.dtype) for name, value in arrays.items()}


def quantized(symbol: mx.sym.Symbol, args: dict, auxs: dict, inputs: dict) -> tuple[mx.sym.Symbol, dict, dict]:
    """Symbol, parameters and states on 8-bit integers, fused by oneDNN, as GluonCV's files have them."""
    symbol, mx_args, mx_auxs = quantize_model(
        symbol.get_backend_symbol("MKLDNN_QUANTIZE"),
        in_mxnet(args),
        in_mxnet(auxs),
        label_names=None,
        calib_mode="naive",
        calib_data=mx.io.NDArrayIter(inputs["data"], batch_size=len(inputs["data"])),
        quantized_dtype="auto",
        quantize_mode="smart",
    )
    symbol = symbol.get_backend_symbol("MKLDNN_QUANTIZE")
    args, auxs = ({name: value.asnumpy() for name, value in group.items()} for group in (mx_args, mx_auxs))
    return symbol, args, auxs


def reference(
    symbol: mx.sym.Symbol,
    workload: Workload,
    args: dict[str, np.ndarray],
    auxs: dict[str, np.ndarray],
    inputs: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """One run through MXNet: {`output:0`: array, `gradient:NAME`: array}."""
    gradients = checked_gradients(list(args)) if workload.is_training else []
    executor = symbol.bind(
        mx.cpu(),
        in_mxnet({**args, **inputs}),
        args_grad={name: mx.nd.zeros(args[name].shape) for name in gradients},
        grad_req={name: "write" if name in gradients else "null" for name in symbol.list_arguments()},
        aux_states=in_mxnet(auxs),
    )
    outputs = executor.forward(is_train=workload.is_training)
    if gradients:
        executor.backward()
    return {
        **{f"output:{i}": output.asnumpy() for i, output in enumerate(outputs)},
        **{"gradient:" + name: executor.grad_dict[name].asnumpy() for name in gradients},
    }


def make(workload: Workload, directory: Path) -> None:
    symbol = symbol_of(workload)
    # mx.onnx exports a BatchNorm with fix_gamma as if it were free, so such a model would differ between the peers.
    for node in json.loads(symbol.tojson())["nodes"]:
        if node["op"] == "BatchNorm" and node["attrs"].get("fix_gamma", "True") != "False":
            raise ValueError(f"{workload.name}: node {node['name']} has fix_gamma=True")

    rng = np.random.RandomState(0)
    arg_shapes, out_shapes, aux_shapes = symbol.infer_shape(**workload.inputs)
    args = {
        name: seeded_parameter(name, shape, rng)
        for name, shape in zip(symbol.list_arguments(), arg_shapes)
        if name not in workload.inputs
    }
    auxs = {name: seeded_parameter(name, shape, rng) for name, shape in zip(symbol.list_auxiliary_states(), aux_shapes)}
    inputs = {name: seeded_input(name, shape, out_shapes[0][-1], rng) for name, shape in workload.inputs.items()}
    if workload.is_quantized:
        symbol, args, auxs = quantized(symbol, args, auxs, inputs)
    expected = reference(symbol, workload, args, auxs, inputs)

    prefix = str(directory / workload.name)
    mx_args, mx_auxs = map(in_mxnet, (args, auxs))
    mx.model.save_checkpoint(prefix, 0, symbol, mx_args, mx_auxs)
    stored = {**{"input:" + name: value for name, value in inputs.items()}, **expected}
    np.savez(prefix + "-reference.npz", **stored)  # type: ignore[arg-type]
    if not workload.is_training and not workload.is_quantized:
        export_onnx(workload, symbol, {**mx_args, **mx_auxs}, prefix + ".onnx")
    largest = {name: f"{np.abs(value).max():.3g}" for name, value in expected.items()}
    print(f"{workload.name}: max |value| {largest}", flush=True)


def export_onnx(workload: Workload, symbol: mx.sym.Symbol, arrays: dict, path: str) -> None:
    if workload.network == "gru":
        gru_onnx.export(arrays["parameters"].asnumpy(), workload.inputs, path)
        return
    shapes = list(workload.inputs.values())
    mx.onnx.export_model(symbol, arrays, shapes, [np.float32] * len(shapes), path)


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or WORKLOADS:
        make(WORKLOADS[name], directory)


if __name__ == "__main__":
    main()
