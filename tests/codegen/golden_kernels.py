"""The kernels of the built-in networks as they were recorded: names, structures, texts and steps.

A refactoring leaves all of it alone; a commit that changes a kernel on purpose records it again and says why:

    python -m tests.codegen.golden_kernels              records
    python -m tests.codegen.golden_kernels objects      prints the digest of every kernel's object code, to be compared
                                                        between two commits on one machine

`tests/data/kernels/networks.json` has, by vector width and network and mode, every step (kernel, chunks, phase) and the
digests of the program and of all readable texts; `structures.json` has each kernel's structure by its name.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import symc.ops  # noqa: F401  (registers the operators)
from symc import models
from symc.codegen.cpu.backend import CpuBackend
from symc.codegen.cpu.compile import compile_function
from symc.codegen.cpu.target import Target
from symc.runtime.lowered import Lowered, lower_program
from symc.symbol.graph import to_graph

FOLDER = Path(__file__).parents[1] / "data" / "kernels"
WIDTHS = (256, 512)  # vector bits of the targets that are recorded
MODES = ("forward", "training")


@dataclass(frozen=True)
class Case:
    """One network compiled one way for one target."""

    width: int
    network: str
    mode: str

    def lowered(self) -> Lowered:
        """Its kernels; a network is trained with batch 2, all parameters' gradients written."""
        model = models.get(self.network)
        is_training = self.mode == "training"
        shapes = dict(model.with_batch(2 if is_training else 1).shapes)
        names = model.symbol.list_arguments()
        graph = to_graph(model.symbol, is_training, shapes, dict.fromkeys(names, "float32"))
        grad_req = {n: "write" for n in names if n not in shapes and not n.endswith("label")} if is_training else {}
        return lower_program(graph, grad_req, CpuBackend(Target("x86_64-linux-gnu", "recorded", "", self.width)))


def cases() -> Iterator[Case]:
    """Every case that is recorded."""
    return (Case(w, n, m) for w in WIDTHS for n in models.names() for m in MODES)


def describe(lowered: Lowered) -> dict[str, Any]:
    """What `networks.json` holds of one case."""
    program = lowered.program
    return {
        "program": hashlib.sha256(program.to_bytes()).hexdigest(),
        "texts": hashlib.sha256("".join(code.source for code in lowered.codes.values()).encode()).hexdigest(),
        "steps": [f"{s.kernel} {' '.join(map(str, s.launch))} {s.phase}" for s in program.steps],
    }


def structures(lowered: Lowered) -> dict[str, str]:
    """What `structures.json` holds of the kernels of one case."""
    return {name: code.structure for name, code in lowered.codes.items()}


def recorded(name: str) -> dict[str, Any]:
    """The content of a recorded file."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def record() -> None:
    """Writes both files anew."""
    networks: dict[str, Any] = {}
    kernels: dict[str, str] = {}
    for case in cases():
        lowered = case.lowered()
        networks[f"{case.width} {case.network} {case.mode}"] = describe(lowered)
        kernels.update(structures(lowered))
        print(case, len(lowered.codes), "kernels")
    for name, content in (("networks", networks), ("structures", dict(sorted(kernels.items())))):
        text = json.dumps(content, indent=1) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


def print_objects() -> None:
    """Compiles every kernel of this machine's vector width and prints the digest of its object code."""
    backend = CpuBackend.host()
    seen: set[str] = set()
    for case in (c for c in cases() if c.width == backend.target.vector_bits):
        for name, code in case.lowered().codes.items():
            if name not in seen:
                seen.add(name)
                data = compile_function(code.build(), name, backend.target)
                print(name, hashlib.sha256(data).hexdigest(), flush=True)


if __name__ == "__main__":
    print_objects() if sys.argv[1:] == ["objects"] else record()
