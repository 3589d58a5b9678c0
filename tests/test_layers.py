"""The house as docs/architecture.md draws it: imports point downwards, in no circle, and numba stays in codegen.

Imports inside functions and under TYPE_CHECKING count like all others, except those that ALLOWED lists with a reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (  # lowest first
    "core", "loopir", "ir", "ops", "passes", "codegen", "runtime", "testing",
    # the face
    "scope", "name", "attribute", "context", "util", "log", "libinfo", "registry", "engine", "functions", "symbol",
    "c_names", "base", "ndarray", "random", "autograd", "operator", "profiler", "visualization", "executor",
    "initializer", "recordio", "io", "image", "lr_scheduler", "optimizer", "kvstore", "metric", "models", "model",
    "callback", "monitor", "module", "executor_manager", "gluon", "rnn", "contrib", "test_utils",
    "artifact", "tune", "api", "symc", "as_mxnet",
    "cli", "tools",
)  # fmt: skip
ALLOWED = {  # (module, what it may import although that is higher or comes back to it): why
    ("symc.ir.op", "symc.ir.*"): "an operator writes its gradient with the builder, over values of nodes that hold it",
    ("symc.symbol.symbol", "symc.symbol.*"): "a Symbol's methods are written in the modules of its folder",
    ("symc.symbol.symbol", "symc.ndarray"): "bind and eval are MXNet's methods of a Symbol",
    ("symc.symbol.symbol", "symc.executor.*"): "bind and eval are MXNet's methods of a Symbol",
    ("symc.symbol.symbol", "symc.executor"): "bind and eval are MXNet's methods of a Symbol",
    ("symc.symbol.backend", "symc.ndarray"): "optimize_for takes arrays, which it checks and leaves alone",
    ("symc.ndarray.ndarray", "symc.ndarray.*"): "an NDArray's methods are written in the modules of its folder",
    ("symc.ndarray.ndarray", "symc.autograd"): "backward is MXNet's method of an NDArray",
    ("symc.ndarray.operators", "symc.ndarray"): "an NDArray has the functions of mx.nd as methods",
    ("symc.ndarray", "symc.executor.cached_op"): "mx.nd.CachedOp is MXNet's name for it",
    ("symc.model", "symc.module.feed_forward"): "FeedForward is MXNet's name in mx.model, and made of a Module",
    ("symc.gluon.contrib.data.text", "symc.contrib.text.*"): "a text is numbered by a vocabulary of mx.contrib",
    ("symc.test_utils", "symc"): "MXNet's tests take mx from its star import",
}
# Modules that a start from a filled kernel cache needs; they may import numba inside functions only.
LIGHT = (
    "symc.codegen.cache",
    "symc.codegen.kernel",
    "symc.codegen.objects",
    "symc.codegen.cpu.backend",
    "symc.codegen.cpu.load",
    "symc.codegen.cpu.target",
)
STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)  # what may hold an import
# What code generation shares between devices.
NEUTRAL = ("symc.codegen.llvm", "symc.codegen.nest", "symc.codegen.contraction", "symc.codegen.routines")


@dataclass(frozen=True)
class Import:
    """One module imported by another; is_late when it happens inside a function, or for types alone."""

    source: str
    target: str
    line: int
    is_late: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def read_tree(root: Path, package: str = "symc") -> dict[str, Path]:
    """Every module of a package by dotted name."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, path: Path, modules: dict[str, Path]) -> Iterator[Import]:
    """What a module imports, relative names resolved."""
    package = path_package(module, path)

    def visit(node: ast.AST, is_late: bool) -> Iterator[Import]:
        for target in targets(node):
            yield Import(module, target, node.lineno, is_late)  # type: ignore[attr-defined]
        is_type = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        is_late |= isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for child in ast.iter_child_nodes(node):
            if isinstance(child, STATEMENTS):
                yield from visit(child, is_late or (is_type and child not in node.orelse))

    def targets(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package[: len(package) - node.level + 1]
                base = ".".join(above + ([node.module] if node.module else []))
            # `from package import name`: the name may be a module of the package, or defined in the package itself.
            for a in node.names:
                yield f"{base}.{a.name}" if f"{base}.{a.name}" in modules else base

    yield from visit(parsed(path), False)


def odd_imports(module: str, path: Path, modules: dict[str, Path]) -> Iterator[str]:
    """Imports that are not relative from the same folder, or not absolute from another."""
    for node in ast.walk(parsed(path)):
        if not isinstance(node, ast.ImportFrom) or (node.level == 1 and not node.module):
            continue
        absolute = f"{'.'.join(path_package(module, path))}.{node.module}" if node.level else str(node.module)
        source = modules.get(absolute)
        is_near = source is not None and source.parent == path.parent and source.name != "__init__.py"
        if node.level > 1 or (node.level == 1) != is_near:
            yield f"{module}:{node.lineno}: {ast.unparse(node)}"


def path_package(module: str, path: Path) -> list[str]:
    """The package a module belongs to; a package belongs to itself."""
    return module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]


