"""What a nest's kernel says about itself to readers."""

from __future__ import annotations

from .layout import WordLayout
from .plan import NestPlan


def header_text(plan: NestPlan, layout: WordLayout, nest_text: str) -> str:
    """Comments. Extents and strides are those of the first nest that had this structure."""
    lines = [
        "What it computes (buffers and extents of one use; the code holds for all):",
        *nest_text.splitlines(),
        "",
        f"Schedule: {plan.kind}, {plan.reason}",
        "",
        "Structure: e* are values, a* axes; [a0:1 a1:s] steps by one element along a0, by a run-time stride along a1",
        *layout.structure.splitlines(),
    ]
    for key, place in layout.at.items():
        if key[0] in ("extent", "block", "n_blocks"):
            lines.append(f"desc[{place}]: {key[0]} {layout.axes[key[1]] if len(key) > 1 else ''}".rstrip())
    return "\n".join(f"# {line}".rstrip() for line in lines)
