"""A scene as PDF: one page, vectors and text in the standard font Helvetica, which every reader has.

ISO 32000-1 (PDF 1.7); no font is embedded, so characters beyond Latin-1 appear as escapes (\\u4e2d).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from math import ceil

from .font import printable, text_width
from .layout import Point
from .scene import LINE, Rect, Scene, Text
from .svg import arrow

POINTS_PER_PIXEL = 0.75
MAX_PAGE = 14400.0  # units a side that readers accept (ISO 32000-1, annex C.2)
ROUND = 0.5523  # how far from a corner a Bezier curve's control points lie, to look like a circle


def pdf_bytes(scene: Scene) -> bytes:
    """The document."""
    unit = ceil(POINTS_PER_PIXEL * max(scene.width, scene.height) / MAX_PAGE)  # of the page, in points
    scale = POINTS_PER_PIXEL / unit
    content = "\n".join(_commands(scene, scale)).encode("latin-1")
    packed = zlib.compress(content)
    width, height = scene.width * scale, scene.height * scale
    fonts = "/F0 4 0 R /F1 5 0 R"
    return _document(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.2f} {height:.2f}] /UserUnit {unit} /Contents 6 0 R "
            f"/Resources << /Font << {fonts} >> >> >>".encode(),
            _font("Helvetica"),
            _font("Helvetica-Bold"),
            b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed),
            b"<< /Title %s >>" % _string(printable(scene.picture.title)).encode("latin-1"),
        ]
    )


def _font(name: str) -> bytes:
    return f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>".encode()


def _document(objects: Sequence[bytes]) -> bytes:
    """Numbered objects (the first is the catalog, the last the document's facts) with the table of where they are."""
    parts, offsets = [b"%PDF-1.6\n%\xe2\xe3\xcf\xd3\n"], []
    for number, content in enumerate(objects, start=1):
        offsets.append(sum(map(len, parts)))
        parts.append(b"%d 0 obj\n%s\nendobj\n" % (number, content))
    start = sum(map(len, parts))
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    parts.append(b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table))
    parts.append(
        b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, size - 1, start)
    )
    return b"".join(parts)


def _commands(scene: Scene, scale: float) -> list[str]:
    """What is painted, in order; the matrix turns pixels from the upper left into points from the lower left."""
    found = [f"{scale:.5f} 0 0 {-scale:.5f} 0 {scene.height * scale:.2f} cm"]
    found += [_rect(s) if isinstance(s, Rect) else _text(s) for s in scene.header]
    found += [f"{_colour(LINE)} RG 1.4 w", *(_line(edge.points) for edge in scene.edges)]
    for box in scene.boxes:
        found += [_rect(box.frame), *map(_text, box.texts), *map(_rect, box.bars)]
    found += [_text(edge.label) for edge in scene.edges if edge.label is not None]
    return found


def _line(points: Sequence[Point]) -> str:
    (x, y), *rest = points
    commands = [f"{x:.2f} {y:.2f} m"]
    for px, py in rest:
        middle = (y + py) / 2
        if px == x:
            commands.append(f"{px:.2f} {py:.2f} l")
        else:
            commands.append(f"{x:.2f} {middle:.2f} {px:.2f} {middle:.2f} {px:.2f} {py:.2f} c")
        x, y = px, py
    commands += [f"{px:.2f} {py:.2f} {command}" for command, (px, py) in zip("mll", arrow(x, y))]
    return " ".join([*commands, "S"])


def _rect(rect: Rect) -> str:
    r = min(rect.radius, rect.width / 2, rect.height / 2)
    left, top, right, bottom = rect.x, rect.y, rect.x + rect.width, rect.y + rect.height
    k = r * (1 - ROUND)
    corners = [
        (left + r, top, None),
        (right - r, top, (right - k, top, right, top + k, right, top + r)),
        (right, bottom - r, (right, bottom - k, right - k, bottom, right - r, bottom)),
        (left + r, bottom, (left + k, bottom, left, bottom - k, left, bottom - r)),
        (left, top + r, (left, top + k, left + k, top, left + r, top)),
    ]
    commands = [f"{_colour(rect.fill)} rg"]
    commands += [f"{_colour(rect.edge)} RG 1.2 w"] if rect.edge else []
    for n, (x, y, bend) in enumerate(corners):
        commands.append(f"{x:.2f} {y:.2f} {'l' if n else 'm'}")
        if bend is not None:
            commands.append(" ".join(f"{v:.2f}" for v in bend) + " c")
    return " ".join([*commands, "b" if rect.edge else "f"])


def _text(text: Text) -> str:
    x = text.x - text_width(text.text, text.size, text.is_bold) / 2 if text.is_centred else text.x
    font = f"/F{int(text.is_bold)} {text.size:.2f} Tf"
    return f"BT {_colour(text.colour)} rg {font} 1 0 0 -1 {x:.2f} {text.y:.2f} Tm {_string(text.text)} Tj ET"


def _string(text: str) -> str:
    """A literal string; what the font's encoding lacks becomes an escape that can be read."""
    encoded = text.encode("cp1252", "backslashreplace").decode("latin-1")
    for character in "\\()":
        encoded = encoded.replace(character, "\\" + character)
    return f"({encoded})"


def _colour(colour: str) -> str:
    """#rrggbb as three fractions."""
    return " ".join(f"{int(colour[k : k + 2], 16) / 255:.3f}" for k in (1, 3, 5))
