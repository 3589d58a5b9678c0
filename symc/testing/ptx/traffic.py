"""What warps ask of memory: how many sectors of 32 bytes, and how often shared memory has to serve them."""

from __future__ import annotations

from collections import Counter

import numpy as np

SECTOR_BYTES, BANK_BYTES, N_BANKS, WARP = 32, 4, 32, 32


class Traffic:
    """Counts accesses of warps.

    asked     bytes that threads ask global memory for, each thread for its own
    sectors   of global memory that a warp asks for at once
    served    rounds that shared memory takes: in one it serves a word of each bank, to all threads that want it
    least     rounds that as many bytes take without conflicts of banks
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def note(self, space: str, addresses: np.ndarray, lanes: np.ndarray, width: int) -> None:
        """One access of `width` bytes by each of some lanes, of which 32 neighbours are a warp."""
        warps = lanes // WARP
        if space == "global":
            self.counts["asked"] += len(addresses) * width
            self.counts["sectors"] += _n_distinct(warps, addresses // np.uint64(SECTOR_BYTES))
        elif space == "shared":
            self._note_shared(warps, lanes % WARP, addresses // np.uint64(BANK_BYTES), max(1, width // BANK_BYTES))

    def _note_shared(self, warps: np.ndarray, lanes: np.ndarray, words: np.ndarray, n_words: int) -> None:
        """Wide accesses are served for as many threads at a time as ask for 32 words together."""
        together = warps * n_words + lanes * n_words // WARP
        keys = np.concatenate([_pairs(together, words + np.uint64(k)) for k in range(n_words)])
        found = np.unique(keys, axis=0)
        banks = found[:, 0] * N_BANKS + found[:, 1] % N_BANKS
        of_bank, n_of_bank = np.unique(banks, return_counts=True)
        groups = of_bank // N_BANKS
        served = np.zeros(int(groups.max()) + 1, np.int64)
        np.maximum.at(served, groups, n_of_bank)
        self.counts["served"] += int(served.sum())
        self.counts["least"] += len(np.unique(together))


def _pairs(groups: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.stack([groups.astype(np.int64), places.astype(np.int64)], axis=1)


def _n_distinct(groups: np.ndarray, places: np.ndarray) -> int:
    return len(np.unique(_pairs(groups, places), axis=0))
