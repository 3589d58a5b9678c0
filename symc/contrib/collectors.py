"""What calibration sees of a network: collectors of the ranges of its layers."""

from __future__ import annotations

import numpy as np

from symc import ndarray as nd

N_BINS = 8001  # of a layer's histogram at first
N_INTEGERS = 255  # of int8, symmetric

Ranges = dict[str, tuple[float, float]]


class MinMaxCollector:
    """The range of every layer that it is shown, by name of the output."""

    def __init__(self) -> None:
        self.min_max_dict: Ranges = {}

    def collect(self, name: str, array: np.ndarray) -> None:
        """Takes one output into account."""
        low, high = self.min_max_dict.get(name, (np.inf, -np.inf))
        self.min_max_dict[name] = min(low, float(array.min())), max(high, float(array.max()))

    def ranges(self, dtype: str) -> Ranges:
        """What it has seen."""
        return self.min_max_dict


class HistogramCollector:
    """Histograms of layers, symmetric around 0 and as wide as needed: (counts, edges, smallest, largest, end)."""

    def __init__(self, num_bins: int = N_BINS) -> None:
        self.num_bins = num_bins
        self.hist_dict: dict[str, tuple[np.ndarray, np.ndarray, float, float, float]] = {}

    def collect(self, name: str, array: np.ndarray) -> None:
        """Takes one output into account; a histogram that is too narrow gets more bins of the same width."""
        low, high = float(array.min()), float(array.max())
        end = max(abs(low), abs(high))
        if name not in self.hist_dict:
            counts, edges = np.histogram(array, self.num_bins, (-end, end))
            self.hist_dict[name] = counts, edges, low, high, end
            return
        counts, edges, least, most, old_end = self.hist_dict[name]
        if end <= old_end:
            counts = counts + np.histogram(array, len(counts), (-old_end, old_end))[0]
        else:
            step = 2 * old_end / len(counts)
            n_more = int((end - old_end) // step + 1)
            old_end += n_more * step
            old, (counts, edges) = counts, np.histogram(array, len(counts) + 2 * n_more, (-old_end, old_end))
            counts[n_more : n_more + len(old)] += old
        self.hist_dict[name] = counts, edges, min(low, least), max(high, most), old_end

    def ranges(self, dtype: str) -> Ranges:
        """Of each histogram the range that loses least of it; from 0 where that and the dtype allow it."""
        found: Ranges = {}
        for name, (counts, edges, low, _, _) in self.hist_dict.items():
            is_positive = low >= 0 and dtype in ("auto", "uint8")
            n_bins = 2 * N_INTEGERS + 1 if is_positive else N_INTEGERS
            threshold, _ = nd.contrib.calibrate_entropy(nd.array(counts), nd.array(edges), num_quantized_bins=n_bins)
            end = float(threshold.asscalar())
            found[name] = (0.0 if is_positive else -end, end)
        return found


COLLECTORS = {"naive": MinMaxCollector, "entropy": HistogramCollector}
