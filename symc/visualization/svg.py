"""A scene as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from .font import printable
from .layout import Point
from .scene import LINE, PlacedBox, PlacedEdge, Rect, Scene, Text

FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
ARROW_LENGTH, ARROW_HALF_WIDTH = 7.0, 3.6
MAX_TOOLTIP = 300  # characters


def svg_text(scene: Scene) -> str:
    """A document of its own.

    Boxes are groups of class "box" with id "box-<number>", edges are paths of class "edge" with their ends in
    `data-tail` and `data-head`, and in `data-via` the edge that they leave.
    """
    size = f'width="{_n(scene.width)}" height="{_n(scene.height)}" viewBox="0 0 {_n(scene.width)} {_n(scene.height)}"'
    title = escape(printable(scene.picture.title))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}" role="img">',
        f"<title>{title}</title>",
        f'<rect class="page" width="{_n(scene.width)}" height="{_n(scene.height)}" fill="#ffffff"/>',
        '<g class="header">',
        *(_rect(s) if isinstance(s, Rect) else _text(s) for s in scene.header),
        '</g>\n<g class="edges" fill="none" stroke-width="1.4">',
        *(_edge(k, scene, edge) for k, edge in enumerate(scene.edges)),
        '</g>\n<g class="boxes">',
        *(_box(k, scene, box) for k, box in enumerate(scene.boxes)),
        '</g>\n<g class="labels" stroke="#ffffff" stroke-width="3" paint-order="stroke" stroke-linejoin="round">',
        *(_text(edge.label) for edge in scene.edges if edge.label is not None),
        "</g>\n</svg>\n",
    ]
    return "\n".join(parts)


def _box(number: int, scene: Scene, box: PlacedBox) -> str:
    title = printable(scene.picture.boxes[number].title)
    tooltip = title if len(title) <= MAX_TOOLTIP else title[:MAX_TOOLTIP] + "..."
    shapes = [_rect(box.frame), *map(_text, box.texts), *map(_rect, box.bars)]
    return f'<g class="box" id="box-{number}"><title>{escape(tooltip)}</title>{"".join(shapes)}</g>'


def _edge(number: int, scene: Scene, edge: PlacedEdge) -> str:
    ends = scene.picture.edges[number]
    via = f' data-via="{edge.via}"' if edge.via is not None else ""
    data = f'id="edge-{number}" data-tail="{ends.tail}" data-head="{ends.head}"{via}'
    return f'<path class="edge" {data} stroke="{LINE}" d="{path_data(edge.points)}"/>'


def path_data(points: Sequence[Point]) -> str:
    """The commands of a path: a vertical line where x stays, else a Bezier curve; and at the end an arrow."""
    (x, y), *rest = points
    commands = [f"M{_n(x)} {_n(y)}"]
    for px, py in rest:
        if px == x:
            commands.append(f"V{_n(py)}")
        else:
            middle = _n((y + py) / 2)
            commands.append(f"C{_n(x)} {middle} {_n(px)} {middle} {_n(px)} {_n(py)}")
        x, y = px, py
    commands += [f"{command}{_n(px)} {_n(py)}" for command, (px, py) in zip("MLL", arrow(x, y))]
    return "".join(commands)


def arrow(x: float, y: float) -> tuple[Point, Point, Point]:
    """The two strokes of an arrow that points down at (x, y)."""
    left, right = x - ARROW_HALF_WIDTH, x + ARROW_HALF_WIDTH
    return (left, y - ARROW_LENGTH), (x, y - 1), (right, y - ARROW_LENGTH)


def _rect(rect: Rect) -> str:
    edge = f' stroke="{rect.edge}" stroke-width="1.2"' if rect.edge else ""
    place = f'x="{_n(rect.x)}" y="{_n(rect.y)}" width="{_n(rect.width)}" height="{_n(rect.height)}"'
    return f'<rect {place} rx="{_n(rect.radius)}" fill="{rect.fill}"{edge}/>'


def _text(text: Text) -> str:
    weight = ' font-weight="bold"' if text.is_bold else ""
    anchor = ' text-anchor="middle"' if text.is_centred else ""
    place = f'x="{_n(text.x)}" y="{_n(text.y)}" font-size="{_n(text.size)}"'
    return f'<text {place} fill="{text.colour}"{weight}{anchor}>{escape(text.text)}</text>'


def _n(value: float) -> str:
    """At most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
