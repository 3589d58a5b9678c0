"""What compare.py measured, as a table in Markdown and as a drawing.

    python benchmarks/compare.py --json one.json
    python benchmarks/tables.py one.json [more.json ...] [--svg FILE]

Prints the table: how many times as fast symc is as each peer, in its fastest variant; the best peer's figure is bold.
The drawing has a row for each workload and a dot for each peer. This file needs no packages.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from compare import Result, best_variants

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")
NAME_WIDTH, PANEL_WIDTH, ROW_HEIGHT, HEAD_HEIGHT = 130, 380, 20, 70  # of the drawing, in pixels


@dataclass(frozen=True)
class Row:
    """One workload at one thread count: symc's time and its speed against each peer that ran and was right.

    `disturb` is the share of one core that another process took meanwhile.
    """

    workload: str
    n_threads: int
    disturb: float
    median_ms: float
    speeds: Mapping[str, float]

    @property
    def panel(self) -> tuple[int, float]:
        """What rows that may be compared have in common."""
        return self.n_threads, self.disturb

    @property
    def best_peer(self) -> str:
        return min(self.speeds, key=lambda peer: self.speeds[peer])


def rows_of(file: Path) -> list[Row]:
    """The file's rows that have symc and at least one peer."""
    races: dict[tuple[str, int, float], list[Result]] = {}
    names = {field.name for field in fields(Result)}
    for stored in json.loads(file.read_text(encoding="utf-8"))["results"]:
        result = Result(**{name: value for name, value in stored.items() if name in names})
        races.setdefault((result.workload, result.n_threads, stored["disturb"]), []).append(result)
    rows = []
    for (workload, n_threads, disturb), results in races.items():
        timed = {result.peer: result for result in best_variants(results) if result.times_s}
        if len(timed) > 1 and (own := timed.pop("symc", None)):
            speeds = {peer: own.speed_against(result)[0] for peer, result in timed.items()}
            rows.append(Row(workload, n_threads, disturb, own.median_ms, speeds))
    return rows


def peers_of(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(peer for row in rows for peer in row.speeds))


def beside(disturb: float) -> str:
    return f", {disturb:.0%} of a core taken" if disturb else ""


def markdown(rows: Sequence[Row]) -> str:
    peers = peers_of(rows)
    lines = [["workload", "threads", "symc, ms", *peers], ["---", *["---:"] * (len(peers) + 2)]]
    for row in rows:
        cells = [f"{row.speeds[peer]:.2f}" if peer in row.speeds else "" for peer in peers]
        cells[peers.index(row.best_peer)] = f"**{row.speeds[row.best_peer]:.2f}**"
        lines.append([row.workload, f"{row.n_threads}{beside(row.disturb)}", f"{row.median_ms:.3g}", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def svg(rows: Sequence[Row]) -> str:
    """A panel for each thread count, undisturbed or not; right of the line at 1 symc is faster, logarithmically."""
    peers, workloads = peers_of(rows), list(dict.fromkeys(row.workload for row in rows))
    panels = sorted({row.panel for row in rows})
    speeds = [speed for row in rows for speed in row.speeds.values()]
    lowest, highest = min(0.8, *speeds) / 1.05, max(2.0, *speeds) * 1.05
    width, height = NAME_WIDTH + len(panels) * PANEL_WIDTH, HEAD_HEIGHT + len(workloads) * ROW_HEIGHT + 10

    def x(speed: float, panel: tuple[int, float]) -> float:
        share = math.log(speed / lowest) / math.log(highest / lowest)
        return NAME_WIDTH + panels.index(panel) * PANEL_WIDTH + share * (PANEL_WIDTH - 20)

    def y(workload: str) -> float:
        return HEAD_HEIGHT + (workloads.index(workload) + 0.5) * ROW_HEIGHT

    def text(at_x: float, at_y: float, content: str, anchor: str = "middle") -> str:
        return f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}">{content}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="12" role="img">',
        "<title>Speed of symc against its peers</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for i, peer in enumerate(peers):
        at = NAME_WIDTH + i * 110
        parts += [f'<circle cx="{at}" cy="14" r="5" fill="{COLOURS[i]}"/>', text(at + 10, 18, peer, "start")]
    for panel in panels:
        n_threads, disturb = panel
        parts.append(
            text(
                x(math.sqrt(lowest * highest), panel),
                38,
                f"{n_threads} thread{'s' * (n_threads > 1)}{beside(disturb)}: times as fast",
            )
        )
        for tick in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64):
            if lowest <= tick <= highest:
                at_x, colour = x(tick, panel), "black" if tick == 1 else "#cccccc"
                parts += [
                    f'<path d="M{at_x:.1f} {HEAD_HEIGHT}V{height - 10}" stroke="{colour}"/>',
                    text(at_x, HEAD_HEIGHT - 6, f"{tick}"),
                ]
    parts += [text(NAME_WIDTH - 10, y(workload) + 4, workload, "end") for workload in workloads]
    for row in rows:
        parts += [
            f'<circle cx="{x(speed, row.panel):.1f}" cy="{y(row.workload):.1f}" r="4" '
            f'fill="{COLOURS[peers.index(peer)]}"><title>{peer}: {speed:.2f}</title></circle>'
            for peer, speed in row.speeds.items()
        ]
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description="compare.py's results as a table and as a drawing")
    parser.add_argument("files", type=Path, nargs="+", help="what compare.py --json wrote")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also draw the table")
    arguments = parser.parse_args()
    rows = [row for file in arguments.files for row in rows_of(file)]
    if not rows:
        parser.error("no workload in there that symc and a peer ran")
    print(markdown(rows))
    if arguments.svg:
        arguments.svg.write_text(svg(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
