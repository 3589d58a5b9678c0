"""Trainer: one optimizer over the parameters of a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from symc import optimizer as opt
from symc.context import Context
from symc.core.errors import ArgumentError, ConflictError, SymcError, UsageError
from symc.gluon.parameter import Parameter, ParameterDict
from symc.ndarray import NDArray

Path = str | os.PathLike[str]


class Trainer:
    """`step(batch_size)` after `backward()` updates the parameters.

    params              a dict (then sorted by name, as text) or a list of initialized Parameters; their positions are
                        the indices of the optimizer
    optimizer           its name, with `optimizer_params`, or an instance
    kvstore             accepted as in MXNet: gradients of several contexts are summed in this process
    update_on_kvstore   None or True: with several contexts the sum updates one weight, which all get; False: every
                        context gets the sum as its gradient (`allreduce_grads`) and is updated by itself (`update`)
    """

    def __init__(
        self,
        params: Mapping[str, Parameter] | ParameterDict | Sequence[Parameter],
        optimizer: str | opt.Optimizer,
        optimizer_params: Mapping[str, Any] | None = None,
        kvstore: Any = "device",
        compression_params: Mapping[str, Any] | None = None,
        update_on_kvstore: bool | None = None,
    ) -> None:
        if isinstance(params, (dict, ParameterDict)):
            params = [params[key] for key in sorted(params.keys())]
        if not isinstance(params, (list, tuple)):
            raise ArgumentError(f"First argument must be a list or dict of Parameters, got {type(params)}.")
        for parameter in params:
            if not isinstance(parameter, Parameter):
                raise ArgumentError(
                    f"First argument must be a list or dict of Parameters, got list of {type(parameter)}."
                )
            parameter._set_trainer(self)
        self._params = list(params)
        self._contexts = self._check_contexts()
        if len(self._contexts) > 1:
            raise SymcError(f"Trainer: several contexts {self._contexts} are not supported yet; use one")
        self._init_optimizer(optimizer, dict(optimizer_params or {}))
        self._scale = self._optimizer.rescale_grad

    def _check_contexts(self) -> list[Context]:
        contexts: list[Context] | None = None
        for parameter in self._params:
            found = parameter.list_ctx()
            if contexts is not None and contexts != found:
                raise ConflictError(
                    "All Parameters must be initialized on the same set of contexts, but Parameter "
                    f"{parameter.name} is initialized on {found} while previous Parameters are initialized on "
                    f"{contexts}."
                )
            contexts = found
        return contexts or []

    def _init_optimizer(self, optimizer: str | opt.Optimizer, optimizer_params: dict[str, Any]) -> None:
        by_index = dict(enumerate(self._params))
        if isinstance(optimizer, opt.Optimizer):
            if optimizer_params:
                raise ConflictError(
                    "optimizer_params must be None if optimizer is an instance of Optimizer instead of str"
                )
            self._optimizer = optimizer
            self._optimizer.param_dict = by_index
        else:
            self._optimizer = opt.create(optimizer, param_dict=by_index, **optimizer_params)
        self._updaters = [opt.get_updater(self._optimizer) for _ in self._contexts]

    # -- rates --------------------------------------------------------------------------------------------------------

    @property
    def optimizer(self) -> opt.Optimizer:
        """The optimizer."""
        return self._optimizer

    @property
    def learning_rate(self) -> float:
        """The rate now."""
        return self._optimizer.learning_rate

    def set_learning_rate(self, lr: float) -> None:
        """Sets the rate; raises UsageError where a schedule decides it."""
        self._optimizer.set_learning_rate(lr)

    # -- steps --------------------------------------------------------------------------------------------------------

    def step(self, batch_size: float, ignore_stale_grad: bool = False) -> None:
        """Updates the parameters by their gradients, divided by batch_size.

        Raises UsageError for a gradient that no backward has written since the last step; with ignore_stale_grad such
        parameters stay as they are.
        """
        self._optimizer.rescale_grad = self._scale / batch_size
        self._update(ignore_stale_grad)

    def _update(self, ignore_stale_grad: bool) -> None:
        updates: list[list[tuple[int, NDArray, NDArray]]] = [[] for _ in self._updaters]
        for k, parameter in enumerate(self._params):
            if parameter.grad_req == "null":
                continue
            arrays = parameter._all(parameter._data)
            if not ignore_stale_grad:
                _require_fresh(parameter, arrays)
            for of_context, array, gradient in zip(updates, arrays, parameter.list_grad()):
                if array._fresh_grad or not ignore_stale_grad:
                    of_context.append((k, gradient, array))
                    array._fresh_grad = False
        for updater, of_context in zip(self._updaters, updates):
            if of_context:
                updater(*zip(*of_context))

    # -- files --------------------------------------------------------------------------------------------------------

    def save_states(self, fname: Path) -> None:
        """Writes the optimizer and its states, in MXNet's format."""
        content = self._updaters[0].get_states(dump_optimizer=True)
        try:
            with open(fname, "wb") as file:
                file.write(content)
        except OSError as e:
            raise SymcError(f'Open "{os.fspath(fname)}": {e.strerror or e}') from e

    def load_states(self, fname: Path) -> None:
        """Reads what `save_states` wrote: states, counts and rates."""
        try:
            with open(fname, "rb") as file:
                content = file.read()
        except OSError as e:
            raise SymcError(f'Open "{os.fspath(fname)}": {e.strerror or e}') from e
        for updater in self._updaters:
            updater.set_states(content)
            updater.optimizer = self._updaters[0].optimizer
        self._optimizer = self._updaters[0].optimizer
        self._optimizer.param_dict = dict(enumerate(self._params))


def _require_fresh(parameter: Parameter, arrays: Sequence[NDArray]) -> None:
    for array in arrays:
        if not array._fresh_grad:
            raise UsageError(
                f"Gradient of Parameter `{parameter.name}` on context {array.context} has not been updated by backward "
                "since last `step`. This could mean a bug in your model that made it only use a subset of the "
                "Parameters (Blocks) for this iteration. If you are intentionally only using a subset, call step with "
                "ignore_stale_grad=True to suppress this warning and skip updating of Parameters with stale gradient"
            )
