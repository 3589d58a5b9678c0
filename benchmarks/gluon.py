"""Gluon and Module scripts in symc, in the real MXNet and in PyTorch: calls and training steps, the update included.

    python benchmarks/gluon.py --mxnet PYTHON [--torch PYTHON] [--workloads MLP,LeNet] [--threads 1,2] [--rounds 10]

PYTHON is the interpreter of an environment with MXNet 1.9.1 or PyTorch (benchmarks/peers/setup.sh DIR makes
DIR/mxnet/bin/python and DIR/torch/bin/python). symc and MXNet run the functions of this file, PyTorch those of
torch_steps.py, eager and compiled, each contestant in a process of its own that works only when it has its turn; the
losses of the first steps, from equal weights, must agree.  See benchmarks/README.md
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

TURN_S = 0.3
LOSSES = 5  # steps whose losses are compared
TOLERANCE = 1e-2  # of the largest loss: rounding grows from step to step, and decides ties under a maximum


def equal_weights(net, mx):
    """Parameters by their order: what NumPy draws is the same in both."""
    rng = np.random.RandomState(0)
    for parameter in net.collect_params().values():
        if parameter.grad_req != "null":
            fan_in = max(1, int(np.prod(parameter.shape[1:])))
            parameter.set_data(mx.nd.array(rng.normal(size=parameter.shape) / np.sqrt(fan_in)))


def mlp(mx):
    net = mx.gluon.nn.HybridSequential()
    with net.name_scope():
        net.add(mx.gluon.nn.Dense(256, activation="relu"), mx.gluon.nn.Dense(128, activation="relu"))
        net.add(mx.gluon.nn.Dense(2))
    return net


def lenet(mx):
    nn = mx.gluon.nn
    net = nn.HybridSequential()
    with net.name_scope():
        net.add(nn.Conv2D(20, 5, activation="tanh"), nn.MaxPool2D(2, 2), nn.Conv2D(50, 5, activation="tanh"))
        net.add(nn.MaxPool2D(2, 2), nn.Flatten(), nn.Dense(500, activation="tanh"), nn.Dense(10))
    return net


def resnet(mx):
    return mx.gluon.model_zoo.vision.resnet18_v1(classes=10)


def language_model(mx):
    class Model(mx.gluon.HybridBlock):
        """Words (T, N) -> scores (T, N, 1000)."""

        def __init__(self):
            super().__init__()
            with self.name_scope():
                self.embedding = mx.gluon.nn.Embedding(1000, 200)
                self.lstm = mx.gluon.rnn.LSTM(200, 2, input_size=200)
                self.decoder = mx.gluon.nn.Dense(1000, flatten=False)

        def hybrid_forward(self, F, x):
            return self.decoder(self.lstm(self.embedding(x)))

    return Model()


def calls(net, mx, shape, hybrid, **flags):
    """Predictions, read by the caller."""
    net.initialize()
    x = mx.nd.array(np.random.RandomState(1).normal(size=shape))
    net(x)
    equal_weights(net, mx)
    if hybrid:
        net.hybridize(**flags)

    def call():
        out = net(x)
        out.wait_to_read()
        return out

    return lambda: float(np.abs(call().asnumpy()).sum()), call


def steps(net, mx, data, labels):
    """A hybridized block, softmax cross entropy, SGD with momentum by a Trainer."""
    net.initialize()
    x, y = mx.nd.array(data), mx.nd.array(labels)
    net(x)
    equal_weights(net, mx)
    net.hybridize(static_alloc=True, static_shape=True)
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    loss.hybridize()
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.01, "momentum": 0.9})

    def step():
        with mx.autograd.record():
            out = loss(net(x), y)
        out.backward()
        trainer.step(len(data))
        mx.nd.waitall()  # else MXNet updates in the other's turn
        return out

    return lambda: float(step().mean().asscalar()), step


def module_steps(net, mx, data, labels):
    """The same network as a symbol with SoftmaxOutput, trained by Module."""
    net.initialize()
    net(mx.nd.array(data))
    equal_weights(net, mx)
    symbol = mx.sym.SoftmaxOutput(net(mx.sym.Variable("data")), name="softmax")
    module = mx.mod.Module(symbol)
    batch = mx.io.DataBatch([mx.nd.array(data)], [mx.nd.array(labels)])
    module.bind([("data", data.shape)], [("softmax_label", labels.shape)])
    values = {name: parameter.data() for name, parameter in net.collect_params().items()}
    states = symbol.list_auxiliary_states()
    module.init_params(
        arg_params={k: v for k, v in values.items() if k not in states},
        aux_params={k: v for k, v in values.items() if k in states},
    )
    module.init_optimizer(optimizer_params={"learning_rate": 0.01, "momentum": 0.9})

    def step():
        module.forward_backward(batch)
        module.update()

    def loss():
        step()
        chosen = module.get_outputs()[0].asnumpy()[np.arange(len(labels)), labels.astype(int)]
        return float(-np.log(chosen).mean())

    def timed():
        step()
        mx.nd.waitall()

    return loss, timed


def images(n, *shape, classes=10):
    rng = np.random.RandomState(2)
    return rng.normal(size=(n, *shape)).astype("float32"), rng.randint(0, classes, n).astype("float32")


def words(length, n):
    rng = np.random.RandomState(3)
    return [rng.randint(0, 1000, (length, n)).astype("float32") for _ in range(2)]


DATA = {
    "MLP": lambda: images(64, 512, classes=2),
    "LeNet": lambda: images(64, 1, 28, 28),
    "ResNet-18": lambda: images(8, 3, 64, 64),
    "LSTM": lambda: words(35, 32),
}

WORKLOADS = {
    "MLP call": lambda mx: calls(mlp(mx), mx, (1, 512), hybrid=False),
    "MLP call hybridized": lambda mx: calls(mlp(mx), mx, (1, 512), hybrid=True),
    "MLP call static": lambda mx: calls(mlp(mx), mx, (1, 512), hybrid=True, static_alloc=True, static_shape=True),
    "MLP step 64": lambda mx: steps(mlp(mx), mx, *DATA["MLP"]()),
    "MLP step 64 Module": lambda mx: module_steps(mlp(mx), mx, *DATA["MLP"]()),
    "LeNet step 64": lambda mx: steps(lenet(mx), mx, *DATA["LeNet"]()),
    "LeNet step 64 Module": lambda mx: module_steps(lenet(mx), mx, *DATA["LeNet"]()),
    "ResNet-18 step 8": lambda mx: steps(resnet(mx), mx, *DATA["ResNet-18"]()),
    "ResNet-18 step 8 Module": lambda mx: module_steps(resnet(mx), mx, *DATA["ResNet-18"]()),
    "LSTM language model step 35x32": lambda mx: steps(language_model(mx), mx, *DATA["LSTM"]()),
}


def work(package, name):
    """The process of a contestant: prints its first losses, then answers each line `n` by the seconds of n calls."""
    if package.startswith("torch"):
        import torch_steps

        data = DATA[name.split()[0]]()
        loss, call = torch_steps.steps(name, *data, int(os.environ["OMP_NUM_THREADS"]), package == COMPILED)
    else:
        loss, call = WORKLOADS[name](importlib.import_module(package))
    print(json.dumps([loss() for _ in range(LOSSES)]), flush=True)
    for line in sys.stdin:
        n = int(line)
        start = time.perf_counter()
        for _ in range(n):
            call()
        print(json.dumps(time.perf_counter() - start), flush=True)


COMPILED = "torch compiled"


class Contestant:
    def __init__(self, python, package, name, n_threads):
        environment = os.environ | {"SYMC_NUM_THREADS": str(n_threads), "OMP_NUM_THREADS": str(n_threads)}
        command = [python, __file__, "--work", package, name]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.losses = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self.process.args)} ended:\n{self.process.stderr.read()[-2000:]}")
        return json.loads(line)

    def seconds(self, n_calls):
        self.process.stdin.write(f"{n_calls}\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(name, pythons, n_threads, rounds):
    """Times of a call by package (medians, seconds), how many times symc's the best other took in each round, and by
    how much the losses of any other differ from symc's."""
    packages = [p for p in pythons if not p.startswith("torch") or "step" in name]
    all_of_them = [Contestant(pythons[p], p, name, n_threads) for p in packages]
    for each in all_of_them:
        each.seconds(3)
    n_calls = max(2, int(TURN_S / max(each.seconds(5) / 5 for each in all_of_them)))
    turns = [[each.seconds(n_calls) / n_calls for each in all_of_them] for _ in range(rounds)]
    for each in all_of_them:
        each.close()
    medians = dict(zip(packages, (statistics.median(times) for times in zip(*turns))))
    own, *others = (each.losses for each in all_of_them)
    error = max(abs(a - b) for losses in others for a, b in zip(own, losses)) / max(own)
    return medians, sorted(min(others) / ours for ours, *others in turns), error


