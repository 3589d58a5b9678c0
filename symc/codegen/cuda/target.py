"""What GPU kernels are compiled for."""

from __future__ import annotations

from dataclasses import dataclass

from symc.core.errors import DeviceError

KNOWN = ((8, 0), (9, 0), (10, 0))  # A100, H100 and H200, B200: what each one runs, later ones of its generation do too


@dataclass(frozen=True)
class Target:
    """A generation of GPUs, by its compute capability."""

    capability: tuple[int, int]

    @staticmethod
    def of(capability: tuple[int, int]) -> Target:
        """The newest known target whose code a GPU runs; raises DeviceError for an older GPU."""
        usable = [known for known in KNOWN if known <= capability]
        if not usable:
            raise DeviceError(
                f"a GPU of compute capability {capability[0]}.{capability[1]} is too old: kernels are compiled for "
                f"{KNOWN[0][0]}.{KNOWN[0][1]} and later"
            )
        return Target(max(usable))

    @property
    def name(self) -> str:
        """As compilers call it: sm_90."""
        return f"sm_{self.capability[0]}{self.capability[1]}"
