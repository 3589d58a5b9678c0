"""PyTorch on the CPU: its modules LSTM and GRU, and symbols, eager or compiled, with MXNet's parameters."""

from __future__ import annotations

from itertools import chain

import numpy as np
import torch

from workers.protocol import Prepared, Task, serve
from workers.torch_symbol import network_of
from workloads import RECURRENT

MODULES = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def prepare(task: Task) -> Prepared:
    torch.set_num_threads(task.n_threads)
    if task.workload.network in RECURRENT:
        return recurrent(task)
    return training_of_symbol(task) if task.workload.is_training else inference_of_symbol(task)


def inference_of_symbol(task: Task) -> Prepared:
    """Compiled, parameters are constants: BatchNorm is folded and weights are packed beforehand (`freezing`)."""
    network = network_of(task.prefix + "-symbol.json", list(task.inputs), task.parameters, is_training=False)
    inputs = [torch.from_numpy(value) for value in task.inputs.values()]
    if task.variant == "compiled":
        torch._inductor.config.freezing = True
        network = torch.compile(network)

    def call():
        with torch.no_grad():
            return network(*inputs)

    return Prepared(torch.__version__, call, lambda out: {"output:0": out.numpy()})


def training_of_symbol(task: Task) -> Prepared:
    """Forward and backward of the mean cross entropy, which is what SoftmaxOutput's gradient belongs to."""
    network = network_of(task.prefix + "-symbol.json", ["data"], task.parameters, is_training=True)
    data, label = (torch.from_numpy(task.inputs[name]) for name in ("data", "softmax_label"))
    label = label.long()

    def loss_of(data, label):
        scores = network(data)
        return torch.nn.functional.cross_entropy(scores, label), scores

    step = torch.compile(loss_of) if task.variant == "compiled" else loss_of

    def call():
        network.zero_grad(set_to_none=True)
        loss, scores = step(data, label)
        loss.backward()
        return scores.detach()

    def results(scores):
        gradients = {"gradient:" + name: network.get_parameter(name).grad.numpy() for name in task.gradients()}
        return {"output:0": scores.softmax(1).numpy(), **gradients}

    return Prepared(torch.__version__, call, results)


def recurrent(task: Task) -> Prepared:
    data, *states = (torch.from_numpy(value) for value in task.inputs.values())
    kind = RECURRENT[task.workload.network]
    n_units = states[0].shape[2]
    module = MODULES[kind.mode](data.shape[2], n_units, kind.n_layers, bidirectional=kind.n_directions == 2)
    parameters = in_order(module)
    flat = torch.from_numpy(task.parameters["parameters"])
    with torch.no_grad():
        for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters])):
            parameter.copy_(part.view_as(parameter))
    first = tuple(states) if len(states) == 2 else states[0]

    def inference():
        with torch.inference_mode():
            return module(data, first)[0]

    def training():
        """Forward and backward with the gradient of every parameter, of the sum of the outputs."""
        module.zero_grad(set_to_none=True)
        out = module(data, first)[0]
        out.backward(ones)
        return out.detach()

    def results(out):
        found = {"output:0": out.numpy()}
        if task.workload.is_training:
            found["gradient:parameters"] = np.concatenate([p.grad.numpy().ravel() for p in parameters])
        return found

    ones = torch.ones(*data.shape[:2], n_units * kind.n_directions)
    return Prepared(torch.__version__, training if task.workload.is_training else inference, results)


def in_order(module: torch.nn.RNNBase) -> list[torch.nn.Parameter]:
    """The parameters as MXNet's array holds them: the matrices of all layers and directions, then all biases."""
    layers = module.all_weights  # (matrix of the data, of the state, bias, bias) of each layer and direction
    return [*chain.from_iterable(layer[:2] for layer in layers), *chain.from_iterable(layer[2:] for layer in layers)]


if __name__ == "__main__":
    serve(prepare)
