"""Models for mixed precision: casts where the operators of a symbol need them, parameters in the dtypes that follow."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from symc.context import Context
from symc.core.dtypes import code_of, dtype_name
from symc.core.errors import ArgumentError, ConflictError, SymcError
from symc.gluon import HybridBlock, SymbolBlock
from symc.module import BucketingModule
from symc.ndarray import NDArray
from symc.ops.math.elementwise import AmpCast, AmpMultiCast
from symc.symbol import Symbol, var
from symc.symbol.compose import param_attrs, read_versions
from symc.symbol.node import Entry, SymbolNode, nodes_of, parse_op

from .rules import Conditional, Rules, make_rules

DTYPES = ("float16",)


def require_dtype(dtype: object) -> str:
    """The name of a target dtype; raises ConflictError for one that mixed precision cannot have."""
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name  # type: ignore[call-overload]
    if name == "bfloat16":
        raise ConflictError("amp: symc keeps no array in bfloat16; use target_dtype='float16'")
    if name not in DTYPES:
        raise ConflictError(f"amp: target_dtype must be float16, got {dtype!r}")
    return str(name)


def convert_symbol(
    sym: Symbol,
    target_dtype: str = "float16",
    target_dtype_ops: Sequence[str] | None = None,
    fp32_ops: Sequence[str] | None = None,
    conditional_fp32_ops: Conditional | None = None,
    excluded_sym_names: Sequence[str] | None = None,
    data_names: Sequence[str] | None = None,
    cast_optional_params: bool = False,
) -> Symbol:
    """The symbol with `amp_cast` and `amp_multicast` nodes; its outputs are float32.

    target_dtype_ops, fp32_ops, conditional_fp32_ops   instead of MXNet's lists (see `amp.list_lp16_ops`, ...)
    excluded_sym_names     nodes that stay in float32
    data_names             inputs that are no parameters; None: those without a dtype of their own
    cast_optional_params   parameters of the layers are float16 themselves, instead of being cast in every run
    Raises ConflictError for arguments that do not fit.
    """
    if not isinstance(sym, Symbol):
        raise ConflictError(f"amp: First argument to convert_symbol should be Symbol, got {type(sym).__name__}")
    dtype = require_dtype(target_dtype)
    rules = make_rules(target_dtype_ops, fp32_ops, conditional_fp32_ops)
    if excluded_sym_names is not None and not isinstance(excluded_sym_names, list):
        raise ConflictError("amp: excluded_sym_names should be a list of strs")
    attributes = sym.attr_dict()
    if data_names is None:
        data_names = [name for name in sym.list_inputs() if "__dtype__" not in attributes.get(name, {})]
    converted = _Reduction(rules, dtype, excluded_sym_names or (), data_names, cast_optional_params).run(sym)
    _set_dtypes(converted, data_names)
    return converted


class _Reduction:
    """One walk over a symbol. Of each output it knows a float32 form, one in the target dtype, both or neither."""

    def __init__(
        self, rules: Rules, dtype: str, excluded: Collection[str], data_names: Collection[str], casts_params: bool
    ) -> None:
        self._rules = rules
        self._dtype = dtype
        self._excluded = excluded
        self._data_names = data_names
        self._casts_params = casts_params
        self._new: dict[SymbolNode, SymbolNode] = {}
        self._forms: dict[str, dict[Entry, Entry]] = {"float32": {}, dtype: {}}

    def run(self, symbol: Symbol) -> Symbol:
        """The converted copy."""
        for node in nodes_of(symbol.heads):
            copy = SymbolNode(node.op, node.name, dict(node.attrs), [], node.origin)
            copy.versions, copy.version, copy.subgraphs = node.versions, node.version, node.subgraphs
            self._connect(node, copy)
            self._new[node] = copy
        return Symbol([self._in(entry, "float32") for entry in symbol.heads])

    def _connect(self, node: SymbolNode, copy: SymbolNode) -> None:
        treatment = None if node.is_variable else self._rules.treatment(node.op_name, node.attrs)
        if node.name in self._excluded:
            treatment = "float32"
        states = set(node.aux_inputs())
        if treatment == "float32":
            self._note(node, copy, ["float32"] * node.n_outputs)
            copy.inputs = [self._plain(e) if e.node.is_variable else self._in(e, "float32") for e in node.inputs]
            return
        if treatment == "target":
            wanted, given = self._dtypes_from(node, self._dtype)
            self._note(node, copy, given)
            copy.inputs = [self._operand(e, w, e.node in states) for e, w in zip(node.inputs, wanted)]
            return
        if treatment == "widest":
            self._connect_widest(node, copy)
            return
        if node.inputs:
            first = next((d for d in (self._dtype, "float32") if node.inputs[0] in self._forms[d]), None)
            if first is not None:
                self._note(node, copy, self._dtypes_from(node, first)[1])
        copy.inputs = [self._plain(e) for e in node.inputs]

    def _connect_widest(self, node: SymbolNode, copy: SymbolNode) -> None:
        low, full = self._forms[self._dtype], self._forms["float32"]
        if all(e in low or e in full for e in node.inputs):
            dtype = "float32" if any(e in full for e in node.inputs) else self._dtype
            self._note(node, copy, [dtype] * node.n_outputs)
            copy.inputs = [self._in(e, dtype) for e in node.inputs]
            return
        name = f"{node.inputs[0].node.name}{self._suffix(node.inputs[0])}_amp_multicast"
        cast = _node(AmpMultiCast, name, [self._plain(e) for e in node.inputs], num_outputs=len(node.inputs))
        copy.inputs = [Entry(cast, k) for k in range(len(node.inputs))]

    def _operand(self, entry: Entry, wanted: str | None, is_state: bool) -> Entry:
        """An input of an operator that runs in the target dtype."""
        low = self._forms[self._dtype]
        if entry in low:
            return low[entry]
        is_parameter = entry.node.is_variable and entry.node.name not in self._data_names
        if is_state or wanted not in (None, self._dtype):
            return self._plain(entry)
        if self._casts_params and is_parameter:
            low[entry] = self._plain(entry)
        return self._in(entry, self._dtype)

    def _plain(self, entry: Entry) -> Entry:
        return Entry(self._new[entry.node], entry.index)

    def _in(self, entry: Entry, dtype: str) -> Entry:
        """An output in a dtype, cast where it is not known to have it."""
        forms = self._forms[dtype]
        if entry not in forms:
            name = f"{entry.node.name}{self._suffix(entry)}_amp_cast_{dtype}"
            forms[entry] = Entry(_node(AmpCast, name, [self._plain(entry)], dtype=dtype))
        return forms[entry]

    def _suffix(self, entry: Entry) -> str:
        op = entry.node.op
        return "" if op is None else f"_{op.result_names()[entry.index]}"

    def _note(self, node: SymbolNode, copy: SymbolNode, dtypes: Sequence[str | None]) -> None:
        for k, dtype in enumerate(dtypes):
            if dtype in self._forms:
                self._forms[dtype][Entry(node, k)] = Entry(copy, k)

    @staticmethod
    def _dtypes_from(node: SymbolNode, first: str) -> tuple[Sequence[str | None], Sequence[str | None]]:
        """The dtypes of inputs and outputs that follow from that of the first input."""
        assert node.op is not None
        ins: list[str | None] = [first, *[None] * (len(node.inputs) - 1)]
        wanted, given = node.op.infer_dtype(ins, [None] * len(node.op.result_names()))
        return wanted, given[: node.n_outputs]


def _node(cls: type, name: str, inputs: list[Entry], **params: Any) -> SymbolNode:
    attrs = param_attrs(params)
    node = SymbolNode(parse_op(cls, attrs), name, attrs, inputs, inputs[0].node.origin)
    read_versions(node)
    return node


def _set_dtypes(symbol: Symbol, data_names: Collection[str]) -> None:
    """Writes to each parameter the dtype that it has when the data are float32."""
    names = symbol.list_inputs()
    parameters = [n for n in nodes_of(symbol.heads) if n.is_variable and n.name not in data_names]
    before = {node: node.attrs.pop("__dtype__", None) for node in parameters}
    arguments, _, states = symbol.infer_type_partial(**{n: "float32" for n in names if n in data_names})
    found = dict(zip(symbol.list_arguments(), arguments)) | dict(zip(symbol.list_auxiliary_states(), states))
    for node in parameters:
        code = before[node] if found.get(node.name) is None else str(code_of(found[node.name]))
        if code is not None:
            node.attrs["__dtype__"] = code


def convert_model(
    sym: Symbol,
    arg_params: Mapping[str, NDArray],
    aux_params: Mapping[str, NDArray],
    target_dtype: str = "float16",
    target_dtype_ops: Sequence[str] | None = None,
    fp32_ops: Sequence[str] | None = None,
    conditional_fp32_ops: Conditional | None = None,
    excluded_sym_names: Sequence[str] | None = None,
    cast_optional_params: bool = False,
) -> tuple[Symbol, dict[str, NDArray], dict[str, NDArray]]:
    """A model of symbol and parameters, converted (see `convert_symbol`)."""
    if not isinstance(arg_params, dict) or not isinstance(aux_params, dict):
        raise ConflictError("amp: convert_model: parameters should be dicts of name to ndarray")
    if not isinstance(sym, Symbol):
        raise ConflictError(f"amp: First argument to convert_model should be Symbol, got {type(sym).__name__}")
    data_names = [name for name in sym.list_inputs() if name not in arg_params and name not in aux_params]
    converted = convert_symbol(
        sym, target_dtype, target_dtype_ops, fp32_ops, conditional_fp32_ops, excluded_sym_names, data_names,
        cast_optional_params,
    )  # fmt: skip
    return converted, _cast(arg_params, converted), _cast(aux_params, converted)


def convert_bucketing_module(
    bucketing_mod: BucketingModule,
    target_dtype: str = "float16",
    target_dtype_ops: Sequence[str] | None = None,
    fp32_ops: Sequence[str] | None = None,
    conditional_fp32_ops: Conditional | None = None,
    excluded_sym_names: Sequence[str] | None = None,
    cast_optional_params: bool = False,
) -> BucketingModule:
    """A module whose symbols are converted, each when its bucket is first seen (see `convert_symbol`); to be bound.

    It begins with the parameters of the one given, which must have some: raises ConflictError else.
    """
    if not isinstance(bucketing_mod, BucketingModule):
        raise ConflictError(f"amp: module should be instance of bucketing module, got {type(bucketing_mod).__name__}")
    if not bucketing_mod.params_initialized:
        raise ConflictError("amp: bucketing_mod params should be initialized for mixed precision conversion")
    args, auxs = bucketing_mod.get_params()

    def converted(symbol: Symbol) -> tuple[Symbol, dict[str, NDArray], dict[str, NDArray]]:
        return convert_model(
            symbol, args, auxs, target_dtype, target_dtype_ops, fp32_ops, conditional_fp32_ops, excluded_sym_names,
            cast_optional_params,
        )  # fmt: skip

    def sym_gen(bucket_key: Any) -> tuple[Symbol, Sequence[str], Sequence[str]]:
        symbol, data_names, label_names = bucketing_mod._call_sym_gen(bucket_key)
        return converted(symbol)[0], data_names, label_names

    key = bucketing_mod._default_bucket_key
    _, own_args, own_auxs = converted(bucketing_mod._call_sym_gen(key)[0])
    return BucketingModule.load_dict(None, sym_gen, key, own_args, own_auxs, **bucketing_mod._options)


def _cast(params: Mapping[str, NDArray], symbol: Symbol) -> dict[str, NDArray]:
    """Parameters in the dtypes that a symbol has for them."""
    attributes = symbol.attr_dict()
    codes = {name: attributes.get(name, {}).get("__dtype__", "-1") for name in params}
    return {name: a if codes[name] == "-1" else a.astype(dtype_name(int(codes[name]))) for name, a in params.items()}


def convert_hybrid_block(
    block: HybridBlock,
    target_dtype: str = "float16",
    target_dtype_ops: Sequence[str] | None = None,
    fp32_ops: Sequence[str] | None = None,
    conditional_fp32_ops: Conditional | None = None,
    excluded_sym_names: Sequence[str] | None = None,
    ctx: Context | Sequence[Context] | None = None,
    cast_optional_params: bool = False,
) -> SymbolBlock:
    """A hybridized block that has been called, converted (see `convert_symbol`); on the current context unless told.

    Raises ConflictError for another block, SymcError before it has been called.
    """
    if not isinstance(block, HybridBlock):
        raise ConflictError(f"amp: block input should be a HybridBlock, got {type(block).__name__}")
    if not block._cached_graph:
        raise SymcError(
            "Please first call block.hybridize() and then run forward with this block at least once before calling "
            "convert_hybrid_block."
        )
    inputs, sym = block._cached_graph
    converted = convert_symbol(
        sym, target_dtype, target_dtype_ops, fp32_ops, conditional_fp32_ops, excluded_sym_names,
        [x.name for x in inputs], cast_optional_params,
    )  # fmt: skip
    states = set(converted.list_auxiliary_states())
    arrays = _cast({name: p._reduce() for name, p in block.collect_params().items()}, converted)
    made = SymbolBlock(converted, [var(x.name, dtype="float32") for x in inputs])
    for name, parameter in made.collect_params().items():
        if name not in arrays:
            raise ArgumentError(f"amp: the block has no parameter {name} of its graph")
        if np.dtype(parameter.dtype) != arrays[name].dtype:
            parameter.cast(arrays[name].dtype)
    made.collect_params().load_dict({("aux:" if n in states else "arg:") + n: a for n, a in arrays.items()}, ctx=ctx)
    return made
