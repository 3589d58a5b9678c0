"""Variational dropout, the projected LSTM, and unrolling by a loop operator."""

from __future__ import annotations

from functools import partial
from typing import Any

from symc.gluon.parameter import ParameterDict, tensor_types
from symc.gluon.rnn.rnn_cell import (
    ModifierCell,
    RecurrentCell,
    _format_sequence,
    _get_begin_state,
    _mask_sequence_variable_length,
)
from symc.gluon.rnn.rnn_cell.elementary import DenseCell
from symc.gluon.rnn.rnn_cell.equations import lstm_step
from symc.gluon.rnn.rnn_cell.modifiers import refuse_bidirectional
from symc.gluon.rnn.rnn_cell.recurrent import Info

__all__ = ["LSTMPCell", "VariationalDropoutCell"]


class VariationalDropoutCell(ModifierCell):
    """Drops the same elements at all steps: of inputs, first state and outputs, each with its own probability.

    What is dropped is drawn at the first step after `reset`, which `unroll` calls.  Source: Gal, Ghahramani (2016).
    """

    def __init__(
        self,
        base_cell: RecurrentCell,
        drop_inputs: float = 0.0,
        drop_states: float = 0.0,
        drop_outputs: float = 0.0,
    ) -> None:
        if drop_states:
            refuse_bidirectional(base_cell, "VariationalDropoutCell", "variational state dropout")
        super().__init__(base_cell)
        self.drop_inputs = drop_inputs
        self.drop_states = drop_states
        self.drop_outputs = drop_outputs
        self._forget_masks()

    def _alias(self) -> str:
        return "vardrop"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p_out = {self.drop_outputs}, p_state = {self.drop_states})"

    def reset(self) -> None:
        super().reset()
        self._forget_masks()

    def _forget_masks(self) -> None:
        self.drop_inputs_mask: Any = None
        self.drop_states_mask: Any = None
        self.drop_outputs_mask: Any = None

    def _dropped(self, F: Any, what: str, data: Any) -> Any:
        """`data` times its mask, which is drawn when it is first needed; `what` is "inputs", "states" or "outputs"."""
        rate = getattr(self, f"drop_{what}")
        if not rate:
            return data
        if getattr(self, f"drop_{what}_mask") is None:
            setattr(self, f"drop_{what}_mask", F.Dropout(F.ones_like(data), p=rate))
        return data * getattr(self, f"drop_{what}_mask")

    def hybrid_forward(self, F: Any, inputs: Any, states: Any) -> tuple[Any, list]:
        if self.drop_states:
            states = [self._dropped(F, "states", states[0]), *states[1:]]
        output, states = self.base_cell(self._dropped(F, "inputs", inputs), states)
        return self._dropped(F, "outputs", output), states

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
        valid_length: Any = None,
    ) -> tuple[Any, list]:
        """As every cell's; without dropout of states, inputs and outputs are dropped for all steps at once."""
        if self.drop_states:
            return super().unroll(length, inputs, begin_state, layout, merge_outputs, valid_length)
        self.reset()
        inputs, axis, F, batch_size = _format_sequence(length, inputs, layout, True)
        states = _get_begin_state(self, F, begin_state, inputs, batch_size)
        if self.drop_inputs:
            inputs = F.Dropout(inputs, p=self.drop_inputs, axes=(axis,))
        with self._base_callable():
            outputs, states = self.base_cell.unroll(length, inputs, states, layout, True, valid_length)
        if self.drop_outputs:
            outputs = F.Dropout(outputs, p=self.drop_outputs, axes=(axis,))
        if merge_outputs is None:
            merge_outputs = isinstance(outputs, tensor_types)
        outputs = _format_sequence(length, outputs, layout, merge_outputs)[0]
        if valid_length is not None:
            outputs = _mask_sequence_variable_length(F, outputs, length, valid_length, axis, merge_outputs)
        return outputs, states


class LSTMPCell(DenseCell):
    """An LSTM whose h is projected: states [r (N, projection_size), c (N, hidden_size)], output r = W_r h.

    The rest is as for LSTMCell.  Source: Sak, Senior, Beaufays (2014).
    """

    _gate_names = ("_i", "_f", "_c", "_o")

    def __init__(
        self,
        hidden_size: int,
        projection_size: int,
        i2h_weight_initializer: Any = None,
        h2h_weight_initializer: Any = None,
        h2r_weight_initializer: Any = None,
        i2h_bias_initializer: Any = "zeros",
        h2h_bias_initializer: Any = "zeros",
        input_size: int = 0,
        prefix: str | None = None,
        params: ParameterDict | None = None,
    ) -> None:
        super().__init__(
            hidden_size, i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer,
            input_size, prefix, params, projection=(projection_size, h2r_weight_initializer),
        )  # fmt: skip
        self._projection_size = projection_size

    def _alias(self) -> str:
        return "lstmp"

    def _mapping(self) -> str:
        return f"{super()._mapping()} -> {self._projection_size}"

    def state_info(self, batch_size: int = 0) -> list[Info]:
        sizes = (self._projection_size, self._hidden_size)
        return [{"shape": (batch_size, n), "__layout__": "NC"} for n in sizes]

    def hybrid_forward(self, F: Any, inputs: Any, states: Any, h2r_weight: Any, **kwargs: Any) -> tuple[Any, list]:
        h, states = super().hybrid_forward(F, inputs, states, **kwargs)
        out = f"t{self._counter}_out"
        r = F.FullyConnected(h, h2r_weight, num_hidden=self._projection_size, no_bias=True, name=out)
        return r, [r, *states[1:]]

    def _step(self, F: Any, i2h: Any, h2h: Any, states: Any, prefix: str) -> tuple[Any, list]:
        tanh = partial(F.Activation, act_type="tanh")
        h, c = lstm_step(F, i2h + h2h, states[1], tanh, prefix, f"{prefix}hidden")
        return h, [h, c]


def dynamic_unroll(
    cell: RecurrentCell,
    inputs: Any,
    begin_state: Any,
    drop_inputs: float = 0,
    drop_outputs: float = 0,
    layout: str = "TNC",
    valid_length: Any = None,
) -> tuple[Any, list]:
    """The outputs of a cell over a merged sequence, and its last states, by `foreach`: one loop, not a copy a step.

    drop_inputs, drop_outputs    probabilities of dropping elements, the same at all steps
    valid_length                 as for `unroll`
    """
    inputs, axis, F, _ = _format_sequence(None, inputs, layout, True)
    if axis != 0:
        inputs = F.swapaxes(inputs, 0, axis)
    if drop_inputs:
        inputs = F.Dropout(inputs, p=drop_inputs, axes=(0,))

    def step(x: Any, states: Any) -> tuple[Any, list]:
        """The last state is the number of the step: a sequence that has ended keeps its states."""
        if valid_length is None:
            return cell(x, states)
        *old, k = states
        output, new = cell(x, old)
        is_valid = F.broadcast_greater(valid_length, k)
        return output, [*(F.where(is_valid, *pair) for pair in zip(new, old)), k + 1]

    states = begin_state
    if valid_length is not None:
        states = [*(states if isinstance(states, (list, tuple)) else [states]), F.zeros((1,))]
    outputs, states = F.contrib.foreach(step, inputs, states)
    if drop_outputs:
        outputs = F.Dropout(outputs, p=drop_outputs, axes=(0,))
    if axis != 0:
        outputs = F.swapaxes(outputs, 0, axis)
    if valid_length is None:
        return outputs, states
    outputs = F.SequenceMask(outputs, sequence_length=valid_length, use_sequence_length=True, axis=axis)
    return outputs, states[:-1]
