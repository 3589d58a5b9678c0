"""cp.async: copies that fill shared memory no earlier than when their thread waits for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .agents import Level
from .products import Products
from .tracked import FULL, PENDING, Tracked, pattern

_PENDING, _FULL = ({w: pattern(state, w) for w in (4, 8, 16)} for state in (PENDING, FULL))


@dataclass
class _Copy:
    """Bytes on their way: for each lane its group, the destination in units of the width, the bytes."""

    lanes: np.ndarray
    groups: np.ndarray
    at: np.ndarray
    width: int
    values: np.ndarray


class Copies:
    """The copies of all lanes that nobody has waited for."""

    def __init__(self, shared: Tracked, levels: tuple[Level, ...], n_lanes: int, products: Products) -> None:
        self.shared, self.levels, self.n_lanes, self.products = shared, levels, n_lanes, products
        self.begin()

    def begin(self) -> None:
        """Forgets all."""
        self.committed = np.zeros(self.n_lanes, np.int64)
        self.flying: list[_Copy] = []

    def start(self, lanes: np.ndarray, at: np.ndarray, width: int, values: np.ndarray) -> None:
        """Begins a copy into the open group of each lane; the destination can be read no more."""
        self.shared.state.put(at, width, _PENDING[width])
        self.flying.append(_Copy(lanes, self.committed[lanes], at, width, values))

    def commit(self, lanes: np.ndarray) -> None:
        """Closes the open group."""
        self.committed[lanes] += 1

    def wait(self, mask: np.ndarray, n_pending: int) -> None:
        """Finishes, for the lanes of the mask, all groups but the youngest n_pending."""
        shared, still = self.shared, []
        for copy in self.flying:
            is_done = mask[copy.lanes] & (copy.groups < self.committed[copy.lanes] - n_pending)
            if is_done.any():
                at, lanes = copy.at[is_done], copy.lanes[is_done]
                shared.data.put(at, copy.width, copy.values[is_done])
                shared.state.put(at, copy.width, _FULL[copy.width])
                self.products.note_write(lanes, at, copy.width)
                for level in self.levels:
                    level.agents.overwrite(at, copy.width, level.patterns[copy.width][lanes])
            if not is_done.all():
                left = ~is_done
                still.append(_Copy(copy.lanes[left], copy.groups[left], copy.at[left], copy.width, copy.values[left]))
        self.flying = still
