"""Connectionist temporal classification: how likely labels are, summed over all their alignments with a sequence.

Labels become a path of states, with a blank before, between and behind them; in each step an alignment stays in its
state, goes on to the next, or over a blank between different labels (Graves et al., ICML 2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from symc.core.shapes import FullShape

from .routine import Routine, even_parts


@dataclass(frozen=True)
class CtcRoutine(Routine):
    """What both directions know: the class that is blank, and whether it is left out where it is among the labels."""

    blank: int
    drops_blanks: bool

    def path(self, labels: np.ndarray, length: int, n_classes: int) -> np.ndarray:
        """The classes of the states; a label that is no class counts as the nearest one."""
        found = np.clip(labels[:length], 0, n_classes - 1)
        if self.drops_blanks:
            found = found[found != self.blank]
        path = np.full(2 * len(found) + 1, self.blank)
        path[1::2] = found
        return path

    def skips(self, path: np.ndarray) -> np.ndarray:
        """Whether each state can be reached from the last but one."""
        before = np.concatenate([[self.blank] * 2, path])[: len(path)]
        return (path != self.blank) & (path != before) & (np.arange(len(path)) > 1)

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        return shapes[0][0] * shapes[0][1] * (2 * shapes[1][1] + 1) * 40

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        return even_parts(shapes[0][1], self.work_flops(shapes) // max(1, shapes[0][1]))


@dataclass(frozen=True)
class CtcForward(CtcRoutine):
    """log probabilities (T, N, C), labels (N, L), lengths of sequences and labels (N,), int32 -> costs (N,), the
    logarithms of the states' forward probabilities (N, T, 2 L + 1) float64, numbers of steps (N,) int32.

    A cost is -log of the labels' probability.  Where a sequence is too short for its labels it is 0, as in MXNet, and
    so is the number of steps.
    """

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        logs, labels, lengths, label_lengths = ins
        costs, alphas, steps = outs
        costs[...], alphas[...], steps[...] = 0, -np.inf, 0
        for n, (row, n_steps, n_labels) in enumerate(zip(labels, lengths, label_lengths)):
            path = self.path(row, n_labels, logs.shape[2])
            n_repeats = int((path[3::2] == path[1:-2:2]).sum())
            if not len(path) // 2 + n_repeats <= n_steps or n_steps == 0:
                continue
            steps[n], states = n_steps, np.arange(len(path))
            alpha = np.where(states == 0, 0.0, -np.inf)
            for t in range(n_steps):
                padded = np.concatenate([[-np.inf] * 2, alpha])
                over = np.where(self.skips(path), padded[:-2], -np.inf)
                if t == 0:  # the first state, or the one behind it
                    alpha = np.where(states < 2, 0.0, -np.inf)
                else:
                    alpha = np.logaddexp(np.logaddexp(alpha, padded[1:-1]), over)
                alpha = np.where(states >= len(path) - 2 * (n_steps - t), alpha + logs[t, n, path], -np.inf)
                alphas[n, t, : len(path)] = alpha
            costs[n] = -reduce(np.logaddexp, alpha[-2:])

    def scratch(self, shapes: Sequence[FullShape]) -> tuple[tuple[FullShape, str], ...]:
        """A path."""
        return (((self.n_parts(shapes), 2 * shapes[1][1] + 1), "int32"),)


@dataclass(frozen=True)
class CtcOccupation(CtcRoutine):
    """log probabilities (T, N, C), labels (N, L), lengths of labels (N,), and what CtcForward found: forward
    probabilities (N, T, 2 L + 1), numbers of steps (N,) -> how probably each class is where in time, given the labels,
    (T, N, C); 0 behind the last step."""

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        logs, labels, label_lengths, alphas, steps = ins
        outs[0][...] = 0
        for n, (row, n_labels, n_steps) in enumerate(zip(labels, label_lengths, steps)):
            path = self.path(row, n_labels, logs.shape[2])
            skips = np.concatenate([self.skips(path), [False, False]])[2:]
            beta = np.where(np.arange(len(path)) >= len(path) - 2, 0.0, -np.inf)
            total = reduce(np.logaddexp, alphas[n, n_steps - 1, : len(path)][-2:])
            for t in range(n_steps)[::-1]:
                if t < n_steps - 1:
                    padded = np.concatenate([beta + logs[t + 1, n, path], [-np.inf] * 2])
                    over = np.where(skips, padded[2:], -np.inf)
                    beta = np.logaddexp(np.logaddexp(padded[:-2], padded[1:-1]), over)
                if total > -np.inf:
                    np.add.at(outs[0][t, n], path, np.exp(alphas[n, t, : len(path)] + beta - total))

    def scratch(self, shapes: Sequence[FullShape]) -> tuple[tuple[FullShape, str], ...]:
        """A path, and its states' backward probabilities."""
        shape = self.n_parts(shapes), 2 * shapes[1][1] + 1
        return (shape, "int32"), (shape, "float64")
