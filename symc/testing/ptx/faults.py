"""What goes wrong with PTX: text that cannot be run, and kernels that do what a device forbids."""

from __future__ import annotations

from symc.core.errors import DeviceError


class PtxError(DeviceError):
    """PTX that cannot be read, or an instruction the interpreter does not have; the message says the line."""


class KernelFault(DeviceError):
    """A kernel did what no kernel may do; the message names kernel, line, thread and block.

    kind    the sort of fault, one of KINDS
    """

    def __init__(self, kind: str, message: str) -> None:
        assert kind in KINDS
        super().__init__(message)
        self.kind = kind


KINDS = frozenset(
    {
        "bounds",  # an address outside all memory
        "freed",  # memory that was given back
        "alignment",
        "uninitialised",  # a read of what nobody wrote
        "pending",  # memory that a cp.async still fills, or what a wgmma still uses
        "fence",  # what a wgmma may not use yet: no fence came after who touched it
        "read-only",
        "race",
        "barrier",  # threads that never meet
        "warp",  # a warp-wide instruction without its whole warp
        "limits",  # more shared memory, registers or threads than there are
        "endless",
        "trap",
    }
)
