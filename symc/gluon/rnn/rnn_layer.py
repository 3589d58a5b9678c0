"""RNN, LSTM and GRU: layers of recurrent cells over whole sequences, as one operator."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from symc import ndarray, symbol
from symc.core.errors import ArgumentError, ConflictError
from symc.gluon.block import HybridBlock
from symc.gluon.parameter import Parameter, tensor_types
from symc.ndarray import NDArray

from . import rnn_cell

GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}


class _RNNLayer(HybridBlock):
    """Layers of cells: inputs (T, N, C), or (N, T, C) with layout "NTC", states (layers * directions, N, hidden_size).

    Called with inputs alone it begins with zeros and gives the outputs alone; with states it gives new states, too.
    With use_sequence_length a third argument says how many steps of each example count; MXNet's operator ignores it
    on a CPU, and so does symc's.
    """

    def __init__(
        self,
        mode: str,
        hidden_size: int,
        num_layers: int,
        layout: str,
        dropout: float,
        bidirectional: bool,
        input_size: int,
        initializers: dict[str, Any],
        dtype: Any,
        use_sequence_length: bool = False,
        projection_size: int | None = None,
        state_clip: tuple[float | None, float | None, bool] = (None, None, False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if layout not in ("TNC", "NTC"):
            raise ConflictError(f"Invalid layout {layout}; must be one of ['TNC' or 'NTC']")
        if mode not in GATES:
            raise ArgumentError(f"activation is {mode.removeprefix('rnn_')!r}; expected 'relu' or 'tanh'")
        self._mode = mode
        self._gates = GATES[mode]
        self._hidden_size = hidden_size
        self._projection_size = projection_size or None
        self._num_layers = num_layers
        self._layout = layout
        self._dropout = dropout
        self._dir = 2 if bidirectional else 1
        self._input_size = input_size
        self._initializers = initializers
        self._state_clip = state_clip
        self._dtype = dtype
        self._use_sequence_length = use_sequence_length
        self.skip_states: bool | None = None  # whether it was called without states
        for name, shape in self._parameter_shapes():
            self._register_param(name, shape, initializers[name.partition("_")[2]], dtype)

    def _parameter_shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        n_rows, n_state = self._gates * self._hidden_size, self._projection_size or self._hidden_size
        for cell, layer in self._cells():
            n_below = self._dir * n_state if layer else self._input_size
            yield f"{cell}_i2h_weight", (n_rows, n_below)
            yield f"{cell}_h2h_weight", (n_rows, n_state)
            yield f"{cell}_i2h_bias", (n_rows,)
            yield f"{cell}_h2h_bias", (n_rows,)
            if self._projection_size:
                yield f"{cell}_h2r_weight", (n_state, self._hidden_size)

    def _cells(self) -> Iterator[tuple[str, int]]:
        """Each cell's name, `l0`, `r0`, `l1`, ..., and layer."""
        for layer in range(self._num_layers):
            yield from ((f"{side}{layer}", layer) for side in "lr"[: self._dir])

    def _register_param(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any) -> Parameter:
        parameter = self.params.get(name, shape=shape, init=init, allow_deferred_init=True, dtype=dtype)
        setattr(self, name, parameter)
        return parameter

    def __repr__(self) -> str:
        n_rows, n_columns = self.l0_i2h_weight.shape
        said = [f"{n_columns or None} -> {n_rows // self._gates}", self._layout]
        said += [f"num_layers={self._num_layers}"] if self._num_layers != 1 else []
        said += [f"dropout={self._dropout}"] if self._dropout != 0 else []
        said += ["bidirectional"] if self._dir == 2 else []
        return f"{type(self).__name__}({', '.join(said)})"

    def _collect_params_with_prefix(self, prefix: str = "") -> dict[str, Parameter]:
        """Paths in parameter files are those of the stack of cells that `_unfuse` gives."""
        prefix = f"{prefix}." if prefix else ""
        found = {}
        for key, parameter in self._reg_params.items():
            side, layer, name = re.fullmatch(r"([lr])(\d+)_(.*)", key).groups()  # type: ignore[union-attr]
            cell = f"{side}_cell." if self._dir == 2 else ""
            found[f"{prefix}_unfused.{layer}.{cell}{name}"] = parameter
        return found

    def _unfuse(self) -> rnn_cell.HybridSequentialRNNCell:
        """The same as a stack of cells, which share its parameters."""
        if self._projection_size:
            raise ConflictError("_unfuse does not support projection layer yet!")
        if any(self._state_clip[:2]):
            raise ConflictError("_unfuse does not support state clipping yet!")
        stack = rnn_cell.HybridSequentialRNNCell(prefix=self.prefix, params=self.params)
        with stack.name_scope():
            for layer in range(self._num_layers):
                n_below = self._dir * self._hidden_size if layer else self._input_size
                cells = [self._cell(f"{side}{layer}_", n_below) for side in "lr"[: self._dir]]
                stack.add(cells[0] if self._dir == 1 else rnn_cell.BidirectionalCell(*cells))
                if self._dropout > 0 and layer < self._num_layers - 1:
                    stack.add(rnn_cell.DropoutCell(self._dropout))
        return stack

    def _cell(self, prefix: str, input_size: int) -> rnn_cell.RecurrentCell:
        kwargs = {f"{name}_initializer": init for name, init in self._initializers.items() if name != "h2r_weight"}
        kwargs |= {"input_size": input_size, "prefix": prefix}
        if self._mode == "lstm":
            return rnn_cell.LSTMCell(self._hidden_size, **kwargs)
        if self._mode == "gru":
            return rnn_cell.GRUCell(self._hidden_size, **kwargs)
        return rnn_cell.RNNCell(self._hidden_size, activation=self._mode.removeprefix("rnn_"), **kwargs)

    def cast(self, dtype: Any) -> None:
        super().cast(dtype)
        self._dtype = dtype

    def state_info(self, batch_size: int = 0) -> list[dict[str, Any]]:
        """Shape, layout and dtype of each state."""
        sizes = [self._projection_size or self._hidden_size, *[self._hidden_size] * (self._mode == "lstm")]
        return [
            {"shape": (self._num_layers * self._dir, batch_size, n), "__layout__": "LNC", "dtype": self._dtype}
            for n in sizes
        ]

    def begin_state(self, batch_size: int = 0, func: Callable[..., Any] = ndarray.zeros, **kwargs: Any) -> list:
        """States to begin with: what `func` makes of `name`, `shape` and the further keywords."""
        return [
            func(name=f"{self.prefix}h0_{k}", **{**info, **kwargs})
            for k, info in enumerate(self.state_info(batch_size))
        ]

    def __call__(self, inputs: Any, states: Any = None, sequence_length: Any = None) -> Any:
        """Outputs, or (outputs, list of states) where states are given."""
        if self.skip_states is not (states is None):  # what was traced has the other outputs
            self._clear_cached_op()
        self.skip_states = states is None
        if states is None and isinstance(inputs, NDArray):
            batch_size = inputs.shape[self._layout.find("N")]
            states = self.begin_state(batch_size, ctx=inputs.context, dtype=inputs.dtype)
        elif states is None:
            states = self.begin_state(0, func=symbol.zeros)
        if isinstance(states, tensor_types):
            states = [states]
        lengths = [sequence_length] if self._use_sequence_length else []
        return super().__call__(inputs, states, *lengths)

    def hybrid_forward(self, F: Any, inputs: Any, states: Any, sequence_length: Any = None, **kwargs: Any) -> Any:
        if F is ndarray:
            for state, info in zip(states, self.state_info(inputs.shape[self._layout.find("N")])):
                if state.shape != info["shape"]:
                    raise ArgumentError(f"Invalid recurrent state shape. Expecting {info['shape']}, got {state.shape}.")
        outputs, states = self._forward_kernel(F, inputs, states, sequence_length, **kwargs)
        return outputs if self.skip_states else (outputs, states)

    def _forward_kernel(self, F: Any, inputs: Any, states: Any, sequence_length: Any, **kwargs: Any) -> tuple:
        """One RNN operator over the joined parameters."""
        if self._layout == "NTC":
            inputs = F.swapaxes(inputs, 0, 1)
        matrices = ("i2h_weight", "h2h_weight", *["h2r_weight"] * bool(self._projection_size))
        parts = [kwargs[f"{cell}_{name}"] for cell, _ in self._cells() for name in matrices]
        parts += [kwargs[f"{cell}_{name}"] for cell, _ in self._cells() for name in ("i2h_bias", "h2h_bias")]
        parameters = F._internal._rnn_param_concat(*[part.reshape(-1) for part in parts], dim=0)
        low, high, is_nan_clipped = self._state_clip
        made = F.RNN(
            inputs,
            parameters,
            *states,
            **({"sequence_length": sequence_length} if self._use_sequence_length else {}),
            use_sequence_length=self._use_sequence_length,
            state_size=self._hidden_size,
            projection_size=self._projection_size,
            num_layers=self._num_layers,
            bidirectional=self._dir == 2,
            p=self._dropout,
            state_outputs=True,
            mode=self._mode,
            lstm_state_clip_min=low,
            lstm_state_clip_max=high,
            lstm_state_clip_nan=is_nan_clipped,
        )
        outputs, *states = [made[k] for k in range(1 + len(self.state_info()))]
        return F.swapaxes(outputs, 0, 1) if self._layout == "NTC" else outputs, states


