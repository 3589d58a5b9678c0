"""Block: a part of a network, with children, parameters, names and hooks."""

from __future__ import annotations

import os
import re
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

from symc import ndarray
from symc.core.errors import ArgumentError, ArgumentTypeError, ConflictError
from symc.gluon.parameter import Parameter, ParameterDict
from symc.gluon.parameter.parameter import Contexts
from symc.gluon.utils import HookHandle, _brief_print_list, _indent
from symc.ndarray.serialize import load_named

from . import saved
from .scope import BlockScope
from .summary import print_summary

Hook = Callable[..., None]
Path = str | os.PathLike[str]


class Block:
    """Base of all networks: a subclass makes its children and parameters in `__init__` and overrides `forward`.

    Blocks and parameters that become attributes are its children and its own parameters.

    prefix    what the names of parameters start with; by default made of the class's name and a number
    params    a dict of parameters to share
    """

    _is_sequence = False  # whether it only calls its children one after the other

    def __init__(self, prefix: str | None = None, params: ParameterDict | None = None) -> None:
        self._empty_prefix = prefix == ""
        self._prefix, self._params = BlockScope.create(prefix, params, self._alias())
        self._name = self._prefix.removesuffix("_")
        self._scope = BlockScope(self)
        self._children: OrderedDict[str, Block] = OrderedDict()
        self._reg_params: dict[str, Parameter] = {}
        self._forward_hooks: OrderedDict[int, Hook] = OrderedDict()
        self._forward_pre_hooks: OrderedDict[int, Hook] = OrderedDict()

    def __repr__(self) -> str:
        return self._repr_of({key: block for key, block in self.__dict__.items() if isinstance(block, Block)})

    def _repr_of(self, blocks: dict[str, Block]) -> str:
        lines = "\n".join(f"  ({key}): {_indent(repr(block), 2)}" for key, block in blocks.items())
        return f"{type(self).__name__}(\n{lines}\n)"

    def __setattr__(self, name: str, value: Any) -> None:
        existing = getattr(self, name, None)
        if isinstance(existing, (Parameter, Block)) and not isinstance(value, type(existing)):
            raise ArgumentTypeError(
                f"Changing attribute type for {name} from {type(existing)} to {type(value)}is not allowed."
            )
        if isinstance(value, Block):
            self.register_child(value, name)
        elif isinstance(value, Parameter):
            if name in self._reg_params:
                raise ConflictError(
                    f"Overriding Parameter attribute {name} is not allowed. If you want to share parameters between "
                    "blocks, please set 'params' at Block construction instead."
                )
            self._reg_params[name] = value
        super().__setattr__(name, value)

    def _alias(self) -> str:
        """What its automatic name is made of."""
        return type(self).__name__.lower()

    # -- names and children -------------------------------------------------------------------------------------------

    @property
    def prefix(self) -> str:
        """What the names of its parameters start with."""
        return self._prefix

    @property
    def name(self) -> str:
        """The prefix without its underscore."""
        return self._name

    def name_scope(self) -> BlockScope:
        """`with self.name_scope():` blocks made inside carry its prefix."""
        return self._scope

    def register_child(self, block: Block, name: str | None = None) -> None:
        """Makes another block a child, by default under its number."""
        self._children[str(len(self._children)) if name is None else name] = block

    def apply(self, fn: Callable[[Block], Any]) -> Block:
        """Calls the function with every block below and with this one last; gives this one."""
        for child in self._children.values():
            child.apply(fn)
        fn(self)
        return self

    # -- parameters ---------------------------------------------------------------------------------------------------

    @property
    def params(self) -> ParameterDict:
        """Its own parameters, without those of its children."""
        return self._params

    def collect_params(self, select: str | None = None) -> ParameterDict:
        """The parameters of this block and all below, those whose names match the regular expression at their start."""
        self._warn_of_lost_blocks()
        found = ParameterDict(self._params.prefix)
        pattern = re.compile(select) if select else None
        found.update({name: p for name, p in self.params.items() if pattern is None or pattern.match(name)})
        for child in self._children.values():
            found.update(child.collect_params(select=select))
        return found

    def _warn_of_lost_blocks(self) -> None:
        """Blocks in lists, tuples and dicts are no children: that is seldom meant."""
        children = set(self._children.values())

        def holds_other_block(data: Any) -> bool:
            if isinstance(data, dict):
                data = list(data.values())
            if isinstance(data, (list, tuple)):
                return any(map(holds_other_block, data))
            return isinstance(data, Block) and data not in children

        for key, value in self.__dict__.items():
            is_container = isinstance(value, (list, tuple, dict)) and not key.startswith("__") and key != "_children"
            if is_container and holds_other_block(value):
                warnings.warn(
                    f'"{type(self).__name__}.{key}" is an unregistered container with Blocks. Note that Blocks inside '
                    "the list, tuple or dict will not be registered automatically. Make sure to register them using "
                    "register_child() or switching to nn.Sequential/nn.HybridSequential instead. ",
                    stacklevel=3,
                )

    def initialize(
        self, init: Any = None, ctx: Contexts = None, verbose: bool = False, force_reinit: bool = False
    ) -> None:
        """Initializes all parameters: each by its own initializer, else by this one (Uniform())."""
        self.collect_params().initialize(init, ctx, verbose, force_reinit)

    def cast(self, dtype: Any) -> None:
        """Casts all parameters."""
        for child in self._children.values():
            child.cast(dtype)
        for parameter in self.params.values():
            parameter.cast(dtype)

    def _collect_params_with_prefix(self, prefix: str = "") -> dict[str, Parameter]:
        """Parameters by the path of attributes that leads to them: `features.0.weight`."""
        prefix = f"{prefix}." if prefix else ""
        found = {prefix + key: parameter for key, parameter in self._reg_params.items()}
        for name, child in self._children.items():
            found.update(child._collect_params_with_prefix(prefix + name))
        return found

    def save_parameters(self, filename: Path, deduplicate: bool = False) -> None:
        """Writes the parameters by their paths; `load_parameters` reads them into a network of the same structure.

        deduplicate    writes a shared parameter once, under its last path
        """
        parameters = self._collect_params_with_prefix()
        if deduplicate:
            last_path = {parameter: path for path, parameter in parameters.items()}
            parameters = {path: parameter for parameter, path in last_path.items()}
        ndarray.save(filename, {path: parameter._reduce() for path, parameter in parameters.items()})

    def load_parameters(
        self,
        filename: Path,
        ctx: Contexts = None,
        allow_missing: bool = False,
        ignore_extra: bool = False,
        cast_dtype: bool = False,
        dtype_source: str = "current",
    ) -> None:
        """Reads what `save_parameters` wrote, or a file of full names.

        cast_dtype      where dtypes differ, the file's are cast to the "current" ones (dtype_source), or the
                        parameters to the "saved" ones
        Raises ConflictError for a parameter that the file lacks or whose shape or dtype differs, ArgumentError for one
        that is not here, FormatError for a file without names.
        """
        loaded = load_named(filename)
        parameters = self._collect_params_with_prefix()
        if not loaded and not parameters:
            return
        if not any("." in name for name in loaded):
            self.collect_params().load(
                filename, ctx, allow_missing, ignore_extra, self.prefix, cast_dtype, dtype_source
            )
            return
        paths = defaultdict(list)
        for path, parameter in parameters.items():
            paths[parameter].append(path)
        for path, parameter in () if allow_missing else parameters.items():
            if not any(other in loaded for other in paths[parameter]):
                raise ConflictError(
                    f"Parameter '{path}' is missing in file '{filename}', which contains parameters: "
                    f"{_brief_print_list(loaded)}. Set allow_missing=True to ignore missing parameters."
                )
        for path, array in loaded.items():
            if path in parameters:
                parameters[path]._load_init(array, ctx, cast_dtype, dtype_source)
            elif not ignore_extra:
                raise ArgumentError(
                    f"Parameter '{path}' loaded from file '{filename}' is not present in ParameterDict, which "
                    f"contains parameters {_brief_print_list(self._params)}. Set ignore_extra=True to ignore. "
                )

    def save(self, prefix: str) -> None:
        """Writes the parameters, and names and traced graphs of all blocks: `<prefix>-model.params`, `-model.json`."""
        saved.save(self, prefix)

    def load(self, prefix: str) -> None:
        """Reads what `save` wrote into a network that is built as the saved one was, with its traced graphs."""
        saved.load(self, prefix)

    def _saved_graph(self) -> dict[str, Any]:
        """What `save` keeps of its traced graph."""
        return {}

    def _restore_graph(self, content: dict[str, Any]) -> None:
        """Takes back what `_saved_graph` gave."""

    def save_params(self, filename: Path) -> None:
        """Deprecated: `save_parameters`, but by full names."""
        warnings.warn(
            "save_params is deprecated. Please use save_parameters. "
            "Note that if you want load from SymbolBlock later, please use export instead. For details, see "
            "https://mxnet.apache.org/tutorials/gluon/save_load_params.html",
            stacklevel=2,
        )
        self.collect_params().save(filename, strip_prefix=self.prefix)

    def load_params(
        self, filename: Path, ctx: Contexts = None, allow_missing: bool = False, ignore_extra: bool = False
    ) -> None:
        """Deprecated: `load_parameters`."""
        warnings.warn("load_params is deprecated. Please use load_parameters.", stacklevel=2)
        self.load_parameters(filename, ctx, allow_missing, ignore_extra)

    # -- calling ------------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any) -> Any:
        """What `forward` gives; hooks are called before and after."""
        if self._forward_pre_hooks:
            for hook in list(self._forward_pre_hooks.values()):
                hook(self, args)
        out = self.forward(*args)
        if self._forward_hooks:
            for hook in list(self._forward_hooks.values()):
                hook(self, args, out)
        return out

    def forward(self, *args: Any) -> Any:
        """The outputs for the inputs; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} must override forward")

    def hybridize(self, active: bool = True, **kwargs: Any) -> None:
        """Hybridizes the children, where they can be; see HybridBlock."""
        for child in self._children.values():
            child.hybridize(active, **kwargs)

    def register_forward_pre_hook(self, hook: Hook) -> HookHandle:
        """Calls `hook(block, args)` before every forward; the handle detaches it."""
        return _attached(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Hook) -> HookHandle:
        """Calls `hook(block, args, outputs)` after every forward; the handle detaches it."""
        return _attached(self._forward_hooks, hook)

    def register_op_hook(self, callback: Callable[..., None], monitor_all: bool = False) -> None:
        """Registers the hook with all children; see HybridBlock."""
        for child in self._children.values():
            child.register_op_hook(callback, monitor_all)

    def summary(self, *inputs: Any) -> None:
        """Calls the block and prints a table of its blocks with the shapes of outputs and numbers of parameters."""
        print_summary(self, inputs)


def _attached(hooks: OrderedDict[int, Hook], hook: Hook) -> HookHandle:
    handle = HookHandle()
    handle.attach(hooks, hook)
    return handle
