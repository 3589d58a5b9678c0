"""What a drawing shows, without places: boxes, edges between them, colours and what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field

Detail = tuple[str, str]  # what, and its value


@dataclass(frozen=True)
class Colour:
    """A light fill and a dark edge, "#rrggbb"; `meaning` is what the legend says."""

    meaning: str
    fill: str
    edge: str


@dataclass(frozen=True)
class Box:
    """A node of the drawing.

    title    one line, in bold
    lines    further lines: what a layer does, or the nodes that one kernel computes
    details  what a reader sees who asks for more
    load     the share of the time, relative to the box that takes longest: 0 to 1; None where no time is known
    """

    title: str
    lines: tuple[str, ...]
    colour: Colour
    details: tuple[Detail, ...] = field(repr=False, default=())
    is_round: bool = False
    load: float | None = None


@dataclass(frozen=True)
class Edge:
    """Data that flows from one box to a later one, both by number; `label` is its shape."""

    tail: int
    head: int
    label: str = ""


@dataclass(frozen=True)
class Picture:
    """A whole drawing: boxes so that every edge points to a later one; `facts` is a line under the title."""

    title: str
    facts: str
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]

    def colours(self) -> list[Colour]:
        """The colours in use, in the order of their first box."""
        return list(dict.fromkeys(box.colour for box in self.boxes))
