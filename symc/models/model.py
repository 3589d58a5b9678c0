"""A network ready to be bound: its symbol, the shapes of its inputs, and its parameters where they are known."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from symc.context import current_context
from symc.core.errors import ArgumentError, ShapeError
from symc.core.shapes import FullShape, is_known
from symc.ir.op import Op

from .weights import seeded_params

if TYPE_CHECKING:
    from symc.executor import Executor
    from symc.ndarray import NDArray
    from symc.symbol import Symbol

N_LISTED = 8  # names that an error message spells out


@dataclass(frozen=True)
class Model:
    """A symbol with everything that predicting needs.

    shapes                  of the inputs, by argument name
    arg_params, aux_params  arrays by name; may be empty for a model whose weights are not known yet
    """

    name: str
    symbol: Symbol
    shapes: Mapping[str, FullShape]
    arg_params: Mapping[str, NDArray] = field(default_factory=dict, repr=False)
    aux_params: Mapping[str, NDArray] = field(default_factory=dict, repr=False)

    def with_params(self, arg_params: Mapping[str, NDArray], aux_params: Mapping[str, NDArray]) -> Model:
        """The same network with other weights."""
        return replace(self, arg_params=arg_params, aux_params=aux_params)

    def with_seed(self, seed: int = 0) -> Model:
        """The same network with seeded random weights; see `weights.seeded_params`."""
        args, _, states = self.inferred_shapes()
        inputs = {*self.shapes, *self.labels()}
        wanted = {n: s for n, s in args.items() if n not in inputs}
        return self.with_params(*seeded_params(self.symbol, wanted, states, seed))

    def with_shapes(self, shapes: Mapping[str, FullShape]) -> Model:
        """The same network for other input shapes."""
        return replace(self, shapes=dict(shapes))

    def with_batch(self, batch: int) -> Model:
        """The same network for another batch size: the first extent of every input."""
        return self.with_shapes({n: (batch, *shape[1:]) for n, shape in self.shapes.items()})

    def inputs(self) -> list[str]:
        """Arguments that a prediction must be given: those with a shape, and what is neither label nor parameter.

        A parameter is what there is an array for, or what operators use as one (weight, bias, gamma ...).
        """
        others = {*self.arg_params, *self._used_as_parameters(), *self.labels()}
        return [n for n in self.symbol.list_arguments() if n in self.shapes or n not in others]

    def has_weights(self) -> bool:
        """Whether a prediction needs anything but its inputs: parameters or auxiliary states."""
        given = {*self.inputs(), *self.labels()}
        return bool(self.symbol.list_auxiliary_states()) or not given.issuperset(self.symbol.list_arguments())

    def declared_shapes(self) -> dict[str, FullShape]:
        """Shapes that input variables declare themselves (`__shape__`), where fully known."""
        from symc.symbol.graph import variable_shape

        variables = {node.name: node for node in self.symbol.nodes() if node.is_variable}
        found = {n: variable_shape(variables[n], None) for n in self.inputs()}
        return {n: shape for n, shape in found.items() if is_known(shape)}  # type: ignore[misc]

    def inferred_shapes(self) -> tuple[dict[str, FullShape], dict[str, FullShape], dict[str, FullShape]]:
        """Shapes of arguments, outputs and auxiliary states, by name.

        Raises ArgumentError for an input that does not exist, ShapeError when the shapes given do not decide the rest.
        """
        names = self.symbol.list_arguments()
        for name in self.shapes:
            if name not in names:
                raise ArgumentError(f"model {self.name}: no input {name!r}; its arguments are {_listed(names)}")
        args, outs, states = self.symbol.infer_shape_partial(**self.shapes)
        unknown = [n for n, shape in zip(names, args) if not shape or 0 in shape]  # MXNet's spelling of unknown
        stored = {n: self.arg_params[n].shape for n in unknown if n in self.arg_params}
        if stored:  # operators do not decide it (x * w); elsewhere a wrong parameter must not decide anything
            args, outs, states = self.symbol.infer_shape_partial(**self.shapes, **stored)
            unknown = [n for n, shape in zip(names, args) if n not in stored and (not shape or 0 in shape)]
        if unknown:
            raise ShapeError(
                f"model {self.name}: the shapes of {_listed(unknown)} cannot be inferred from "
                f"{_shapes_text(self.shapes) or 'nothing'}; give the shape of {unknown[0]}"
            )
        return (
            dict(zip(names, args)),
            dict(zip(self.symbol.list_outputs(), outs)),
            dict(zip(self.symbol.list_auxiliary_states(), states)),
        )

    def labels(self) -> list[str]:
        """Arguments that only loss operators read, beside their data: predictions do not depend on them."""
        return self._always_used(lambda op, k: op.is_loss and k > 0)

    def _used_as_parameters(self) -> list[str]:
        # a slice: a file may list more inputs than the operator has, which inference refuses
        return self._always_used(lambda op, k: not op.trained.isdisjoint(op.input_names()[k : k + 1]))

    def _always_used(self, is_so: Callable[[Op, int], bool]) -> list[str]:
        """Arguments all of whose uses are so; a use is an operator and the position of its input."""
        users: dict[str, list[bool]] = {}
        for node in self.symbol.nodes():
            for k, (source, _) in enumerate(node.inputs):
                if source.is_variable and node.op is not None:
                    users.setdefault(source.name, []).append(is_so(node.op, k))
        return [n for n in self.symbol.list_arguments() if n in users and all(users[n])]

    def input_dtypes(self) -> dict[str, np.dtype]:
        """Of the inputs, as the parameters' dtypes decide; float32 where they do not."""
        return self._inferred_dtypes(self.shapes)

    def _inferred_dtypes(self, arguments: Iterable[str]) -> dict[str, np.dtype]:
        names = self.symbol.list_arguments()
        known = set(names)
        given = {n: a.dtype for n, a in self.arg_params.items() if n in known}
        found = dict(zip(names, self.symbol.infer_type_partial(**given)[0]))
        return {n: np.dtype(found[n] or np.float32) for n in arguments}

    def sample_inputs(self, seed: int = 0) -> dict[str, NDArray]:
        """Random inputs: normal numbers, small integers for integer inputs."""
        from symc.ndarray import array

        found = {}
        for name, dtype in self.input_dtypes().items():
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            shape = self.shapes[name]
            high = 2 if dtype.kind == "b" else 10
            values = rng.standard_normal(shape) if dtype.kind == "f" else rng.integers(0, high, shape)
            found[name] = array(values, dtype=dtype)
        return found

    def check_params(self) -> None:
        """Raises ArgumentError listing every parameter that is missing or has another shape than the symbol needs."""
        args, _, states = self.inferred_shapes()
        self._check_params(args, states)

    def _check_params(self, args: Mapping[str, FullShape], states: Mapping[str, FullShape]) -> None:
        others = set(self._without_params())
        where = f"model {self.name} with {_shapes_text(self.shapes)}" if self.shapes else f"model {self.name}"
        _require_arrays(where, {n: s for n, s in args.items() if n not in others}, self.arg_params, "parameter")
        _require_arrays(where, states, self.aux_params, "auxiliary state")

    def _without_params(self) -> list[str]:
        return [*self.shapes, *(n for n in self.labels() if n not in self.arg_params)]

    def executor(self) -> Executor:
        """An executor for predicting, bound to the parameters themselves (no copy).

        Raises ArgumentError listing every parameter that is missing or has another shape than the symbol needs.
        """
        from symc.ndarray import zeros

        args, _, states = self.inferred_shapes()
        dtypes = self._inferred_dtypes(self._without_params())
        self._check_params(args, states)
        arrays = {n: zeros(args[n], dtype=dtypes[n]) if n in dtypes else self.arg_params[n] for n in args}
        return self.symbol.bind(
            current_context(), arrays, grad_req="null", aux_states={n: self.aux_params[n] for n in states}
        )


def _require_arrays(where: str, wanted: Mapping[str, FullShape], given: Mapping[str, NDArray], kind: str) -> None:
    missing = [n for n in wanted if n not in given]
    if missing:
        extra = [n for n in given if n not in wanted]
        hint = f"; given but not used: {_listed(extra)}" if extra else ""
        raise ArgumentError(f"{where}: {len(missing)} {kind}s are missing: {_listed(missing)}{hint}")
    wrong = [f"{n} has shape {given[n].shape}, expected {s}" for n, s in wanted.items() if given[n].shape != s]
    if wrong:
        raise ArgumentError(f"{where}: {kind} {'; '.join(wrong[:N_LISTED])}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - N_LISTED} more" if len(names) > N_LISTED else ""
    return ", ".join(names[:N_LISTED]) + more


def _shapes_text(shapes: Mapping[str, FullShape]) -> str:
    return ", ".join(f"{n} {s}" for n, s in shapes.items())
