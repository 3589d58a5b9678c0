"""A float symbol as one on 8-bit integers: MXNet's pass QuantizeGraph, with the names that it gives.

    before:  data -> conv0 (Convolution) -> relu0
    after:   data -> data_quantize -> quantized_conv0 -> requantize_conv0 -> quantized_relu0 -> relu0_dequantize

Every tensor travels with both ends of its range. Source: src/operator/quantization/quantize_graph_pass.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from symc.core.errors import ArgumentError
from symc.ir.op import Op, lookup
from symc.symbol import Symbol
from symc.symbol.node import Entry, SymbolNode, nodes_of, parse_op


@dataclass(frozen=True)
class Way:
    """How an operator becomes a quantised one.

    name           the quantised operator's
    is_wanted      quantised for its own sake; others only between such, in the mode "smart"
    is_32_bits     whether its result must be brought back to 8 bits
    is_asymmetric  whether it takes data in uint8 with scale and shift instead of a range, and gives floats
    kept_floats    inputs that stay floats
    condition      whether its parameters allow it
    """

    name: str
    is_wanted: bool = False
    is_32_bits: bool = False
    is_asymmetric: bool = False
    kept_floats: Collection[int] = ()
    condition: Callable[[Any], bool] = lambda op: True


WAYS = {
    "Convolution": Way("_contrib_quantized_conv", is_wanted=True, is_32_bits=True),
    "FullyConnected": Way("_contrib_quantized_fully_connected", is_wanted=True, is_32_bits=True),
    "Pooling": Way("_contrib_quantized_pooling", condition=lambda op: op.pool_type in ("max", "avg")),
    "Flatten": Way("_contrib_quantized_flatten"),
    "Activation": Way("_contrib_quantized_act", condition=lambda op: op.act_type == "relu"),
    "Concat": Way("_contrib_quantized_concat", condition=lambda op: op.dim > 0),
    "elemwise_add": Way("_contrib_quantized_elemwise_add", is_32_bits=True),
    "elemwise_mul": Way("_contrib_quantized_elemwise_mul", is_32_bits=True),
    "BatchNorm": Way("_contrib_quantized_batch_norm", kept_floats=(1, 2, 3, 4)),
    "RNN": Way(
        "_contrib_quantized_rnn",
        is_wanted=True,
        is_asymmetric=True,
        kept_floats=(1, 2, 3),
        condition=lambda op: op.mode == "lstm" and op.projection_size is None and not op.use_sequence_length,
    ),
    "Embedding": Way("_contrib_quantized_embedding", kept_floats=(0,), condition=lambda op: op.dtype == "float32"),
}

# Operators of which MXNet knows names of outputs; those of others have numbers in the names of what quantises them.
NAMED = frozenset(
    """
    Activation BatchNorm BatchNorm_v1 BilinearSampler CTCLoss Concat Convolution Convolution_v1 Correlation Crop Custom
    Deconvolution Dropout FullyConnected GridGenerator GroupNorm IdentityAttachKLSparseReg InstanceNorm L2Normalization
    LRN LayerNorm LeakyReLU MakeLoss Pad Pooling Pooling_v1 RNN ROIPooling SVMOutput SequenceLast SequenceMask
    SequenceReverse SliceChannel SoftmaxActivation SoftmaxOutput SpatialTransformer SwapAxis UpSampling
    _contrib_BatchNormWithReLU _contrib_DeformableConvolution _contrib_DeformablePSROIPooling
    _contrib_MultiBoxDetection _contrib_MultiBoxPrior _contrib_MultiBoxTarget _contrib_MultiProposal
    _contrib_PSROIPooling _contrib_Proposal _contrib_ROIAlign _contrib_RROIAlign _contrib_SyncBatchNorm
    _contrib_count_sketch _contrib_fft _contrib_hawkesll _contrib_ifft _contrib_index_array
    _contrib_interleaved_matmul_encdec_qk _contrib_interleaved_matmul_encdec_valatt
    _contrib_interleaved_matmul_selfatt_qk _contrib_interleaved_matmul_selfatt_valatt _sg_mkldnn_conv
    _sg_mkldnn_fully_connected col2im elemwise_add im2col make_loss softmax softmin
    """.split()
)


def quantize_symbol(
    symbol: Symbol,
    excluded_names: Collection[str] = (),
    excluded_operators: Collection[str] = (),
    offline: Collection[str] = (),
    dtype: str = "int8",
    mode: str = "smart",
) -> Symbol:
    """The symbol on 8-bit integers.

    offline  parameters that are quantised beforehand: they become variables `<name>_quantize`, `.._min` and `.._max`
    dtype    of what is quantised: "int8", "uint8" or "auto"
    mode     "full": all that can be; "smart": what is between layers

    Raises ArgumentError for another mode.
    """
    nodes = nodes_of(symbol.heads)
    chosen = {node: WAYS[node.op_name] for node in nodes if _is_chosen(node, excluded_names, excluded_operators)}
    if mode not in ("full", "smart"):
        raise ArgumentError(f"unrecognized quantize mode: {mode}; expected full or smart")
    if mode == "smart":
        chosen = _between_layers(nodes, chosen)
    return _Quantizer(chosen, set(offline), dtype).run(symbol)


def wanted_ranges(symbol: Symbol) -> list[str]:
    """The outputs of the float symbol whose ranges calibration has to find for its quantised one."""
    found = (calibrated_output(node) for node in nodes_of(symbol.heads))
    return list(dict.fromkeys(name for name in found if name is not None))


def set_ranges(symbol: Symbol, ranges: Mapping[str, tuple[float, float]]) -> Symbol:
    """The quantised symbol with calibrated ranges, by the names of the float symbol's outputs."""
    copy = symbol.__copy__()
    for node in nodes_of(copy.heads):
        calibrated = calibrated_output(node)
        if calibrated is None or calibrated not in ranges:
            continue
        low, high = ranges[calibrated]
        node.attrs.update(min_calib_range=f"{float(low):f}", max_calib_range=f"{float(high):f}")
        node.op = parse_op(type(node.op), node.attrs)  # type: ignore[arg-type]
    return copy


