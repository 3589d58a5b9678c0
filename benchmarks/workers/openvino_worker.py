"""OpenVINO on the CPU in float32, with its latency hint; inputs and outputs are shared, not copied."""

from __future__ import annotations

import openvino

from workers.protocol import Prepared, Task, serve


def prepare(task: Task) -> Prepared:
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": task.n_threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = openvino.Core()
    request = core.compile_model(core.read_model(task.prefix + ".onnx"), "CPU", options).create_infer_request()
    return Prepared(
        openvino.__version__.split("-")[0],
        lambda: request.infer(task.inputs, share_inputs=True, share_outputs=True),
        lambda outputs: {f"output:{i}": output for i, output in enumerate(outputs.values())},
    )


if __name__ == "__main__":
    serve(prepare)
