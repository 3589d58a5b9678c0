"""From a float network to one on 8-bit integers: `quantize_model`, `quantize_net`, and what they are made of.

net = mx.contrib.quantization.quantize_net(block, calib_mode="naive", calib_data=loader)
qsym, qargs, aux = mx.contrib.quantization.quantize_model(
    sym, args, aux, calib_mode="naive", calib_data=iterator, quantized_dtype="auto", label_names=None
)
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from symc import context
from symc import ndarray as nd
from symc.context import Context
from symc.core.errors import ArgumentError
from symc.gluon import HybridBlock, SymbolBlock
from symc.io import DataBatch, DataIter
from symc.ndarray import NDArray
from symc.symbol import Group, Symbol, var
from symc.symbol import load as load_symbol

from .collectors import COLLECTORS
from .fold_batch_norm import fold_batch_norms
from .quantize_symbol import quantize_symbol, set_ranges, wanted_ranges

DTYPES = ("int8", "uint8", "auto")

Arrays = Mapping[str, NDArray]


def quantize_model(
    sym: Symbol | str,
    arg_params: Arrays,
    aux_params: Arrays,
    data_names: Sequence[str] = ("data",),
    label_names: Sequence[str] | None = ("softmax_label",),
    ctx: Context | None = None,
    excluded_sym_names: Sequence[str] | None = None,
    excluded_op_names: Sequence[str] | None = None,
    calib_mode: str | None = "entropy",
    calib_data: Any = None,
    num_calib_examples: int | None = None,
    quantized_dtype: str = "int8",
    quantize_mode: str = "smart",
    quantize_granularity: str = "tensor-wise",
    logger: logging.Logger | None = None,
) -> tuple[Symbol, dict[str, NDArray], Arrays]:
    """A float network on 8-bit integers: (symbol, parameters, states), with the names that MXNet gives.

    calib_mode "none" finds ranges at every run, "naive" takes those that the layers have on `calib_data`, "entropy"
    those that lose least of their histograms. calib_data is an iterator over batches with `data`, a list of arrays in
    the order of `data_names`; `num_calib_examples` of them count, or all. Source: MXNet's contrib.quantization.

    Raises ArgumentError for a mode, dtype or granularity that there is not, and where calib_data is missing.
    """
    symbol = load_symbol(sym) if isinstance(sym, str) else sym
    device = ctx or context.cpu()
    qsym, _, _, collector = quantize_graph(
        symbol, arg_params, aux_params, device, excluded_sym_names, excluded_op_names, calib_mode, quantized_dtype,
        quantize_mode, quantize_granularity, logger=logger,
    )  # fmt: skip
    if collector is None:
        return qsym, _quantized_params(qsym, arg_params), aux_params
    if calib_data is None:
        raise ArgumentError(f"calib_data must be provided when calib_mode={calib_mode}")
    _show(
        collector, symbol, qsym, arg_params, aux_params, data_names, label_names, device, calib_data, num_calib_examples
    )
    return calib_graph(qsym, arg_params, aux_params, collector, calib_mode, quantized_dtype, logger)


def quantize_model_mkldnn(
    sym: Symbol | str, arg_params: Arrays, aux_params: Arrays, *args: Any, **kwargs: Any
) -> tuple[Symbol, dict[str, NDArray], Arrays]:
    """`quantize_model`, BatchNorms folded into layers first; where MXNet fuses into operators of oneDNN's, symc fuses
    whenever it compiles.
    """
    symbol = load_symbol(sym) if isinstance(sym, str) else sym
    folded = fold_batch_norms(symbol, arg_params, aux_params)
    given = inspect.signature(quantize_model).bind(*folded, *args, **kwargs).arguments
    return quantize_model(**{**given, "quantized_dtype": _mild(given.get("quantized_dtype", "int8"))})


def quantize_net_v2(
    network: HybridBlock,
    quantized_dtype: str = "auto",
    quantize_mode: str = "full",
    quantize_granularity: str = "tensor-wise",
    exclude_layers: Sequence[str] | None = None,
    exclude_layers_match: Sequence[str] | None = None,
    exclude_operators: Sequence[str] | None = None,
    calib_data: Any = None,
    data_shapes: Sequence[Any] | None = None,
    calib_mode: str | None = "none",
    num_calib_examples: int | None = None,
    ctx: Context | None = None,
    LayerOutputCollector: Any = None,
    logger: logging.Logger | None = None,
) -> SymbolBlock:
    """A block on 8-bit integers: `quantize_model` of the graph of a block, BatchNorms folded into layers first.

    calib_data            an iterator over batches as quantize_model's, or a DataLoader; what the block does not take is
                          left out
    data_shapes           DataDesc of each input, where there is no calib_data
    exclude_layers_match  parts of names of what stays floats

    Raises ArgumentError without data or shapes, and as `quantize_model`.
    """
    device = ctx or context.cpu()
    is_calibrated = calib_mode not in (None, "none")
    if is_calibrated and calib_data is None:
        raise ArgumentError(f"calib_data must be provided when calib_mode={calib_mode}")
    if not data_shapes and calib_data is None:
        raise ArgumentError("data_shapes required")
    shapes = (
        [tuple(d.shape) for d in data_shapes] if data_shapes else [a.shape for a in next(_batches(calib_data)).data]
    )
    inputs, symbol = _traced(network, shapes)
    known = {name: p._reduce() for name, p in network.collect_params().items()}
    states = set(symbol.list_auxiliary_states())
    args = {name: known[name] for name in symbol.list_arguments() if name in known}
    symbol, args, aux = fold_batch_norms(symbol, args, {name: known[name] for name in states})
    excluded = [*(exclude_layers or ())]
    for text in exclude_layers_match or ():
        excluded += [x.name for x in symbol.get_internals() if text in x.name]
    operators = [*(exclude_operators or ()), *([] if is_calibrated else ["BatchNorm"])]  # which wants a range
    quantized_dtype = _mild(quantized_dtype)
    qsym, qargs, aux, collector = quantize_graph(
        symbol, args, aux, device, excluded, operators, calib_mode, quantized_dtype, quantize_mode,
        quantize_granularity, LayerOutputCollector, logger,
    )  # fmt: skip
    if is_calibrated:
        batches = _batches(calib_data)
        _show(collector, symbol, qsym, args, aux, inputs, None, device, batches, num_calib_examples)
        qsym, qargs, aux = calib_graph(qsym, args, aux, collector, calib_mode, quantized_dtype, logger)
    return _block(qsym, inputs, {**qargs, **aux}, device)


def _mild(dtype: str) -> str:
    """uint8 where values are known not to be negative: of a layer without an activation MXNet makes int8, too."""
    return "auto" if dtype == "uint8" else dtype


def quantize_net(network: HybridBlock, *args: Any, **kwargs: Any) -> SymbolBlock:
    """`quantize_net_v2` without a granularity, as scripts from before it call it."""
    names = [name for name in inspect.signature(quantize_net_v2).parameters if name != "quantize_granularity"]
    return quantize_net_v2(network, **dict(zip(names[1:], args)), **kwargs)


def quantize_graph(
    sym: Symbol,
    arg_params: Arrays,
    aux_params: Arrays,
    ctx: Context | None = None,
    excluded_sym_names: Sequence[str] | None = None,
    excluded_op_names: Sequence[str] | None = None,
    calib_mode: str | None = "entropy",
    quantized_dtype: str = "int8",
    quantize_mode: str = "full",
    quantize_granularity: str = "tensor-wise",
    LayerOutputCollector: Any = None,
    logger: logging.Logger | None = None,
) -> tuple[Symbol, dict[str, NDArray], Arrays, Any]:
    """The network without ranges, its parameters and states, and a collector that `calib_graph` takes them from.

    Raises ArgumentError as `quantize_model`.
    """
    for what, names in (("excluded_sym_names", excluded_sym_names), ("excluded_op_names", excluded_op_names)):
        if names is not None and not isinstance(names, list):
            raise ArgumentError(f"{what} must be a list of strings, got {type(names).__name__}")
    if quantized_dtype not in DTYPES:
        raise ArgumentError(f"unknown quantized_dtype {quantized_dtype} received, expected `int8`, `uint8` or `auto`")
    if quantize_granularity not in ("tensor-wise", "channel-wise"):
        raise ArgumentError(
            f"unknown quantize_granularity {quantize_granularity} received, expected `tensor-wise` or `channel-wise`"
        )
    if calib_mode not in (None, "none", "customize", *COLLECTORS):
        raise ArgumentError(
            f"unknown calibration mode {calib_mode} received, expected `none`, `naive`, `entropy` or `customize`"
        )
    qsym = quantize_symbol(
        sym, excluded_sym_names or (), excluded_op_names or (), arg_params.keys(), quantized_dtype, quantize_mode
    )
    if logger is not None:
        logger.info("Quantized the symbol")
    collector = LayerOutputCollector if calib_mode == "customize" else None
    if calib_mode in COLLECTORS:
        collector = COLLECTORS[calib_mode]()
    return qsym, _quantized_params(qsym, arg_params), aux_params, collector


def calib_graph(
    qsym: Symbol,
    arg_params: Arrays,
    aux_params: Arrays,
    collector: Any,
    calib_mode: str | None = "entropy",
    quantized_dtype: str = "int8",
    logger: logging.Logger | None = None,
) -> tuple[Symbol, dict[str, NDArray], Arrays]:
    """A quantised network with the ranges that a collector has seen; one of the user's needs `min_max_dict`."""
    if calib_mode in (None, "none"):
        raise ArgumentError("please set calibration mode to naive or entropy.")
    ranges = collector.ranges(quantized_dtype) if hasattr(collector, "ranges") else collector.min_max_dict
    if logger is not None:
        logger.info("Calibrated %d layers", len(ranges))
    return set_ranges(qsym, ranges), _quantized_params(qsym, arg_params), aux_params


