"""BaseRNNCell: what makes the symbols of a step, unrolls them over a sequence, and knows how its weights are packed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from symc import ndarray, symbol
from symc.core.errors import ConflictError
from symc.gluon.rnn.rnn_cell import _format_sequence
from symc.ndarray import NDArray
from symc.symbol import Symbol

Arrays = dict[str, NDArray]
Info = dict[str, Any]


def _normalize_sequence(length: int | None, inputs: Any, layout: str, merge: bool | None) -> tuple[Any, int]:
    """As `_format_sequence`, and the time axis; what is merged is called concat<n>, as in MXNet."""
    if merge is True and isinstance(inputs, (list, tuple)):
        _format_sequence(length, inputs, layout, None)  # raises where there are more or fewer of them
        axis = layout.find("T")
        inputs = symbol.Concat(*[symbol.expand_dims(step, axis=axis) for step in inputs], dim=axis)
    return _format_sequence(length, inputs, layout, merge)[:2]


class RNNParams:
    """Variables by name, made when they are first asked for; cells that share one share their weights."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._params: dict[str, Symbol] = {}

    def get(self, name: str, **kwargs: Any) -> Symbol:
        """The variable of a name, which the prefix is put before; the keywords are those of `mx.sym.Variable`."""
        name = self._prefix + name
        if name not in self._params:
            self._params[name] = symbol.Variable(name, **kwargs)
        return self._params[name]


class BaseRNNCell:
    """Base of cells: a subclass has `state_info` and, called with inputs and states, gives output and new states.

    prefix    what the names of its nodes and weights start with
    params    weights to share
    """

    _gate_names: tuple[str, ...] = ()  # of the parts that its weights are made of, in order
    _num_hidden: int

    def __init__(self, prefix: str = "", params: RNNParams | None = None) -> None:
        self._own_params = params is None  # whether nobody else has seen them
        self._prefix = prefix
        self._params = RNNParams(prefix) if params is None else params
        self._modified = False  # whether a modifier stands for it, so that it must not be called
        self._cells: list[BaseRNNCell] = []
        self.reset()

    def reset(self) -> None:
        """Counts steps and states from 0 again, as before another sequence."""
        self._init_counter = -1
        self._counter = -1
        for cell in self._cells:
            cell.reset()

    def __call__(self, inputs: Any, states: Any) -> tuple[Symbol, list]:
        """One step: the output and the list of new states."""
        raise NotImplementedError(f"{type(self).__name__} must override __call__")

    @property
    def params(self) -> RNNParams:
        """Its weights."""
        self._own_params = False
        return self._params

    @property
    def state_info(self) -> list[Info]:
        """Shape and layout of each state; 0 stands for the batch."""
        raise NotImplementedError(f"{type(self).__name__} must override state_info")

    @property
    def state_shape(self) -> list[tuple[int, ...]]:
        """The shape of each state."""
        return [info["shape"] for info in self.state_info]

    @property
    def _num_gates(self) -> int:
        return len(self._gate_names)

    def begin_state(self, func: Callable[..., Symbol] = symbol.zeros, **kwargs: Any) -> list:
        """States to begin with: what `func` makes of `name`, the keywords, `shape` and `__layout__`."""
        self._require_unmodified()
        states = []
        for info in self.state_info:
            self._init_counter += 1
            states.append(func(name=f"{self._prefix}begin_state_{self._init_counter}", **{**kwargs, **info}))
        return states

    def _require_unmodified(self) -> None:
        if self._modified:
            raise ConflictError(
                "After applying modifier cells (e.g. ZoneoutCell) the base cell cannot be called directly. "
                "Call the modifier cell instead."
            )

    # -- weights gate by gate -----------------------------------------------------------------------------------------

    def unpack_weights(self, args: Mapping[str, NDArray]) -> Arrays:
        """The arrays with this cell's weights gate by gate: `<prefix>i2h_f_weight` and so on."""
        found = dict(args)
        if not self._gate_names:
            return found
        n = self._num_hidden
        for group in ("i2h", "h2h"):
            weight, bias = (found.pop(f"{self._prefix}{group}_{kind}") for kind in ("weight", "bias"))
            for k, gate in enumerate(self._gate_names):
                found[f"{self._prefix}{group}{gate}_weight"] = weight[k * n : (k + 1) * n].copy()
                found[f"{self._prefix}{group}{gate}_bias"] = bias[k * n : (k + 1) * n].copy()
        return found

    def pack_weights(self, args: Mapping[str, NDArray]) -> Arrays:
        """What `unpack_weights` took apart, as the cell has it."""
        found = dict(args)
        if not self._gate_names:
            return found
        for group in ("i2h", "h2h"):
            for kind in ("weight", "bias"):
                parts = [found.pop(f"{self._prefix}{group}{gate}_{kind}") for gate in self._gate_names]
                found[f"{self._prefix}{group}_{kind}"] = ndarray.concatenate(parts)
        return found

    # -- unrolling ----------------------------------------------------------------------------------------------------

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, list]:
        """The outputs of `length` steps, and the states after the last.

        inputs           a list of steps (N, ...), or all in one as `layout` says: (N, T, ...) or (T, N, ...)
        begin_state      by default zeros
        merge_outputs    True: one symbol as `layout` says; False: a list; None: what is made anyway
        """
        self.reset()
        steps = _normalize_sequence(length, inputs, layout, False)[0]
        states = self.begin_state() if begin_state is None else begin_state
        outputs = []
        for k in range(length):
            output, states = self(steps[k], states)
            outputs.append(output)
        return _normalize_sequence(length, outputs, layout, merge_outputs)[0], states

    def _get_activation(self, inputs: Any, activation: Any, **kwargs: Any) -> Symbol:
        """The activation by name, or any other function."""
        if isinstance(activation, str):
            return symbol.Activation(inputs, act_type=activation, **kwargs)
        return activation(inputs, **kwargs)
