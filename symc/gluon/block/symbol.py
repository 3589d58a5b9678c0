"""SymbolBlock: a symbol as a block: a model from a file, or the features inside another network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from os.path import commonprefix
from typing import Any

import numpy as np

from symc import symbol
from symc.core.errors import ArgumentTypeError, ConflictError, SymcError
from symc.gluon.parameter import ParameterDict
from symc.gluon.parameter.parameter import Contexts
from symc.ndarray import NDArray
from symc.symbol import Symbol

from .hybrid import HybridBlock
from .structure import flatten, regroup

# Moving variances, with the names of what BatchNorm has beside them; all four stay float32.
VARIANCES = {"running_var": "running_mean", "moving_var": "moving_mean"}


class SymbolBlock(HybridBlock):
    """A block that computes symbols from variables; all other variables become its parameters.

    outputs    a symbol, or a (nested) list of symbols
    inputs     variables, in the order of the arguments of a call
    params     a dict of parameters to share
    """

    @staticmethod
    def imports(
        symbol_file: str,
        input_names: str | Sequence[str],
        param_file: str | None = None,
        ctx: Contexts = None,
        allow_missing: bool = False,
        ignore_extra: bool = False,
    ) -> SymbolBlock:
        """The model of a symbol file and a parameter file, dtypes and shapes as the latter has them.

        Without one the parameters are to be initialized.
        """
        names = [input_names] if isinstance(input_names, str) else input_names
        dtype = np.float32 if param_file is None else None
        block = SymbolBlock(symbol.load(symbol_file), [symbol.var(name, dtype=dtype) for name in names])
        if param_file is not None:
            parameters = block.collect_params()
            parameters.load(param_file, ctx, allow_missing, ignore_extra, cast_dtype=True, dtype_source="saved")
        return block

    def __init__(self, outputs: Any, inputs: Any, params: ParameterDict | None = None) -> None:
        super().__init__(prefix=None, params=None)
        self._prefix = ""
        self._params = ParameterDict("", params)
        if isinstance(inputs, Symbol) and len(inputs) == 1:
            inputs = [inputs]
        if isinstance(outputs, (list, tuple)) and len(outputs) == 1:
            outputs = outputs[0]
        variables, self._in_format = flatten(inputs, "input")
        heads, self._out_format = flatten(outputs, "output")
        for x in variables:
            if len(x.get_internals()) != 1:
                raise ConflictError(f"Input symbols must be variable, but {x} is an output of operators")
        out = symbol.Group(heads) if len(heads) > 1 else heads[0]
        _refuse_row_sparse(out)
        self._cached_graph = variables, out
        self._make_parameters({x.name for x in variables})

    def _make_parameters(self, input_names: set[str]) -> None:
        variables, out = self._cached_graph
        arguments, states = out.list_arguments(), out.list_auxiliary_states()
        dtypes = _inferred_dtypes(variables, out)
        for name in (*arguments, *states):
            if name not in input_names:
                more = {"grad_req": "null"} if name in states else {}
                self.params.get(name, allow_deferred_init=True, dtype=dtypes.get(name, np.float32), **more)
        n_common = len(commonprefix(list(self._params.keys())))  # noqa: RUF071  letter by letter, as MXNet
        self._reg_params = {name[n_common:]: parameter for name, parameter in self._params.items()}

    def __repr__(self) -> str:
        inputs, out = self._cached_graph
        return f"{type(self).__name__}(\n{out} : {len(inputs)} -> {len(out)}\n)"

    def forward(self, x: Any, *args: Any) -> Any:
        """The outputs for arrays, or for symbols: then the graph over these."""
        if isinstance(x, NDArray):
            return self._call_cached_op(x, *args)
        if not isinstance(x, Symbol):
            raise ArgumentTypeError(
                f"HybridBlock requires the first argument to forward be either Symbol or NDArray, but got {type(x)}"
            )
        given, form = flatten([x, *args], "input")
        if form != self._in_format:
            raise ConflictError(f"Invalid input format {form}, expected {self._in_format}")
        inputs, out = self._cached_graph
        composed = copy.copy(out)
        composed._compose(**{variable.name: value for variable, value in zip(inputs, given)})
        return regroup(list(composed), self._out_format)

    def hybrid_forward(self, F: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Never called: the graph is given."""
        raise NotImplementedError("a SymbolBlock has a graph, not a hybrid_forward")

    def _clear_cached_op(self) -> None:
        graph = getattr(self, "_cached_graph", ())
        super()._clear_cached_op()
        self._cached_graph = graph

    def cast(self, dtype: Any) -> None:
        """Casts the parameters; of BatchNorm those stay float32 that float16 is too coarse for."""
        super().cast(dtype)
        if np.dtype(dtype) != np.float16:
            return
        names = set(self._cached_graph[1].list_inputs())
        for name in names:
            for variance, mean in VARIANCES.items():
                start = name.removesuffix(variance)
                four = [name, *(start + end for end in (mean, "gamma", "beta"))]
                if name.endswith(variance) and names.issuperset(four):
                    for each in four:
                        self.params.get(each).cast("float32")

    def reset_ctx(self, ctx: Contexts) -> None:
        """Moves the parameters to other contexts."""
        self.collect_params().reset_ctx(ctx)


def _refuse_row_sparse(out: Symbol) -> None:
    for node in out.nodes():
        if node.attrs.get("__storage_type__") == "1":
            raise ConflictError(
                f"SymbolBlock doesn't support Parameter '{node.name}' because its storage type is 'row_sparse'."
            )


def _inferred_dtypes(inputs: Sequence[Symbol], out: Symbol) -> dict[str, Any]:
    """The dtypes of arguments and states as far as those of the inputs decide them."""
    of_inputs = {x.name: (x.infer_type()[0] or [None])[0] for x in inputs}
    if not all(of_inputs.values()):
        return {}
    try:
        arguments, _, states = out.infer_type(**of_inputs)
    except SymcError:  # contradictions are told when the block is called
        return {}
    if arguments is None or states is None:
        return {}
    return dict(zip(out.list_arguments(), arguments)) | dict(zip(out.list_auxiliary_states(), states))
