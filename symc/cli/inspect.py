"""Shows what a model is: layers, operators, inputs, parameters, work and memory; without compiling or running it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symc.core.shapes import size_of
from symc.ir.absent import Absent
from symc.runtime.table import scaled, shape_text, size_text, table

from .opening import Opened, add_model_arguments, add_trust_arguments, open_model
from .report import Report, progress

if TYPE_CHECKING:
    from symc.ir.graph import Graph
    from symc.ir.kernels import KernelGraph
    from symc.models import Model

EXAMPLES = ("symc inspect resnet-18", "symc inspect m-symbol.json --params m-0000.params --shape data=1,3,224,224")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL and nothing more."""
    add_model_arguments(parser)
    add_trust_arguments(parser)


def execute(args: argparse.Namespace) -> Report:
    """The facts as JSON, or tables."""
    from symc.runtime.memory_report import MemoryReport

    opened = open_model(args)
    model = opened.model
    found = layers(model)
    counts = [layer["n_parameters"] for layer in found]
    data: dict[str, Any] = {
        "name": model.name,
        "weights": opened.weights,
        "layers": found,
        "n_parameters": None if None in counts else sum(counts),
        "operators": dict(Counter(n.op_name for n in model.symbol.nodes() if not n.is_variable).most_common()),
        "absent": dict(Counter(n.op_name for n in model.symbol.nodes() if isinstance(n.op, Absent))),
        "inputs": [{"name": n, "shape": model.shapes.get(n)} for n in model.inputs()],
        "labels": model.labels(),
    }
    if data["absent"]:
        return Report(data, _text(opened, data))
    unknown = [n for n in model.inputs() if n not in model.shapes]
    if unknown:
        hint = f"give --shape {unknown[0]}=N,C,H,W to see shapes, work and memory"
        return Report(data, f"{_text(opened, data)}\n\n{hint}")
    if opened.weights is not None and opened.seed is None:
        model.check_params()
    with progress("planning"):
        kernels = plan(model)
    memory = MemoryReport.of_kernels(kernels)
    data |= costs(kernels) | {"memory": {k: v for k, v in memory.as_dict().items() if k != "storages"}}
    return Report(data, f"{_text(opened, data)}\n\n{memory.summary()}")


def layers(model: Model) -> list[dict[str, Any]]:
    """Name, operator, output shape (None where unknown) and number of parameters of every operator node.

    A parameter that several layers share counts in the first.  Auxiliary states are not parameters, as in MXNet.
    """
    internals = model.symbol.get_internals()
    args, outs, _ = internals.infer_shape_partial(**model.shapes)
    shapes = dict(zip(internals.list_outputs(), outs))
    sizes = dict(zip(internals.list_arguments(), args))
    counted = {*model.inputs(), *model.labels(), *internals.list_auxiliary_states()}
    found = []
    for node in model.symbol.nodes():
        if node.is_variable:
            continue
        own = [s.name for s, _ in node.inputs if s.is_variable and s.name not in counted]
        counted.update(own)
        shape = shapes.get(node.output_name(0))
        found.append(
            {
                "name": node.name,
                "operator": node.op_name,
                "output_shape": shape if shape and 0 not in shape else None,
                "n_parameters": _n_parameters(model, own, sizes),
            }
        )
    return found


def costs(kernels: KernelGraph) -> dict[str, Any]:
    """The outputs and the work of one prediction."""
    from symc.loopir.work import NO_WORK, work_of

    forward = [k for k in kernels.kernels if k.phase == "forward"]
    work = sum((work_of(k.kernel) for k in forward), NO_WORK)
    return {
        "outputs": [{"name": h.name, "shape": list(h.shape), "dtype": h.dtype} for h in kernels.heads],
        "n_steps": len(forward),
        "flops": work.flops,
        "bytes_moved": work.size_bytes,
    }


def plan(model: Model) -> KernelGraph:
    """The kernels of one prediction and their memory, from the compiler's passes alone."""
    from symc.context import current_context
    from symc.passes.base import PassContext
    from symc.passes.pipeline import Trace, lower_graph

    return lower_graph(predicting_graph(model), PassContext(current_context().device.backend), Trace())


def predicting_graph(model: Model) -> Graph:
    """The compiler's graph of one prediction, which needs shapes and dtypes but no weights."""
    from symc.core.dtypes import dtype_name
    from symc.symbol.graph import to_graph

    args, _, states = model.inferred_shapes()
    arrays = {**model.arg_params, **model.aux_params}
    dtypes = {n: dtype_name(arrays[n].dtype) if n in arrays else "float32" for n in (*args, *states)}
    dtypes |= {n: dtype_name(d) for n, d in model.input_dtypes().items()}
    return to_graph(model.symbol, arg_shapes={**args, **states}, arg_dtypes=dtypes)


def _n_parameters(model: Model, names: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """The number of parameters; None when the shape of one is not known."""
    found = [model.arg_params[n].shape if n in model.arg_params else shapes[n] for n in names]
    return sum(size_of(s) for s in found) if all(s and 0 not in s for s in found) else None


def _text(opened: Opened, data: Mapping[str, Any]) -> str:
    def shape_or_unknown(shape: tuple[int, ...] | None) -> str:
        return "?" if shape is None else shape_text(shape)

    def count_or_unknown(n: int | None) -> str:
        return "?" if n is None else f"{n:,}" if n else ""

    def marked(operator: str) -> str:
        return f"{operator} (symc lacks it)" if operator in data["absent"] else operator

    rows = [
        (x["name"], marked(x["operator"]), shape_or_unknown(x["output_shape"]), count_or_unknown(x["n_parameters"]))
        for x in data["layers"]
    ]
    parts = [table(("layer", "operator", "output", "parameters"), rows, right="parameters")]
    parts.append(table(("operator", "count"), [(marked(op), n) for op, n in data["operators"].items()], right="count"))
    facts = [
        ("model", data["name"]),
        ("weights", data["weights"] or "none"),
        ("parameters", count_or_unknown(data["n_parameters"]) or "0"),
    ]
    facts += [("input", f"{i['name']} {shape_or_unknown(i['shape'])}") for i in data["inputs"]]
    facts += [("label", f"{n} (not needed to predict)") for n in data["labels"]]
    if opened.artifact is not None:
        facts.append(("kernels", opened.artifact.note))
    facts += [("output", f"{o['name']} {shape_text(o['shape'])} {o['dtype']}") for o in data.get("outputs", ())]
    if "flops" in data:
        moved = size_text(data["bytes_moved"])
        facts.append(("work", f"{scaled(data['flops'], 'FLOP')} and {moved} moved in {data['n_steps']} steps"))
    return "\n\n".join([*parts, table((), facts)])
