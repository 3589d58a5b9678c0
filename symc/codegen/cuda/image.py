"""Compiled code of one kernel as its driver loads it, and as the kernel cache keeps it."""

from __future__ import annotations

import json
import struct
from typing import NamedTuple

_LENGTH = struct.Struct("<Q")


class KernelImage(NamedTuple):
    """Code and what is known of it.

    code            PTX (text, as ASCII bytes) or a cubin (an ELF file)
    entry           the name of the kernel in it
    registers       of a thread; None where nobody has assembled it
    shared_bytes    static shared memory of a block
    spilled_bytes   of a thread, stores and loads
    """

    code: bytes
    entry: str
    registers: int | None = None
    shared_bytes: int = 0
    spilled_bytes: int | None = None

    def to_bytes(self) -> bytes:
        """The length of a header in JSON, the header, the code."""
        header = json.dumps(self[1:]).encode()
        return _LENGTH.pack(len(header)) + header + self.code

    @staticmethod
    def from_bytes(data: bytes) -> KernelImage:
        """What `to_bytes` stored; the bytes must be known to be whole."""
        start = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        return KernelImage(data[start:], *json.loads(data[_LENGTH.size : start]))