def main():
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:4])
        return
    parser = argparse.ArgumentParser(description="Gluon and Module in symc and its peers; see benchmarks/README.md")
    parser.add_argument("--mxnet", required=True, metavar="PYTHON", help="interpreter of an environment with MXNet")
    parser.add_argument("--torch", metavar="PYTHON", help="of one with PyTorch")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="parts of names, by commas (default: all)")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    pythons = {"symc": sys.executable, "mxnet": arguments.mxnet}
    if arguments.torch:
        pythons |= {"torch": arguments.torch, COMPILED: arguments.torch}
    wanted = [part.strip() for part in arguments.workloads.split(",")]
    columns = "".join(f"{p + ' us':>18}" for p in pythons)
    print(f"{'':32}{'threads':>8}{columns}  symc is faster than the best by (range)   losses differ by")
    for name in (n for n in WORKLOADS if n in wanted or any(part in n for part in wanted)):
        for n_threads in map(int, arguments.threads.split(",")):
            times, ratios, error = compare(name, pythons, n_threads, arguments.rounds)
            columns = "".join(f"{times[p] * 1e6:18.1f}" if p in times else f"{'':18}" for p in pythons)
            verdict = f"{error:.1e}" if error < TOLERANCE else f"{error:.1e} WRONG"
            faster_by = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            print(f"{name:32}{n_threads:8}{columns}  {faster_by:38}  {verdict}", flush=True)


if __name__ == "__main__":
    main()
