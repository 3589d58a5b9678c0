"""From a float network to one on 8-bit integers: `quantize_model`, and what it is made of.

qsym, qargs, aux = mx.contrib.quantization.quantize_model(
    sym, args, aux, calib_mode="naive", calib_data=iterator, quantized_dtype="auto", label_names=None
)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from symc import context
from symc import ndarray as nd
from symc.context import Context
from symc.core.errors import ArgumentError
from symc.ndarray import NDArray
from symc.symbol import Group, Symbol
from symc.symbol import load as load_symbol

from .quantize_symbol import quantize_symbol, set_ranges, wanted_ranges

N_BINS = 8001  # of a layer's histogram at first
N_INTEGERS = 255  # of int8, symmetric
DTYPES = ("int8", "uint8", "auto")

Arrays = Mapping[str, NDArray]
Ranges = dict[str, tuple[float, float]]


class MinMaxCollector:
    """The range of every layer that it is shown, by name of the output."""

    def __init__(self) -> None:
        self.min_max_dict: Ranges = {}

    def collect(self, name: str, array: np.ndarray) -> None:
        """Takes one output into account."""
        low, high = self.min_max_dict.get(name, (np.inf, -np.inf))
        self.min_max_dict[name] = min(low, float(array.min())), max(high, float(array.max()))

    def ranges(self, dtype: str) -> Ranges:
        """What it has seen."""
        return self.min_max_dict


class HistogramCollector:
    """Histograms of layers, symmetric around 0 and as wide as needed: (counts, edges, smallest, largest, end)."""

    def __init__(self, num_bins: int = N_BINS) -> None:
        self.num_bins = num_bins
        self.hist_dict: dict[str, tuple[np.ndarray, np.ndarray, float, float, float]] = {}

    def collect(self, name: str, array: np.ndarray) -> None:
        """Takes one output into account; a histogram that is too narrow gets more bins of the same width."""
        low, high = float(array.min()), float(array.max())
        end = max(abs(low), abs(high))
        if name not in self.hist_dict:
            counts, edges = np.histogram(array, self.num_bins, (-end, end))
            self.hist_dict[name] = counts, edges, low, high, end
            return
        counts, edges, least, most, old_end = self.hist_dict[name]
        if end <= old_end:
            counts = counts + np.histogram(array, len(counts), (-old_end, old_end))[0]
        else:
            step = 2 * old_end / len(counts)
            n_more = int((end - old_end) // step + 1)
            old_end += n_more * step
            old, (counts, edges) = counts, np.histogram(array, len(counts) + 2 * n_more, (-old_end, old_end))
            counts[n_more : n_more + len(old)] += old
        self.hist_dict[name] = counts, edges, min(low, least), max(high, most), old_end

    def ranges(self, dtype: str) -> Ranges:
        """Of each histogram the range that loses least of it; from 0 where that and the dtype allow it."""
        found: Ranges = {}
        for name, (counts, edges, low, _, _) in self.hist_dict.items():
            is_positive = low >= 0 and dtype in ("auto", "uint8")
            n_bins = 2 * N_INTEGERS + 1 if is_positive else N_INTEGERS
            threshold, _ = nd.contrib.calibrate_entropy(nd.array(counts), nd.array(edges), num_quantized_bins=n_bins)
            end = float(threshold.asscalar())
            found[name] = (0.0 if is_positive else -end, end)
        return found


COLLECTORS = {"naive": MinMaxCollector, "entropy": HistogramCollector}


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
