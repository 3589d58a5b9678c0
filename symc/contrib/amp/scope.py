"""Mixed precision for everything that runs from now on: what `amp.init` puts in front of all operators."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from symc import attribute, name
from symc.core.dtypes import dtype_name
from symc.ir.op import Op
from symc.ndarray import NDArray
from symc.ndarray.invoke import invoke
from symc.ops.math.elementwise import AmpCast, AmpMultiCast
from symc.symbol.compose import param_attrs, read_versions
from symc.symbol.node import Entry, SymbolNode, parse_op

from . import lists
from .loss_scaler import LossScaler
from .rules import Rules


@dataclass(frozen=True)
class Casts:
    """Casts the inputs of operators as the rules say: of arrays at once, of symbols by nodes."""

    rules: Rules
    dtype: str
    scaler: LossScaler

    def of_arrays(
        self, cls: type[Op], params: Mapping[str, Any], inputs: Sequence[NDArray]
    ) -> tuple[Mapping[str, Any], Sequence[NDArray]]:
        """Parameters and inputs of an operator on arrays; a loss with its own gradient is scaled."""
        if cls.name in lists.LOSS_OUTPUTS:
            scale = float(params.get("grad_scale") or 1.0) * self.scaler.loss_scale
            params = {**params, "grad_scale": scale}
        treatment = self.rules.treatment(cls.name, params)
        if treatment is None:
            return params, inputs
        dtypes = [dtype_name(x.dtype) for x in inputs]
        if treatment == "widest" and "float32" not in dtypes:
            return params, inputs
        wanted = self.dtype if treatment == "target" else "float32"
        among = (self.dtype, "float32")
        cast = [
            invoke(AmpCast, {"dtype": wanted}, [x])[0] if dtype in among and dtype != wanted else x
            for x, dtype in zip(inputs, dtypes)
        ]
        return params, cast

    def of_node(self, node: SymbolNode) -> None:
        """Puts casts between a new node and its inputs; states stay as they are."""
        assert node.op is not None
        if node.op_name in lists.LOSS_OUTPUTS:
            logging.warning(
                "%s does not support dynamic loss scaling in symbolic and hybridized execution.", node.op_name
            )
        treatment = self.rules.treatment(node.op_name, node.attrs)
        if treatment is None or not node.inputs:
            return
        if treatment == "widest":
            cast = _node(AmpMultiCast, "amp_multicast", node.inputs, num_outputs=len(node.inputs))
            node.inputs = [Entry(cast, k) for k in range(len(node.inputs))]
            return
        dtype = self.dtype if treatment == "target" else "float32"
        states = set(node.aux_inputs())
        node.inputs = [
            e if e.node in states else Entry(_node(AmpCast, "amp_cast", [e], dtype=dtype)) for e in node.inputs
        ]


def _node(cls: type[Op], hint: str, inputs: list[Entry], **params: Any) -> SymbolNode:
    attrs = param_attrs({**attribute.current().get(None), **params})  # in a loop's body they belong to it
    node = SymbolNode(parse_op(cls, attrs), name.current().get(None, hint), attrs, inputs, inputs[0].node.origin)
    read_versions(node)
    return node
