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
    outer, cut = ([layout.axes[a] for a in axes] for axes in (plan.outer, plan.cut))
    limits = {a: f"n_{a}" for a in outer} | {f"part_{a}": f"parts_{a}" for a in cut}
    first, step = ("cuda.grid(1)", "cuda.gridsize(1)")
    if plan.team == plan.n_threads:
        first, step = ("cuda.blockIdx.x", "cuda.gridDim.x")
    elif plan.team > 1:
        first, step = (f"quotient({x}, {plan.team})" for x in (first, step))
    lines = ["def kernel(desc, bufs):"]
    lines += [f"    n_{layout.axes[a]} = desc[{layout.at['extent', a]}]" for a in (*plan.outer, *plan.cut)]
    lines += [f"    parts_{a} = quotient(n_{a} + {plan.lanes - 1}, {plan.lanes})" for a in cut]
    n_units, rest, counters = " * ".join(limits.values()) or "1", "unit", [*limits]
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
    spans = []
    for a in cut:
        lines += [f"        first_{a} = part_{a} * {plan.lanes}"]
        spans += [f"first_{a}", f"min(first_{a} + {plan.lanes}, n_{a})"]
    left = ["n_units - unit"] if plan.shares_warp else []
    lines += [f"        body({', '.join(['desc', 'bufs', *outer, *spans, *left])})", f"        unit += {step}"]
    return "\n".join(lines) + "\n"


def build_function(plan: GridPlan, layout: WordLayout, name: str, source: str) -> Callable[..., Any]:
    """The function numba compiles, with `body` bound to the intrinsic that emits what happens in a unit."""
    from symc.codegen.cuda.abilities import GPU
    from symc.codegen.cuda.compile import cuda
    from symc.codegen.nest.walker import AxisDevice, Serial, Walker

    from .exchange import Exchange
    from .threads import Threads
    from .vectors import Neighbours

    n_outer = len(plan.outer)
    n_limits = 2 * len(plan.cut)
    arguments = ["desc", "bufs", *(f"i{k}" for k in range(n_outer + n_limits)), *(["left"] if plan.shares_warp else [])]

    def body(b: Any, desc: Any, bufs: Any, *indices: Any) -> None:
        limits = indices[n_outer : n_outer + n_limits]
        parts = dict(zip(plan.cut, zip(limits[::2], limits[1::2])))
        devices: dict[str, Callable[[], AxisDevice]] = {
            "scalar": Serial,
            "lane": Neighbours,
            "row": lambda: Threads(plan, indices[-1] if plan.shares_warp else None),
            "tile": lambda: Exchange(plan),
        }
        device = devices[plan.kind]()
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
    return bounded(namespace["kernel"], plan.n_threads, plan.n_blocks)
