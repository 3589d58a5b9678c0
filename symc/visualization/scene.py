"""A picture as shapes at places: what every writer prints."""

from __future__ import annotations

from dataclasses import dataclass

from .font import fitted, printable, text_width
from .layout import Arrangement, Point, layered
from .picture import Box, Colour, Picture

INK, SOFT_INK, PALE_INK, LINE = "#22262b", "#454b52", "#6b7178", "#9aa1a9"
PAGE_MARGIN = 32.0
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 13.0, 12.0, 10.5
LINE_HEIGHT, PADDING_X, PADDING_Y = 17.0, 14.0, 9.0
BASELINE = 0.76  # of a line's height, from above
MIN_TEXT_WIDTH, MAX_TEXT_WIDTH = 84.0, 250.0
LOAD_HEIGHT = 4.0
ROUND_RADIUS, CORNER_RADIUS = 16.0, 7.0  # edges touch boxes no closer to a corner: see layout.PORT_MARGIN
HEADER_SIZE, HEADER_HEIGHT, LEGEND_ROW, SWATCH = 19.0, 58.0, 22.0, 12.0
MIN_WIDTH = 620.0


@dataclass(frozen=True)
class Rect:
    """A filled rectangle with round corners; no edge when `edge` is ""."""

    x: float
    y: float
    width: float
    height: float
    radius: float
    fill: str
    edge: str = ""


@dataclass(frozen=True)
class Text:
    """One line, already printable; x is where it begins, or its middle; y is the baseline."""

    x: float
    y: float
    text: str
    size: float
    colour: str = INK
    is_bold: bool = False
    is_centred: bool = False


@dataclass(frozen=True)
class PlacedBox:
    """The shapes of a box, and their frame."""

    frame: Rect
    texts: tuple[Text, ...]
    bars: tuple[Rect, ...]


@dataclass(frozen=True)
class PlacedEdge:
    """A line with an arrow at its end; between points of different x it is a curve that begins and ends vertical.

    via  the edge whose line it leaves, where it does not begin at a box
    """

    points: tuple[Point, ...]
    label: Text | None
    via: int | None


@dataclass(frozen=True)
class Scene:
    """The whole drawing; boxes and edges are those of the picture, in its order."""

    picture: Picture
    width: float
    height: float
    header: tuple[Rect | Text, ...]
    boxes: tuple[PlacedBox, ...]
    edges: tuple[PlacedEdge, ...]


def scene_of(picture: Picture) -> Scene:
    """Lays a picture out."""
    texts = [_box_texts(box) for box in picture.boxes]
    sizes = [_size(box, lines) for box, lines in zip(picture.boxes, texts)]
    layout = layered(sizes, [(e.tail, e.head) for e in picture.edges])
    width = max(MIN_WIDTH, layout.width + 2 * PAGE_MARGIN)
    header, top = _header(picture, width)
    dx, dy = (width - layout.width) / 2, top
    boxes = [
        _placed(box, lines, x + dx, y + dy, size)
        for box, lines, size, (x, y) in zip(picture.boxes, texts, sizes, layout.centres)
    ]
    edges = _placed_edges(picture, layout, dx, dy)
    return Scene(picture, width, layout.height + dy + PAGE_MARGIN, tuple(header), tuple(boxes), tuple(edges))


def _box_texts(box: Box) -> list[str]:
    """The lines of a box, shortened."""
    title = fitted(printable(box.title), MAX_TEXT_WIDTH, TITLE_SIZE, is_bold=True)
    return [title, *(fitted(printable(line), MAX_TEXT_WIDTH, TEXT_SIZE) for line in box.lines)]


def _size(box: Box, lines: list[str]) -> tuple[float, float]:
    widths = [text_width(lines[0], TITLE_SIZE, is_bold=True), *(text_width(line, TEXT_SIZE) for line in lines[1:])]
    load = LOAD_HEIGHT + 4 if box.load is not None else 0
    return max(MIN_TEXT_WIDTH, *widths) + 2 * PADDING_X, len(lines) * LINE_HEIGHT + 2 * PADDING_Y + load


