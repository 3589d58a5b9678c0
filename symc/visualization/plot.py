"""`plot_network`: a network as a drawing, to look at in a notebook or to write as SVG, HTML, PDF or DOT."""

from __future__ import annotations

import os
import shutil
import webbrowser
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn

from symc.core.errors import ArgumentError, ArgumentTypeError, SymcError
from symc.core.lazy import lazy
from symc.core.replacing import writing
from symc.core.shapes import FullShape
from symc.symbol import Symbol
from symc.symbol.json_writer import without_amp_casts

from .dot import dot_text, picture_dot
from .html import html_text
from .network import network_picture, partial_facts
from .pdf import pdf_bytes
from .picture import Picture
from .program import Owners, program_picture
from .scene import Scene, scene_of
from .svg import svg_text

if TYPE_CHECKING:
    from symc.symbol.node import Entry

# What symc draws itself; all other formats are left to Graphviz.
WRITERS: dict[str, Callable[[Scene], str | bytes]] = {"svg": svg_text, "html": html_text, "pdf": pdf_bytes}
DOT_FORMATS = ("dot", "gv")
OWN_FORMATS = (*WRITERS, *DOT_FORMATS)
GRAPHVIZ_FORMATS = (
    "png", "jpg", "jpeg", "gif", "webp", "bmp", "ico", "tif", "tiff", "ps", "ps2", "eps", "svgz", "fig", "json",
    "plain", "xdot",
)  # fmt: skip


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
    Raises ArgumentTypeError (a TypeError) for something else than a symbol, ArgumentError (a ValueError) when `shape`
    or `dtype` does not decide all of them.  Warns of nodes of the same name, which DOT takes for one.
    """
    if not isinstance(symbol, Symbol):
        raise ArgumentTypeError("symbol must be a Symbol")
    symbol = Symbol(list(without_amp_casts(symbol.heads)))
    internals = symbol.get_internals()
    shapes = {} if shape is None else _decided(internals, internals.infer_shape(**shape)[1], "shape")
    dtypes = {} if dtype is None else _decided(internals, internals.infer_type(**dtype)[1], "type")
    _warn_of_equal_names(symbol)
    source = dot_text(symbol, title, shapes, dtypes, node_attrs or {}, hide_weights)
    return NetworkPlot(network_picture(symbol, title, shapes, dtypes, hide_weights), source, save_format)


def plot_known(
    symbol: Symbol,
    title: str,
    shape: Mapping[str, FullShape],
    dtype: Mapping[str, Any],
    hide_weights: bool = True,
    owners: Owners | None = None,
) -> NetworkPlot:
    """As `plot_network`, with as many shapes and dtypes as those given decide; and with the steps of a program."""
    shapes, dtypes = partial_facts(symbol, shape, dtype)
    picture = network_picture(symbol, title, shapes, dtypes, hide_weights, owners.describe if owners else None)
    return NetworkPlot(picture, dot_text(symbol, title, shapes, {}, {}, hide_weights))


def plot_program(owners: Owners, title: str) -> NetworkPlot:
    """A drawing of a compiled program: a box for each kernel call."""
    picture = program_picture(owners, title)
    return NetworkPlot(picture, picture_dot(picture))


def _decided(internals: Symbol, found: list[Any] | None, what: str) -> dict[Entry, Any]:
    if found is None:
        raise ArgumentError(f"Input {what} is incomplete")
    return dict(zip(internals.heads, found))


def _warn_of_equal_names(symbol: Symbol) -> None:
    counts = Counter(node.name for node in symbol.nodes())
    repeated = [name for name, n in counts.items() if n > 1]
    if repeated:
        warn(
            "There are multiple variables with the same name in your graph, this may result in cyclic graph. "
            f"Repeated names: {','.join(repeated)}",
            RuntimeWarning,
            stacklevel=3,
        )


def require_format(kind: str) -> None:
    """Raises ArgumentError for a format that nobody draws, SymcError for one that needs Graphviz, if it is missing."""
    _require_known(kind)
    if kind in OWN_FORMATS:
        return
    missing = ["its package (pip install graphviz)"] if find_spec("graphviz") is None else []
    missing += ["its program `dot`"] if shutil.which("dot") is None else []
    if missing:
        own = ", ".join(OWN_FORMATS)
        raise SymcError(
            f"a drawing as {kind!r} needs Graphviz: install {' and '.join(missing)}; symc itself draws {own}"
        )


def _require_known(kind: str) -> None:
    if kind not in OWN_FORMATS and kind not in GRAPHVIZ_FORMATS:
        own, others = ", ".join(OWN_FORMATS), ", ".join(GRAPHVIZ_FORMATS)
        raise ArgumentError(f"no drawings as {kind!r}; expected {own}, or with Graphviz {others}")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


@dataclass
class NetworkPlot:
    """A drawing; has the methods of graphviz.Digraph that write and show it, and shows itself in notebooks.

    picture  what is drawn, by symc's own layout
    source   the same as DOT, for Graphviz
    format   what `render` writes: svg, html, pdf, dot, or with Graphviz installed what it offers (png ...)
    """

    picture: Picture
    source: str
    format: str = "pdf"

    def __post_init__(self) -> None:
        _require_known(self.format.lower())

    @lazy
    def scene(self) -> Scene:
        """All shapes at their places."""
        return scene_of(self.picture)

    def pipe(self, format: str | None = None) -> bytes:
        """The contents of a file of that format; raises what `require_format` raises."""
        kind = (format or self.format).lower()
        require_format(kind)
        if kind in DOT_FORMATS:
            return _encoded(self.source + "\n")
        if kind in WRITERS:
            written = WRITERS[kind](self.scene)
            return written if isinstance(written, bytes) else _encoded(written)
        import graphviz

        return graphviz.Source(self.source).pipe(format=kind)

    def save(
        self, filename: str | os.PathLike[str] | None = None, directory: str | os.PathLike[str] | None = None
    ) -> str:
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
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise SymcError(f"writing {path}: {error}") from error
        with writing(path) as file:
            file.write(contents)
        return str(path)

    def _repr_svg_(self) -> str:
        return svg_text(self.scene)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None, **_: object) -> dict[str, str]:
        return {"image/svg+xml": self._repr_svg_()}

    def __str__(self) -> str:
        return self.source