class RNN(_RNNLayer):
    """Layers of h = activation(W_i x + b_i + W_h h + b_h).

    hidden_size      units of a layer
    activation       "relu" or "tanh"
    layout           "TNC" or "NTC": (time, batch, channels) of inputs and outputs
    dropout          probability of dropping an element between layers, in training
    bidirectional    whether each layer also goes from the last step to the first
    input_size       0: decided by the first inputs
    """

    def __init__(
        self,
        hidden_size: int,
        num_layers: int = 1,
        activation: str = "relu",
        layout: str = "TNC",
        dropout: float = 0,
        bidirectional: bool = False,
        i2h_weight_initializer: Any = None,
        h2h_weight_initializer: Any = None,
        i2h_bias_initializer: Any = "zeros",
        h2h_bias_initializer: Any = "zeros",
        input_size: int = 0,
        dtype: Any = "float32",
        **kwargs: Any,
    ) -> None:
        initializers = {
            "i2h_weight": i2h_weight_initializer,
            "h2h_weight": h2h_weight_initializer,
            "i2h_bias": i2h_bias_initializer,
            "h2h_bias": h2h_bias_initializer,
        }
        super().__init__(
            f"rnn_{activation}", hidden_size, num_layers, layout, dropout, bidirectional, input_size, initializers,
            dtype, **kwargs,
        )  # fmt: skip


