"""RNNCell, LSTMCell and GRUCell: gates from a product with the inputs and one with the state."""

from __future__ import annotations

from typing import Any

from symc.gluon.parameter import ParameterDict

from .recurrent import HybridRecurrentCell, Info

Shape = tuple[int, ...]


class GatedCell(HybridRecurrentCell):
    """A cell whose gates are two products plus biases: i2h of the inputs and h2h of the first state.

    A subclass says which gates there are, makes the products and goes on from them.
    """

    _gate_names: tuple[str, ...]

    def _make_parameters(self, **described: tuple[Shape, Any]) -> None:
        """Parameters by name, each of a shape and with an initializer."""
        for name, (shape, init) in described.items():
            setattr(self, name, self.params.get(name, shape=shape, init=init, allow_deferred_init=True))

    @property
    def _num_gates(self) -> int:
        return len(self._gate_names)

    def _step(self, F: Any, i2h: Any, h2h: Any, states: Any, prefix: str) -> tuple[Any, list]:
        """Output and states from the two products; names begin with `prefix`."""
        raise NotImplementedError(f"{type(self).__name__} must override _step")


class DenseCell(GatedCell):
    """A cell over vectors: inputs (N, input_size), states (N, hidden_size).

    projection    what the first state is projected to: its size, and the initializer of h2r_weight
    """

    def __init__(
        self,
        hidden_size: int,
        i2h_weight_initializer: Any = None,
        h2h_weight_initializer: Any = None,
        i2h_bias_initializer: Any = "zeros",
        h2h_bias_initializer: Any = "zeros",
        input_size: int = 0,
        prefix: str | None = None,
        params: ParameterDict | None = None,
        *,
        projection: tuple[int, Any] | None = None,
    ) -> None:
        super().__init__(prefix=prefix, params=params)
        self._hidden_size = hidden_size
        self._input_size = input_size
        n_rows = self._num_gates * hidden_size
        n_state, *h2r = projection or (hidden_size,)
        self._make_parameters(
            i2h_weight=((n_rows, input_size), i2h_weight_initializer),
            h2h_weight=((n_rows, n_state), h2h_weight_initializer),
            **({"h2r_weight": ((n_state, hidden_size), h2r[0])} if h2r else {}),
            i2h_bias=((n_rows,), i2h_bias_initializer),
            h2h_bias=((n_rows,), h2h_bias_initializer),
        )

    def state_info(self, batch_size: int = 0) -> list[Info]:
        return [{"shape": (batch_size, self._hidden_size), "__layout__": "NC"}]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._mapping()})"

    def _mapping(self) -> str:
        n_rows, n_columns = self.i2h_weight.shape
        return f"{n_columns or None} -> {n_rows}"

    def hybrid_forward(
        self, F: Any, inputs: Any, states: Any, i2h_weight: Any, h2h_weight: Any, i2h_bias: Any, h2h_bias: Any
    ) -> tuple[Any, list]:
        prefix, n_rows = f"t{self._counter}_", self._num_gates * self._hidden_size
        i2h = F.FullyConnected(inputs, i2h_weight, i2h_bias, num_hidden=n_rows, name=f"{prefix}i2h")
        h2h = F.FullyConnected(states[0], h2h_weight, h2h_bias, num_hidden=n_rows, name=f"{prefix}h2h")
        return self._step(F, i2h, h2h, states, prefix)


class RNNCell(DenseCell):
    """h = activation(W_i x + b_i + W_h h + b_h): inputs (N, input_size), states [h (N, hidden_size)].  Elman (1990).

    hidden_size       units of the state
    activation        its name, or a function of an array
    input_size        0: decided by the first inputs
    """

    _gate_names = ("",)

    def __init__(self, hidden_size: int, activation: Any = "tanh", *args: Any, **kwargs: Any) -> None:
        super().__init__(hidden_size, *args, **kwargs)
        self._activation = activation

    def _alias(self) -> str:
        return "rnn"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._mapping()}, {self._activation})"

    def _step(self, F: Any, i2h: Any, h2h: Any, states: Any, prefix: str) -> tuple[Any, list]:
        total = F.elemwise_add(i2h, h2h, name=f"{prefix}plus0")
        output = self._get_activation(F, total, self._activation, name=f"{prefix}out")
        return output, [output]


