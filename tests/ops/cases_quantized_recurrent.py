"""Cases of recurrent layers on 8-bit integers, few enough steps from 0 that MXNet's pairs fit in 16 bits."""

from __future__ import annotations

from .cases import Case
from .cases_recurrent import n_parameters


def lstm(n_in: int, n_units: int, n_layers: int, both: bool, scale: float, shift: float) -> Case:
    """Three steps of two sequences."""
    cells = n_layers * (1 + both), 2, n_units
    total = n_parameters(n_in, "lstm", n_units, n_layers, both)
    return Case(
        "_contrib_quantized_rnn",
        ((3, 2, n_in), (total,), cells, cells, (1,), (1,)),
        {"state_size": n_units, "num_layers": n_layers, "bidirectional": both, "mode": "lstm", "state_outputs": True},
        ("uint8", *["float32"] * 5),
        (-1.0, 1.0),
        grads=(),
        given={0: tuple(float(37 * k % 128) for k in range(47)), 4: (scale,), 5: (shift,)},
    )


CASES = [
    *(lstm(*sizes, both, 63.5, 64.5) for sizes in ((4, 3, 1), (5, 5, 2), (3, 5, 3)) for both in (False, True)),
    lstm(33, 17, 1, False, 64.0, 64.0),
]
ORACLE: dict = {}
