"""Cells whose gates are convolutions of inputs and state, over 1, 2 or 3 axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from symc.core.errors import ConflictError
from symc.gluon.parameter import ParameterDict
from symc.gluon.rnn.rnn_cell.elementary import GatedCell
from symc.gluon.rnn.rnn_cell.equations import gru_step, lstm_step
from symc.gluon.rnn.rnn_cell.recurrent import Info

Extents = int | Sequence[int]


class ConvCell(GatedCell):
    """A cell over maps: inputs (N, *input_shape), states of hidden_channels maps, which keep their size.

    input_shape        without the batch: (channels, ...), or (..., channels) where conv_layout says so
    hidden_channels    channels of the state
    i2h_.., h2h_..     kernel, pad and dilate of both convolutions; strides are 1, the kernel of h2h is odd
    conv_layout        by default channels first
    activation         as for RNNCell
    """

    _default_layout: str

    def __init__(
        self,
        input_shape: Sequence[int],
        hidden_channels: int,
        i2h_kernel: Extents,
        h2h_kernel: Extents,
        i2h_pad: Extents = 0,
        i2h_dilate: Extents = 1,
        h2h_dilate: Extents = 1,
        i2h_weight_initializer: Any = None,
        h2h_weight_initializer: Any = None,
        i2h_bias_initializer: Any = "zeros",
        h2h_bias_initializer: Any = "zeros",
        conv_layout: str | None = None,
        activation: Any = "tanh",
        prefix: str | None = None,
        params: ParameterDict | None = None,
    ) -> None:
        super().__init__(prefix=prefix, params=params)
        self._conv_layout = conv_layout or self._default_layout
        self._channel_axis = self._conv_layout.find("C")
        self._hidden_channels = hidden_channels
        self._input_shape = input_shape
        self._activation = activation
        self._stride = (1,) * (len(self._conv_layout) - 2)
        self._i2h_kernel, self._i2h_pad = self._extents(i2h_kernel), self._extents(i2h_pad)
        self._i2h_dilate, self._h2h_dilate = self._extents(i2h_dilate), self._extents(h2h_dilate)
        self._h2h_kernel = self._extents(h2h_kernel)
        if any(k % 2 == 0 for k in self._h2h_kernel):
            raise ConflictError(f"Only support odd number, get h2h_kernel= {h2h_kernel}")
        self._h2h_pad = tuple(d * (k - 1) // 2 for d, k in zip(self._h2h_dilate, self._h2h_kernel))
        self._state_shape = self._laid(hidden_channels, self._map_extents())
        n_rows = hidden_channels * self._num_gates
        i2h_shape = (n_rows, *self._laid(input_shape[self._channel_axis - 1], self._i2h_kernel))
        self._make_parameters(
            i2h_weight=(i2h_shape, i2h_weight_initializer),
            h2h_weight=((n_rows, *self._laid(hidden_channels, self._h2h_kernel)), h2h_weight_initializer),
            i2h_bias=((n_rows,), i2h_bias_initializer),
            h2h_bias=((n_rows,), h2h_bias_initializer),
        )

    def _extents(self, given: Extents) -> tuple[int, ...]:
        """One number for each axis."""
        n_axes = len(self._stride)
        if isinstance(given, int):
            return (given,) * n_axes
        if len(given) != n_axes:
            raise ConflictError(
                f"For {n_axes}D convolution, the convolution settings can only be either int or list/tuple of "
                f"length {n_axes}"
            )
        return tuple(given)

    def _laid(self, n_channels: int, extents: Sequence[int]) -> tuple[int, ...]:
        """A shape with its channels where the layout has them."""
        return (n_channels, *extents) if self._channel_axis == 1 else (*extents, n_channels)

    def _map_extents(self) -> tuple[int, ...]:
        """The size of a state's maps: what i2h gives; 0 where that of the inputs is unknown."""
        sizes = self._input_shape[1:] if self._channel_axis == 1 else self._input_shape[:-1]
        windows = zip(sizes, self._i2h_kernel, self._i2h_pad, self._i2h_dilate)
        return tuple(n + 2 * pad - dilate * (kernel - 1) if n else 0 for n, kernel, pad, dilate in windows)

    def __repr__(self) -> str:
        shape = self.i2h_weight.shape
        n_channels = shape[1 if self._channel_axis == 1 else -1] or None
        return f"{type(self).__name__}({n_channels} -> {shape[0]}, {self._activation}, {self._conv_layout})"

    def state_info(self, batch_size: int = 0) -> list[Info]:
        return [{"shape": (batch_size, *self._state_shape), "__layout__": self._conv_layout}]

    def hybrid_forward(
        self, F: Any, inputs: Any, states: Any, i2h_weight: Any, h2h_weight: Any, i2h_bias: Any, h2h_bias: Any
    ) -> tuple[Any, list]:
        prefix = f"t{self._counter}_"
        convolution = partial(
            F.Convolution,
            num_filter=self._hidden_channels * self._num_gates,
            stride=self._stride,
            layout=self._conv_layout,
        )
        i2h = convolution(
            inputs, i2h_weight, i2h_bias, kernel=self._i2h_kernel, pad=self._i2h_pad, dilate=self._i2h_dilate,
            name=f"{prefix}i2h",
        )  # fmt: skip
        h2h = convolution(
            states[0], h2h_weight, h2h_bias, kernel=self._h2h_kernel, pad=self._h2h_pad, dilate=self._h2h_dilate,
            name=f"{prefix}h2h",
        )  # fmt: skip
        return self._step(F, i2h, h2h, states, prefix)


