"""One Executor called by many threads at once: every result must be that of its own input."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from .compare import Mismatch


def _mlp(mx: Any) -> Any:
    hidden = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=64, name="fc1")
    hidden = mx.sym.Activation(hidden, act_type="relu", name="relu1")
    return mx.sym.softmax(mx.sym.FullyConnected(hidden, num_hidden=10, name="fc2"), name="prob")


def _convolutional(mx: Any) -> Any:
    x = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=8, kernel=(3, 3), pad=(1, 1), name="conv")
    x = mx.sym.Pooling(mx.sym.BatchNorm(x, fix_gamma=False, name="bn"), kernel=(2, 2), stride=(2, 2), pool_type="max")
    return mx.sym.FullyConnected(mx.sym.tanh(x), num_hidden=5, name="fc")


NETWORKS = {"mlp": (_mlp, (4, 32)), "convolutional": (_convolutional, (2, 3, 12, 12))}


def check_shared_executor(mx: Any, name: str, n_threads: int, n_calls: int, n_inputs: int = 16) -> None:
    """Each thread calls one Executor `n_calls` times with inputs in its own order; raises Mismatch for a wrong result.

    Results are compared bit for bit with those of single-threaded calls.  Every fourth call has half the batch.
    """
    build, shape = NETWORKS[name]
    random = np.random.RandomState(7)
    executor = build(mx).simple_bind(mx.cpu(), grad_req="null", data=shape)
    for array in (*executor.arg_arrays, *executor.aux_arrays):
        array[:] = random.uniform(0.1, 1.0, array.shape).astype("f4") - 0.3 * (array.ndim > 1)
    inputs = [random.randn(*shape).astype("f4") for _ in range(n_inputs)]
    inputs = [x[: shape[0] // 2] if k % 4 == 3 else x for k, x in enumerate(inputs)]
    wanted = [executor(data=x)[0].asnumpy() for x in inputs]
    wrong: list[str] = []
    start = threading.Barrier(n_threads)

    def work(number: int) -> None:
        order = np.random.RandomState(number).randint(0, n_inputs, n_calls)
        start.wait()
        try:
            for call, k in enumerate(order):
                got = executor(data=inputs[k])[0].asnumpy()
                if not np.array_equal(got, wanted[k]):
                    wrong.append(f"thread {number}, call {call}: {np.abs(got - wanted[k]).max():.3g} off")
        except Exception as error:  # a thread's error would be lost
            wrong.append(f"thread {number}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise Mismatch(f"{len(wrong)} of {n_threads * n_calls} results are wrong; {wrong[0]}")
