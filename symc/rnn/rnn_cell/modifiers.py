"""Cells around a cell, which stand for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from symc import symbol
from symc.core.errors import ConflictError
from symc.ndarray import NDArray
from symc.symbol import Symbol

from .base import Arrays, BaseRNNCell, Info, RNNParams, _normalize_sequence
from .fused import FusedRNNCell
from .stacks import BidirectionalCell


class ModifierCell(BaseRNNCell):
    """Base of cells that stand for another one, which must not be called any more; the weights are the other's."""

    def __init__(self, base_cell: BaseRNNCell) -> None:
        super().__init__()
        base_cell._modified = True
        self.base_cell = base_cell
        self._cells = [base_cell]

    @property
    def params(self) -> RNNParams:
        self._own_params = False
        return self.base_cell.params

    @property
    def state_info(self) -> list[Info]:
        return self.base_cell.state_info

    def begin_state(self, init_sym: Callable[..., Symbol] = symbol.zeros, **kwargs: Any) -> list:
        """As every cell's; the function may also be called `func`."""
        self._require_unmodified()
        with self._base_callable():
            return self.base_cell.begin_state(**{"func": init_sym, **kwargs})

    @contextmanager
    def _base_callable(self) -> Iterator[None]:
        """Inside, the cell it stands for can be asked to unroll."""
        self.base_cell._modified = False
        try:
            yield
        finally:
            self.base_cell._modified = True

    def unpack_weights(self, args: Mapping[str, NDArray]) -> Arrays:
        return self.base_cell.unpack_weights(args)

    def pack_weights(self, args: Mapping[str, NDArray]) -> Arrays:
        return self.base_cell.pack_weights(args)


class ZoneoutCell(ModifierCell):
    """In training, elements of outputs and states stay what they were in the step before, with these probabilities.

    Source: Krueger et al. (2016).
    """

    def __init__(self, base_cell: BaseRNNCell, zoneout_outputs: float = 0.0, zoneout_states: float = 0.0) -> None:
        if isinstance(base_cell, FusedRNNCell):
            raise ConflictError("FusedRNNCell doesn't support zoneout. Please unfuse first.")
        if any(isinstance(cell, BidirectionalCell) for cell in (base_cell, *base_cell._cells)):
            raise ConflictError(
                "BidirectionalCell doesn't support zoneout since it doesn't support step. "
                "Please add ZoneoutCell to the cells underneath instead."
            )
        super().__init__(base_cell)
        self.zoneout_outputs = zoneout_outputs
        self.zoneout_states = zoneout_states
        self.prev_output: Symbol | None = None

    def reset(self) -> None:
        super().reset()
        self.prev_output = None

    def __call__(self, inputs: Any, states: Any) -> tuple[Symbol, list]:
        def zoned(rate: float, new: Symbol, old: Symbol) -> Symbol:
            """Dropout tells which elements are new: where it leaves its ones."""
            return symbol.where(symbol.Dropout(symbol.ones_like(new), p=rate), new, old) if rate != 0.0 else new

        output, new_states = self.base_cell(inputs, states)
        before = symbol.zeros((0, 0)) if self.prev_output is None else self.prev_output
        self.prev_output = output = zoned(self.zoneout_outputs, output, before)
        return output, [zoned(self.zoneout_states, new, old) for new, old in zip(new_states, states)]


class ResidualCell(ModifierCell):
    """The output of a cell plus its input.  Source: Wu et al. (2016)."""

    def __call__(self, inputs: Any, states: Any) -> tuple[Symbol, list]:
        output, states = self.base_cell(inputs, states)
        return _plus(output, inputs), states

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, list]:
        self.reset()
        with self._base_callable():
            outputs, states = self.base_cell.unroll(length, inputs, begin_state, layout, merge_outputs)
        if merge_outputs is None:
            merge_outputs = isinstance(outputs, Symbol)
        inputs = _normalize_sequence(length, inputs, layout, merge_outputs)[0]
        if merge_outputs:
            return _plus(outputs, inputs), states
        return [_plus(*pair) for pair in zip(outputs, inputs)], states


def _plus(output: Symbol, inputs: Symbol) -> Symbol:
    return symbol.elemwise_add(output, inputs, name=f"{output.name}_plus_residual")