class LSTMCell(DenseCell):
    """Long short-term memory: states [h, c], both (N, hidden_size); the gates lie in the order i, f, c, o.

    c = f * c + i * activation(..);  h = o * activation(c);  i, f, o by recurrent_activation.
    Source: Hochreiter, Schmidhuber (1997).
    """

    _gate_names = ("_i", "_f", "_c", "_o")

    def __init__(
        self,
        hidden_size: int,
        i2h_weight_initializer: Any = None,
        h2h_weight_initializer: Any = None,
        i2h_bias_initializer: Any = "zeros",
        h2h_bias_initializer: Any = "zeros",
        input_size: int = 0,
        prefix: str | None = None,
        params: ParameterDict | None = None,
        activation: str = "tanh",
        recurrent_activation: Any = "sigmoid",
    ) -> None:
        super().__init__(
            hidden_size, i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer,
            input_size, prefix, params,
        )  # fmt: skip
        self._activation = activation
        self._recurrent_activation = recurrent_activation

    def _alias(self) -> str:
        return "lstm"

    def state_info(self, batch_size: int = 0) -> list[Info]:
        return super().state_info(batch_size) + super().state_info(batch_size)

    def _step(self, F: Any, i2h: Any, h2h: Any, states: Any, prefix: str) -> tuple[Any, list]:
        gates = F.elemwise_add(i2h, h2h, name=f"{prefix}plus0")
        parts = F.SliceChannel(gates, num_outputs=4, name=f"{prefix}slice")
        recurrent = self._recurrent_activation
        i = self._get_activation(F, parts[0], recurrent, name=f"{prefix}i")
        f = self._get_activation(F, parts[1], recurrent, name=f"{prefix}f")
        candidate = self._get_activation(F, parts[2], self._activation, name=f"{prefix}c")
        o = self._get_activation(F, parts[3], recurrent, name=f"{prefix}o")
        kept = F.elemwise_mul(f, states[1], name=f"{prefix}mul0")
        c = F.elemwise_add(kept, F.elemwise_mul(i, candidate, name=f"{prefix}mul1"), name=f"{prefix}state")
        shown = F.Activation(c, act_type=self._activation, name=f"{prefix}activation0")
        h = F.elemwise_mul(o, shown, name=f"{prefix}out")
        return h, [h, c]


class GRUCell(DenseCell):
    """Gated recurrent unit: states [h (N, hidden_size)]; the gates lie in the order r, z, o.

    h = (1 - z) * tanh(W x + b + r * (U h + d)) + z * h, the form of cuDNN.  Source: Cho et al. (2014).
    """

    _gate_names = ("_r", "_z", "_o")

    def _alias(self) -> str:
        return "gru"

    def _step(self, F: Any, i2h: Any, h2h: Any, states: Any, prefix: str) -> tuple[Any, list]:
        xr, xz, xn = F.SliceChannel(i2h, num_outputs=3, name=f"{prefix}i2h_slice")
        hr, hz, hn = F.SliceChannel(h2h, num_outputs=3, name=f"{prefix}h2h_slice")
        r = F.Activation(F.elemwise_add(xr, hr, name=f"{prefix}plus0"), act_type="sigmoid", name=f"{prefix}r_act")
        z = F.Activation(F.elemwise_add(xz, hz, name=f"{prefix}plus1"), act_type="sigmoid", name=f"{prefix}z_act")
        total = F.elemwise_add(xn, F.elemwise_mul(r, hn, name=f"{prefix}mul0"), name=f"{prefix}plus2")
        candidate = F.Activation(total, act_type="tanh", name=f"{prefix}h_act")
        taken = F.elemwise_sub(F.ones_like(z, name=f"{prefix}ones_like0"), z, name=f"{prefix}minus0")
        new = F.elemwise_mul(taken, candidate, name=f"{prefix}mul1")
        h = F.elemwise_add(new, F.elemwise_mul(z, states[0], name=f"{prefix}mul20"), name=f"{prefix}out")
        return h, [h]
