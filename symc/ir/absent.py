"""Operators that a file names and symc lacks: kept, listed, drawn and written like all others, but never run."""

from __future__ import annotations

from collections.abc import Iterable

from symc.core.errors import UnknownOperatorError

from .op import DTypes, Op, Shapes, declares_parameters

FEW = 5  # nodes named of each operator


@declares_parameters
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

    @property
    def title(self) -> str:
        """The name, and of an operator in Python the one it was registered under."""
        return f"{self.operator} (op_type {self.op_type})" if self.op_type else self.operator

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


Nodes = Iterable[tuple[Op | None, str, str]]  # operator, name and origin of each


def absent_nodes(nodes: Nodes) -> dict[str, list[str]]:
    """The operators that symc lacks, in alphabetical order, each with the names of its nodes."""
    found: dict[str, list[str]] = {}
    for op, name, _ in nodes:
        if isinstance(op, Absent):
            found.setdefault(op.title, []).append(name)
    return dict(sorted(found.items()))


def require_present(nodes: Nodes) -> None:
    """To be called before a graph is run.

    Raises UnknownOperatorError with all operators that symc lacks, and their nodes.
    """
    lacking = [node for node in nodes if isinstance(node[0], Absent)]
    found = absent_nodes(lacking)
    if not found:
        return
    origins = dict.fromkeys(origin for *_, origin in lacking)
    is_written = any(isinstance(op, Absent) and op.op_type for op, *_ in lacking)
    lines = []
    for operator, names in found.items():
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
