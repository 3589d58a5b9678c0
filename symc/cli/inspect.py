"""Shows what a model is: layers, operators, inputs, parameters, work and memory; without compiling or running it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from symc.cli.opening import Opened, add_model_arguments, add_trust_arguments, open_model
from symc.cli.report import Report, progress

if TYPE_CHECKING:
    from symc.ir.kernels import KernelGraph
    from symc.models import Model

HELP = "show layers, operators, inputs, parameters, work and memory"
EXAMPLES = ("symc inspect resnet-18", "symc inspect m-symbol.json --params m-0000.params --shape data=1,3,224,224")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL and nothing more."""
    add_model_arguments(parser)
    add_trust_arguments(parser)


def execute(args: argparse.Namespace) -> Report:
    """The facts as JSON, or tables."""
    opened = open_model(args)
    model = opened.model
    data: dict[str, Any] = {
        "name": model.name,
        "weights": opened.weights,
        "layers": layers(model),
        "operators": dict(Counter(n.op_name for n in model.symbol.nodes() if not n.is_variable).most_common()),
        "inputs": [{"name": n, "shape": model.shapes.get(n)} for n in model.inputs()],
        "labels": model.labels(),
    }
    unknown = [n for n in model.inputs() if n not in model.shapes]
    if unknown:
        data["missing"] = f"give --shape {unknown[0]}=N,C,H,W to see shapes, work and memory"
    else:
        with progress("planning"):
            data |= plan(model)
    return Report(data, _text(opened, data))


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
                "n_parameters": sum(_size(model, n, sizes) for n in own),
            }
        )
    return found


def plan(model: Model) -> dict[str, Any]:
    """Work and memory of one prediction, from the compiler's passes alone."""
    from symc.runtime.report import MemoryReport
    from symc.runtime.work import NO_WORK, work_of

    kernels = _kernels(model)
    forward = [k for k in kernels.kernels if k.phase == "forward"]
    work = sum((work_of(k.kernel) for k in forward), NO_WORK)
    memory = MemoryReport.of_kernels(kernels)
    return {
        "outputs": [{"name": h.name, "shape": list(h.shape), "dtype": h.dtype} for h in kernels.heads],
        "n_steps": len(forward),
        "flops": work.flops,
        "bytes_moved": work.size_bytes,
        "memory": {k: v for k, v in memory.as_dict().items() if k != "storages"},
        "memory_text": memory.summary(),
    }


def _kernels(model: Model) -> KernelGraph:
    from symc.codegen.cpu.backend import CpuBackend
    from symc.core.dtypes import dtype_name
    from symc.passes.base import PassContext
    from symc.passes.pipeline import Trace, lower_graph
    from symc.symbol.lower import to_graph

    args, _, states = model.inferred_shapes()
    arrays = {**model.arg_params, **model.aux_params}
    dtypes = {n: dtype_name(arrays[n].dtype) if n in arrays else "float32" for n in (*args, *states)}
    dtypes |= {n: dtype_name(d) for n, d in model.input_dtypes().items()}
    graph = to_graph(model.symbol, arg_shapes={**args, **states}, arg_dtypes=dtypes)
    return lower_graph(graph, PassContext(CpuBackend.host()), Trace())


def _size(model: Model, name: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    from symc.core.shapes import size_of

    array = model.arg_params.get(name)
    shape = array.shape if array is not None else shapes.get(name, ())
    return size_of(shape) if shape else 0


def _text(opened: Opened, data: Mapping[str, Any]) -> str:
    from symc.runtime.table import scaled, shape_text, size_text, table

    def shape_or_unknown(shape: tuple[int, ...] | None) -> str:
        return "?" if shape is None else shape_text(shape)

    n_parameters = sum(layer["n_parameters"] for layer in data["layers"])
    rows = [
        (x["name"], x["operator"], shape_or_unknown(x["output_shape"]), f"{x['n_parameters']:,}" if x["n_parameters"] else "")
        for x in data["layers"]
    ]
    parts = [table(("layer", "operator", "output", "parameters"), rows, right="parameters")]
    parts.append(table(("operator", "count"), list(data["operators"].items()), right="count"))
    facts = [("model", data["name"]), ("weights", data["weights"] or "none"), ("parameters", f"{n_parameters:,}")]
    facts += [("input", f"{i['name']} {shape_or_unknown(i['shape'])}") for i in data["inputs"]]
    facts += [("label", f"{n} (not needed to predict)") for n in data["labels"]]
    if opened.artifact is not None:
        facts.append(("kernels", opened.artifact.note))
    if "missing" in data:
        return "\n\n".join([*parts, table((), facts), data["missing"]])
    facts += [("output", f"{o['name']} {shape_text(o['shape'])} {o['dtype']}") for o in data["outputs"]]
    facts.append(("work", f"{scaled(data['flops'], 'FLOP')} and {size_text(data['bytes_moved'])} moved in {data['n_steps']} steps"))
    return "\n\n".join([*parts, table((), facts), data["memory_text"]])