class LSTM(_RNNLayer):
    """Layers of long short-term memory; states [h, c].  The rest is as for RNN.

    projection_size    extents that h is projected to by h2r_weight; None: not at all
    state_clip_*       accepted as in MXNet, which has them on GPUs alone
    """

    def __init__(
        self,
        hidden_size: int,
        num_layers: int = 1,
        layout: str = "TNC",
        dropout: float = 0,
        bidirectional: bool = False,
        input_size: int = 0,
        i2h_weight_initializer: Any = None,
        h2h_weight_initializer: Any = None,
        i2h_bias_initializer: Any = "zeros",
        h2h_bias_initializer: Any = "zeros",
        projection_size: int | None = None,
        h2r_weight_initializer: Any = None,
        state_clip_min: float | None = None,
        state_clip_max: float | None = None,
        state_clip_nan: bool = False,
        dtype: Any = "float32",
        **kwargs: Any,
    ) -> None:
        initializers = {
            "i2h_weight": i2h_weight_initializer,
            "h2h_weight": h2h_weight_initializer,
            "h2r_weight": h2r_weight_initializer,
            "i2h_bias": i2h_bias_initializer,
            "h2h_bias": h2h_bias_initializer,
        }
        super().__init__(
            "lstm", hidden_size, num_layers, layout, dropout, bidirectional, input_size, initializers, dtype,
            projection_size=projection_size, state_clip=(state_clip_min, state_clip_max, state_clip_nan), **kwargs,
        )  # fmt: skip


class GRU(_RNNLayer):
    """Layers of gated recurrent units, in the form of cuDNN.  The rest is as for RNN."""

    def __init__(
        self,
        hidden_size: int,
        num_layers: int = 1,
        layout: str = "TNC",
        dropout: float = 0,
        bidirectional: bool = False,
        input_size: int = 0,
        i2h_weight_initializer: Any = None,
        h2h_weight_initializer: Any = None,
        i2h_bias_initializer: Any = "zeros",
        h2h_bias_initializer: Any = "zeros",
        dtype: Any = "float32",
        **kwargs: Any,
    ) -> None:
        initializers = {
            "i2h_weight": i2h_weight_initializer,
            "h2h_weight": h2h_weight_initializer,
            "i2h_bias": i2h_bias_initializer,
            "h2h_bias": h2h_bias_initializer,
        }
        super().__init__(
            "gru", hidden_size, num_layers, layout, dropout, bidirectional, input_size, initializers, dtype, **kwargs
        )
