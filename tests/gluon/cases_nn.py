"""Every layer: names, texts, parameters, outputs, gradients and the graph it is traced to."""

from __future__ import annotations

import json

import numpy as np


def layer(make, *shapes, trained=True, of_input=True):
    """A case: the layer made by `make(nn)`, over arrays of these shapes."""

    def run(mx, folder):
        block = make(mx.gluon.nn)
        found = {"prefix": block.prefix, "before": repr(block)}
        rng = np.random.RandomState(3)
        inputs = [mx.nd.array(rng.uniform(0.5, 2.5, size=shape)) for shape in shapes]
        if of_input:
            inputs[0].attach_grad()
        block.initialize(mx.init.One())
        block(*inputs)
        found["after"] = repr(block)
        found["parameters"] = {n: [repr(p), p.grad_req] for n, p in block.collect_params().items()}
        for parameter in block.collect_params().values():
            parameter.set_data(mx.nd.array(rng.uniform(0.5, 1.5, size=parameter.shape)))
        for is_hybrid in (False, True):
            if hasattr(block, "_active"):
                block.hybridize(is_hybrid)
            with mx.autograd.record(train_mode=trained):
                out = block(*inputs)
            out.backward(mx.nd.array(np.random.RandomState(4).normal(size=out.shape)))
            found[f"out {is_hybrid}"] = [list(out.shape), out.sum(), out.reshape(-1)[:4]]
            found[f"gradient {is_hybrid}"] = inputs[0].grad.norm() if of_input else None
            found[f"gradients {is_hybrid}"] = {
                n: p.grad().norm() for n, p in block.collect_params().items() if p.grad_req != "null"
            }
        found["predicted"] = block(*inputs).sum()
        if getattr(block, "_cached_graph", None):
            found["symbol"] = json.loads(block._cached_graph[1].tojson())
        return found

    return run


IMAGE, LINE, CUBE = (2, 4, 6, 5), (2, 4, 7), (2, 4, 5, 4, 3)

CASES = {
    "Dense": layer(lambda nn: nn.Dense(3, activation="sigmoid"), (2, 3, 4)),
    "Dense flat": layer(lambda nn: nn.Dense(3, use_bias=False, flatten=False, in_units=4), (2, 3, 4)),
    "Dropout": layer(lambda nn: nn.Dropout(0.5), (2, 3), trained=False),
    "Dropout 0": layer(lambda nn: nn.Dropout(0.0), (2, 3)),
    "BatchNorm": layer(lambda nn: nn.BatchNorm(), IMAGE),
    "BatchNorm plain": layer(lambda nn: nn.BatchNorm(axis=3, scale=False, center=False, in_channels=5), IMAGE),
    "BatchNorm global": layer(lambda nn: nn.BatchNorm(use_global_stats=True, momentum=0.5, epsilon=0.1), IMAGE),
    "InstanceNorm": layer(lambda nn: nn.InstanceNorm(scale=True), IMAGE),
    "InstanceNorm axis": layer(lambda nn: nn.InstanceNorm(axis=2, epsilon=0.1), IMAGE),
    "LayerNorm": layer(lambda nn: nn.LayerNorm(), LINE),
    "LayerNorm axis": layer(lambda nn: nn.LayerNorm(axis=1, scale=False), LINE),
    "GroupNorm": layer(lambda nn: nn.GroupNorm(num_groups=2), IMAGE),
    "Embedding": layer(lambda nn: nn.Embedding(4, 3), (2, 3), of_input=False),
    "Flatten": layer(lambda nn: nn.Flatten(), LINE),
    "Activation": layer(lambda nn: nn.Activation("softrelu"), LINE),
    "LeakyReLU": layer(lambda nn: nn.LeakyReLU(0.1), LINE),
    "PReLU": layer(lambda nn: nn.PReLU(in_channels=4), LINE),
    "ELU": layer(lambda nn: nn.ELU(0.5), LINE),
    "SELU": layer(lambda nn: nn.SELU(), LINE),
    "GELU": layer(lambda nn: nn.GELU(), LINE),
    "Swish": layer(lambda nn: nn.Swish(2.0), LINE),
    "Lambda": layer(lambda nn: nn.Lambda("tanh"), LINE),
    "Lambda function": layer(lambda nn: nn.Lambda(lambda x: x * 2), LINE),
    "HybridLambda": layer(lambda nn: nn.HybridLambda("exp"), LINE),
    "HybridLambda function": layer(lambda nn: nn.HybridLambda(lambda F, x: F.sqrt(x)), LINE),
    "Conv1D": layer(lambda nn: nn.Conv1D(3, 3, strides=2, padding=1, dilation=2), LINE),
    "Conv2D": layer(lambda nn: nn.Conv2D(4, (3, 2), groups=2, padding=(1, 0), activation="relu"), IMAGE),
    "Conv2D plain": layer(lambda nn: nn.Conv2D(3, 1, use_bias=False, in_channels=4), IMAGE),
    "Conv3D": layer(lambda nn: nn.Conv3D(2, 2), CUBE),
    "Conv1DTranspose": layer(lambda nn: nn.Conv1DTranspose(3, 3, strides=2, output_padding=1), LINE),
    "Conv2DTranspose": layer(
        lambda nn: nn.Conv2DTranspose(4, 3, strides=(2, 1), padding=1, groups=2, in_channels=4), IMAGE
    ),
    "Conv3DTranspose": layer(lambda nn: nn.Conv3DTranspose(2, 2, use_bias=False), CUBE),
    "ReflectionPad2D": layer(lambda nn: nn.ReflectionPad2D(2), IMAGE),
    "MaxPool1D": layer(lambda nn: nn.MaxPool1D(), LINE),
    "MaxPool2D": layer(lambda nn: nn.MaxPool2D((3, 2), strides=2, padding=1, ceil_mode=True), IMAGE),
    "MaxPool3D": layer(lambda nn: nn.MaxPool3D(), CUBE),
    "AvgPool1D": layer(lambda nn: nn.AvgPool1D(3, 2, 1), LINE),
    "AvgPool2D": layer(lambda nn: nn.AvgPool2D(3, padding=1, count_include_pad=False), IMAGE),
    "AvgPool3D": layer(lambda nn: nn.AvgPool3D(2), CUBE),
    "GlobalMaxPool1D": layer(lambda nn: nn.GlobalMaxPool1D(), LINE),
    "GlobalMaxPool2D": layer(lambda nn: nn.GlobalMaxPool2D(), IMAGE),
    "GlobalMaxPool3D": layer(lambda nn: nn.GlobalMaxPool3D(), CUBE),
    "GlobalAvgPool1D": layer(lambda nn: nn.GlobalAvgPool1D(), LINE),
    "GlobalAvgPool2D": layer(lambda nn: nn.GlobalAvgPool2D(), IMAGE),
    "GlobalAvgPool3D": layer(lambda nn: nn.GlobalAvgPool3D(), CUBE),
}
