"""Cells made of cells: one on top of the other, or one for each direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symc.core.errors import ConflictError
from symc.gluon.parameter import tensor_types
from symc.gluon.utils import _indent

from .recurrent import (
    HybridRecurrentCell,
    Info,
    RecurrentCell,
    _cells_begin_state,
    _cells_state_info,
    _get_begin_state,
)
from .sequence import _format_sequence, _mask_sequence_variable_length, _reverse_sequences


class _Cells(RecurrentCell):
    """A cell whose states are those of its children, in order."""

    def state_info(self, batch_size: int = 0) -> list[Info]:
        return _cells_state_info(self._children.values(), batch_size)

    def begin_state(self, **kwargs: Any) -> list:
        self._require_unmodified()
        return _cells_begin_state(self._children.values(), **kwargs)

    def _through(self, states: Any, go: Callable[[RecurrentCell, Any, bool], list]) -> list:
        """All new states: `go` is called with each cell, its share of the states, and whether it is the last."""
        new, begin, n_cells = [], 0, len(self._children)
        for k, cell in enumerate(self._children.values()):
            end = begin + len(cell.state_info())
            new += go(cell, states[begin:end], k == n_cells - 1)
            begin = end
        return new


class _Stack(_Cells):
    """Cells one on top of the other."""

    def __repr__(self) -> str:
        lines = "\n".join(f"({key}): {_indent(repr(cell), 2)}" for key, cell in self._children.items())
        return f"{type(self).__name__}(\n{lines}\n)"

    def add(self, cell: RecurrentCell) -> None:
        """Puts a cell on top."""
        self.register_child(cell)

    def __call__(self, inputs: Any, states: Any) -> tuple[Any, list]:
        """One step of all cells; raises ConflictError for cells that know whole sequences only."""
        self._counter += 1
        if any(isinstance(cell, BidirectionalCell) for cell in self._children.values()):
            raise ConflictError(f"{type(self).__name__} has a BidirectionalCell, which cannot be stepped: use unroll")

        def step(cell: RecurrentCell, own: Any, is_last: bool) -> list:
            nonlocal inputs
            inputs, own = cell(inputs, own)
            return own

        states = self._through(states, step)
        return inputs, states

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
        valid_length: Any = None,
    ) -> tuple[Any, list]:
        self.reset()
        inputs, _, F, batch_size = _format_sequence(length, inputs, layout, None)

        def unroll(cell: RecurrentCell, own: Any, is_last: bool) -> list:
            nonlocal inputs
            merge = merge_outputs if is_last else None
            inputs, own = cell.unroll(length, inputs, own, layout, merge, valid_length)
            return own

        states = self._through(_get_begin_state(self, F, begin_state, inputs, batch_size), unroll)
        return inputs, states

    def __getitem__(self, i: int) -> RecurrentCell:
        return self._children[str(i)]

    def __len__(self) -> int:
        return len(self._children)


class SequentialRNNCell(_Stack):
    """Cells one on top of the other; see HybridSequentialRNNCell for those that can be hybridized."""


class HybridSequentialRNNCell(_Stack, HybridRecurrentCell):
    """Cells one on top of the other, part of networks that are hybridized."""

    def hybrid_forward(self, F: Any, inputs: Any, states: Any) -> tuple[Any, list]:
        return self(inputs, states)


class BidirectionalCell(_Cells, HybridRecurrentCell):
    """One cell from the first step to the last, another from the last to the first; outputs side by side.

    It only unrolls.
    """

    def __init__(self, l_cell: RecurrentCell, r_cell: RecurrentCell, output_prefix: str = "bi_") -> None:
        super().__init__(prefix="", params=None)
        self.register_child(l_cell, "l_cell")
        self.register_child(r_cell, "r_cell")
        self._output_prefix = output_prefix

    def __call__(self, inputs: Any, states: Any) -> Any:
        raise NotImplementedError("Bidirectional cannot be stepped. Please use unroll")

    def __repr__(self) -> str:
        forward, backward = self._children.values()
        return f"{type(self).__name__}(forward={forward}, backward={backward})"

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
        valid_length: Any = None,
    ) -> tuple[Any, list]:
        self.reset()
        steps, axis, F, batch_size = _format_sequence(length, inputs, layout, False)
        states = _get_begin_state(self, F, begin_state, steps, batch_size)
        l_cell, r_cell = self._children.values()
        n_left = len(l_cell.state_info(batch_size))
        forth, l_states = l_cell.unroll(length, steps, states[:n_left], layout, merge_outputs, valid_length)
        turned = _reverse_sequences(steps, length, valid_length)
        back, r_states = r_cell.unroll(length, turned, states[n_left:], layout, False, valid_length)
        back = _reverse_sequences(back, length, valid_length)
        if merge_outputs is None:
            merge_outputs = isinstance(forth, tensor_types)
        if merge_outputs:
            outputs = F.concat(forth, F.stack(*back, axis=axis), dim=2, name=f"{self._output_prefix}out")
        else:
            outputs = [
                F.concat(left, right, dim=1, name=f"{self._output_prefix}t{k}")
                for k, (left, right) in enumerate(zip(forth, back))
            ]
        if valid_length is not None:
            outputs = _mask_sequence_variable_length(F, outputs, length, valid_length, axis, merge_outputs)
        return outputs, l_states + r_states