def layer_of(module: str) -> str:
    """symc.core.shapes -> core; symc.symbol.json -> symbol; symc itself -> symc; what starts the command -> cli."""
    return [*module.split("."), module][1].replace("__main__", "cli")


def is_allowed(i: Import) -> bool:
    """Whether ALLOWED has it."""
    return any((i.source, t) in ALLOWED for t in (i.target, f"{i.target.rpartition('.')[0]}.*"))


def upward(imports: list[Import]) -> list[str]:
    """Imports that point to a higher layer."""
    rank = {name: k for k, name in enumerate(LAYERS)}
    inside = (i for i in imports if i.target.partition(".")[0] == "symc" and not is_allowed(i))
    return [
        f"{i}: {layer_of(i.source)} is below {layer_of(i.target)}"
        for i in inside
        if rank[layer_of(i.target)] > rank[layer_of(i.source)]
    ]


def circles(imports: list[Import]) -> list[str]:
    """Groups of modules that need each other, at once or later."""
    inside = [i for i in imports if i.target.partition(".")[0] == "symc" and not is_allowed(i)]
    graph = networkx.DiGraph((i.source, i.target) for i in inside)
    found = [sorted(c) for c in networkx.strongly_connected_components(graph) if len(c) > 1]
    return [" -> ".join(c) for c in sorted(found)] + [f"{s} -> {s}" for s in networkx.nodes_with_selfloops(graph)]


MODULES = read_tree(ROOT)


@cache
def all_imports() -> list[Import]:
    """All of symc's; read when a test asks, as every process of a run collects them all."""
    return [i for module, path in MODULES.items() for i in imports_of(module, path, MODULES)]


def importing(package: str) -> list[Import]:
    """Imports of a package or of anything in it."""
    return [i for i in all_imports() if i.target == package or i.target.startswith(package + ".")]


def test_imports_point_downwards():
    assert not upward(all_imports()), "\n".join(upward(all_imports()))


def test_every_module_has_a_layer():
    lost = [m for m in MODULES if layer_of(m) not in LAYERS]
    assert not lost, f"say in LAYERS where they belong: {', '.join(lost)}"


@pytest.mark.parametrize("pair", ALLOWED, ids=" -> ".join)
def test_what_is_allowed_is_needed(pair, monkeypatch):
    monkeypatch.delitem(ALLOWED, pair)
    assert upward(all_imports()) or circles(all_imports())


def test_imports_have_one_style():
    odd = [line for module, path in MODULES.items() for line in odd_imports(module, path, MODULES)]
    assert not odd, "relative from the same folder, absolute from all others:\n" + "\n".join(odd)


def test_no_import_circle():
    assert not circles(all_imports()), "\n".join(circles(all_imports()))


@pytest.mark.parametrize("package", ["numba", "llvmlite"])
def test_compilers_stay_in_codegen(package):
    outside = [str(i) for i in importing(package) if layer_of(i.source) != "codegen"]
    assert not outside, "\n".join(outside)


def test_a_start_from_the_cache_needs_no_numba():
    early = [str(i) for i in importing("numba") + importing("llvmlite") if i.source in LIGHT and not i.is_late]
    assert not early, "\n".join(early)
    assert set(LIGHT) <= set(MODULES)


@pytest.mark.parametrize("package", NEUTRAL)
def test_what_devices_share_knows_none_of_them(package):
    modules = {m for m in MODULES if m.startswith(f"{package}.")}
    found = [str(i) for i in importing("symc.codegen.cpu") if i.source in modules]
    assert modules and not found, "\n".join(found)


