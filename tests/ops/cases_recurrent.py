"""Cases of recurrent networks; float64, because MXNet's float32 RNN without MKL-DNN is wrong."""

from __future__ import annotations

import numpy as np

from .cases import Case, over_dtypes

GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}


def n_parameters(
    n_in: int, mode: str, state_size: int, num_layers: int, bidirectional: bool, projection_size=None
) -> int:
    """How many numbers the parameters are: counted row by row, unlike in symc."""
    n_directions, state = 1 + bidirectional, projection_size or state_size
    total = 0
    for layer in range(num_layers):
        columns = n_in if layer == 0 else n_directions * state
        total += n_directions * GATES[mode] * state_size * (columns + state + 2)
        total += n_directions * (projection_size or 0) * state_size
    return total


def _rnn(mode: str, data=(4, 2, 3), units: int = 3, layers: int = 1, both: bool = False, **more: object) -> Case:
    state_outputs, grads = more.pop("state_outputs", True), more.pop("grads", None)
    params = {"mode": mode, "state_size": units, "num_layers": layers, "bidirectional": both, **more}
    projected = params.get("projection_size")
    n_cells = layers * (1 + both)
    shapes = [
        data,
        (n_parameters(data[2], mode, units, layers, both, projected),),
        (n_cells, data[1], projected or units),
    ]
    if mode == "lstm":
        shapes.append((n_cells, data[1], units))
    params = {**params, "state_outputs": state_outputs}
    return Case("RNN", tuple(shapes), params, "float64", domain=(-0.9, 0.9), grads=grads)


CASES = [
    *(_rnn(mode, layers=n, both=both) for mode in GATES for n, both in ((1, False), (1, True), (2, False), (2, True))),
    *(_rnn(mode, (5, 3, 2), 4, state_outputs=False) for mode in GATES),
    *(_rnn(mode, (1, 2, 3), 2) for mode in GATES),
    *(_rnn(mode, (3, 1, 1), 1, 3) for mode in ("gru", "lstm")),
    *(_rnn(mode, (7, 5, 9), 17) for mode in ("gru", "lstm")),
    *(_rnn("lstm", (4, 2, 3), 4, *form, projection_size=2, grads=()) for form in ((1, False), (2, True))),
    _rnn("lstm", (4, 2, 3), 3, projection_size=3, grads=()),
    _rnn("lstm", (3, 2, 3), 4, 2, projection_size=2),  # MXNet trains no projection on a CPU
    *over_dtypes(Case("_rnn_param_concat", ((2, 3), (4, 3)), {"dim": 0, "num_args": 2}), ("float32", "float64")),
    Case("_rnn_param_concat", ((2, 3), (2, 1)), {"num_args": 2}),
]  # fmt: skip


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _cell(mode, x, h, c, w, r, wb, rb):
    """The new h and c from x (N, I)."""
    if mode == "gru":
        (xr, xz, xn), (hr, hz, hn) = (np.split(v, 3, 1) for v in (x @ w.T + wb, h @ r.T + rb))
        z = _sigmoid(xz + hz)
        return (1 - z) * np.tanh(xn + _sigmoid(xr + hr) * hn) + z * h, c
    total = x @ w.T + wb + h @ r.T + rb
    if mode != "lstm":
        return (np.tanh(total) if mode == "rnn_tanh" else np.maximum(total, 0)), c
    i, f, g, o = np.split(total, 4, 1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(c), c


def rnn(
    data, parameters, state, state_cell=None, *, mode, state_size, num_layers, bidirectional=False,
    state_outputs=False, projection_size=None,
):  # fmt: skip
    """Step by step, in NumPy."""
    n_state, n_rows, n_directions = projection_size or state_size, GATES[mode] * state_size, 1 + bidirectional
    at = 0

    def take(*shape):
        nonlocal at
        at += int(np.prod(shape))
        return parameters[at - int(np.prod(shape)) : at].reshape(shape)

    matrices, columns = [], data.shape[2]
    for _ in range(num_layers):
        for _ in range(n_directions):
            w, r = take(n_rows, columns), take(n_rows, n_state)
            matrices.append((w, r, take(projection_size, state_size) if projection_size else None))
        columns = n_directions * n_state
    biases = [(take(n_rows), take(n_rows)) for _ in matrices]
    assert at == parameters.size
    last = []
    for layer in range(num_layers):
        outs = []
        for k in range(layer * n_directions, (layer + 1) * n_directions):
            (w, r, p), (wb, rb) = matrices[k], biases[k]
            h, c = state[k], None if state_cell is None else state_cell[k]
            rows = []
            for x in data[:: -1 if k % n_directions else 1]:
                h, c = _cell(mode, x, h, c, w, r, wb, rb)
                h = h if p is None else h @ p.T
                rows.append(h)
            outs.append(np.stack(rows[:: -1 if k % n_directions else 1]))
            last.append((h,) if c is None else (h, c))
        data = np.concatenate(outs, 2)
    return (data, *(np.stack(each) for each in zip(*last))) if state_outputs else data


# What NumPy says in float64.
ORACLE = {"RNN": rnn, "_rnn_param_concat": lambda *x, num_args, dim=1: np.concatenate(x, dim)}
