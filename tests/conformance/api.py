"""Runs a recorded snippet of Python and compares its value, its printed text or its error with MXNet's."""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import json
import os
import re
import tempfile
import warnings
from typing import Any

import numpy as np

from .compare import Mismatch
from .golden import Snippet

# MXNet's text names its own C++ conditions there; symc's says the same in its own words.
OWN_WORDS = {
    "json.06": "MXNet's JSON reader counts lines from 0",
    "bind.41": "MXNet speaks of how it was compiled",
    "nd.17": "MXNet speaks of its own reshape check",
    "compose.35": "MXNet calls a positional input a keyword",
}
# What stands before the words of an MXNet error: a traceback, files, C++ conditions.
_BEFORE = (r"MXNetError: ", r"\.(?:cc|h):\d+: ", r"Check failed: .*?\) ?: ", r"Check failed: .*?: :?")
_STACK = "Error in operator"  # which operator comes before files and conditions


def check_snippet(mx: Any, snippet: Snippet) -> None:
    """Raises Mismatch when value, text or error differ; an error that MXNet does not raise is raised itself."""
    value, printed, error = run(mx, snippet.code)
    want = snippet.error
    if want is None:
        if error is not None:
            raise error
        if snippet.stdout is not None and printed != snippet.stdout:
            raise Mismatch(f"prints {printed[:200]!r}, MXNet {snippet.stdout[:200]!r}")
        if snippet.has_value and not _is_opaque(snippet.value):
            _expect_same(plain(value), snippet.value)
        return
    if error is None:
        raise Mismatch(f"no error, MXNet's {want['cls']}: {want['message'][:100]}")
    if want["cls"] not in [cls.__name__ for cls in type(error).__mro__]:
        raise error
    words = stable_part(want["message"]).replace("mxnet", mx.__name__)
    if snippet.name not in OWN_WORDS and words not in str(error).replace(_folder().name, "@TMP@"):
        raise Mismatch(f"says {str(error)[:100]!r}, MXNet {words!r}")


def run(mx: Any, code: str) -> tuple[Any, str, Exception | None]:
    """What the last expression or the name R holds, what was printed, and what was raised."""
    scope: dict[str, Any] = dict(mx=mx, np=np, json=json, os=os)
    tree = ast.parse(code.replace("@TMP@", _folder().name))
    if isinstance(tree.body[-1], ast.Expr):
        tree.body[-1] = ast.Assign([ast.Name("R", ast.Store())], tree.body[-1].value)
    printed = io.StringIO()
    compiled = compile(ast.fix_missing_locations(tree), "<snippet>", "exec")
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(), mx.name.NameManager(), mx.AttrScope():
        warnings.simplefilter("ignore")
        try:
            exec(compiled, scope)
        except Exception as error:
            return None, printed.getvalue(), error
    return scope.get("R"), printed.getvalue(), None


@functools.lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where snippets write; later ones read what earlier ones wrote."""
    return tempfile.TemporaryDirectory(prefix="symc-api-")


def stable_part(message: str) -> str:
    """The words of an MXNet error up to the first punctuation: files, conditions and stack traces vary."""
    for before in _BEFORE:
        if _STACK not in message.split("\n")[-1]:
            message = re.split(before, message)[-1]
    message = message[max(message.find(_STACK), 0) :]
    return re.split(r"[.,:(=\n]| expect ", message.strip())[0].strip()


def plain(value: Any) -> Any:
    """A value as the recording spells it: tuples marked, classes and other objects as text."""
    if isinstance(value, tuple):
        return ["__tuple__", *map(plain, value)]
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (bool, int, str, type(None))):
        return value
    if isinstance(value, (float, np.floating)):
        return float(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, type):
        return f"type:{value.__name__}"
    return f"repr:{value!r}"


def _is_opaque(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("repr:") and " at 0x" in value


def _expect_same(got: Any, want: Any) -> None:
    if not _same(got, want):
        raise Mismatch(f"gives {str(got)[:150]}, MXNet {str(want)[:150]}")


def _same(got: Any, want: Any) -> bool:
    if isinstance(got, float) and isinstance(want, str):  # repr of a NumPy number
        want = float(want[len("repr:") :])
    if isinstance(got, float) and isinstance(want, (int, float)):
        return bool(np.isclose(got, want, rtol=1e-4, atol=1e-6, equal_nan=True))
    if isinstance(got, list) and isinstance(want, list):
        return len(got) == len(want) and all(map(_same, got, want))
    if isinstance(got, dict) and isinstance(want, dict):
        return list(got) == list(want) and all(_same(got[k], want[k]) for k in got)
    return got == want
