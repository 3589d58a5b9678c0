"""Whole networks: names, structure, files, and losses of training steps."""

from __future__ import annotations

import contextlib
import io
import json
import os

import numpy as np

try:
    from recorded import refusal  # by MXNet's Python
except ImportError:
    from .recorded import refusal


def lenet(mx, prefix="lenet_"):
    """Convolutions, batch normalization and dense layers."""
    nn = mx.gluon.nn
    net = nn.HybridSequential(prefix=prefix)
    with net.name_scope():
        net.add(
            nn.Conv2D(6, kernel_size=5, padding=2, activation="relu"),
            nn.MaxPool2D(pool_size=2, strides=2),
            nn.Conv2D(16, kernel_size=3),
            nn.BatchNorm(),
            nn.Activation("tanh"),
            nn.MaxPool2D(2, 2),
            nn.Flatten(),
            nn.Dense(32, activation="relu"),
            nn.Dense(10),
        )
    return net


def batch(mx):
    rng = np.random.RandomState(0)
    return mx.nd.array(rng.normal(size=(8, 1, 12, 12))), mx.nd.array(rng.randint(0, 10, 8))


def fill(mx, net, x):
    """Weights that do not depend on a library's random numbers."""
    rng = np.random.RandomState(1)
    net.initialize(mx.init.Zero())
    net(x)
    for name, parameter in net.collect_params().items():
        if not name.endswith(("gamma", "running_mean", "running_var")):
            parameter.set_data(mx.nd.array(rng.normal(size=parameter.shape) * 0.2))


def train(mx, net, x, y, n_steps, **options):
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    options = {"learning_rate": 0.1, "momentum": 0.9, "wd": 0.01, **options}
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", options)
    losses = []
    for step in range(n_steps):
        if step == 2:
            net.hybridize(static_alloc=True, static_shape=True)
        with mx.autograd.record():
            value = loss(net(x), y)
        value.backward()
        trainer.step(len(y))
        losses.append(value.mean().asscalar())
    return trainer, losses


def printed(function, *args):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        function(*args)
    return out.getvalue()


def training(mx, folder):
    """Two steps operator by operator, three hybridized, then all the files."""
    net, (x, y) = lenet(mx), batch(mx)
    found = {"before": repr(net)}
    fill(mx, net, x)
    _, found["losses"] = train(mx, net, x, y, 5)
    path = os.path.join(folder, "net")
    net.export(path, epoch=3)
    net.save_parameters(f"{path}.params")
    net.collect_params().save(f"{path}.full", strip_prefix="lenet_")
    with open(f"{path}-symbol.json") as file:
        found["symbol"] = json.load(file)
    for name in ("net-0003.params", "net.params", "net.full"):
        arrays = mx.nd.load(os.path.join(folder, name))
        found[name] = {key: [list(a.shape), a.norm().asscalar()] for key, a in arrays.items()}
    block = mx.gluon.SymbolBlock.imports(f"{path}-symbol.json", "data", f"{path}-0003.params")
    found["imported"] = [repr(block), block(x)[:2], sorted(block._reg_params)]
    net.hybridize(False)
    found["summary"] = printed(net.summary, x)
    found["after"] = repr(net), repr(net.collect_params(".*weight")), repr(net[1:3])
    other = lenet(mx, prefix="other_")
    other.load_parameters(f"{path}.params")
    found["loaded"] = other(x)[:2]
    return found


def other_arrays(mx, folder):
    """A hybridized block computes with the arrays that its parameters hold now, on the context of what it is given."""
    net = mx.gluon.nn.Dense(2, in_units=3)
    net.initialize(mx.init.One())
    net.hybridize()
    x = mx.nd.array([[1.0, 2.0, 3.0]])
    found = {"first": net(x)}
    net.weight.set_data(2 * net.weight.data())
    found["written"] = net(x)
    net.initialize(mx.init.Constant(0.5), force_reinit=True)
    found["initialized again"] = net(x)
    net.save_parameters(os.path.join(folder, "dense.params"))
    net.weight.set_data(mx.nd.zeros((2, 3)))
    net.load_parameters(os.path.join(folder, "dense.params"))
    found["loaded"] = net(x)
    net.weight.grad_req = "null"
    net.weight.data()[:] = 3
    found["without a gradient"] = net(x)
    net.cast("float64")
    found["cast"] = [net(x.astype("float64")), net(x.astype("float64")).dtype.__name__]
    net.cast("float32")
    both = [mx.cpu(0), mx.cpu(1)]
    net.collect_params().reset_ctx(both)
    net.weight.data(both[1])[:] = 5
    found["two contexts"] = [net(x.copyto(both[k])) for k in (0, 1, 0, 1)]
    net.collect_params().reset_ctx(both[1])
    found["moved"] = net(x.copyto(both[1]))
    found["left"] = refusal(net, x.copyto(both[0]))[0]  # the words are the library's own
    return found


def saved_models(mx, folder):
    """`save` of a Block with traced parts, `load` into one whose names are others."""

    class Two(mx.gluon.nn.Block):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.first, self.second = mx.gluon.nn.Dense(3), mx.gluon.nn.HybridSequential()
            self.second.add(mx.gluon.nn.Dense(2), mx.gluon.nn.BatchNorm())

        def forward(self, x):
            return self.second(self.first(x))

    def without_graphs(content):
        if not isinstance(content, dict):
            return content
        return {k: without_graphs(v) for k, v in content.items() if k not in ("inputs", "symbol")}

    x, net = mx.nd.array([[1.0, 2.0], [3.0, 5.0]]), Two()
    net.initialize()
    net.hybridize()
    net(x)
    for k, parameter in enumerate(net.collect_params().values()):
        parameter.set_data(0.1 * mx.nd.arange(parameter.data().size).reshape(parameter.shape) + k + 1)
    path = os.path.join(folder, "two")
    net.save(path)
    other = Two()
    other.load(path)
    with open(f"{path}-model.json") as file:
        content = json.load(file)
    names = [other.name, other.first.name, *other.second._children, *other.collect_params()]
    graph = content["two0"]["dense1"]["symbol"]
    return {"file": without_graphs(content), "symbol": json.loads(graph), "names": names, "out": [net(x), other(x)]}


CASES = {"training": training, "other_arrays": other_arrays, "saved models": saved_models}
