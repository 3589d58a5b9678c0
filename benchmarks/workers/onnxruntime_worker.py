"""ONNX Runtime, CPU provider, every graph optimisation; its threads spin as they do by default."""

from __future__ import annotations

import onnxruntime

from workers.protocol import Prepared, Task, serve


def prepare(task: Task) -> Prepared:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.n_threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(task.prefix + ".onnx", options, providers=["CPUExecutionProvider"])
    return Prepared(
        onnxruntime.__version__,
        lambda: session.run(None, task.inputs),
        lambda outputs: {f"output:{i}": output for i, output in enumerate(outputs)},
    )


if __name__ == "__main__":
    serve(prepare)
