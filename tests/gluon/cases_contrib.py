"""Contributed layers and samplers."""

from __future__ import annotations

import json

import numpy as np


def layer(name, *args, **kwargs):
    """A case: texts, parameters, the output and the nodes of a contributed convolution."""

    def run(mx, folder):
        block = getattr(mx.gluon.contrib.cnn, name)(*args, **kwargs)
        found = {"prefix": block.prefix, "before": repr(block)}
        rng = np.random.RandomState(3)
        x = mx.nd.array(rng.normal(size=(2, 4, 5, 6)))
        block.initialize()
        block(x)
        found["after"] = repr(block)
        parameters = sorted(block.collect_params().items())
        found["parameters"] = [repr(p) for _, p in parameters]
        for _, parameter in parameters:
            parameter.set_data(mx.nd.array(rng.uniform(-0.3, 0.3, size=parameter.shape)))
        out = block(x)
        found["out"] = [list(out.shape), out.sum(), (out * out).sum()]
        found["nodes"] = [[n["op"], n["name"]] for n in json.loads(block(mx.sym.var("x")).tojson())["nodes"]]
        return found

    return run


def intervals(mx, folder):
    sampler = mx.gluon.contrib.data.IntervalSampler
    return [list(sampler(7, 3)), list(sampler(7, 3, rollover=False)), len(sampler(7, 3))]


CASES = {
    "DeformableConvolution": layer("DeformableConvolution", 6, (3, 2), 2, 1, groups=2, activation="relu"),
    "ModulatedDeformableConvolution": layer(
        "ModulatedDeformableConvolution", 4, 3, num_deformable_group=2, use_bias=False, offset_use_bias=False
    ),
    "IntervalSampler": intervals,
}
