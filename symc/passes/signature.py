"""What decides how an operator computes: its class and parameters, shapes and dtypes of what it reads and makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from symc.core.dtypes import compute_dtype
from symc.core.shapes import FullShape
from symc.ir.graph import Graph, Node, Value
from symc.ir.op import Op
from symc.loopir.tensor import Lowering, Tensor


class Signature(NamedTuple):
    """Nodes of equal signature compute alike; what is found of one by its definitions holds for all."""

    cls: type[Op]  # equal parameters make equal hashes: the class keeps operators apart
    op: Op
    in_shapes: tuple[FullShape, ...]
    in_dtypes: tuple[str, ...]
    out_shapes: tuple[FullShape, ...]
    out_dtypes: tuple[str, ...]

    def lowered(self, names: Iterable[int]) -> Lowering:
        """The definitions over plain tensors; input k is called in<names[k]>."""
        ins = [Tensor(f"in{k}", s, compute_dtype(d)) for k, s, d in zip(names, self.in_shapes, self.in_dtypes)]
        t = Lowering(ins, self.out_shapes, self.out_dtypes)
        self.op.lower(t)
        return t


def signature_of(graph: Graph, node: Node) -> Signature:
    """The signature of an operation of a graph whose shapes and dtypes are inferred."""
    shape, dtype = cast("Mapping[Value, FullShape]", graph.facts.shape), graph.facts.dtype
    ins, outs = node.inputs, [node[k] for k in range(node.n_outputs)]
    return Signature(
        type(node.operator),
        node.operator,
        tuple([shape[v] for v in ins]),
        tuple([dtype[v] for v in ins]),
        tuple([shape[v] for v in outs]),
        tuple([dtype[v] for v in outs]),
    )
