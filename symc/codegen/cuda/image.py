"""Compiled code of one kernel as its driver loads it, and as the kernel cache keeps it."""

from __future__ import annotations

import json
import struct
from typing import NamedTuple

_LENGTHS = struct.Struct("<QQ")  # bytes of the header, of the PTX


class KernelImage(NamedTuple):
    """Code and what is known of it.

    code            PTX: text, as ASCII bytes
    entry           the name of the kernel in it
    registers       of a thread; None where nobody has assembled it
    shared_bytes    static shared memory of a block
    spilled_bytes   of a thread, stores and loads
    cubin           the same assembled for one GPU (an ELF file), or nothing
    """

    code: bytes
    entry: str
    registers: int | None = None
    shared_bytes: int = 0
    spilled_bytes: int | None = None
    cubin: bytes = b""

    def to_bytes(self) -> bytes:
        """Lengths, a header in JSON, the PTX, the cubin."""
        header = json.dumps(self[1:5]).encode()
        return _LENGTHS.pack(len(header), len(self.code)) + header + self.code + self.cubin

    @staticmethod
    def from_bytes(data: bytes) -> KernelImage:
        """What `to_bytes` stored; the bytes must be known to be whole."""
        n_header, n_code = _LENGTHS.unpack_from(data)
        start = _LENGTHS.size + n_header
        entry, registers, shared_bytes, spilled_bytes = json.loads(data[_LENGTHS.size : start])
        code, cubin = data[start : start + n_code], data[start + n_code :]
        return KernelImage(code, entry, registers, shared_bytes, spilled_bytes, cubin)
