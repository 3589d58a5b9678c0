"""Trainer: one optimizer over the parameters of a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from symc import autograd
from symc import kvstore as kv
from symc import optimizer as opt
from symc.context import Context
from symc.core.errors import ArgumentError, ConflictError, UsageError
from symc.core.reading import contents
from symc.core.replacing import replacing
from symc.gluon.parameter import Parameter, ParameterDict
from symc.ndarray import NDArray

Path = str | os.PathLike[str]


class Trainer:
    """`step(batch_size)` after `backward()` updates the parameters.

    params              a dict (then sorted by name, as text) or a list of initialized Parameters; their positions are
                        the indices of the optimizer
    optimizer           its name, with `optimizer_params`, or an instance
    kvstore             sums the gradients of several contexts; one context has none, unless an instance is given
    update_on_kvstore   None or True: the sum updates one weight, which all contexts get; False: every context gets the
                        sum as its gradient (`allreduce_grads`) and is updated by itself (`update`)
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
        self._param2idx = {parameter.name: k for k, parameter in enumerate(self._params)}
        self._has_sparse_weight = any(parameter._stype != "default" for parameter in self._params)
        self._has_sparse_grad = any(parameter._grad_stype != "default" for parameter in self._params)
        self._contexts = self._check_contexts()
        self._init_optimizer(optimizer, dict(optimizer_params or {}))
        self._scale = self._optimizer.rescale_grad
        self._amp_loss_scaler: Any = None  # of mixed precision (contrib.amp.init_trainer)
        self._compression_params = compression_params
        self._kvstore_params = {"kvstore": kvstore, "update_on_kvstore": update_on_kvstore}
        self._reset_kvstore()

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

    # -- the store ----------------------------------------------------------------------------------------------------

    def _reset_kvstore(self) -> None:
        """Begins without a store; the next step makes one, from the weights as they are then."""
        self._kv_initialized = False
        self._kvstore: Any = None
        self._update_on_kvstore: bool | None = None
        self._params_to_init = list(self._params)

    def _forget(self, parameter: Parameter) -> None:
        """A parameter was written: a store that has its old contents is of no use any more."""
        if self._kv_initialized and self._update_on_kvstore and parameter not in self._params_to_init:
            self._reset_kvstore()

    def _init_kvstore(self) -> None:
        """Makes the store, as many contexts and sparse parameters ask for; raises ArgumentError for what cannot be."""
        wanted, asked = self._kvstore_params["kvstore"], self._kvstore_params["update_on_kvstore"]
        if self._has_sparse_weight:
            if asked is False:
                raise ArgumentError("Cannot set update_on_kvstore=False when sparse weights are present.")
            store, updates = (kv.create(wanted) if isinstance(wanted, str) else wanted), True
        else:
            arrays = {p.name: p.data(self._contexts[0]) for p in self._params if not p._deferred_init}
            store, updates = kv.create_for(wanted, len(self._contexts), arrays)
            updates = updates and not self._has_sparse_grad if asked is None else asked
        if store is not None:
            if updates and not store.is_capable("optimizer"):
                raise ArgumentError(f"Please set update_on_kvstore=False when training with {type(store)}")
            if self._compression_params:
                store.set_gradient_compression(self._compression_params)
            if updates:
                store.set_optimizer(self._optimizer)
        self._kvstore, self._update_on_kvstore = store, (None if store is None else updates)
        self._kv_initialized = True

    def _init_params(self) -> None:
        """Puts the parameters that have arrays into the store."""
        assert self._kv_initialized
        waiting = []
        for parameter in self._params_to_init if self._kvstore else ():
            if parameter._deferred_init:
                waiting.append(parameter)
                continue
            arrays = parameter._all(parameter._data)
            self._kvstore.broadcast(self._param2idx[parameter.name], arrays[0], arrays)
        self._params_to_init = waiting

    def _make_ready(self) -> None:
        if not self._kv_initialized:
            self._init_kvstore()
        if self._params_to_init:
            self._init_params()

    def _row_sparse_pull(self, parameter: Parameter, out: Any, row_id: NDArray) -> None:
        """Brings the rows of a parameter from the store."""
        with autograd.pause():  # what it holds already is what it will hold
            self._make_ready()
            self._kvstore.row_sparse_pull(self._param2idx[parameter.name], out=out, row_ids=row_id)

    # -- steps --------------------------------------------------------------------------------------------------------

    def step(self, batch_size: float, ignore_stale_grad: bool = False) -> None:
        """Updates the parameters by their gradients, divided by batch_size and summed over contexts.

        Raises UsageError for a gradient that no backward has written since the last step; with ignore_stale_grad such
        parameters stay as they are.
        """
        self._check_and_rescale_grad(self._scale / batch_size)
        self._make_ready()
        self._allreduce_grads()
        self._update(ignore_stale_grad)

    def allreduce_grads(self) -> None:
        """Sums the gradients over contexts, for `update`; raises ConflictError where the store updates the weights."""
        self._make_ready()
        self._refuse_on_kvstore("allreduce_grads()")
        self._allreduce_grads()

    def update(self, batch_size: float, ignore_stale_grad: bool = False) -> None:
        """`step` after `allreduce_grads`; raises ConflictError where the store updates the weights."""
        self._make_ready()
        self._refuse_on_kvstore("update()")
        self._check_and_rescale_grad(self._scale / batch_size)
        self._update(ignore_stale_grad)

    def _refuse_on_kvstore(self, what: str) -> None:
        if self._kvstore is not None and self._update_on_kvstore:
            raise ConflictError(
                f"{what} when parameters are updated on kvstore is not supported. "
                "Try setting `update_on_kvstore` to False when creating trainer."
            )

    # Other libraries override these three in classes of their own, as in MXNet.

    def _check_and_rescale_grad(self, scale: float) -> None:
        self._optimizer.rescale_grad = scale

    def _allreduce_grads(self) -> None:
        if self._kvstore is None:
            return
        keys = [k for k, parameter in enumerate(self._params) if parameter.grad_req != "null"]
        trained = [self._params[k] for k in keys]
        outs = [p._all(p._data) for p in trained] if self._update_on_kvstore else None
        kv.pushpull_all(self._kvstore, keys, [p.list_grad() for p in trained], outs)

    def _update(self, ignore_stale_grad: bool = False) -> None:
        if self._amp_loss_scaler is not None and self._amp_loss_scaler.has_overflow(self._params):
            return  # this step is left out
        updates: list[list[tuple[int, NDArray, NDArray]]] = [[] for _ in self._updaters]
        for k, parameter in enumerate(self._params):
            if parameter.grad_req == "null":
                continue
            arrays = parameter._all(parameter._data)
            stale = [] if ignore_stale_grad else [array for array in arrays if not array._fresh_grad]
            if stale:
                raise _stale(parameter, stale[0])
            if self._update_on_kvstore:
                continue
            for of_context, array, gradient in zip(updates, arrays, parameter._all(parameter._grad)):
                if array._fresh_grad:
                    of_context.append((k, gradient, array))
                    array._fresh_grad = False
        for updater, of_context in zip(self._updaters, updates):
            if of_context:
                updater(*zip(*of_context))

    # -- files --------------------------------------------------------------------------------------------------------

    def save_states(self, fname: Path) -> None:
        """Writes the optimizer and its states, in MXNet's format."""
        self._make_ready()
        if self._update_on_kvstore:
            if self._params_to_init:
                raise ConflictError(
                    "Cannot save trainer states when some parameters are not yet initialized in kvstore."
                )
            self._kvstore.save_optimizer_states(fname, dump_optimizer=True)
            return
        content = self._updaters[0].get_states(dump_optimizer=True)
        with replacing(FilePath(fname)) as unfinished:
            unfinished.write_bytes(content)

    def load_states(self, fname: Path) -> None:
        """Reads what `save_states` wrote: states, counts and rates."""
        self._make_ready()
        if self._update_on_kvstore:
            self._kvstore.load_optimizer_states(fname)
            self._optimizer = self._kvstore._updater.optimizer
            self._optimizer.param_dict = dict(enumerate(self._params))
            return
        content = contents(fname)
        for updater in self._updaters:
            updater.set_states(content)
            updater.optimizer = self._updaters[0].optimizer
        self._optimizer = self._updaters[0].optimizer
        self._optimizer.param_dict = dict(enumerate(self._params))


def _stale(parameter: Parameter, array: NDArray) -> UsageError:
    return UsageError(
        f"Gradient of Parameter `{parameter.name}` on context {array.context} has not been updated by backward "
        "since last `step`. This could mean a bug in your model that made it only use a subset of the "
        "Parameters (Blocks) for this iteration. If you are intentionally only using a subset, call step with "
        "ignore_stale_grad=True to suppress this warning and skip updating of Parameters with stale gradient"
    )
