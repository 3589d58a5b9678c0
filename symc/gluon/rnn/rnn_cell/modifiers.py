"""Cells around a cell, which stand for it, and the cell that drops elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from symc import symbol
from symc.base import numeric_types
from symc.core.errors import ConflictError
from symc.gluon.parameter import ParameterDict, tensor_types

from .recurrent import HybridRecurrentCell, Info, RecurrentCell
from .sequence import _format_sequence, _mask_sequence_variable_length
from .stacks import BidirectionalCell


class DropoutCell(HybridRecurrentCell):
    """Drops elements of its inputs in training, with probability `rate`; along `axes` all or none.  No states."""

    def __init__(
        self,
        rate: float,
        axes: tuple[int, ...] = (),
        prefix: str | None = None,
        params: ParameterDict | None = None,
    ) -> None:
        super().__init__(prefix, params)
        if not isinstance(rate, numeric_types):
            raise ConflictError("rate must be a number")
        self._rate = rate
        self._axes = axes

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rate={self._rate}, axes={self._axes})"

    def state_info(self, batch_size: int = 0) -> list[Info]:
        return []

    def _alias(self) -> str:
        return "dropout"

    def hybrid_forward(self, F: Any, inputs: Any, states: Any) -> tuple[Any, Any]:
        if self._rate > 0:
            inputs = F.Dropout(data=inputs, p=self._rate, axes=self._axes, name=f"t{self._counter}_fwd")
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
        """All steps at once where they are, or shall be, merged; the valid lengths change nothing."""
        self.reset()
        inputs, _, F, _ = _format_sequence(length, inputs, layout, merge_outputs)
        if isinstance(inputs, tensor_types):
            return self.hybrid_forward(F, inputs, begin_state or [])
        return super().unroll(length, inputs, begin_state, layout, merge_outputs)


class ModifierCell(HybridRecurrentCell):
    """Base of cells that stand for another one, which must not be called any more; the parameters are the other's."""

    def __init__(self, base_cell: RecurrentCell) -> None:
        if base_cell._modified:
            raise ConflictError(f"Cell {base_cell.name} is already modified. One cell cannot be modified twice")
        base_cell._modified = True
        super().__init__(prefix=base_cell.prefix + self._alias(), params=None)
        self.base_cell = base_cell

    @property
    def params(self) -> ParameterDict:
        return self.base_cell.params

    def state_info(self, batch_size: int = 0) -> list[Info]:
        return self.base_cell.state_info(batch_size)

    def begin_state(self, func: Callable[..., Any] = symbol.zeros, **kwargs: Any) -> list:  # MXNet's: no batch size
        self._require_unmodified()
        with self._base_callable():
            return self.base_cell.begin_state(func=func, **kwargs)

    @contextmanager
    def _base_callable(self) -> Iterator[None]:
        """Inside, the cell it stands for can be asked to unroll."""
        self.base_cell._modified = False
        try:
            yield
        finally:
            self.base_cell._modified = True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_cell})"


def refuse_bidirectional(base_cell: RecurrentCell, name: str, what: str) -> None:
    """Raises ConflictError for a cell, or a stack with a cell, that cannot be stepped."""
    if isinstance(base_cell, BidirectionalCell):
        raise ConflictError(
            f"BidirectionalCell doesn't support {what} since it doesn't support step. "
            f"Please add {name} to the cells underneath instead."
        )
    for child in base_cell._children.values():
        if isinstance(child, BidirectionalCell):
            raise ConflictError(
                f"Bidirectional {type(base_cell).__name__} doesn't support {what}. "
                f"Please add {name} to the cells underneath instead."
            )


class ZoneoutCell(ModifierCell):
    """In training, elements of outputs and states stay what they were in the step before, with these probabilities.

    Source: Krueger et al. (2016).
    """

    def __init__(self, base_cell: RecurrentCell, zoneout_outputs: float = 0.0, zoneout_states: float = 0.0) -> None:
        refuse_bidirectional(base_cell, "ZoneoutCell", "zoneout")
        super().__init__(base_cell)
        self.zoneout_outputs = zoneout_outputs
        self.zoneout_states = zoneout_states
        self._prev_output: Any = None

    def __repr__(self) -> str:
        rates = f"p_out={self.zoneout_outputs}, p_state={self.zoneout_states}"
        return f"{type(self).__name__}({rates}, {self.base_cell})"

    def _alias(self) -> str:
        return "zoneout"

    def reset(self) -> None:
        super().reset()
        self._prev_output = None

    def hybrid_forward(self, F: Any, inputs: Any, states: Any) -> tuple[Any, list]:
        def zoned(rate: float, new: Any, old: Any) -> Any:
            """Dropout tells which elements are new: where it leaves its ones."""
            return F.where(F.Dropout(F.ones_like(new), p=rate), new, old) if rate != 0.0 else new

        output, new_states = self.base_cell(inputs, states)
        before = F.zeros_like(output) if self._prev_output is None else self._prev_output
        self._prev_output = output = zoned(self.zoneout_outputs, output, before)
        return output, [zoned(self.zoneout_states, new, old) for new, old in zip(new_states, states)]


class ResidualCell(ModifierCell):
    """The output of a cell plus its input.  Source: Wu et al. (2016)."""

    def hybrid_forward(self, F: Any, inputs: Any, states: Any) -> tuple[Any, list]:
        output, states = self.base_cell(inputs, states)
        return F.elemwise_add(output, inputs, name=f"t{self._counter}_fwd"), states

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
        with self._base_callable():
            outputs, states = self.base_cell.unroll(length, inputs, begin_state, layout, merge_outputs, valid_length)
        if merge_outputs is None:
            merge_outputs = isinstance(outputs, tensor_types)
        inputs, axis, F, _ = _format_sequence(length, inputs, layout, merge_outputs)
        if valid_length is not None:
            inputs = _mask_sequence_variable_length(F, inputs, length, valid_length, axis, merge_outputs)
        if merge_outputs:
            return F.elemwise_add(outputs, inputs), states
        return [F.elemwise_add(*pair) for pair in zip(outputs, inputs)], states
