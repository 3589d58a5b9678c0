"""Reads the symbol table of a relocatable ELF64 object: what it defines and what it still needs."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SHT_SYMTAB = 2
_SHN_UNDEF = 0
_STB_LOCAL = 0


@dataclass(frozen=True)
class Symbols:
    """Names of the non-local symbols of an object, sorted."""

    defined: tuple[str, ...]
    undefined: tuple[str, ...]


def symbols(data: bytes) -> Symbols:
    """Symbols of the little-endian ELF64 object `data` (layouts: System V gABI, chapters 4.1 to 4.4).

    Raises ValueError when `data` is anything else. Only called on objects our own LLVM has just written.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a little-endian ELF64 object")
    (section_table,) = struct.unpack_from("<Q", data, 0x28)
    section_size, n_sections = struct.unpack_from("<HH", data, 0x3A)
    # (name, type, flags, address, offset, size, link, info, alignment, entry size) of every section
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, section_table + i * section_size) for i in range(n_sections)]
    defined: list[str] = []
    undefined: list[str] = []
    for section in sections:
        if section[1] != _SHT_SYMTAB:
            continue
        offset, size, strings = section[4], section[5], sections[section[6]][4]
        for name_offset, info, _, home, _, _ in struct.iter_unpack("<IBBHQQ", data[offset : offset + size]):
            if name_offset == 0 or info >> 4 == _STB_LOCAL:
                continue
            start = strings + name_offset
            name = data[start : data.index(b"\0", start)].decode()
            (undefined if home == _SHN_UNDEF else defined).append(name)
    return Symbols(tuple(sorted(defined)), tuple(sorted(undefined)))
