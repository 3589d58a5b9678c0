"""Operators that a file names and symc lacks: kept, listed, drawn and written like all others, but never run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from symc.core.errors import UnknownOperatorError

from .op import DTypes, Op, Shapes

FEW = 5  # nodes named of each operator


@dataclass(frozen=True, kw_only=True)
class Absent(Op):
    """Any operator, as far as a graph shows it: its name and how many inputs and outputs are used."""

    operator: str
    n_inputs: int
    n_outputs: int
    op_type: str = ""  # of an operator in Python, the name it was registered under

    family = "absent"

    @property
    def name(self) -> str:  # type: ignore[override]  # of an operator that is there, its class has it
        return self.operator

    def argument_names(self) -> tuple[str, ...]:
        return tuple(f"arg{k}" for k in range(self.n_inputs))

    def result_names(self) -> tuple[str, ...]:
        return ("output",) if self.n_outputs == 1 else tuple(f"output{k}" for k in range(self.n_outputs))

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        """Nothing is known."""
        return ins, outs

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        """Nothing is known."""
        return ins, outs


def require_present(nodes: Iterable[tuple[Op | None, str, str]]) -> None:
    """To be called before a graph is run; of each node its operator, name and origin.

    Raises UnknownOperatorError with all operators that symc lacks, and their nodes.
    """
    found: dict[str, list[str]] = {}
    origins: dict[str, None] = {}
    is_written = False
    for op, name, origin in nodes:
        if isinstance(op, Absent):
            title = f"{op.name} (op_type {op.op_type})" if op.op_type else op.name
            found.setdefault(title, []).append(name)
            is_written |= bool(op.op_type)
            origins[origin] = None
    if not found:
        return
    lines = []
    for operator, names in sorted(found.items()):
        shown = ", ".join(names[:FEW]) + (", ..." if len(names) > FEW else "")
        lines.append(f"  {operator}: {len(names)} node{'s' if len(names) > 1 else ''} ({shown})")
    what = f"{len(found)} operator{'s' if len(found) > 1 else ''} that symc does not have"
    advice = (
        "Operators written in Python are registered when their module is imported: do so before the model is loaded "
        "(symc: --import FILE.py)"
        if is_written
        else "It can be looked at and saved; a part without them, cut out with get_internals(), can be run"
    )
    raise UnknownOperatorError("\n".join([f"{', '.join(origins)} uses {what}:", *lines, advice]))
