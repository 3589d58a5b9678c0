"""A layer of GRU in both directions as an ONNX file, which MXNet 1.9.1 does not export."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def export(parameters: np.ndarray, shapes: dict[str, tuple[int, ...]], path: str) -> None:
    """Writes the layer with MXNet's array of parameters; shapes of data (T, N, I) and state (2, N, H)."""
    (n_steps, n, n_in), (n_directions, _, n_units) = shapes["data"], shapes["state"]
    rows = 3 * n_units
    sizes = [rows * n_in, rows * n_units] * n_directions + [rows] * 2 * n_directions
    parts = np.split(parameters, np.cumsum(sizes)[:-1])
    matrices, biases = parts[: 2 * n_directions], parts[2 * n_directions :]
    weights = {
        "W": np.stack([_gates(m, n_in) for m in matrices[::2]]),
        "R": np.stack([_gates(m, n_units) for m in matrices[1::2]]),
        "B": np.stack([_gates(b, 1) for b in biases]).reshape(n_directions, 2 * rows),
        "shape": np.array([n_steps, n, n_directions * n_units], np.int64),
    }
    nodes = [
        helper.make_node(
            "GRU", ["data", "W", "R", "B", "", "state"], ["Y"],
            hidden_size=n_units, direction="bidirectional", linear_before_reset=1,
        ),
        helper.make_node("Transpose", ["Y"], ["turned"], perm=(0, 2, 1, 3)),
        helper.make_node("Reshape", ["turned", "shape"], ["output"]),
    ]  # fmt: skip

    def value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "gru",
        [value(name, shape) for name, shape in shapes.items()],
        [value("output", (n_steps, n, n_directions * n_units))],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)


def _gates(part: np.ndarray, n_columns: int) -> np.ndarray:
    """Rows of the gates r, z, n in ONNX's order z, r, n."""
    r, z, n = part.reshape(3, -1, n_columns)
    return np.concatenate([z, r, n])
