"""symc: the same checkpoint through the public interface, NumPy arrays in and NDArrays out on every call."""

from __future__ import annotations

import symc
from symc.core.version import source_digest

from workers.protocol import Prepared, Task, serve

SOURCES = source_digest("")[:8]  # names what is measured; symc.__version__ is that of the MXNet it follows


def prepare(task: Task) -> Prepared:
    symc.set_num_threads(task.n_threads)
    return training(task) if task.workload.is_training else inference(task)


def inference(task: Task) -> Prepared:
    symbol, args, auxs = symc.model.load_checkpoint(task.prefix, 0)
    args.update({name: symc.nd.array(value) for name, value in task.inputs.items()})
    executor = symbol.bind(symc.cpu(), args=args, aux_states=auxs, grad_req="null")
    return Prepared(SOURCES, lambda: executor(**task.inputs), named_outputs)


def training(task: Task) -> Prepared:
    """forward(is_train=True) and backward with the gradient of every parameter; no update of the parameters."""
    symbol, args, auxs = symc.model.load_checkpoint(task.prefix, 0)
    requests = {name: "write" if name in args else "null" for name in symbol.list_arguments()}
    shapes = {name: value.shape for name, value in task.inputs.items()}
    executor = symbol.simple_bind(symc.cpu(), grad_req=requests, **shapes)
    for name, value in args.items():
        executor.arg_dict[name][:] = value
    for name, value in auxs.items():
        executor.aux_dict[name][:] = value

    def call():
        for name in args:
            executor.arg_dict[name]._touch()  # as an update would: weights are packed anew in each step
        executor.forward(is_train=True, **task.inputs)
        executor.backward()  # both return when the work is done
        return executor.outputs

    def results(outputs):
        checked = {"gradient:" + name: executor.grad_dict[name].asnumpy() for name in task.gradients()}
        return {**named_outputs(outputs), **checked}

    return Prepared(SOURCES, call, results)


def named_outputs(outputs):
    return {f"output:{i}": output.asnumpy() for i, output in enumerate(outputs)}


if __name__ == "__main__":
    serve(prepare)