def calibrated_output(node: SymbolNode) -> str | None:
    """Which output of the float symbol gives a node of the quantised one its range."""
    if node.op_name in ("_contrib_quantize_v2", "_contrib_quantize_asym", "_contrib_requantize"):
        source, index = node.inputs[0]
        return source.output_name(index).removeprefix("quantized_")
    if node.op_name == "_contrib_quantized_batch_norm":
        return node.output_name(0).removeprefix("quantized_")
    return None


def _is_chosen(node: SymbolNode, excluded_names: Collection[str], excluded_operators: Collection[str]) -> bool:
    way = WAYS.get(node.op_name)
    if way is None or node.name in excluded_names or node.op_name in excluded_operators:
        return False
    return way.condition(node.op)


def _between_layers(nodes: list[SymbolNode], chosen: dict[SymbolNode, Way]) -> dict[SymbolNode, Way]:
    """Layers, and what is reached from layers through chosen nodes in both directions."""
    layers = {node for node, way in chosen.items() if way.is_wanted}
    users: dict[SymbolNode, list[SymbolNode]] = {}
    for node in nodes:
        for source, _ in node.inputs:
            users.setdefault(source, []).append(node)
    before = _reached(layers, chosen, lambda node: [source for source, _ in node.inputs])
    behind = _reached(layers, chosen, lambda node: users.get(node, []))
    return {node: way for node, way in chosen.items() if node in layers or (node in before and node in behind)}


def _reached(
    layers: set[SymbolNode], chosen: Mapping[SymbolNode, Way], neighbours: Callable[[SymbolNode], list[SymbolNode]]
) -> set[SymbolNode]:
    found: set[SymbolNode] = set()
    stack = list(layers)
    while stack:
        for node in neighbours(stack.pop()):
            if node in chosen and node not in layers and node not in found:
                found.add(node)
                stack.append(node)
    return found


