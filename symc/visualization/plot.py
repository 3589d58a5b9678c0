"""`plot_network`: a network as a drawing, to look at in a notebook or to write as SVG, HTML, PDF or DOT."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn

from symc.core.errors import ArgumentError, ArgumentTypeError, SymcError
from symc.core.shapes import FullShape
from symc.symbol import Symbol
from symc.symbol.json_writer import without_amp_casts

from .dot import dot_text
from .html import html_text
from .network import network_picture
from .pdf import pdf_bytes
from .picture import Picture
from .scene import Scene, scene_of
from .svg import svg_text

if TYPE_CHECKING:
    from symc.symbol.node import Entry

# What symc draws itself; all other formats are left to Graphviz.
WRITERS: dict[str, Callable[[Scene], str | bytes]] = {"svg": svg_text, "html": html_text, "pdf": pdf_bytes}
DOT_FORMATS = ("dot", "gv")


def plot_network(
    symbol: Symbol,
    title: str = "plot",
    save_format: str = "pdf",
    shape: Mapping[str, FullShape] | None = None,
    dtype: Mapping[str, Any] | None = None,
    node_attrs: Mapping[str, Any] | None = None,
    hide_weights: bool = True,
) -> NetworkPlot:
    """A drawing of the network.

    shape, dtype  of the inputs, by name; the edges then show those of all data
    node_attrs    Graphviz attributes of all nodes of the DOT source
    hide_weights  leaves out variables that are named like parameters (fc_weight, bn_moving_mean ...)
    Raises ArgumentTypeError (a TypeError) for something else than a symbol, ArgumentError (a ValueError) when `shape` or
    `dtype` does not decide all of them.  Warns of nodes of the same name, which DOT takes for one.
    """
    if not isinstance(symbol, Symbol):
        raise ArgumentTypeError("symbol must be a Symbol")
    symbol = Symbol(list(without_amp_casts(symbol.heads)))
    internals = symbol.get_internals()
    shapes = None if shape is None else _decided(internals, internals.infer_shape(**shape)[1], "shape")
    dtypes = None if dtype is None else _decided(internals, internals.infer_type(**dtype)[1], "type")
    _warn_of_equal_names(symbol)
    source = dot_text(symbol, title, shapes, dtypes, node_attrs or {}, hide_weights)
    picture = network_picture(symbol, title, shapes or {}, dtypes or {}, hide_weights)
    return NetworkPlot(picture, source, save_format)


def _decided(internals: Symbol, found: list[Any] | None, what: str) -> dict[Entry, Any]:
    if found is None:
        raise ArgumentError(f"Input {what} is incomplete")
    return dict(zip(internals.heads, found))


def _warn_of_equal_names(symbol: Symbol) -> None:
    names = [node.name for node in symbol.nodes()]
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        warn(
            "There are multiple variables with the same name in your graph, this may result in cyclic graph. "
            f"Repeated names: {','.join(repeated)}",
            RuntimeWarning,
            stacklevel=3,
        )


@dataclass
class NetworkPlot:
    """A drawing; has the methods of graphviz.Digraph that write and show it, and shows itself in notebooks.

    picture  what is drawn, by symc's own layout
    source   the same as DOT, for Graphviz; None where there is none
    format   what `render` writes: svg, html, pdf, dot, or with Graphviz installed what it offers (png ...)
    """

    picture: Picture
    source: str | None
    format: str = "pdf"

    @cached_property
    def scene(self) -> Scene:
        """All shapes at their places."""
        return scene_of(self.picture)

    def pipe(self, format: str | None = None) -> bytes:
        """The contents of a file of that format; raises SymcError when it needs Graphviz and that is not installed."""
        kind = (format or self.format).lower()
        if kind in DOT_FORMATS and self.source is not None:
            return (self.source + "\n").encode("utf-8", "backslashreplace")
        if kind not in WRITERS:
            return self._by_graphviz(kind)
        written = WRITERS[kind](self.scene)
        return written if isinstance(written, bytes) else written.encode("utf-8", "backslashreplace")

    def _by_graphviz(self, kind: str) -> bytes:
        own = ", ".join([*WRITERS, *DOT_FORMATS[:1]])
        if self.source is None:
            raise ArgumentError(f"drawing {self.picture.title} as {kind!r}: expected svg, html or pdf")
        try:
            import graphviz
        except ImportError:
            raise SymcError(
                f"drawing {self.picture.title} as {kind!r} needs Graphviz: install its program and the package (pip install "
                f"'symc[viz]'); symc itself draws {own}"
            ) from None
        if kind not in graphviz.FORMATS:
            raise ArgumentError(f"drawing {self.picture.title}: unknown format {kind!r}; expected {own} or one of Graphviz")
        try:
            return graphviz.Source(self.source).pipe(format=kind)
        except graphviz.ExecutableNotFound:
            raise SymcError(
                f"drawing {self.picture.title} as {kind!r} needs Graphviz's program `dot`, which is not installed; symc "
                f"itself draws {own}"
            ) from None

    def save(self, filename: str | os.PathLike[str] | None = None, directory: str | os.PathLike[str] | None = None) -> str:
        """Writes the DOT source and returns the path; the name defaults to <title>.gv."""
        path = Path(directory or "", filename or f"{self.picture.title}.gv")
        return self._write(path, self.pipe("gv"))

    def render(
        self,
        filename: str | os.PathLike[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        view: bool = False,
        cleanup: bool = False,
        format: str | None = None,
    ) -> str:
        """Writes the DOT source to `filename` and the drawing to <filename>.<format>; returns the drawing's path.

        view     opens it
        cleanup  leaves the source out
        """
        kind = (format or self.format).lower()
        contents = self.pipe(kind)
        path = Path(directory or "", filename or f"{self.picture.title}.gv")
        if not cleanup:
            self.save(path)
        written = self._write(Path(f"{path}.{kind}"), contents)
        if view:
            webbrowser.open(Path(written).resolve().as_uri())
        return written

    def view(
        self,
        filename: str | os.PathLike[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        cleanup: bool = False,
    ) -> str:
        """Writes the drawing as `render` does and opens it."""
        return self.render(filename, directory, view=True, cleanup=cleanup)

    def _write(self, path: Path, contents: bytes) -> str:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise SymcError(f"writing {path}: {error}") from error
        return str(path)

    def _repr_svg_(self) -> str:
        return svg_text(self.scene)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None, **_: object) -> dict[str, str]:
        return {"image/svg+xml": self._repr_svg_()}

    def __str__(self) -> str:
        return self.source or ""
