"""Faults of users are told by errors of one hierarchy: whoever catches MXNetError sees them all."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

import symc
from symc.core import errors

SOURCES = Path(symc.__file__).parent
# Layers whose callers turn what they raise into words for users; and what is raised to be caught by Python.
BELOW = ("core", "loopir", "ir", "ops", "passes", "codegen", "testing", "cli", "test_utils")
PROTOCOLS = ("AttributeError", "BufferError", "IndexError", "NotImplementedError", "StopIteration")


def foreign_errors(tree: ast.AST) -> list[str]:
    """Errors of Python's own that a module raises, and assertions that have a text, with their lines."""
    found = []
    for node in ast.walk(tree):
        name = None
        if isinstance(node, ast.Assert) and node.msg is not None:
            name = "assert"
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            name = node.exc.func.id if hasattr(builtins, node.exc.func.id) else None
        if name is not None and name not in PROTOCOLS:
            found.append(f"{name} in line {node.lineno}")
    return found


def test_foreign_errors_are_found():
    code = "raise ValueError('a')\nassert x, 'b'\nassert y\nraise ArgumentError('c')\nraise StopIteration()\nraise e"
    assert foreign_errors(ast.parse(code)) == ["ValueError in line 1", "assert in line 2"]


def test_the_face_raises_no_other_errors():
    paths = [p.relative_to(SOURCES) for p in SOURCES.rglob("*.py")]
    found = {str(p): foreign_errors(ast.parse((SOURCES / p).read_text())) for p in paths if p.parts[0] not in BELOW}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_all_are_of_the_hierarchy():
    own = [e for e in vars(errors).values() if isinstance(e, type) and e.__module__ == errors.__name__]
    assert len(own) > 20
    for error in own:
        assert issubclass(error, errors.MXNetError)
        assert str(error("what it says")) == "what it says"
