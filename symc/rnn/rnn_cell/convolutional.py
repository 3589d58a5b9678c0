"""Cells whose gates are convolutions of inputs and state."""

from __future__ import annotations

from functools import partial
from typing import Any

from symc import symbol
from symc.core.errors import ConflictError
from symc.gluon.rnn.rnn_cell.equations import gru_step, lstm_step
from symc.symbol import Symbol

from .base import BaseRNNCell, Info, RNNParams

Pair = tuple[int, int]

leaky = partial(symbol.LeakyReLU, act_type="leaky", slope=0.2)


class BaseConvRNNCell(BaseRNNCell):
    """Base of convolutional cells: states of num_hidden maps, which keep their size.

    input_shape          with the batch
    h2h_.., i2h_..       kernel, dilation, stride and padding of both convolutions; the kernel of h2h is odd
    activation           a name, or a function of a symbol
    """

    _default_prefix: str

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_hidden: int,
        h2h_kernel: Pair = (3, 3),
        h2h_dilate: Pair = (1, 1),
        i2h_kernel: Pair = (3, 3),
        i2h_stride: Pair = (1, 1),
        i2h_pad: Pair = (1, 1),
        i2h_dilate: Pair = (1, 1),
        i2h_weight_initializer: Any = None,
        h2h_weight_initializer: Any = None,
        i2h_bias_initializer: Any = "zeros",
        h2h_bias_initializer: Any = "zeros",
        activation: Any = leaky,
        prefix: str | None = None,
        params: RNNParams | None = None,
        conv_layout: str = "NCHW",
    ) -> None:
        super().__init__(prefix=self._default_prefix if prefix is None else prefix, params=params)
        if any(k % 2 == 0 for k in h2h_kernel):
            raise ConflictError(f"Only support odd number, get h2h_kernel= {h2h_kernel}")
        self._num_hidden = num_hidden
        self._conv_layout = conv_layout
        self._channel_axis = conv_layout.find("C")
        self._activation = activation
        self._i2h = {"kernel": i2h_kernel, "stride": i2h_stride, "pad": i2h_pad, "dilate": i2h_dilate}
        pad = tuple(d * (k - 1) // 2 for d, k in zip(h2h_dilate, h2h_kernel))
        self._h2h = {"kernel": h2h_kernel, "stride": (1, 1), "pad": pad, "dilate": h2h_dilate}
        data = symbol.Variable("data")
        maps = symbol.Convolution(data, num_filter=num_hidden, layout=conv_layout, **self._i2h)
        self._state_shape = (0, *maps.infer_shape(data=input_shape)[1][0][1:])
        self._iW = self.params.get("i2h_weight", init=i2h_weight_initializer)
        self._hW = self.params.get("h2h_weight", init=h2h_weight_initializer)
        self._iB = self.params.get("i2h_bias", init=i2h_bias_initializer)
        self._hB = self.params.get("h2h_bias", init=h2h_bias_initializer)

    @property
    def state_info(self) -> list[Info]:
        return [{"shape": self._state_shape, "__layout__": self._conv_layout}]

    def _conv_forward(self, inputs: Any, states: Any, name: str) -> tuple[Symbol, Symbol]:
        convolution = partial(
            symbol.Convolution, num_filter=self._num_hidden * self._num_gates, layout=self._conv_layout
        )
        i2h = convolution(inputs, self._iW, self._iB, name=f"{name}i2h", **self._i2h)
        h2h = convolution(states[0], self._hW, self._hB, name=f"{name}h2h", **self._h2h)
        return i2h, h2h


class ConvRNNCell(BaseConvRNNCell):
    """RNNCell with convolutions; the arguments are BaseConvRNNCell's."""

    _gate_names = ("",)
    _default_prefix = "ConvRNN_"

    def __call__(self, inputs: Any, states: Any) -> tuple[Symbol, list]:
        self._counter += 1
        prefix = f"{self._prefix}t{self._counter}_"
        i2h, h2h = self._conv_forward(inputs, states, prefix)
        output = self._get_activation(i2h + h2h, self._activation, name=f"{prefix}out")
        return output, [output]


class ConvLSTMCell(BaseConvRNNCell):
    """LSTMCell with convolutions; the arguments are BaseConvRNNCell's.  Shi et al. (2015)."""

    _gate_names = ("_i", "_f", "_c", "_o")
    _default_prefix = "ConvLSTM_"

    @property
    def state_info(self) -> list[Info]:
        return super().state_info + super().state_info

    def __call__(self, inputs: Any, states: Any) -> tuple[Symbol, list]:
        self._counter += 1
        prefix = f"{self._prefix}t{self._counter}_"
        i2h, h2h = self._conv_forward(inputs, states, prefix)
        activate = partial(self._get_activation, activation=self._activation)
        h, c = lstm_step(symbol, i2h + h2h, states[1], activate, prefix, f"{prefix}out", axis=self._channel_axis)
        return h, [h, c]


class ConvGRUCell(BaseConvRNNCell):
    """GRUCell with convolutions; the arguments are BaseConvRNNCell's."""

    _gate_names = ("_r", "_z", "_o")
    _default_prefix = "ConvGRU_"

    def __call__(self, inputs: Any, states: Any) -> tuple[Symbol, list]:
        self._counter += 1
        prefix = f"{self._prefix}t{self._counter}_"
        i2h, h2h = self._conv_forward(inputs, states, prefix)
        activate = partial(self._get_activation, activation=self._activation)
        inner, axis = f"{prefix}_", self._channel_axis
        h = gru_step(symbol, i2h, h2h, states[0], activate, inner, f"{prefix}out", axis=axis)
        return h, [h]
