"""The kernel as source text: a header that explains it, and the numba function that walks the outer loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symc.codegen.llvm.abilities import Abilities
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.memory import fence
from symc.codegen.nest.header import header_text
from symc.codegen.nest.layout import WordLayout
from symc.codegen.nest.plan import NestPlan


def function_text(plan: NestPlan, layout: WordLayout) -> str:
    """The Python function, for example

    def kernel(chunk, n_chunks, desc, bufs):
        n_a0 = desc[0]
        n_units = n_a0 * n_blocks
        ...
        for unit in range(first, last):
            body(desc, bufs, a0, low, high)
            ...
    """
    outer = [layout.axes[a] for a in plan.outer]
    counters = [*outer, *(["block"] if plan.blocked else [])]
    limits = {name: f"n_{name}" for name in outer} | {"block": "n_blocks"}
    lines = ["def kernel(chunk, n_chunks, desc, bufs):"]
    lines += [f"    n_{layout.axes[a]} = desc[{layout.at['extent', a]}]" for a in plan.outer]
    if plan.blocked:
        lines += [
            f"    block_size = desc[{layout.at['block',]}]",
            f"    n_blocks = desc[{layout.at['n_blocks',]}]",
            f"    n_blocked = desc[{layout.at['extent', plan.blocked]}]",
        ]
    lines += [
        f"    n_units = {' * '.join(limits[c] for c in counters) or '1'}",
        "    first = chunk * n_units // n_chunks",
        "    last = (chunk + 1) * n_units // n_chunks",
    ]
    if counters:
        lines += ["    rest = first"]
    for name in reversed(counters):
        lines += [f"    {name} = rest % {limits[name]}", f"    rest = rest // {limits[name]}"]
    arguments = ", ".join(["desc", "bufs", *outer])
    lines += ["    for unit in range(first, last):"]
    if plan.blocked:
        lines += [
            "        low = block * block_size",
            "        high = low + block_size",
            "        if high > n_blocked:",
            "            high = n_blocked",
        ]
        arguments += ", low, high"
    lines += [f"        body({arguments})"]
    indent = "        "
    for k, name in enumerate(reversed(counters)):
        lines += [f"{indent}{name} += 1"]
        if k + 1 < len(counters):
            lines += [f"{indent}if {name} == {limits[name]}:", f"{indent}    {name} = 0"]
            indent += "    "
    if plan.streams:
        lines += ["    fence()"]
    return "\n".join(lines) + "\n"


def source_text(plan: NestPlan, layout: WordLayout, nest_text: str) -> str:
    """Header and function."""
    return f"{header_text(plan, layout, nest_text)}\n\n{function_text(plan, layout)}"


def build_function(
    plan: NestPlan, layout: WordLayout, abilities: Abilities, name: str, source: str
) -> Callable[..., Any]:
    """The function numba compiles, with `body` bound to the intrinsic that emits the vector loops."""
    namespace: dict[str, Any] = {"body": _body_intrinsic(plan, layout, abilities), "range": range}
    if plan.streams:
        namespace["fence"] = intrinsic(fence)
    exec(compile(source, f"<{name}>", "exec"), namespace)
    return namespace["kernel"]


def _body_intrinsic(plan: NestPlan, layout: WordLayout, abilities: Abilities) -> Any:
    from symc.codegen.nest.walker import Walker

    from .tile import Tiles
    from .vectors import Vectors

    n_outer = len(plan.outer)
    arguments = ["desc", "bufs", *(f"i{k}" for k in range(n_outer)), *(["low", "high"] if plan.blocked else [])]

    def body(b: Any, desc: Any, bufs: Any, *indices: Any) -> None:
        parts = {plan.blocked: indices[n_outer:]} if plan.blocked else {}
        walker = Walker(b, plan, layout, abilities, Vectors(), desc, bufs, parts)
        (Tiles(walker) if plan.kind == "tile" else walker).run(indices[:n_outer])

    return intrinsic(body, arguments=arguments)
