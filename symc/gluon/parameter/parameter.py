"""Parameter: one weight of a block, its arrays on every context, or what will make them once its shape is known."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from symc import autograd, initializer, ndarray, symbol
from symc.context import Context, cpu, current_context
from symc.core.errors import ArgumentError, ArgumentTypeError, ConflictError, SymcError
from symc.ndarray import NDArray
from symc.ndarray.tape import GRAD_REQS
from symc.symbol import Symbol

Contexts = Context | Sequence[Context] | None
Shape = tuple[int, ...]

_holds = itertools.count(1)

STORAGE_TYPES = ("default", "row_sparse", "csr")


class DeferredInitializationError(SymcError):
    """A parameter's arrays were asked for before its shape is known."""


class _Held(list[NDArray]):
    """The arrays of a parameter: where one gets another's place, hybridized blocks must know."""

    def __setitem__(self, index: Any, array: Any) -> None:
        super().__setitem__(index, array)
        Parameter.last_held = next(_holds)


class Parameter:
    """A weight by name, with equal arrays on one or several contexts and a gradient beside each.

    shape                  0 stands for an extent that the first batch decides; None for an unknown rank
    init                   its own initializer, which goes before that of `initialize`
    lr_mult, wd_mult       factors of learning rate and weight decay, read at every step
    allow_deferred_init    whether `initialize` may wait for the shape
    differentiable         False pins grad_req to "null"
    stype, grad_stype      kept as MXNet has them; the arrays are dense
    """

    last_held: ClassVar[int] = 0  # another number whenever any parameter has got other arrays

    def __init__(
        self,
        name: str,
        grad_req: str = "write",
        shape: int | Shape | None = None,
        dtype: Any = np.float32,
        lr_mult: float = 1.0,
        wd_mult: float = 1.0,
        init: Any = None,
        allow_deferred_init: bool = False,
        differentiable: bool = True,
        stype: str = "default",
        grad_stype: str = "default",
    ) -> None:
        for what, given in (("grad_stype", grad_stype), ("stype", stype)):
            if given not in STORAGE_TYPES:
                raise ConflictError(
                    f"{what} for Parameter '{name}' must be one of 'default', 'row_sparse', or 'csr', but got '{given}'"
                )
        self._var: Symbol | None = None
        self._arrays: list[NDArray] | None = None
        self._grad: list[NDArray] | None = None
        self._ctx_list: list[Context] = []
        # Positions among the arrays, of devices and of what lies in the host's memory, by device id; scripts read it.
        self._ctx_map: tuple[list[int | None], list[int | None]] = ([], [])
        self._trainer: Any = None
        # Initializer, contexts, the initializer of all, data set meanwhile: what waits for the shape.
        self._deferred_init: tuple[Any, list[Context], Any, NDArray | None] | tuple[()] = ()
        self._differentiable = differentiable
        self._allow_deferred_init = allow_deferred_init
        self._grad_req: str | None = None
        self._shape = (shape,) if isinstance(shape, int) else shape
        self.name = name
        self._dtype = dtype
        self.lr_mult = lr_mult
        self.wd_mult = wd_mult
        self.grad_req = grad_req
        self.init = init
        self._grad_stype = grad_stype
        self._stype = stype

    def __repr__(self) -> str:
        return f"Parameter {self.name} (shape={self.shape}, dtype={self.dtype})"

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def grad_req(self) -> str:
        """What backward does with the gradient: "write", "add" (then call `zero_grad`) or "null" (there is none)."""
        assert self._grad_req is not None
        return self._grad_req

    @grad_req.setter
    def grad_req(self, req: str) -> None:
        if req not in GRAD_REQS:
            raise ConflictError(f"grad_req must be one of 'write', 'add', or 'null', but got '{req}'")
        if not self._differentiable:
            req = "null"
        if self._grad_req == req:
            return
        self._grad_req = req
        if req == "null" and self._grad is not None:
            self._grad = None
            self._data = [array.detach() for array in self._data or ()]
        elif self._data is not None:
            self._init_grad()

    @property
    def dtype(self) -> Any:
        """The element type; assigning casts."""
        return self._dtype

    @dtype.setter
    def dtype(self, dtype: Any) -> None:
        self.cast(dtype)

    @property
    def shape(self) -> Shape | None:
        """The shape as far as it is known; assigning may decide more of it, not change it."""
        return self._shape

    @shape.setter
    def shape(self, new_shape: Shape) -> None:
        old = self._shape
        if old is not None and not (
            len(old) == len(new_shape) and all(o in (-1, 0, n) for n, o in zip(new_shape, old))
        ):
            raise ConflictError(f"Expected shape {new_shape} is incompatible with given shape {old}.")
        self._shape = new_shape

    @property
    def stype(self) -> str:
        """The storage type it was made with."""
        return self._stype

    def is_shape_known(self) -> bool:
        """Whether no extent is left to decide."""
        return bool(self._shape) and all(extent > 0 for extent in self._shape)  # type: ignore[union-attr]

    def var(self) -> Symbol:
        """The variable that stands for it in symbols, always the same."""
        if self._var is None:
            self._var = symbol.var(
                self.name,
                shape=self.shape,
                dtype=self.dtype,
                lr_mult=self.lr_mult,
                wd_mult=self.wd_mult,
                init=self.init,
                stype=self._stype,
            )
        return self._var

    def _set_trainer(self, trainer: Any) -> None:
        is_another = self._trainer is not None and trainer is not None and self._trainer is not trainer
        if self._stype != "default" and is_another:
            raise SymcError(
                f"Failed to set the trainer for Parameter '{self.name}' because it was already set. "
                f"More than one trainers for a {self._stype} Parameter is not supported."
            )
        self._trainer = trainer

    # -- its arrays ---------------------------------------------------------------------------------------------------

    def data(self, ctx: Context | None = None) -> NDArray:
        """Its array on a context, or the one it has; raises DeferredInitializationError or SymcError without one."""
        if self._stype != "default":
            raise SymcError(
                f"Cannot return a copy of Parameter '{self.name}' on ctx {ctx} via data() because its storage type is "
                f"{self._stype}. Please use row_sparse_data() instead."
            )
        return self._check_and_get(self._data, ctx)

    def list_data(self) -> list[NDArray]:
        """Its arrays on all contexts."""
        if self._stype != "default":
            raise SymcError(
                f"Cannot return copies of Parameter '{self.name}' on all contexts via list_data() because its storage "
                f"type is {self._stype}. Please use row_sparse_data() instead."
            )
        return self._all(self._data)

    def grad(self, ctx: Context | None = None) -> NDArray:
        """The gradient on a context; raises SymcError where grad_req is "null"."""
        self._require_grad()
        return self._check_and_get(self._grad, ctx)

    def list_grad(self) -> list[NDArray]:
        """The gradients on all contexts."""
        self._require_grad()
        return self._all(self._grad)

    def _require_grad(self) -> None:
        if self._data is not None and self._grad is None:
            raise SymcError(f"Cannot get gradient array for Parameter '{self.name}' because grad_req='null'")

    def row_sparse_data(self, row_id: NDArray) -> NDArray:
        """The array of a row_sparse parameter on the context of `row_id`: all of its rows, since storage is dense."""
        self._require_row_sparse(row_id, "Cannot return a copy of Parameter {} via row_sparse_data()")
        array = self._check_and_get(self._data, row_id.context)
        self._trainer._row_sparse_pull(self, array, row_id)
        return array

    def list_row_sparse_data(self, row_id: NDArray) -> list[NDArray]:
        """The arrays of a row_sparse parameter on all contexts."""
        self._require_row_sparse(
            row_id, "Cannot return copies of Parameter '{}' on all contexts via list_row_sparse_data()"
        )
        arrays = self._all(self._data)
        self._trainer._row_sparse_pull(self, arrays, row_id)
        return arrays

    def _require_row_sparse(self, row_id: NDArray, what: str) -> None:
        if self._stype != "row_sparse":
            raise SymcError(
                f"{what.format(self.name)} because its storage type is {self._stype}. Please use data() instead."
            )
        if not isinstance(row_id, NDArray):
            raise ArgumentTypeError(f"row_id must have NDArray type, but {type(row_id)} is given")
        if self._trainer is None:
            raise SymcError(
                f"Cannot get row_sparse data for Parameter '{self.name}' when no Trainer is created with it."
            )

    def list_ctx(self) -> list[Context]:
        """The contexts it has arrays on, or will have."""
        if self._data is not None:
            return self._ctx_list
        if self._deferred_init:
            return self._deferred_init[1]
        raise SymcError(f"Parameter '{self.name}' has not been initialized")

    def zero_grad(self) -> None:
        """Sets the gradients to 0."""
        for gradient in self._grad or ():
            gradient[:] = 0

    def _check_and_get(self, arrays: list[NDArray] | None, ctx: Any) -> Any:
        """The array on a context; all of them where the type `list` is given for one, as derived classes ask."""
        if arrays is None:
            raise self._without_arrays()
        if ctx is list:
            return arrays
        if ctx is None:
            if len(arrays) == 1:
                return arrays[0]
            ctx = current_context()
        places, number = self._ctx_map[ctx.device_typeid & 1], ctx.device_id
        k = places[number] if number < len(places) else None
        if k is None:
            raise SymcError(
                f"Parameter '{self.name}' was not initialized on context {ctx}. "
                f"It was only initialized on {self._ctx_list}."
            )
        return arrays[k]

    def _all(self, arrays: list[NDArray] | None) -> list[NDArray]:
        return self._check_and_get(arrays, list)

    def _without_arrays(self) -> SymcError:
        if self._deferred_init:
            return DeferredInitializationError(
                f"Parameter '{self.name}' has not been initialized yet because initialization was deferred. Actual "
                "initialization happens during the first forward pass. Please pass one batch of data through the "
                "network before accessing Parameters. You can also avoid deferred initialization by specifying "
                "in_units, num_features, etc., for network layers."
            )
        return SymcError(
            f"Parameter '{self.name}' has not been initialized. Note that you should initialize parameters and create "
            "Trainer with Block.collect_params() instead of Block.params because the later does not include "
            "Parameters of nested child Blocks"
        )

    # -- where they come from -----------------------------------------------------------------------------------------

    def initialize(
        self,
        init: Any = None,
        ctx: Contexts = None,
        default_init: Any = None,
        force_reinit: bool = False,
    ) -> None:
        """Makes its arrays on the contexts, or waits for the shape.

        init            the initializer; by default its own, and without one default_init (Uniform())
        force_reinit    without it, a parameter that has arrays warns and keeps them
        Raises ArgumentError where the shape is unknown and may not wait.
        """
        if self._data is not None and not force_reinit:
            warnings.warn(
                f"Parameter '{self.name}' is already initialized, ignoring. Set force_reinit=True to re-initialize.",
                stacklevel=2,
            )
            return
        if default_init is None:
            default_init = initializer.Uniform()
        self._data = self._grad = None
        if init is None:
            init = default_init if self.init is None else self.init
        if not self.is_shape_known() and not self._allow_deferred_init:
            raise ArgumentError(
                f"Cannot initialize Parameter '{self.name}' because it has invalid shape: {self.shape}."
            )
        self._deferred_init = init, _listed(ctx), default_init, None
        if self.is_shape_known():
            self._finish_deferred_init()

    def _finish_deferred_init(self) -> None:
        """Makes the arrays that were waiting for the shape, if they were."""
        if not self._deferred_init:
            return
        init, contexts, default_init, data = self._deferred_init
        self._deferred_init = ()
        if not self.is_shape_known():
            raise ConflictError(
                f"Cannot initialize Parameter '{self.name}' because it has invalid shape: {self.shape}. "
                "Please specify in_units, in_channels, etc for `Block`s."
            )
        with autograd.pause():
            if data is None:
                data = ndarray.zeros(self.shape, cpu(), self.dtype)  # type: ignore[arg-type]
                description = initializer.InitDesc(self.name, {"__init__": init})
                initializer.create(default_init)(description, data)
            self._init_impl(data, contexts)

    def _init_impl(self, data: NDArray, contexts: Sequence[Context]) -> None:
        """Arrays with these contents on the contexts, and gradients."""
        self._ctx_list = list(contexts)
        self._ctx_map = ([], [])
        for k, c in enumerate(self._ctx_list):
            places = self._ctx_map[c.device_typeid & 1]
            places += [None] * (c.device_id + 1 - len(places))
            places[c.device_id] = k
        self._data = [data.copyto(c) for c in self._ctx_list]  # type: ignore[misc]
        self._init_grad()

    @property
    def _data(self) -> list[NDArray] | None:
        """The arrays; libraries put others in their place."""
        return self._arrays

    @_data.setter
    def _data(self, arrays: list[NDArray] | None) -> None:
        self._arrays = arrays if arrays is None or isinstance(arrays, _Held) else _Held(arrays)
        Parameter.last_held = next(_holds)

    def _init_grad(self) -> None:
        if self.grad_req == "null":
            self._grad = None
            return
        arrays = self._all(self._data)
        self._grad = [ndarray.zeros(a.shape, a.context, a.dtype) for a in arrays]
        autograd.mark_variables(arrays, self._grad, self.grad_req)

    def set_data(self, data: NDArray) -> None:
        """Writes the array to all contexts, or keeps it until they have one."""
        self.shape = data.shape
        if self._data is None:
            if not self._deferred_init:
                raise ConflictError(f"Parameter '{self.name}' has not been initialized")
            self._deferred_init = (*self._deferred_init[:3], data)
            return
        if self._trainer is not None:
            self._trainer._forget(self)
        for array in self._data:
            array[:] = data

    def reset_ctx(self, ctx: Contexts) -> None:
        """Moves it to other contexts."""
        if self._data:
            data = self._reduce()
            with autograd.pause():
                self._init_impl(data, _listed(ctx))
        elif self._deferred_init:
            init, _, default_init, data = self._deferred_init
            self._deferred_init = init, _listed(ctx), default_init, data
        else:
            raise ArgumentError(
                f"Cannot reset context for Parameter '{self.name}' because it has not been initialized."
            )

    def cast(self, dtype: Any) -> None:
        """Makes its arrays and gradients anew with another dtype."""
        self._dtype = dtype
        if self._data is None:
            return
        with autograd.pause():
            self._data = [array.astype(dtype) for array in self._data]
            if self._grad is None:
                return
            self._grad = [gradient.astype(dtype) for gradient in self._grad]
            autograd.mark_variables(self._data, self._grad, self.grad_req)

    def _reduce(self) -> NDArray:
        """A copy of its contents on the CPU: the mean over contexts."""
        copies: list[Any] = [array.copyto(cpu()) for array in self._all(self._data)]
        return copies[0] if len(copies) == 1 else ndarray.add_n(*copies) / len(copies)

    def _load_init(self, data: NDArray, ctx: Contexts, cast_dtype: bool = False, dtype_source: str = "current") -> None:
        """Takes over an array of a file; see `Block.load_parameters`."""
        self._fit_shape(data)
        data = self._fit_dtype(data, cast_dtype, dtype_source)
        contexts = None if ctx is None else _listed(ctx)
        has_contexts = self._data is not None or self._deferred_init
        if contexts is not None and has_contexts and set(contexts) != set(self.list_ctx()):
            raise ConflictError(
                f"Failed to load Parameter '{self.name}' on {contexts} because it was "
                f"previous initialized on {self.list_ctx()}."
            )
        if self._data is not None:
            self.set_data(data)
        else:
            self._init_impl(data, self._deferred_init[1] if self._deferred_init else contexts or [cpu()])
        self._deferred_init = ()

    def _fit_shape(self, data: NDArray) -> None:
        if not self.shape:
            return
        if len(self.shape) != data.ndim or any(own not in (0, given) for own, given in zip(self.shape, data.shape)):
            raise ConflictError(
                f"Failed loading Parameter '{self.name}' from saved params: shape incompatible "
                f"expected {self.shape} vs saved {data.shape}"
            )
        self.shape = data.shape

    def _fit_dtype(self, data: NDArray, cast_dtype: bool, dtype_source: str) -> NDArray:
        if cast_dtype and dtype_source not in ("current", "saved"):
            raise ConflictError(f"dtype_source must be 'current' or 'saved', but got {dtype_source!r}")
        if not self.dtype or np.dtype(self.dtype).type == data.dtype:
            return data
        if not cast_dtype:
            raise ConflictError(
                f"Failed loading Parameter '{self.name}' from saved params: dtype incompatible "
                f"expected {self.dtype} vs saved {data.dtype}. Set cast_dtype=True to cast the dtype of saved params."
            )
        if dtype_source == "current":
            return data.astype(self.dtype, copy=False)
        self.dtype = data.dtype
        return data


def _listed(ctx: Contexts) -> list[Context]:
    if ctx is None:
        return [current_context()]
    return [ctx] if isinstance(ctx, Context) else list(ctx)
