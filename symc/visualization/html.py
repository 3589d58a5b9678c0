"""A scene as one HTML file that needs nothing else: the SVG, what is known of each box, and a script to look around."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from pathlib import Path

from .font import printable
from .scene import Scene
from .svg import svg_text

_FOLDER = Path(__file__).parent


def html_text(scene: Scene) -> str:
    """The page.

    Everything that comes from a file is text: escaped in the SVG, and JSON without "<" in the data.  The page's
    policy lets no script run but the one written here, and nothing be loaded.
    """
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; base-uri 'none'"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(printable(scene.picture.title))}</title>",
        f"<style>\n{style}</style>\n</head>\n<body>",
        (_FOLDER / "page.html").read_text(encoding="utf-8"),
        f'<main id="canvas">\n{svg_text(scene)}</main>',
        f'<script type="application/json" id="data">{_data(scene)}</script>',
        f"<script>{script}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _data(scene: Scene) -> str:
    """The boxes as JSON that cannot end the script element it stands in."""
    boxes = [
        {"title": box.title, "lines": box.lines, "details": box.details, "edge": box.colour.edge}
        for box in scene.picture.boxes
    ]
    return (
        json.dumps(boxes, separators=(",", ":")).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    )
