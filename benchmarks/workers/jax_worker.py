"""JAX on the CPU: a symbol as one function that XLA compiles, with MXNet's parameters.

For inference they are constants of the function, so that XLA folds what it can.
"""

from __future__ import annotations

import os

import jax
import numpy as np
from jax import numpy as jnp

from workers.jax_symbol import function_of
from workers.protocol import Prepared, Task, serve


def prepare(task: Task) -> Prepared:
    assert os.environ["NPROC"] == str(task.n_threads), "XLA takes its number of threads from there"
    return (training if task.workload.is_training else inference)(task)


def inference(task: Task) -> Prepared:
    network = function_of(task.prefix + "-symbol.json", is_training=False)
    parameters = in_jax(task.parameters)
    compiled = jax.jit(lambda inputs: network({**parameters, **inputs}))
    inputs = in_jax(task.inputs)
    return Prepared(
        jax.__version__,
        lambda: compiled(inputs).block_until_ready(),
        lambda out: {"output:0": np.asarray(out)},
    )


def training(task: Task) -> Prepared:
    """Forward and backward of the mean cross entropy, which is what SoftmaxOutput's gradient belongs to."""
    network = function_of(task.prefix + "-symbol.json", is_training=True)
    inputs = in_jax(task.inputs)
    parameters = {name: value for name, value in in_jax(task.parameters).items() if not name.endswith(("mean", "var"))}
    label = inputs["softmax_label"].astype(jnp.int32)

    def loss_of(parameters):
        scores = network({**parameters, "data": inputs["data"]})
        return -jnp.take_along_axis(jax.nn.log_softmax(scores), label[:, None], 1).mean(), scores

    step = jax.jit(jax.grad(loss_of, has_aux=True))

    def call():
        return jax.block_until_ready(step(parameters))

    def results(outcome):
        gradients, scores = outcome
        found = {"gradient:" + name: np.asarray(gradients[name]) for name in task.gradients()}
        return {"output:0": np.asarray(jax.nn.softmax(scores)), **found}

    return Prepared(jax.__version__, call, results)


def in_jax(arrays):
    return {name: jnp.asarray(value) for name, value in arrays.items()}


if __name__ == "__main__":
    serve(prepare)
