"""The kernel as source text, and the numba.cuda function that takes its units from the grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symc.codegen.cuda.launch import WARP, bounded
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.nest.layout import WordLayout

from .grid import GridPlan


def function_text(plan: GridPlan, layout: WordLayout) -> str:
    """The Python function, for example

    def kernel(desc, bufs):
        n_a0 = desc[0]
        n_a1 = desc[1]
        unit = cuda.grid(1)
        while unit < n_a0 * n_a1:
            a1 = remainder(unit, n_a1)
            rest = quotient(unit, n_a1)
            a0 = rest
            body(desc, bufs, a0, a1)
            unit += cuda.gridsize(1)

    Teams of which a warp has several walk as many rounds, as they exchange values: where one has no unit left, it walks
    the last one again, and knows that by a number of units left that is not above 0.
    """
    axes = [layout.axes[a] for a in plan.outer]
    counters = [*axes, *(["block"] if plan.blocked else [])]
    limits = {a: f"n_{a}" for a in axes} | {"block": "n_blocks"}
    first, step = ("cuda.grid(1)", "cuda.gridsize(1)")
    if plan.team == plan.n_threads:
        first, step = ("cuda.blockIdx.x", "cuda.gridDim.x")
    elif plan.team > 1:
        first, step = (f"quotient({x}, {plan.team})" for x in (first, step))
    lines = ["def kernel(desc, bufs):"]
    lines += [f"    n_{layout.axes[a]} = desc[{layout.at['extent', a]}]" for a in plan.outer]
    if plan.blocked:
        lines += [f"    n_blocks = desc[{layout.at['n_blocks',]}]"]
        lines += [f"    n_blocked = desc[{layout.at['extent', plan.blocked]}]"]
    n_units, rest = " * ".join(limits[c] for c in counters) or "1", "unit"
    if plan.shares_warp:
        lines += [f"    n_units = {n_units}", f"    unit = {first}"]
        lines += [f"    while unit - remainder(unit, {WARP // plan.team}) < n_units:"]
        lines += ["        rest = min(unit, n_units - 1)"]
        rest = "rest"
    else:
        lines += [f"    unit = {first}", f"    while unit < {n_units}:"]
    for name in reversed(counters[1:]):
        lines += [
            f"        {name} = remainder({rest}, {limits[name]})",
            f"        rest = quotient({rest}, {limits[name]})",
        ]
        rest = "rest"
    if counters:
        lines += [f"        {counters[0]} = {rest}"]
    span = [f"block * {plan.lanes}", f"min(block * {plan.lanes} + {plan.lanes}, n_blocked)"] if plan.blocked else []
    left = ["n_units - unit"] if plan.shares_warp else []
    lines += [f"        body({', '.join(['desc', 'bufs', *axes, *span, *left])})", f"        unit += {step}"]
    return "\n".join(lines) + "\n"


def build_function(plan: GridPlan, layout: WordLayout, name: str, source: str) -> Callable[..., Any]:
    """The function numba compiles, with `body` bound to the intrinsic that emits what happens in a unit."""
    from symc.codegen.cuda.abilities import GPU
    from symc.codegen.cuda.compile import cuda
    from symc.codegen.nest.walker import Serial, Walker

    from .threads import Threads
    from .vectors import Neighbours

    n_outer = len(plan.outer)
    arguments = ["desc", "bufs", *(f"i{k}" for k in range(n_outer)), *(["low", "high"] if plan.blocked else [])]
    arguments += ["left"] if plan.shares_warp else []

    def body(b: Any, desc: Any, bufs: Any, *indices: Any) -> None:
        left = indices[-1] if plan.shares_warp else None
        device = Threads(plan, left) if plan.is_shared else Neighbours() if plan.vector else Serial()
        parts = {plan.blocked: indices[n_outer:]} if plan.blocked else {}
        Walker(b, plan, layout, GPU, device, desc, bufs, parts).run(indices[:n_outer])

    @intrinsic(result="int64")
    def quotient(b: Any, x: Any, y: Any) -> Any:
        return b.udiv(x, y)

    @intrinsic(result="int64")
    def remainder(b: Any, x: Any, y: Any) -> Any:
        return b.urem(x, y)

    namespace: dict[str, Any] = {
        "cuda": cuda(), "min": min, "quotient": quotient, "remainder": remainder,
        "body": intrinsic(body, arguments=arguments),
    }  # fmt: skip
    exec(compile(source, f"<{name}>", "exec"), namespace)
    return bounded(namespace["kernel"], plan.n_threads)
