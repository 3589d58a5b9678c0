"""RNNCell, LSTMCell and GRUCell over vectors, and the cell that drops elements."""

from __future__ import annotations

from functools import partial
from typing import Any

from symc import initializer, symbol
from symc.base import numeric_types
from symc.core.errors import ConflictError
from symc.gluon.rnn.rnn_cell.equations import gru_step, lstm_step
from symc.symbol import Symbol

from .base import BaseRNNCell, Info, RNNParams, _normalize_sequence

tanh = partial(symbol.Activation, act_type="tanh")


class DenseCell(BaseRNNCell):
    """A cell whose gates are two products plus biases: i2h of the inputs and h2h of the first state (N, num_hidden)."""

    def __init__(self, num_hidden: int, prefix: str, params: RNNParams | None, i2h_bias_init: Any = None) -> None:
        super().__init__(prefix=prefix, params=params)
        self._num_hidden = num_hidden
        self._iW = self.params.get("i2h_weight")
        self._iB = self.params.get("i2h_bias", init=i2h_bias_init)
        self._hW = self.params.get("h2h_weight")
        self._hB = self.params.get("h2h_bias")

    @property
    def state_info(self) -> list[Info]:
        return [{"shape": (0, self._num_hidden), "__layout__": "NC"}]

    def _products(self, inputs: Any, state: Any, prefix: str) -> tuple[Symbol, Symbol]:
        n_rows = self._num_gates * self._num_hidden
        i2h = symbol.FullyConnected(inputs, self._iW, self._iB, num_hidden=n_rows, name=f"{prefix}i2h")
        h2h = symbol.FullyConnected(state, self._hW, self._hB, num_hidden=n_rows, name=f"{prefix}h2h")
        return i2h, h2h


class RNNCell(DenseCell):
    """h = activation(W_i x + b_i + W_h h + b_h); states [h].  Elman (1990)."""

    _gate_names = ("",)

    def __init__(
        self, num_hidden: int, activation: Any = "tanh", prefix: str = "rnn_", params: RNNParams | None = None
    ) -> None:
        super().__init__(num_hidden, prefix, params)
        self._activation = activation

    def __call__(self, inputs: Any, states: Any) -> tuple[Symbol, list]:
        self._counter += 1
        prefix = f"{self._prefix}t{self._counter}_"
        i2h, h2h = self._products(inputs, states[0], prefix)
        output = self._get_activation(i2h + h2h, self._activation, name=f"{prefix}out")
        return output, [output]


class LSTMCell(DenseCell):
    """Long short-term memory: states [h, c]; the gates lie in the order i, f, c, o.  Hochreiter, Schmidhuber (1997).

    forget_bias    what the bias of the forget gate begins with
    """

    _gate_names = ("_i", "_f", "_c", "_o")

    def __init__(
        self, num_hidden: int, prefix: str = "lstm_", params: RNNParams | None = None, forget_bias: float = 1.0
    ) -> None:
        super().__init__(num_hidden, prefix, params, initializer.LSTMBias(forget_bias=forget_bias))

    @property
    def state_info(self) -> list[Info]:
        return super().state_info + super().state_info

    def __call__(self, inputs: Any, states: Any) -> tuple[Symbol, list]:
        self._counter += 1
        prefix = f"{self._prefix}t{self._counter}_"
        i2h, h2h = self._products(inputs, states[0], prefix)
        h, c = lstm_step(symbol, i2h + h2h, states[1], tanh, prefix, f"{prefix}out")
        return h, [h, c]


class GRUCell(DenseCell):
    """Gated recurrent unit, in the form of cuDNN: states [h]; gates in the order r, z, o.  Cho et al. (2014)."""

    _gate_names = ("_r", "_z", "_o")

    def __init__(self, num_hidden: int, prefix: str = "gru_", params: RNNParams | None = None) -> None:
        super().__init__(num_hidden, prefix, params)

    def __call__(self, inputs: Any, states: Any) -> tuple[Symbol, list]:
        self._counter += 1
        prefix = f"{self._prefix}t{self._counter}_"
        i2h, h2h = self._products(inputs, states[0], f"{prefix}_")  # MXNet's names have two underscores here
        h = gru_step(symbol, i2h, h2h, states[0], tanh, f"{prefix}_", f"{prefix}out")
        return h, [h]


class DropoutCell(BaseRNNCell):
    """Drops elements of its inputs in training, with probability `dropout`; no states."""

    def __init__(self, dropout: float, prefix: str = "dropout_", params: RNNParams | None = None) -> None:
        super().__init__(prefix, params)
        if not isinstance(dropout, numeric_types):
            raise ConflictError("dropout probability must be a number")
        self.dropout = dropout

    @property
    def state_info(self) -> list[Info]:
        return []

    def __call__(self, inputs: Any, states: Any) -> tuple[Symbol, list]:
        return (symbol.Dropout(inputs, p=self.dropout) if self.dropout > 0 else inputs), states

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, list]:
        """All steps at once where they are, or shall be, merged."""
        self.reset()
        inputs = _normalize_sequence(length, inputs, layout, merge_outputs)[0]
        if isinstance(inputs, Symbol):
            return self(inputs, [])
        return super().unroll(length, inputs, begin_state, layout, merge_outputs)
