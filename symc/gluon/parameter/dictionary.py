"""ParameterDict: parameters by full name, as a block has them or as `collect_params` gathers them."""

from __future__ import annotations

import os
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any

import numpy as np

from symc import initializer, ndarray
from symc.context import Context
from symc.core.errors import ArgumentError, ConflictError, MissingKeyError
from symc.gluon.utils import _brief_print_list, _indent
from symc.ndarray import NDArray
from symc.ndarray.serialize import load_named

from .constant import Constant
from .parameter import Contexts, Parameter

NAMING = "https://mxnet.io/api/python/docs/tutorials/packages/gluon/blocks/naming.html"


class ParameterDict:
    """Parameters by name; `get` makes them, with the dict's prefix before their names.

    shared    another dict, whose parameter of the wanted name is taken instead of a new one
    """

    def __init__(self, prefix: str = "", shared: ParameterDict | None = None) -> None:
        self._prefix = prefix
        self._params: dict[str, Parameter] = {}
        self._shared = shared

    def __repr__(self) -> str:
        name = f"{self._prefix} " if self._prefix else ""
        content = "\n".join(_indent(f"  {parameter}", 2) for parameter in self.values())
        return f"{name}(\n{content}\n)"

    def __getitem__(self, key: str) -> Parameter:
        return self._params[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def items(self) -> ItemsView[str, Parameter]:
        """Names and parameters, in the order they were made."""
        return self._params.items()

    def keys(self) -> KeysView[str]:
        """Names."""
        return self._params.keys()

    def values(self) -> ValuesView[Parameter]:
        """Parameters."""
        return self._params.values()

    @property
    def prefix(self) -> str:
        """What `get` puts before a name."""
        return self._prefix

    # -- getting and gathering ----------------------------------------------------------------------------------------

    def _known(self, full_name: str) -> Parameter | None:
        """The parameter here, or the shared one, which is here from now on."""
        if full_name not in self._params and self._shared is not None and full_name in self._shared._params:
            self._params[full_name] = self._shared._params[full_name]
        return self._params.get(full_name)

    def get(self, name: str, **kwargs: Any) -> Parameter:
        """The parameter `<prefix><name>`: the one here, else the shared one, else a new one with these arguments.

        One that is there must agree with the arguments; unknown extents of its shape are filled in. Raises
        ConflictError.
        """
        full_name = self.prefix + name
        parameter = self._known(full_name)
        if parameter is None:
            parameter = self._params[full_name] = Parameter(full_name, **kwargs)
            return parameter
        for key, wanted in kwargs.items():
            _agree(parameter, key, wanted)
        return parameter

    def get_constant(self, name: str, value: Any = None) -> Constant:
        """The constant `<prefix><name>`, made from the value where it is not there.

        Raises MissingKeyError without either, ConflictError where it has another value.
        """
        full_name = self.prefix + name
        parameter = self._known(full_name)
        if parameter is None:
            if value is None:
                raise MissingKeyError(
                    f"No constant named '{full_name}'. Please specify value if you want to create a new constant."
                )
            made = self._params[full_name] = Constant(full_name, value)
            return made
        if not isinstance(parameter, Constant):
            raise ConflictError(f"Parameter '{full_name}' already exists but it is not a constant.")
        given = value.asnumpy() if isinstance(value, NDArray) else value
        if given is not None and not np.array_equal(parameter.value.asnumpy(), given):
            raise ConflictError(f"Constant '{full_name}' already exists but it's value doesn't match new value")
        return parameter

    def update(self, other: ParameterDict | Mapping[str, Parameter]) -> None:
        """Takes in the parameters of another dict; raises ConflictError for another one of a name that is here."""
        for name, parameter in other.items():
            if self._params.get(name, parameter) is not parameter:
                raise ConflictError(
                    f"Cannot update self with other because they have different Parameters with the same name '{name}'"
                )
        self._params.update(other.items())

    # -- for all of them ----------------------------------------------------------------------------------------------

    def initialize(
        self, init: Any = None, ctx: Contexts = None, verbose: bool = False, force_reinit: bool = False
    ) -> None:
        """Initializes every parameter: by its own initializer, else by this one (Uniform())."""
        init = initializer.Uniform() if init is None else init
        if verbose:
            init.set_verbosity(verbose=verbose)
        for parameter in self.values():
            parameter.initialize(None, ctx, init, force_reinit=force_reinit)

    def zero_grad(self) -> None:
        """Sets all gradients to 0."""
        for parameter in self.values():
            parameter.zero_grad()

    def reset_ctx(self, ctx: Contexts) -> None:
        """Moves all parameters to other contexts."""
        for parameter in self.values():
            parameter.reset_ctx(ctx)

    def list_ctx(self) -> list[Context]:
        """The contexts that any parameter is on."""
        return list(dict.fromkeys(c for parameter in self.values() for c in parameter.list_ctx()))

    def setattr(self, name: str, value: Any) -> None:
        """Sets an attribute, `grad_req` for instance, of all parameters."""
        for parameter in self.values():
            setattr(parameter, name, value)

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self, filename: str | os.PathLike[str], strip_prefix: str = "") -> None:
        """Writes all parameters by full name, less `strip_prefix`; raises ArgumentError for a name without it."""
        arrays = {}
        for parameter in self.values():
            if not parameter.name.startswith(strip_prefix):
                raise ArgumentError(
                    f"Prefix '{strip_prefix}' is to be striped before saving, but Parameter's name "
                    f"'{parameter.name}' does not start with '{strip_prefix}'. this may be due to your Block shares "
                    "parameters from other Blocks or you forgot to use 'with name_scope()' when creating "
                    f"child blocks. For more info on naming, please see {NAMING}"
                )
            arrays[parameter.name[len(strip_prefix) :]] = parameter._reduce()
        ndarray.save(filename, arrays)

    def load(
        self,
        filename: str | os.PathLike[str],
        ctx: Contexts = None,
        allow_missing: bool = False,
        ignore_extra: bool = False,
        restore_prefix: str = "",
        cast_dtype: bool = False,
        dtype_source: str = "current",
    ) -> None:
        """Reads what `save` wrote (or a checkpoint: `arg:` and `aux:` are dropped), `restore_prefix` before names.

        Raises ConflictError for a parameter that the file lacks, or that is not here, FormatError for a file without
        names.
        """
        for name in self.keys() if restore_prefix else ():
            if not name.startswith(restore_prefix):
                raise ConflictError(
                    f"restore_prefix is '{restore_prefix}' but Parameters name '{name}' does not start with "
                    f"'{restore_prefix}'. For more info on naming, please see {NAMING}"
                )
        loaded = load_named(filename)
        self.load_dict(loaded, ctx, allow_missing, ignore_extra, restore_prefix, filename, cast_dtype, dtype_source)

    def load_dict(
        self,
        param_dict: Mapping[str, NDArray] | Iterable[tuple[str, NDArray]],
        ctx: Contexts = None,
        allow_missing: bool = False,
        ignore_extra: bool = False,
        restore_prefix: str = "",
        filename: str | os.PathLike[str] | None = None,
        cast_dtype: bool = False,
        dtype_source: str = "current",
    ) -> None:
        """As `load`, from arrays by name."""
        pairs = param_dict.items() if isinstance(param_dict, Mapping) else param_dict
        arrays = {restore_prefix + name.removeprefix("arg:").removeprefix("aux:"): array for name, array in pairs}
        where = f"file: {filename}" if filename else "param_dict"
        same_prefix = (
            "Please make sure source and target networks have the same prefix."
            f"For more info on naming, please see {NAMING}"
        )
        for name in () if allow_missing else self.keys():
            if name not in arrays:
                raise ConflictError(
                    f"Parameter '{name.removeprefix(restore_prefix)}' is missing in {where}, which contains "
                    f"parameters: {_brief_print_list(arrays)}. {same_prefix}"
                )
        for name, array in arrays.items():
            if name in self._params:
                self[name]._load_init(array, ctx, cast_dtype, dtype_source)
            elif not ignore_extra:
                raise ConflictError(
                    f"Parameter '{name.removeprefix(restore_prefix)}' loaded from {where} is not present in "
                    f"ParameterDict, choices are: {_brief_print_list(self._params)}. "
                    f"Set ignore_extra to True to ignore. {same_prefix}"
                )


def _agree(parameter: Parameter, key: str, wanted: Any) -> None:
    """Makes an attribute what is wanted, or finds that it is; raises ConflictError for another."""
    existing = getattr(parameter, key, None)
    if existing is None:
        setattr(parameter, key, wanted)
        return
    if key == "shape" and wanted is not None and len(wanted) == len(existing):
        if all(w == e or min(w, e) <= 0 for w, e in zip(wanted, existing)):
            parameter._shape = tuple(w if w > 0 else e for w, e in zip(wanted, existing))
            return
    elif key == "dtype" and np.dtype(wanted) == np.dtype(existing):
        return
    if wanted is not None and wanted != existing:
        raise ConflictError(
            f"Cannot retrieve Parameter '{parameter.name}' because desired attribute does not match with stored for "
            f"attribute '{key}': desired '{wanted}' vs stored '{existing}'."
        )