def _quantized_params(qsym: Symbol, params: Arrays) -> dict[str, NDArray]:
    """The parameters of a quantised network: int8 with both ends of their range where it wants them so."""
    found: dict[str, NDArray] = {}
    for name in qsym.list_arguments():
        original = name.removesuffix("_quantize")
        if original != name and original in params:
            ends = params[original].min(), params[original].max()
            arrays = nd.contrib.quantize(params[original], *ends, out_type="int8")
            found.update(zip((name, f"{name}_min", f"{name}_max"), arrays))
        elif name in params:
            found[name] = params[name]
    return found


def _batches(data: Any) -> Iterator[DataBatch]:
    """Batches of an iterator from its beginning, or what a loader gives as batches without labels."""
    if isinstance(data, DataIter):
        data.reset()
    for batch in data:
        yield (
            batch if hasattr(batch, "data") else DataBatch(list(batch) if isinstance(batch, (list, tuple)) else [batch])
        )


def _traced(network: HybridBlock, shapes: Sequence[tuple[int, ...]]) -> tuple[list[str], Symbol]:
    """The names of a block's inputs and its graph, for inputs of these shapes; what it does not take is a label."""
    network.hybridize()
    zeros = [nd.zeros(shape) for shape in shapes]
    while True:
        try:
            network(*zeros)
            break
        except TypeError:
            if len(zeros) == 1:
                raise
            zeros.pop()
    inputs, symbol = network._cached_graph
    return [x.name for x in inputs], symbol