def test_what_symc_depends_on_is_what_it_imports():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = text[text.index("\ndependencies = [") : text.index("[project.optional-dependencies]")]
    wanted = re.findall(r'^ +"(\w+)', listed, flags=re.MULTILINE)
    assert wanted and [package for package in wanted if not importing(package)] == []


def test_numba_cuda_stays_in_its_folder():
    outside = [str(i) for i in importing("numba.cuda") if not i.source.startswith("symc.codegen.cuda")]
    assert not outside, "\n".join(outside)


def test_devices_stay_in_their_folders():
    """Nobody else knows of the CPU but where it is opened for a context, its threads are counted, it is described, or
    the caller's arrays are looked at, which lie in its memory."""
    own = ("symc.codegen.cpu", "symc.runtime.cpu")
    users = {(i.source, i.target) for package in own for i in importing(package) if not i.source.startswith(own)}
    threads = "symc.runtime.cpu.native"
    assert {source for source, target in users if target != threads} == {
        "symc.context",
        "symc.runtime.compiler",
        "symc.runtime.features",
        "symc.runtime.pointing",
    }
    assert {source for source, target in users if target == threads} == {
        "symc.cli.bench",
        "symc.cli.opening",
        "symc.executor.executor",
    }


def test_few_modules_reach_into_the_memory_of_arrays():
    """An array may come to live where the host cannot look: all others ask for shape, dtype and address alone."""
    touching = {m for m, path in MODULES.items() if re.search(r"\._host\b", path.read_text(encoding="utf-8"))}
    outside = {m for m in touching if not m.startswith("symc.ndarray.")}
    assert outside == {"symc.executor.executor", "symc.executor.holding", "symc.operator"}


def test_every_module_says_its_job():
    silent = [m for m, path in MODULES.items() if not ast.get_docstring(parsed(path))]
    assert not silent, "no docstring: " + ", ".join(silent)


def test_the_reader_sees_every_kind_of_import(tmp_path):
    files = {
        "symc/__init__.py": "from . import api",
        "symc/api.py": "import symc.core.low\nfrom .runtime import run",
        "symc/core/__init__.py": "",
        "symc/core/low.py": (
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from ..api import a\nelse:\n    from ..runtime import run\n"
            "def f():\n    from symc import api\n    import numba.cuda\n"
        ),
        "symc/runtime/__init__.py": "",
        "symc/runtime/run.py": "from ..core import low as lowest, low\nfrom ..core.low import f",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    modules = read_tree(tmp_path)
    seen = [i for module, path in modules.items() for i in imports_of(module, path, modules)]
    assert [(i.line, i.target, i.is_late) for i in seen if i.source == "symc.core.low"] == [
        (1, "typing", False),
        (3, "symc.api", True),
        (5, "symc.runtime.run", False),
        (7, "symc.api", True),
        (8, "numba.cuda", True),
    ]
    assert [i.target for i in seen if i.source == "symc.runtime.run"] == ["symc.core.low"] * 3
    assert upward(seen) == [
        "symc.core.low:3 imports symc.api: core is below api",
        "symc.core.low:5 imports symc.runtime.run: core is below runtime",
        "symc.core.low:7 imports symc.api: core is below api",
    ]
    assert circles(seen) == ["symc.api -> symc.core.low -> symc.runtime.run"]


@pytest.mark.parametrize(
    "text, is_odd",
    [
        ("from .b import f", False),
        ("from . import b", False),
        ("from symc.high.b import f", True),
        ("from symc.high import b", False),
        ("from symc.low import f", False),
        ("from ..low import f", True),
        ("from .inner import f", True),
        ("from symc.high.inner import f", False),
        ("from typing import Any", False),
        ("def f():\n    from symc.high.b import f", True),
    ],
)
def test_the_style_of_an_import(tmp_path, text, is_odd):
    for name in ("symc/__init__", "symc/low", "symc/high/__init__", "symc/high/b", "symc/high/inner/__init__"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "symc/high/a.py").write_text(text)
    modules = read_tree(tmp_path)
    assert bool(list(odd_imports("symc.high.a", modules["symc.high.a"], modules))) == is_odd
