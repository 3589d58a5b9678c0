"""RecurrentCell: a block that goes one step with states, and unrolls itself over a sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from symc import ndarray
from symc.core.errors import ConflictError
from symc.gluon.block import Block, HybridBlock
from symc.gluon.nn import LeakyReLU
from symc.gluon.parameter import ParameterDict, tensor_types

from .sequence import _format_sequence, _mask_sequence_variable_length

Info = dict[str, Any]


def _cells_state_info(cells: Iterable[RecurrentCell], batch_size: int) -> list[Info]:
    """What the states of all cells are, one after the other."""
    return [info for cell in cells for info in cell.state_info(batch_size)]


def _cells_begin_state(cells: Iterable[RecurrentCell], **kwargs: Any) -> list:
    """The states of all cells to begin with, one after the other."""
    return [state for cell in cells for state in cell.begin_state(**kwargs)]


def _get_begin_state(cell: RecurrentCell, F: Any, begin_state: Any, inputs: Any, batch_size: int) -> list:
    """The states given, else zeros beside the inputs."""
    if begin_state is not None:
        return begin_state
    if F is not ndarray:
        return cell.begin_state(func=F.zeros, batch_size=batch_size)
    with (inputs if isinstance(inputs, tensor_types) else inputs[0]).context:
        return cell.begin_state(func=F.zeros, batch_size=batch_size)


class RecurrentCell(Block):
    """Base of cells: a subclass has `state_info` and a `forward(inputs, states)` that gives output and new states."""

    def __init__(self, prefix: str | None = None, params: ParameterDict | None = None) -> None:
        super().__init__(prefix=prefix, params=params)
        self._modified = False  # whether a modifier stands for it, so that it must not be called
        self.reset()

    def reset(self) -> None:
        """Counts steps and states from 0 again, as before another sequence."""
        self._init_counter = -1
        self._counter = -1
        for child in self._children.values():
            if isinstance(child, RecurrentCell):
                child.reset()

    def state_info(self, batch_size: int = 0) -> list[Info]:
        """Shape and layout of each state; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} must override state_info")

    def begin_state(self, batch_size: int = 0, func: Callable[..., Any] = ndarray.zeros, **kwargs: Any) -> list:
        """States to begin with: what `func` makes of `name`, `shape` and the further keywords.

        func    `mx.nd.zeros`, `mx.sym.zeros`, `mx.sym.var`, ...; of symbols batch_size may be 0, for unknown
        """
        self._require_unmodified()
        states = []
        for info in self.state_info(batch_size):
            self._init_counter += 1
            states.append(func(name=f"{self._prefix}begin_state_{self._init_counter}", **{**(info or {}), **kwargs}))
        return states

    def _require_unmodified(self) -> None:
        if self._modified:
            raise ConflictError(
                "After applying modifier cells (e.g. ZoneoutCell) the base cell cannot be called directly. "
                "Call the modifier cell instead."
            )

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
        valid_length: Any = None,
    ) -> tuple[Any, list]:
        """The outputs of `length` steps, and the states after the last.

        inputs           a list of steps (N, ...), or all in one as `layout` says: (N, T, ...) or (T, N, ...)
        begin_state      by default zeros
        merge_outputs    True: one array as `layout` says; False: a list; None: what is made anyway
        valid_length     (N,) steps that count: later outputs are 0, and the states are those after the last valid step
        """
        self.reset()
        steps, axis, F, batch_size = _format_sequence(length, inputs, layout, False)
        states = _get_begin_state(self, F, begin_state, steps, batch_size)
        outputs, all_states = [], []
        for k in range(length):
            output, states = self(steps[k], states)
            outputs.append(output)
            all_states.append(states)
        if valid_length is not None:
            states = [
                F.SequenceLast(F.stack(*each, axis=0), sequence_length=valid_length, use_sequence_length=True, axis=0)
                for each in zip(*all_states)
            ]
            outputs = _mask_sequence_variable_length(F, outputs, length, valid_length, axis, True)
        return _format_sequence(length, outputs, layout, merge_outputs)[0], states

    def _get_activation(self, F: Any, inputs: Any, activation: Any, **kwargs: Any) -> Any:
        """The activation by name, as a LeakyReLU or as any other function."""
        if activation in ("tanh", "relu", "sigmoid", "softsign"):
            return getattr(F, activation)(inputs, **kwargs)
        if isinstance(activation, str):
            return F.Activation(inputs, act_type=activation, **kwargs)
        if isinstance(activation, LeakyReLU):
            return F.LeakyReLU(inputs, act_type="leaky", slope=activation._alpha, **kwargs)
        return activation(inputs, **kwargs)

    def forward(self, inputs: Any, states: Any) -> Any:
        """One step: the output and the list of new states."""
        self._counter += 1
        return super().forward(inputs, states)


class HybridRecurrentCell(RecurrentCell, HybridBlock):
    """A cell that can be hybridized: a subclass overrides `hybrid_forward(F, inputs, states, ...)`."""
