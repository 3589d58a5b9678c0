"""MXNet 1.9.1. Variants: `executor` (bind and forward) and `gluon` (SymbolBlock, static_alloc and static_shape).

Fusion (MXNET_SUBGRAPH_BACKEND), the engine (MXNET_ENGINE_TYPE) and threads (OMP_NUM_THREADS) are environment variables,
read once in a process: compare.py sets them. Inputs lie in MXNet's own arrays before the call, so none is copied in it.
"""

from __future__ import annotations

import mxnet as mx

from workers.protocol import Prepared, Task, serve


def prepare(task: Task) -> Prepared:
    if task.workload.is_training:
        return training(task)
    if task.variant.startswith("gluon"):
        return gluon(task)
    return executor(task)


def executor(task: Task) -> Prepared:
    symbol, args, auxs = mx.model.load_checkpoint(task.prefix, 0)
    args.update({name: mx.nd.array(value) for name, value in task.inputs.items()})
    bound = symbol.bind(mx.cpu(), args, aux_states=auxs, grad_req="null")

    def call():
        outputs = bound.forward(is_train=False)
        for output in outputs:
            output.wait_to_read()
        return outputs

    return Prepared(mx.__version__, call, named_outputs)


def gluon(task: Task) -> Prepared:
    net = mx.gluon.SymbolBlock.imports(
        task.prefix + "-symbol.json", list(task.inputs), task.prefix + "-0000.params", ctx=mx.cpu()
    )
    net.hybridize(static_alloc=True, static_shape=True)
    inputs = [mx.nd.array(value) for value in task.inputs.values()]

    def call():
        output = net(*inputs)
        output.wait_to_read()
        return [output]

    return Prepared(mx.__version__, call, named_outputs)


def training(task: Task) -> Prepared:
    """forward(is_train=True) and backward with the gradient of every parameter; no update of the parameters."""
    symbol, args, auxs = mx.model.load_checkpoint(task.prefix, 0)
    gradients = {name: mx.nd.zeros(value.shape) for name, value in args.items()}
    requests = {name: "write" if name in gradients else "null" for name in symbol.list_arguments()}
    args.update({name: mx.nd.array(value) for name, value in task.inputs.items()})
    bound = symbol.bind(mx.cpu(), args, args_grad=gradients, grad_req=requests, aux_states=auxs)

    def call():
        outputs = bound.forward(is_train=True)
        bound.backward()
        mx.nd.waitall()
        return outputs

    def results(outputs):
        checked = {"gradient:" + name: bound.grad_dict[name].asnumpy() for name in task.gradients()}
        return {**named_outputs(outputs), **checked}

    return Prepared(mx.__version__, call, results)


def named_outputs(outputs):
    return {f"output:{i}": output.asnumpy() for i, output in enumerate(outputs)}


if __name__ == "__main__":
    serve(prepare)
