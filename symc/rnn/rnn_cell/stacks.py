"""Cells made of cells: one on top of the other, or one for each direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from symc import symbol
from symc.core.errors import ConflictError
from symc.ndarray import NDArray
from symc.symbol import Symbol

from .base import Arrays, BaseRNNCell, Info, RNNParams, _normalize_sequence


class Cells(BaseRNNCell):
    """A cell whose states and weights are those of its cells, in order."""

    def _take(self, cell: BaseRNNCell) -> None:
        """Appends a cell; weights that this one was given are the cell's, too."""
        self._cells.append(cell)
        if self._override_cell_params:
            if not cell._own_params:
                raise ConflictError(f"Either specify params for {type(self).__name__} or child cells, not both.")
            cell.params._params.update(self.params._params)
        self.params._params.update(cell.params._params)

    def __init__(self, params: RNNParams | None) -> None:
        super().__init__(prefix="", params=params)
        self._override_cell_params = params is not None

    @property
    def state_info(self) -> list[Info]:
        return [info for cell in self._cells for info in cell.state_info]

    def begin_state(self, **kwargs: Any) -> list:
        self._require_unmodified()
        return [state for cell in self._cells for state in cell.begin_state(**kwargs)]

    def unpack_weights(self, args: Mapping[str, NDArray]) -> Arrays:
        found = dict(args)
        for cell in self._cells:
            found = cell.unpack_weights(found)
        return found

    def pack_weights(self, args: Mapping[str, NDArray]) -> Arrays:
        found = dict(args)
        for cell in self._cells:
            found = cell.pack_weights(found)
        return found


class SequentialRNNCell(Cells):
    """Cells one on top of the other."""

    def __init__(self, params: RNNParams | None = None) -> None:
        super().__init__(params)

    def add(self, cell: BaseRNNCell) -> None:
        """Puts a cell on top."""
        self._take(cell)

    def __call__(self, inputs: Any, states: Any) -> tuple[Symbol, list]:
        """One step of all cells; raises ConflictError for cells that know whole sequences only."""
        self._counter += 1
        new, begin = [], 0
        for cell in self._cells:
            if isinstance(cell, BidirectionalCell):
                raise ConflictError("a BidirectionalCell cannot be stepped: use unroll")
            end = begin + len(cell.state_info)
            inputs, own = cell(inputs, states[begin:end])
            new += own
            begin = end
        return inputs, new

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, list]:
        self.reset()
        states = self.begin_state() if begin_state is None else begin_state
        new, begin = [], 0
        for cell in self._cells:
            merge = merge_outputs if cell is self._cells[-1] else None
            end = begin + len(cell.state_info)
            inputs, own = cell.unroll(length, inputs, states[begin:end], layout, merge)
            new += own
            begin = end
        return inputs, new


class BidirectionalCell(Cells):
    """One cell from the first step to the last, another from the last to the first; outputs side by side.

    It only unrolls; its states are then a list for each direction.
    """

    def __init__(
        self,
        l_cell: BaseRNNCell,
        r_cell: BaseRNNCell,
        params: RNNParams | None = None,
        output_prefix: str = "bi_",
    ) -> None:
        super().__init__(params)
        self._output_prefix = output_prefix
        self._take(l_cell)
        self._take(r_cell)

    def __call__(self, inputs: Any, states: Any) -> tuple[Symbol, list]:
        raise NotImplementedError("Bidirectional cannot be stepped. Please use unroll")

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, list]:
        self.reset()
        steps, axis = _normalize_sequence(length, inputs, layout, False)
        states = self.begin_state() if begin_state is None else begin_state
        l_cell, r_cell = self._cells
        n_left = len(l_cell.state_info)
        forth, l_states = l_cell.unroll(length, steps, states[:n_left], layout, merge_outputs)
        back, r_states = r_cell.unroll(length, steps[::-1], states[n_left:], layout, merge_outputs)
        if merge_outputs is None:
            merge_outputs = isinstance(forth, Symbol) and isinstance(back, Symbol)
        forth, back = (_normalize_sequence(length, x, layout, merge_outputs)[0] for x in (forth, back))
        if merge_outputs:
            both = forth, symbol.reverse(back, axis=axis)
            return symbol.Concat(*both, dim=2, name=f"{self._output_prefix}out"), [l_states, r_states]
        outputs = [
            symbol.Concat(left, right, dim=1, name=f"{self._output_prefix}t{k}")
            for k, (left, right) in enumerate(zip(forth, back[::-1]))
        ]
        return outputs, [l_states, r_states]
