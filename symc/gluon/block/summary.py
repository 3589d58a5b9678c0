"""`Block.summary`: the table of a network's blocks, the shapes of their outputs and the numbers of their parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from symc.core.errors import ConflictError
from symc.ndarray import NDArray

if TYPE_CHECKING:
    from symc.gluon.parameter import Parameter
    from symc.gluon.utils import HookHandle

WIDTH = 80


@dataclass(frozen=True)
class Row:
    """One call of one block; numbers count elements of parameters."""

    layer: str
    output_shape: str
    n_params: int = 0
    n_trainable: int = 0
    n_shared: int = 0


def print_summary(block: Any, inputs: tuple[Any, ...]) -> None:
    """Calls the block and prints a row for each block below it that is no mere sequence, in the order of calls.

    Raises ConflictError where a block is hybridized.
    """
    rows = [Row("Input", _shape_text(inputs))]
    seen: set[Parameter] = set()
    handles: list[HookHandle] = []

    def add_row(called: Any, _: Any, outputs: Any) -> None:
        parameters = list(called.params.values())
        shared = [p for k, p in enumerate(parameters) if p in seen or p in parameters[:k]]
        seen.update(parameters)
        rows.append(
            Row(
                f"{type(called).__name__}-{len(rows)}",
                _shape_text(outputs),
                sum(p.data().size for p in parameters),
                sum(p.data().size for p in parameters if p.grad_req != "null"),
                sum(p.data().size for p in shared),
            )
        )

    def watch(each: Any) -> None:
        if getattr(each, "_active", False):
            raise ConflictError(f'"{each.name}" must not be hybridized to print summary.')
        if not each._is_sequence:
            handles.append(each.register_forward_hook(add_row))

    try:
        block.apply(watch)
        block(*inputs)
        print("\n".join(_lines(rows)))
    finally:
        for handle in handles:
            handle.detach()


def _lines(rows: list[Row]) -> list[str]:
    def line(*cells: object) -> str:
        return "{:>20}  {:>42} {:>15}".format(*cells)

    total, trainable, shared = (
        sum(getattr(r, f"n_{kind}") for r in rows) for kind in ("params", "trainable", "shared")
    )
    return [
        "-" * WIDTH,
        line("Layer (type)", "Output Shape", "Param #"),
        "=" * WIDTH,
        *(line(r.layer, r.output_shape, r.n_params) for r in rows),
        "=" * WIDTH,
        "Parameters in forward computation graph, duplicate included",
        f"   Total params: {total}",
        f"   Trainable params: {trainable}",
        f"   Non-trainable params: {total - trainable}",
        f"Shared params in forward computation graph: {shared}",
        f"Unique parameters in model: {total - shared}",
        "-" * WIDTH,
    ]


def _shape_text(args: Any) -> str:
    """`(2, 3)` for an array, `(2, 3), [(4,), (5,)]` for lists; MXNet drops every letter L, of Python 2's long."""
    shapes = _shapes(args)
    return (str(shapes)[1:-1] if isinstance(shapes, list) else str(shapes)).replace("L", "")


def _shapes(args: Any) -> Any:
    if isinstance(args, (list, tuple)):
        return [_shapes(arg) for arg in args]
    return args.shape if isinstance(args, NDArray) else args
