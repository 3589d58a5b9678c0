"""What a script uses of mxnet, by its syntax tree: the script is never run, and need not be runnable here."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

ROOT = "mxnet"
# An argument of this name is what Gluon hands to a block's methods: one of two modules.
BLOCK_ARGUMENT, BLOCK_MODULES = "F", (f"{ROOT}.symbol", f"{ROOT}.ndarray")

Scope = dict[str, tuple[str, ...]]  # what local names stand for: dotted names below mxnet; () for something else


@dataclass(frozen=True)
class Mention:
    """A dotted name below mxnet (`mxnet.gluon.nn.Dense`), however the script calls it, and where it stands."""

    name: str
    line: int


def mentions(source: str, listed: Callable[[str], Iterable[str]] = lambda module: ()) -> list[Mention]:
    """Every use of mxnet in the order of its lines; `listed` gives what `from MODULE import *` brings.

    Raises SyntaxError for text that is not Python 3.
    """
    reader = _Reader(listed)
    reader.read(ast.parse(source))
    return sorted(set(reader.found), key=lambda m: (m.line, m.name))


class _Reader(ast.NodeVisitor):
    """Follows names through imports, plain assignments and scopes; a function is read after what stands around it."""

    def __init__(self, listed: Callable[[str], Iterable[str]]) -> None:
        self.found: list[Mention] = []
        self._listed = listed
        self._scopes: list[Scope] = [{}]
        self._later: deque[tuple[list[Scope], ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda]] = deque()

    def read(self, tree: ast.Module) -> None:
        """The whole script."""
        self.visit(tree)
        while self._later:
            self._scopes, function = self._later.popleft()
            for child in function.body if isinstance(function.body, list) else [function.body]:
                self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            package = alias.name.partition(".")[0]
            name = alias.asname or package
            if package != ROOT:
                self._bind(name)
                continue
            self._mention(alias.name, node)
            self._bind(name, alias.name if alias.asname else ROOT)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "" if node.level else node.module or ""
        is_ours = module.partition(".")[0] == ROOT
        if is_ours:
            self._mention(module, node)
        for alias in node.names:
            if is_ours and alias.name == "*":
                for name in self._listed(module):
                    self._bind(name, f"{module}.{name}")
            elif is_ours:
                self._mention(f"{module}.{alias.name}", node)
                self._bind(alias.asname or alias.name, f"{module}.{alias.name}")
            else:
                self._bind(alias.asname or alias.name)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        meant = self._meant(node)
        for name in meant:
            self._mention(name, node)
        if not meant:
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            for name in self._meant(node):
                self._mention(name, node)
        else:
            self._bind(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._bind(target.id, *self._meant(node.value))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name)
        self._scopes = [*self._scopes, {}]
        self.generic_visit(node)
        self._scopes = self._scopes[:-1]

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._bind(node.name)
        for child in (*node.decorator_list, node.args, node.returns):
            if child is not None:
                self.visit(child)
        self._postpone(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit(node.args)
        self._postpone(node)

    def _postpone(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = [a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)]
        own: Scope = {name: BLOCK_MODULES if name == BLOCK_ARGUMENT else () for name in arguments}
        self._later.append(([*self._scopes, own], node))

    def _mention(self, name: str, node: ast.AST) -> None:
        self.found.append(Mention(name, node.lineno))  # type: ignore[attr-defined]

    def _bind(self, name: str, *meant: str) -> None:
        self._scopes[-1][name] = meant

    def _meant(self, node: ast.AST) -> tuple[str, ...]:
        """What a name or a chain of attributes stands for; () for anything that is not mxnet's."""
        if isinstance(node, ast.Attribute):
            return tuple(f"{name}.{node.attr}" for name in self._meant(node.value))
        if isinstance(node, ast.Name):
            return next((scope[node.id] for scope in reversed(self._scopes) if node.id in scope), ())
        return ()


def lines_by_name(found: Iterable[Mention]) -> Iterator[tuple[str, list[int]]]:
    """Every name once, with all its lines."""
    lines: dict[str, list[int]] = {}
    for mention in found:
        lines.setdefault(mention.name, []).append(mention.line)
    yield from lines.items()