class _ConvRNNCell(ConvCell):
    _gate_names = ("",)

    def _alias(self) -> str:
        return "conv_rnn"

    def _step(self, F: Any, i2h: Any, h2h: Any, states: Any, prefix: str) -> tuple[Any, list]:
        output = self._get_activation(F, i2h + h2h, self._activation, name=f"{prefix}out")
        return output, [output]


class _ConvLSTMCell(ConvCell):
    _gate_names = ("_i", "_f", "_c", "_o")

    def _alias(self) -> str:
        return "conv_lstm"

    def state_info(self, batch_size: int = 0) -> list[Info]:
        return super().state_info(batch_size) + super().state_info(batch_size)

    def _step(self, F: Any, i2h: Any, h2h: Any, states: Any, prefix: str) -> tuple[Any, list]:
        activate = partial(self._get_activation, F, activation=self._activation)
        h, c = lstm_step(F, i2h + h2h, states[1], activate, prefix, f"{prefix}out", axis=self._channel_axis)
        return h, [h, c]


class _ConvGRUCell(ConvCell):
    _gate_names = ("_r", "_z", "_o")

    def _alias(self) -> str:
        return "conv_gru"

    def _step(self, F: Any, i2h: Any, h2h: Any, states: Any, prefix: str) -> tuple[Any, list]:
        activate = partial(self._get_activation, F, activation=self._activation)
        h = gru_step(F, i2h, h2h, states[0], activate, prefix, f"{prefix}out", axis=self._channel_axis)
        return h, [h]


class Conv1DRNNCell(_ConvRNNCell):
    """RNNCell with convolutions over one axis; the arguments are ConvCell's."""

    _default_layout = "NCW"


class Conv2DRNNCell(_ConvRNNCell):
    """RNNCell with convolutions over two axes; the arguments are ConvCell's."""

    _default_layout = "NCHW"


class Conv3DRNNCell(_ConvRNNCell):
    """RNNCell with convolutions over three axes; the arguments are ConvCell's."""

    _default_layout = "NCDHW"


class Conv1DLSTMCell(_ConvLSTMCell):
    """LSTMCell with convolutions over one axis; the arguments are ConvCell's.  Shi et al. (2015)."""

    _default_layout = "NCW"


class Conv2DLSTMCell(_ConvLSTMCell):
    """LSTMCell with convolutions over two axes; the arguments are ConvCell's.  Shi et al. (2015)."""

    _default_layout = "NCHW"


class Conv3DLSTMCell(_ConvLSTMCell):
    """LSTMCell with convolutions over three axes; the arguments are ConvCell's.  Shi et al. (2015)."""

    _default_layout = "NCDHW"


class Conv1DGRUCell(_ConvGRUCell):
    """GRUCell with convolutions over one axis; the arguments are ConvCell's."""

    _default_layout = "NCW"


class Conv2DGRUCell(_ConvGRUCell):
    """GRUCell with convolutions over two axes; the arguments are ConvCell's."""

    _default_layout = "NCHW"


class Conv3DGRUCell(_ConvGRUCell):
    """GRUCell with convolutions over three axes; the arguments are ConvCell's."""

    _default_layout = "NCDHW"