def _block(symbol: Symbol, inputs: Sequence[str], arrays: Arrays, ctx: Context) -> SymbolBlock:
    """A block of a symbol with these parameters and states."""
    block, states = SymbolBlock(symbol, [var(name, dtype="float32") for name in inputs]), symbol.list_auxiliary_states()
    for name, parameter in block.collect_params().items():
        parameter.cast(arrays[name].dtype)
    block.collect_params().load_dict({("aux:" if n in states else "arg:") + n: a for n, a in arrays.items()}, ctx=ctx)
    return block


def _show(
    collector: Any,
    symbol: Symbol,
    qsym: Symbol,
    args: Arrays,
    aux: Arrays,
    data_names: Sequence[str],
    label_names: Sequence[str] | None,
    ctx: Context,
    batches: Iterable[Any],
    n_examples: int | None,
) -> None:
    """Shows a collector what the float network computes for each batch where the quantised one wants a range."""
    inside = symbol.get_internals()
    wanted = [name for name in wanted_ranges(qsym) if name in inside.list_outputs()]
    group = Group([inside[name] for name in wanted])
    n_seen = 0
    for batch in batches:
        given = dict(zip(data_names, batch.data))
        labels = dict(zip(label_names or (), batch.label or ()))
        arguments = {**args, **given, **labels}
        executor = group.bind(
            ctx,
            {name: arguments[name] for name in group.list_arguments()},
            aux_states={name: aux[name] for name in group.list_auxiliary_states()},
            grad_req="null",
        )
        for name, array in zip(wanted, executor.forward(is_train=False)):
            collector.collect(name, array.asnumpy())
        n_seen += batch.data[0].shape[0]
        if n_examples is not None and n_seen >= n_examples:
            return
