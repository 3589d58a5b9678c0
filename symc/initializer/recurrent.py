"""Initializers of recurrent layers, which know how gates lie in an array."""

from __future__ import annotations

import math
from collections.abc import Iterator

from symc.core.errors import ArgumentError
from symc.ndarray import NDArray

from .base import InitDesc, Initializer, create, register


@register
class LSTMBias(Initializer):
    """0, and `forget_bias` for the forget gate: the second quarter.

    Source: Jozefowicz, Zaremba, Sutskever, An Empirical Exploration of Recurrent Network Architectures (2015).
    """

    def __init__(self, forget_bias: float = 1.0) -> None:
        super().__init__(forget_bias=forget_bias)
        self.forget_bias = forget_bias

    def _init_weight(self, _: str, arr: NDArray) -> None:
        arr[:] = 0.0
        n_hidden = arr.shape[0] // 4
        arr[n_hidden : 2 * n_hidden] = self.forget_bias


GATES = {"rnn_relu": ("",), "rnn_tanh": ("",), "lstm": ("_i", "_f", "_c", "_o"), "gru": ("_r", "_z", "_o")}


@register
class FusedRNN(Initializer):
    """The parameter vector of the operator RNN, gate by gate: weights by `init`, biases 0, forget gates `forget_bias`.

    init   an initializer, its JSON text, or None for the one in charge of the whole network
    """

    def __init__(
        self,
        init: Initializer | str | None,
        num_hidden: int,
        num_layers: int,
        mode: str,
        bidirectional: bool = False,
        forget_bias: float = 1.0,
    ) -> None:
        if mode not in GATES:
            raise ArgumentError(f"FusedRNN: mode is {mode!r}; expected one of {', '.join(GATES)}")
        self._init = init = create(init) if isinstance(init, str) else init
        super().__init__(
            init=None if init is None else init.dumps(),
            num_hidden=num_hidden,
            num_layers=num_layers,
            mode=mode,
            bidirectional=bidirectional,
            forget_bias=forget_bias,
        )

    def _init_weight(self, desc: str, arr: NDArray) -> None:
        in_charge = self._init or (desc.global_init if isinstance(desc, InitDesc) else None)
        if in_charge is None:
            raise ArgumentError(f"{desc}: FusedRNN has neither an initializer of its own nor a global one")
        end = 0
        for name, shape in self._pieces(desc, arr.size):
            start, end = end, end + math.prod(shape)
            piece = arr.reshape((-1,))[start:end].reshape(shape)
            if self._kwargs["mode"] == "lstm" and name.endswith("_f_bias"):
                piece[:] = self._kwargs["forget_bias"]
            else:
                in_charge(InitDesc(name, global_init=in_charge), piece)

    def _pieces(self, desc: str, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of each gate's weights, then biases, in the order of the vector."""
        n_hidden, n_layers = self._kwargs["num_hidden"], self._kwargs["num_layers"]
        gates, sides = GATES[self._kwargs["mode"]], "lr" if self._kwargs["bidirectional"] else "l"
        n_rows = len(sides) * len(gates) * n_hidden
        n_inputs = size // n_rows - (n_layers - 1) * (n_hidden + len(sides) * n_hidden + 2) - n_hidden - 2
        if size % n_rows or n_inputs < 1:
            raise ArgumentError(f"{desc}: {size} numbers are no parameters of {self.dumps()}")
        cells = [(f"{side}{layer}_", layer) for layer in range(n_layers) for side in sides]
        for cell, layer in cells:
            n_below = len(sides) * n_hidden if layer else n_inputs
            for part, n_columns in (("i2h", n_below), ("h2h", n_hidden)):
                yield from ((f"{cell}{part}{gate}_weight", (n_hidden, n_columns)) for gate in gates)
        for cell, _ in cells:
            yield from ((f"{cell}{part}{gate}_bias", (n_hidden,)) for part in ("i2h", "h2h") for gate in gates)
