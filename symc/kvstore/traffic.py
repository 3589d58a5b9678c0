"""What a rank has sent into sums, and how long it waited for them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Traffic:
    """Counts over all sums; a text by str().

    n_bytes         of all buckets, of which `n_early_bytes` were on their way when the backward pass ended
    wait_s, own_s   waiting for others, and copying into buckets
    begin_s, end_s  of the first and last sum
    """

    n_sums: int = 0
    n_buckets: int = 0
    n_bytes: int = 0
    n_early_bytes: int = 0
    wait_s: float = 0.0
    own_s: float = 0.0
    begin_s: float = 0.0
    end_s: float = 0.0

    @property
    def wait_share(self) -> float:
        """The part of the time since the first sum that was spent waiting."""
        return self.wait_s / max(self.end_s - self.begin_s, 1e-9)

    @property
    def early_share(self) -> float:
        """The part of the bytes that was on its way when the backward pass ended."""
        return self.n_early_bytes / max(self.n_bytes, 1)

    def __str__(self) -> str:
        n = max(self.n_sums, 1)
        return (
            f"{self.n_sums} sums of {self.n_bytes / n / 1e6:.3g} MB in {self.n_buckets / n:.3g} buckets, "
            f"{self.early_share:.0%} on their way before the backward pass ended; a sum took "
            f"{self.own_s / n * 1e3:.3g} ms of copying and {self.wait_s / n * 1e3:.3g} ms of waiting "
            f"({self.wait_share:.1%} of the time)"
        )