def _placed(box: Box, lines: list[str], x: float, y: float, size: tuple[float, float]) -> PlacedBox:
    width, height = size
    left, top = x - width / 2, y - height / 2
    radius = min(ROUND_RADIUS, height / 2) if box.is_round else CORNER_RADIUS
    frame = Rect(left, top, width, height, radius, box.colour.fill, box.colour.edge)
    baselines = [top + PADDING_Y + (k + BASELINE) * LINE_HEIGHT for k in range(len(lines))]
    title = Text(x, baselines[0], lines[0], TITLE_SIZE, is_bold=True, is_centred=True)
    others = [Text(x, y, line, TEXT_SIZE, SOFT_INK, is_centred=True) for line, y in zip(lines[1:], baselines[1:])]
    return PlacedBox(frame, (title, *others), _bars(box, frame))


def _bars(box: Box, frame: Rect) -> tuple[Rect, ...]:
    """The box's load as a part of a white bar."""
    if box.load is None:
        return ()
    full = frame.width - 2 * PADDING_X
    x, y = frame.x + PADDING_X, frame.y + frame.height - PADDING_Y - LOAD_HEIGHT / 2
    white = Rect(x, y, full, LOAD_HEIGHT, LOAD_HEIGHT / 2, "#ffffff")
    return white, Rect(x, y, max(LOAD_HEIGHT, full * box.load), LOAD_HEIGHT, LOAD_HEIGHT / 2, box.colour.edge)


def _placed_edges(picture: Picture, layout: Arrangement, dx: float, dy: float) -> list[PlacedEdge]:
    """Lines with arrows; a label stands once where several edges carry the same data: beside the rightmost."""
    rightmost: dict[tuple[int, str], tuple[float, int]] = {}
    for k, (edge, route) in enumerate(zip(picture.edges, layout.routes)):
        if edge.label and layout.via[k] is None:
            key = (edge.tail, edge.label)
            rightmost[key] = max(rightmost.get(key, (0.0, k)), (route[0][0], k))
    labelled = {k for _, k in rightmost.values()}
    found = []
    for k, (edge, route) in enumerate(zip(picture.edges, layout.routes)):
        points = tuple((x + dx, y + dy) for x, y in route)
        x, y = points[0]
        label = Text(x + 6, y + 15, printable(edge.label), SMALL_SIZE, PALE_INK) if k in labelled else None
        found.append(PlacedEdge(points, label, layout.via[k]))
    return found


def _header(picture: Picture, width: float) -> tuple[list[Rect | Text], float]:
    """Title, facts and legend; and where they end."""
    title = fitted(printable(picture.title), width - 2 * PAGE_MARGIN, HEADER_SIZE, is_bold=True)
    facts = fitted(printable(picture.facts), width - 2 * PAGE_MARGIN, TEXT_SIZE)
    shapes: list[Rect | Text] = [
        Text(PAGE_MARGIN, PAGE_MARGIN + 14, title, HEADER_SIZE, is_bold=True),
        Text(PAGE_MARGIN, PAGE_MARGIN + 34, facts, TEXT_SIZE, PALE_INK),
    ]
    x, y = PAGE_MARGIN, PAGE_MARGIN + HEADER_HEIGHT
    for colour in picture.colours():
        meaning = fitted(printable(colour.meaning), MAX_TEXT_WIDTH, TEXT_SIZE)
        extent = SWATCH + 6 + text_width(meaning, TEXT_SIZE) + 18
        if x > PAGE_MARGIN and x + extent > width - PAGE_MARGIN:
            x, y = PAGE_MARGIN, y + LEGEND_ROW
        shapes += _legend_entry(colour, meaning, x, y)
        x += extent
    return shapes, y + 34


def _legend_entry(colour: Colour, meaning: str, x: float, y: float) -> list[Rect | Text]:
    swatch = Rect(x, y - SWATCH + 2, SWATCH, SWATCH, 3, colour.fill, colour.edge)
    return [swatch, Text(x + SWATCH + 6, y, meaning, TEXT_SIZE, PALE_INK)]
