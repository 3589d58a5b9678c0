"""Examples of MXNet's reference, as they stand there; weights that they download are drawn."""

from __future__ import annotations

import contextlib
import io
import os

import numpy as np


@contextlib.contextmanager
def drawn_weights(mx, folder, size):
    """Lets `pretrained=True` read weights of the right shapes, for images of this size."""
    store = mx.gluon.model_zoo.model_store
    before, values = store.get_model_file, np.random.RandomState(1).normal(size=9973).astype("float32")
    constants = {"gamma": 1, "beta": 0, "running_mean": 0, "running_var": 1}

    def drawn(name, parameter):
        constant = constants.get(name.rsplit(".", 1)[-1])
        if constant is not None:
            return mx.nd.full(parameter.shape, constant)
        n_inputs = np.prod(parameter.shape[1:]) if len(parameter.shape) > 1 else 100
        return mx.nd.array(np.resize(values * np.float32(np.sqrt(2 / n_inputs)), parameter.shape))

    def get_model_file(name, root=None):
        net = mx.gluon.model_zoo.vision.get_model(name)
        net.infer_shape(mx.nd.zeros((1, 3, size, size)))
        path = os.path.join(folder, f"{name}.params")
        mx.nd.save(path, {n: drawn(n, p) for n, p in net._collect_params_with_prefix().items()})
        return path

    store.get_model_file = get_model_file
    try:
        yield
    finally:
        store.get_model_file = before


def image(mx, size):
    return mx.nd.array(np.random.RandomState(0).normal(size=(1, 3, size, size)))


def features(mx, folder):
    """gluon.SymbolBlock: the feature from fc1 and fc2 layers of AlexNet; of small images, which need fewer weights."""
    gluon = mx.gluon
    with drawn_weights(mx, folder, 64):
        alexnet = gluon.model_zoo.vision.alexnet(pretrained=True, ctx=mx.cpu(), prefix="model_")
    inputs = mx.sym.var("data")
    out = alexnet(inputs)
    internals = out.get_internals()
    outputs = [internals["model_dense0_relu_fwd_output"], internals["model_dense1_relu_fwd_output"]]
    feat_model = gluon.SymbolBlock(outputs, inputs, params=alexnet.collect_params())
    found = feat_model(image(mx, 64))
    return {
        "internals": internals.list_outputs(),
        "shapes": [x.shape for x in found],
        "norms": [x.norm() for x in found],
        "first": [x[0, :5] for x in found],
    }


def exported(mx, folder):
    """gluon.SymbolBlock.imports: a network that was exported."""
    gluon = mx.gluon
    with drawn_weights(mx, folder, 32):
        net1 = gluon.model_zoo.vision.resnet18_v1(prefix="resnet", pretrained=True)
    net1.hybridize()
    x = image(mx, 32)
    out1 = net1(x)
    path = os.path.join(folder, "net1")
    net1.export(path, epoch=1)
    net2 = gluon.SymbolBlock.imports(f"{path}-symbol.json", ["data"], f"{path}-0001.params")
    out2 = net2(x)
    return [out1.shape, out1[0, :5], out1.norm(), out2[0, :5], out2.norm()]


def summary(name):
    """print_summary of a network of the zoo."""

    def run(mx, folder):
        net = mx.gluon.model_zoo.vision.get_model(name)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            mx.viz.print_summary(net(mx.sym.var("data")), shape={"data": (1, 3, 224, 224)})
        return out.getvalue().splitlines()

    return run


def selected(mx, folder):
    """gluon.Block.collect_params: parameters by names and by regular expressions."""
    model = mx.gluon.nn.Sequential(prefix="")
    for layer in mx.gluon.nn.Conv2D(2, 3, prefix="conv1_"), mx.gluon.nn.Dense(3, prefix="fc_"):
        model.add(layer)
    model.add(mx.gluon.nn.BatchNorm(prefix="bn_"))
    return [
        list(model.collect_params("conv1_weight|conv1_bias|fc_weight|fc_bias")),
        list(model.collect_params(".*weight|.*bias")),
        list(model.collect_params()),
    ]


CASES = {
    "features": features,
    "exported": exported,
    "summary of alexnet": summary("alexnet"),
    "summary of resnet18_v1": summary("resnet18_v1"),
    "selected": selected,
}
