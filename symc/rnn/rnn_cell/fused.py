"""FusedRNNCell: layers of cells over whole sequences, as the operator RNN."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from symc import initializer, ndarray, symbol
from symc.core.errors import ConflictError
from symc.initializer.recurrent import GATES
from symc.ndarray import NDArray
from symc.symbol import Symbol

from .base import Arrays, BaseRNNCell, Info, RNNParams, _normalize_sequence
from .elementary import DropoutCell, GRUCell, LSTMCell, RNNCell
from .stacks import BidirectionalCell, SequentialRNNCell


class FusedRNNCell(BaseRNNCell):
    """Layers of recurrent cells, one operator with one vector of parameters, `<prefix>parameters`.  It only unrolls.

    mode               "rnn_relu", "rnn_tanh", "lstm" or "gru"
    bidirectional      whether each layer also goes from the last step to the first
    dropout            probability of dropping an element between layers, in training
    get_next_state     whether unroll gives the last states
    forget_bias        what the bias of the forget gates begins with
    """

    def __init__(
        self,
        num_hidden: int,
        num_layers: int = 1,
        mode: str = "lstm",
        bidirectional: bool = False,
        dropout: float = 0.0,
        get_next_state: bool = False,
        forget_bias: float = 1.0,
        prefix: str | None = None,
        params: RNNParams | None = None,
    ) -> None:
        super().__init__(prefix=f"{mode}_" if prefix is None else prefix, params=params)
        self._num_hidden = num_hidden
        self._num_layers = num_layers
        self._mode = mode
        self._bidirectional = bidirectional
        self._dropout = dropout
        self._get_next_state = get_next_state
        self._directions = ["l", "r"] if bidirectional else ["l"]
        init = initializer.FusedRNN(None, num_hidden, num_layers, mode, bidirectional, forget_bias)
        self._gate_names = GATES[mode]
        self._parameter = self.params.get("parameters", init=init)

    @property
    def state_info(self) -> list[Info]:
        shape = (len(self._directions) * self._num_layers, 0, self._num_hidden)
        return [{"shape": shape, "__layout__": "LNC"} for _ in range(2 if self._mode == "lstm" else 1)]

    # -- weights gate by gate -----------------------------------------------------------------------------------------

    def _pieces(self, n_inputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of each gate's weights, then biases, in the order of the vector."""
        n = self._num_hidden
        cells = [(f"{self._prefix}{side}{k}_", k) for k in range(self._num_layers) for side in self._directions]
        for cell, layer in cells:
            n_below = len(self._directions) * n if layer else n_inputs
            for group, n_columns in (("i2h", n_below), ("h2h", n)):
                yield from ((f"{cell}{group}{gate}_weight", (n, n_columns)) for gate in self._gate_names)
        for cell, _ in cells:
            yield from ((f"{cell}{group}{gate}_bias", (n,)) for group in ("i2h", "h2h") for gate in self._gate_names)

    def _slices(self, vector: NDArray, n_inputs: int) -> Iterator[tuple[str, NDArray]]:
        """Name and contents of each piece, as a view of the vector."""
        end = 0
        for name, shape in self._pieces(n_inputs):
            begin, end = end, end + math.prod(shape)
            yield name, vector[begin:end].reshape(shape)

    def _size(self, n_inputs: int) -> int:
        return sum(math.prod(shape) for _, shape in self._pieces(n_inputs))

    def unpack_weights(self, args: Mapping[str, NDArray]) -> Arrays:
        found = dict(args)
        vector = found.pop(self._parameter.name)
        per_input = len(self._directions) * self._num_gates * self._num_hidden
        n_inputs, rest = divmod(vector.size - self._size(0), per_input)
        if rest or n_inputs < 1:
            raise ConflictError(f"Invalid parameters size for FusedRNNCell: {self._parameter.name} has {vector.size}")
        found.update((name, piece.copy()) for name, piece in self._slices(vector, n_inputs))
        return found

    def pack_weights(self, args: Mapping[str, NDArray]) -> Arrays:
        found = dict(args)
        first = found[f"{self._prefix}l0_i2h{self._gate_names[0]}_weight"]
        n_inputs = first.shape[1]
        vector = ndarray.zeros((self._size(n_inputs),), ctx=first.context, dtype=first.dtype)
        for name, piece in self._slices(vector, n_inputs):
            piece[:] = found.pop(name)
        found[self._parameter.name] = vector
        return found

    # -- unrolling ----------------------------------------------------------------------------------------------------

    def __call__(self, inputs: Any, states: Any) -> tuple[Symbol, list]:
        raise NotImplementedError("FusedRNNCell cannot be stepped. Please use unroll")

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, list]:
        self.reset()
        inputs, axis = _normalize_sequence(length, inputs, layout, True)
        if axis not in (0, 1):
            raise ConflictError(f"Unsupported layout {layout}")
        if axis == 1:
            warnings.warn("NTC layout detected. Consider using TNC for FusedRNNCell for faster speed", stacklevel=2)
            inputs = symbol.swapaxes(inputs, dim1=0, dim2=1)
        states = self.begin_state() if begin_state is None else begin_state
        rnn = symbol.RNN(
            inputs,
            self._parameter,
            *states,
            state_size=self._num_hidden,
            num_layers=self._num_layers,
            bidirectional=self._bidirectional,
            p=self._dropout,
            state_outputs=self._get_next_state,
            mode=self._mode,
            name=f"{self._prefix}rnn",
        )
        outputs, *states = [rnn[k] for k in range(len(rnn.list_outputs()))]
        for state in states:
            state._set_attr(__layout__="LNC")
        if axis == 1:
            outputs = symbol.swapaxes(outputs, dim1=0, dim2=1)
        return _normalize_sequence(length, outputs, layout, merge_outputs)[0], states

    def unfuse(self) -> SequentialRNNCell:
        """The same as a stack of cells, which can be stepped; `unpack_weights` gives their weights, packed by it."""
        stack = SequentialRNNCell()
        for layer in range(self._num_layers):
            cells = [self._cell(f"{self._prefix}{side}{layer}_") for side in self._directions]
            if self._bidirectional:
                stack.add(BidirectionalCell(*cells, output_prefix=f"{self._prefix}bi_l{layer}_"))
            else:
                stack.add(cells[0])
            if self._dropout > 0 and layer < self._num_layers - 1:
                stack.add(DropoutCell(self._dropout, prefix=f"{self._prefix}_dropout{layer}_"))
        return stack

    def _cell(self, prefix: str) -> BaseRNNCell:
        if self._mode == "lstm":
            return LSTMCell(self._num_hidden, prefix=prefix)
        if self._mode == "gru":
            return GRUCell(self._num_hidden, prefix=prefix)
        return RNNCell(self._num_hidden, activation=self._mode.removeprefix("rnn_"), prefix=prefix)
