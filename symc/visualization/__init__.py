"""`mx.viz`: a network as a table (`print_summary`) or as a drawing (`plot_network`), with names and texts as in MXNet.

No `dot` and no graphviz package is needed: symc lays networks out itself and writes SVG, HTML and PDF.
"""

from __future__ import annotations

from .plot import NetworkPlot, plot_network
from .summary import print_summary

__all__ = ["NetworkPlot", "plot_network", "print_summary"]
