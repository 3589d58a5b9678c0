"""What GPU kernels are compiled for."""

from __future__ import annotations

from dataclasses import dataclass

from symc.core.errors import DeviceError

KNOWN = ((8, 0), (9, 0), (10, 0))  # A100, H100 and H200, B200: what each one runs, later ones of its generation do too

GROUPS = (9, 0)  # the one capability with products of four warps


@dataclass(frozen=True)
class Target:
    """A generation of GPUs, by its compute capability.

    is_exact   code for no other capability, with what it alone has: products of four warps (`wgmma`)
    """

    capability: tuple[int, int]
    is_exact: bool = False

    @staticmethod
    def of(capability: tuple[int, int], by_groups: bool = False) -> Target:
        """The newest known target whose code a GPU runs; raises DeviceError for an older GPU.

        by_groups   whether it may use products of four warps, where the GPU has them
        """
        usable = [known for known in KNOWN if known <= capability]
        if not usable:
            raise DeviceError(
                f"a GPU of compute capability {capability[0]}.{capability[1]} is too old: kernels are compiled for "
                f"{KNOWN[0][0]}.{KNOWN[0][1]} and later"
            )
        return Target(max(usable), by_groups and capability == GROUPS)

    @property
    def name(self) -> str:
        """As compilers call it: sm_90, sm_90a."""
        return f"sm_{self.capability[0]}{self.capability[1]}{'a' * self.is_exact}"

    @property
    def architecture(self) -> tuple[int, int, str]:
        """As numba names it."""
        return (*self.capability, "a" * self.is_exact)