@dataclass
class _Quantizer:
    """Rebuilds a symbol node by node.

    floats   a float node's copy, where its outputs are floats
    bytes_   a float node's quantised one: output 0 in 8 bits, 1 and 2 the ends of its range
    quantized, shifted, dequantized   nodes that go between both, by what they convert
    """

    chosen: Mapping[SymbolNode, Way]
    offline: set[str]
    dtype: str
    floats: dict[SymbolNode, SymbolNode] = field(default_factory=dict)
    bytes_: dict[SymbolNode, SymbolNode] = field(default_factory=dict)
    quantized: dict[Entry, list[Entry]] = field(default_factory=dict)
    shifted: dict[Entry, list[Entry]] = field(default_factory=dict)
    dequantized: dict[SymbolNode, SymbolNode] = field(default_factory=dict)

    def run(self, symbol: Symbol) -> Symbol:
        for node in nodes_of(symbol.heads):
            way = self.chosen.get(node)
            if way is None:
                self.floats[node] = self._copy(node)
            elif way.is_asymmetric:
                self.floats[node] = self._quantized(node, way)
            else:
                self.bytes_[node] = self._quantized(node, way)
        return Symbol([self._as_floats(entry) for entry in symbol.heads])

    def _copy(self, node: SymbolNode) -> SymbolNode:
        inputs = [self._as_floats(entry) for entry in node.inputs]
        copy = SymbolNode(node.op, node.name, dict(node.attrs), inputs, node.origin)
        copy.versions, copy.version, copy.subgraphs = node.versions, node.version, node.subgraphs
        return copy

    def _quantized(self, node: SymbolNode, way: Way) -> SymbolNode:
        tensors, ends = [], []
        for k, entry in enumerate(node.inputs):
            if k in way.kept_floats:
                tensors.append(self._as_floats(entry))
                continue
            tensor, *ends_of_range = self._as_shifted(entry) if way.is_asymmetric else self._as_bytes(entry)
            tensors.append(tensor)
            ends += ends_of_range
        attrs = {**node.attrs, "quantized": "true"} if way.is_asymmetric else dict(node.attrs)
        made = _node(way.name, f"quantized_{node.name}", attrs, [*tensors, *ends], node.origin)
        if not way.is_32_bits:
            return made
        outputs = [Entry(made, k) for k in range(3)]
        return _node("_contrib_requantize", f"requantize_{node.name}", {"out_type": self.dtype}, outputs, node.origin)

    def _as_shifted(self, entry: Entry) -> list[Entry]:
        """A tensor in uint8, its scale and its shift. MXNet takes a range for these where the tensor has one."""
        if entry not in self.shifted:
            name = f"{entry.node.name}{_suffix(*entry)}_quantize"
            made = _node("_contrib_quantize_asym", name, {}, [self._as_floats(entry)], entry.node.origin)
            self.shifted[entry] = [Entry(made, k) for k in range(3)]
        return self.shifted[entry]

    def _as_floats(self, entry: Entry) -> Entry:
        node, index = entry
        if node in self.floats:
            return Entry(self.floats[node], index)
        if node not in self.dequantized:
            outputs = [Entry(self.bytes_[node], k) for k in range(3)]
            name = f"{node.name}_dequantize"
            self.dequantized[node] = _node("_contrib_dequantize", name, {}, outputs, node.origin)
        return Entry(self.dequantized[node])

    def _as_bytes(self, entry: Entry) -> list[Entry]:
        """A tensor in 8 bits, and both ends of its range."""
        node, index = entry
        if node in self.bytes_:
            return [Entry(self.bytes_[node], k) for k in range(3)]
        if entry not in self.quantized:
            name = f"{node.name}{_suffix(node, index)}_quantize"
            if node.is_variable and node.name in self.offline:
                variables = [SymbolNode(None, name + end, origin=node.origin) for end in ("", "_min", "_max")]
                self.quantized[entry] = [Entry(v) for v in variables]
            else:
                attrs = {"out_type": self.dtype}
                made = _node("_contrib_quantize_v2", name, attrs, [self._as_floats(entry)], node.origin)
                self.quantized[entry] = [Entry(made, k) for k in range(3)]
        return self.quantized[entry]


def _suffix(node: SymbolNode, index: int) -> str:
    """What MXNet puts behind the name of a node to name one of its outputs."""
    if node.op is None:
        return ""
    return f"_{node.op.result_names()[index] if node.op_name in NAMED else index}"


def _node(operator: str, name: str, attrs: dict[str, str], inputs: list[Entry], origin: str) -> SymbolNode:
    cls: type[Op] | None = lookup(operator)
    assert cls is not None
    return SymbolNode(parse_op(cls, attrs), name, attrs, inputs, origin)
