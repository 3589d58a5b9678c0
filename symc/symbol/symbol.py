"""Symbol: a list of outputs of a graph of operators and variables, built in Python or loaded from JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from symc.core.divided import rest_of
from symc.core.errors import ArgumentError, ArgumentTypeError, DeprecatedError, SymcError
from symc.core.replacing import writing

from . import infer
from .compose import hidden_name, substitute
from .json import tojson
from .listing import listed_attrs
from .node import HIDDEN_KEYS, Entry, SymbolNode, copy_graph, nodes_of, parse_op
from .operators import NotImplementedForSymbol, add_operators

if TYPE_CHECKING:
    from symc.context import Context
    from symc.executor import Executor
    from symc.ndarray import NDArray
__getattr__ = rest_of(__name__)  # Variable, load ...


@add_operators
class Symbol:
    """Outputs of a graph, named like MXNet names them.

    A symbol is made by `mx.sym.var`, by the operator functions of `mx.sym`, by Python's operators, by `mx.sym.load`.
    Nodes are shared between the symbols that use them. `heads` lists the outputs as (node, index).
    """

    __slots__ = ("heads", "__weakref__")
    __array_priority__ = 1000.0  # numpy_scalar + symbol asks the symbol
    __hash__ = object.__hash__  # == makes a symbol; hashing goes by identity

    def __init__(self, heads: list[Entry]) -> None:
        self.heads = heads

    # -- what it is made of -----------------------------------------------------------------------------------

    @property
    def name(self) -> str | None:
        """The name of the node; None for a group of several nodes."""
        node = self._single_node()
        return None if node is None else node.name

    def _single_node(self) -> SymbolNode | None:
        first = self.heads[0].node
        return first if all(node is first for node, _ in self.heads) else None

    def nodes(self) -> list[SymbolNode]:
        """Every node the outputs need, inputs before users, in MXNet's depth-first order."""
        return nodes_of(self.heads)

    def _variables(self) -> tuple[list[SymbolNode], list[SymbolNode]]:
        """Arguments and auxiliary states."""
        nodes = self.nodes()
        states = {state for node in nodes for state in node.aux_inputs()}
        variables = [n for n in nodes if n.is_variable]
        return [n for n in variables if n not in states], [n for n in variables if n in states]

    def list_arguments(self) -> list[str]:
        """Names of the variables that are not auxiliary states, in depth-first order."""
        return [n.name for n in self._variables()[0]]

    def list_auxiliary_states(self) -> list[str]:
        """Names of the variables that operators update in place (moving statistics)."""
        return [n.name for n in self._variables()[1]]

    def list_inputs(self) -> list[str]:
        """Names of all variables."""
        return [n.name for n in self.nodes() if n.is_variable]

    def list_outputs(self) -> list[str]:
        """Names of the outputs: `fc_output`, `split_output0`, a variable's own name."""
        return [node.output_name(k) for node, k in self.heads]

    def get_internals(self) -> Symbol:
        """A group of every visible output of every node, for picking one by name."""
        return Symbol([entry for node in self.nodes() for entry in node.visible()])

    def get_children(self) -> Symbol | None:
        """A group of the inputs of the outputs' nodes; None for a variable."""
        distinct = {id(node): node for node, _ in self.heads}.values()
        inputs = [entry for node in distinct for entry in node.inputs]
        return Symbol(inputs) if inputs else None

    def __repr__(self) -> str:
        if self.name is not None:
            return f"<{type(self).__name__} {self.name}>"
        return f"<{type(self).__name__} group [{', '.join(node.name for node, _ in self.heads)}]>"

    def __len__(self) -> int:
        return len(self.heads)

    def __iter__(self) -> Iterator[Symbol]:
        return (Symbol([head]) for head in list(self.heads))

    def __getitem__(self, index: int | str | slice) -> Symbol:
        """An output by position or by name, or a group of some; raises IndexError or ArgumentError."""
        if isinstance(index, slice):
            start = 0 if index.start is None else index.start
            stop = len(self) if index.stop is None else index.stop
            from .creation import Group

            return Group([self[i] for i in range(start, stop, 1 if index.step is None else index.step)])
        if isinstance(index, str):
            found = [i for i, name in enumerate(self.list_outputs()) if name == index]
            if len(found) > 1:
                raise ArgumentError(f'There are multiple outputs with name "{index}"')
            if not found:
                raise ArgumentError(f'Cannot find output that matches name "{index}"')
            index = found[0]
        if not isinstance(index, int):
            raise ArgumentTypeError("Symbol only support integer index to fetch i-th output")
        if index < 0:
            raise SymcError("Symbol only accept nonnegative index")
        return Symbol([self.heads[index]])

    def __bool__(self) -> bool:
        raise NotImplementedForSymbol("__bool__", "bool")

    # -- attributes -------------------------------------------------------------------------------------------

    def attr(self, key: str) -> str | None:
        """One attribute of the node; "name", "op_name" and "_value_index" are always there."""
        node = self._single_node()
        if node is None:
            return None
        if key == "name":
            return node.name
        if key == "op_name":
            return node.op_name
        if key == "_value_index":
            return ", ".join(str(k) for _, k in self.heads)
        found = node.attrs.get(key)
        return node.attrs.get(f"__{key}__") if found is None and key in HIDDEN_KEYS else found

    def list_attr(self, recursive: bool = False) -> dict[str, str]:
        """The attributes of the node."""
        if recursive:
            raise DeprecatedError(
                "Symbol.list_attr with recursive=True has been deprecated. Please use attr_dict instead."
            )
        node = self._single_node()
        return {} if node is None else listed_attrs(node.attrs)

    def attr_dict(self) -> dict[str, dict[str, str]]:
        """The attributes of every node that has any, by name."""
        found: dict[str, dict[str, str]] = {}
        for node in self.nodes():
            if node.attrs:
                found.setdefault(node.name, {}).update(listed_attrs(node.attrs))
        return found

    def _set_attr(self, **attrs: str) -> None:
        """Sets attributes of the node; operator parameters are read again. Raises SymcError for a group."""
        node = self._single_node()
        if node is None:
            raise SymcError("Symbol.SetAttrs only works for non-grouped symbol")
        for key, value in attrs.items():
            if not isinstance(value, str):
                raise ArgumentError("Set Attr only accepts string values")
            if key == "name":
                node.name = value
                continue
            changed = {**node.attrs, hidden_name(key, value): value}
            if node.op is not None and node.op.params():
                node.op = parse_op(type(node.op), changed)
            node.attrs = changed

    # -- composition ------------------------------------------------------------------------------------------

    def __call__(self, *args: Symbol, name: str | None = None, **kwargs: Symbol) -> Symbol:
        """A copy with variables replaced: `net(data=other)`."""
        copy = self.__copy__()
        copy._compose(*args, name=name, **kwargs)
        return copy

    def _compose(self, *args: Symbol, name: str | None = None, **kwargs: Symbol) -> None:
        if args and kwargs:
            raise ArgumentTypeError(
                "compose only accept input Symbols either as positional or keyword arguments, not both"
            )
        if any(not isinstance(s, Symbol) for s in (*args, *kwargs.values())):
            raise ArgumentTypeError("Compose expect `Symbol` as arguments")
        if args:
            raise SymcError("General composition only support kwargs for now")
        substitute(self, kwargs, name)

    def __copy__(self) -> Symbol:
        return self.__deepcopy__(None)

    def __deepcopy__(self, _: Any) -> Symbol:
        return type(self)(copy_graph(self.heads))

    def __reduce__(self) -> tuple:
        from .json import load_json

        return load_json, (self.tojson(),)

    def __setstate__(self, state: dict[str, str]) -> None:
        """Takes over the state of a pickled symbol of MXNet."""
        from .json import load_json

        self.heads = load_json(state["handle"]).heads

    def _gen_atomic_symbol(self) -> Symbol:
        """The node alone: its operator over variables of its own, named after its arguments."""
        node = self._single_node()
        if node is None or node.op is None:
            raise SymcError(f"only a symbol of one operator has an atomic symbol, got {self!r}")
        inputs = [Entry(SymbolNode(None, name)) for name in node.op.input_names()]
        return type(self)(SymbolNode(node.op, "", dict(node.attrs), inputs, node.origin).visible())

    def as_nd_ndarray(self) -> Symbol:
        """Itself: every symbol is of the classic kind."""
        return self

    def as_np_ndarray(self) -> Symbol:
        """Not there: symc has no symbols of mx.np."""
        raise NotImplementedForSymbol("as_np_ndarray")

    # -- text -------------------------------------------------------------------------------------------------

    def tojson(self, remove_amp_cast: bool = True) -> str:
        """The graph as MXNet 1.9's JSON."""
        return tojson(self, remove_amp_cast)

    def save(self, fname: str, remove_amp_cast: bool = True) -> None:
        """Writes `tojson` to a file."""
        if not isinstance(fname, str):
            raise ArgumentTypeError("fname need to be string")
        text = self.tojson(remove_amp_cast).encode()
        with writing(fname) as file:
            file.write(text)

    def debug_str(self) -> str:
        """The graph as a readable list of nodes, inputs and attributes."""
        if len(self.heads) == 1 and self.heads[0].node.is_variable:
            return f"Variable:{self.heads[0].node.name}\n"
        lines = ["Symbol Outputs:", *(f"\toutput[{i}]={node.name}({k})" for i, (node, k) in enumerate(self.heads))]
        for node in self.nodes():
            if node.is_variable:
                lines.append(f"Variable:{node.name}")
                continue
            lines += ["--------------------", f"Op:{node.op_name}, Name={node.name}", "Inputs:"]
            versions = node.versions or (0,) * len(node.inputs)
            for i, ((source, k), version) in enumerate(zip(node.inputs, versions)):
                lines.append(f"\targ[{i}]={source.name}({k})" + (f" version={version}" if source.is_variable else ""))
            if node.attrs:
                lines += ["Attrs:", *(f"\t{key}={value}" for key, value in sorted(node.attrs.items()))]
        return "\n".join(lines) + "\n"

    # -- inference ----------------------------------------------------------------------------------------------

    def infer_shape(self, *args: tuple | None, **kwargs: tuple) -> tuple[list | None, list | None, list | None]:
        """Shapes of arguments, outputs and auxiliary states from those of some arguments (0 = unknown extent).

        All None, with a warning, when they cannot be decided. Raises ShapeError on contradiction.
        """
        return infer.infer_shape(self, args, kwargs, partial=False)

    def infer_shape_partial(self, *args: tuple | None, **kwargs: tuple) -> tuple[list, list, list]:
        """As `infer_shape`; what cannot be decided is () or 0."""
        return infer.infer_shape(self, args, kwargs, partial=True)  # type: ignore[return-value]

    def infer_type(self, *args: Any, **kwargs: Any) -> tuple[list | None, list | None, list | None]:
        """NumPy types of arguments, outputs and auxiliary states from those of some arguments.

        All None, with a warning, when they cannot be decided. Raises DTypeError on contradiction.
        """
        return infer.infer_type(self, args, kwargs, partial=False)

    def infer_type_partial(self, *args: Any, **kwargs: Any) -> tuple[list, list, list]:
        """As `infer_type`; what cannot be decided is None."""
        return infer.infer_type(self, args, kwargs, partial=True)  # type: ignore[return-value]

    # -- running ------------------------------------------------------------------------------------------------

    def bind(
        self,
        ctx: Context,
        args: list[NDArray] | dict[str, NDArray],
        args_grad: list[NDArray | None] | dict[str, NDArray] | None = None,
        grad_req: str | list[str] | dict[str, str] = "write",
        aux_states: list[NDArray] | dict[str, NDArray] | None = None,
        group2ctx: dict[str, Context] | None = None,
        shared_exec: Executor | None = None,
    ) -> Executor:
        """An executor over the caller's arrays; see `symc.executor.bind.bind`."""
        from symc.executor.bind import bind

        return bind(self, ctx, args, args_grad, grad_req, aux_states, group2ctx)

    def simple_bind(
        self,
        ctx: Context,
        grad_req: str | list[str] | dict[str, str] = "write",
        type_dict: dict[str, Any] | None = None,
        stype_dict: dict[str, str] | None = None,
        group2ctx: dict[str, Context] | None = None,
        shared_arg_names: list[str] | None = None,
        shared_exec: Executor | None = None,
        shared_buffer: dict[str, NDArray] | None = None,
        **kwargs: tuple[int, ...],
    ) -> Executor:
        """An executor over new arrays, from the shapes of some arguments; see `symc.executor.bind.simple_bind`."""
        from symc.executor.bind import simple_bind

        return simple_bind(
            self, ctx, grad_req, type_dict, shared_arg_names, shared_exec, shared_buffer, kwargs, group2ctx
        )

    def eval(self, ctx: Context | None = None, **kwargs: NDArray) -> list[NDArray]:
        """The outputs for the given arguments."""
        from symc.context import current_context
        from symc.executor.bind import bind

        states = {n: kwargs[n] for n in self.list_auxiliary_states() if n in kwargs}
        return bind(self, ctx or current_context(), kwargs, None, "null", states).forward()

    def gradient(self, wrt: list[str]) -> Symbol:
        """Not available, as in MXNet: gradients come from an executor's backward."""
        raise SymcError("Symbol.gradient is not implemented; bind the symbol and call backward")

    def optimize_for(
        self,
        backend: str,
        args: dict[str, NDArray] | None = None,
        aux: dict[str, NDArray] | None = None,
        ctx: Context | None = None,
        shape_dict: dict[str, tuple[int, ...]] | None = None,
        type_dict: dict[str, Any] | None = None,
        stype_dict: dict[str, str] | None = None,
        skip_infer: bool = False,
        **kwargs: Any,
    ) -> Symbol:
        """A copy: symc optimizes for the machine when it compiles, whatever the backend is called."""
        from .backend import optimize_for

        return optimize_for(self, backend, args, aux, ctx)

    def get_backend_symbol(self, backend: str) -> Symbol:
        """A copy, as `optimize_for`; raises SymcError for a backend that MXNet does not have."""
        from .backend import get_backend_symbol

        return get_backend_symbol(self, backend)

    # -- fluent methods that differ from their operator ---------------------------------------------------------------

    def __abs__(self) -> Symbol:
        return self.abs()  # type: ignore[attr-defined]

    def __neg__(self) -> Symbol:
        return self * -1.0  # type: ignore[operator, return-value]

    def astype(self, *args: Any, **kwargs: Any) -> Symbol:
        """`mx.sym.cast` of this symbol."""
        return _function("cast")(self, *args, **kwargs)

    def flatten(self, inplace: bool = False, **kwargs: Any) -> Symbol:
        """`mx.sym.flatten` of this symbol."""
        return _function("flatten")(self, **kwargs)

    def expand_dims(self, axis: int, inplace: bool = False, **kwargs: Any) -> Symbol:
        """`mx.sym.expand_dims` of this symbol."""
        return _function("expand_dims")(self, axis=axis, **kwargs)

    def squeeze(self, axis: Any = None, inplace: bool = False, **kwargs: Any) -> Symbol:
        """`mx.sym.squeeze` of this symbol."""
        return _function("squeeze")(self, axis=axis, **kwargs)

    def diag(self, k: int = 0, **kwargs: Any) -> Symbol:
        """`mx.sym.diag` of this symbol."""
        return _function("diag")(self, k, **kwargs)

    def split_v2(self, *args: Any, **kwargs: Any) -> Symbol:
        """`mx.sym.split_v2` of this symbol."""
        from .creation import split_v2

        return split_v2(self, *args, **kwargs)


def _function(name: str) -> Any:
    from .functions import resolve

    return resolve("op", name)
