"""The nodes of a symbol's file, for peers whose networks are made from it operator by operator."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Node:
    """`inputs` are positions of earlier nodes, in the order of the file; a variable has the operator `null`."""

    name: str
    operator: str
    attributes: dict[str, Any]
    inputs: tuple[int, ...]


def nodes_of(path: str) -> list[Node]:
    return [
        Node(
            node["name"],
            node["op"],
            {name: literal(text) for name, text in node.get("attrs", {}).items()},
            tuple(i for i, *_ in node["inputs"]),
        )
        for node in json.loads(Path(path).read_text(encoding="utf-8"))["nodes"]
    ]


def literal(text: str) -> Any:
    """What an attribute of a symbol's file says: a number, a bool, a tuple, or a word."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
