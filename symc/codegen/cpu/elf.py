"""Reads relocatable ELF64 objects: sections, symbols, and what a linker has to fill in.

Layouts: System V gABI, chapters 4.1 to 4.6.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SHF_WRITE, SHF_ALLOC = 1, 2
_SHT_SYMTAB, _SHT_RELA, _SHT_NOBITS = 2, 4, 8
_SHN_UNDEF, _SHN_ABS = 0, 0xFFF1
_STB_LOCAL = 0


@dataclass(frozen=True)
class Section:
    """A part of the object; `data` is what it holds (zeros where the file holds nothing)."""

    name: str
    flags: int
    alignment: int
    data: bytes


@dataclass(frozen=True)
class Symbol:
    """A name for an offset into a section; section None: defined elsewhere."""

    name: str
    is_local: bool
    section: int | None
    value: int


@dataclass(frozen=True)
class Relocation:
    """What to compute from a symbol and an addend, and where to put it."""

    section: int
    offset: int
    kind: int  # the processor supplement's number
    symbol: int
    addend: int


@dataclass(frozen=True)
class Object:
    """What a linker needs to know."""

    machine: int
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]

    @property
    def defined(self) -> tuple[str, ...]:
        """Names of the non-local symbols it defines, sorted."""
        return tuple(sorted(s.name for s in self.symbols if s.name and not s.is_local and s.section is not None))

    @property
    def undefined(self) -> tuple[str, ...]:
        """Names it needs, sorted."""
        return tuple(sorted(s.name for s in self.symbols if s.name and not s.is_local and s.section is None))


def read_object(data: bytes) -> Object:
    """The little-endian ELF64 object `data`.

    Raises ValueError when `data` is anything else. Only called on objects that our own LLVM wrote.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a little-endian ELF64 object")
    (machine,) = struct.unpack_from("<H", data, 0x12)
    (table,) = struct.unpack_from("<Q", data, 0x28)
    entry_size, n_sections, names = struct.unpack_from("<HHH", data, 0x3A)
    # (name, type, flags, address, offset, size, link, info, alignment, entry size) of every section
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + k * entry_size) for k in range(n_sections)]
    sections = [
        Section(
            _text(data, headers[names][4] + h[0]),
            h[2],
            max(1, h[8]),
            bytes(h[5]) if h[1] == _SHT_NOBITS else data[h[4] : h[4] + h[5]],
        )
        for h in headers
    ]
    found: list[Symbol] = []
    relocations: list[Relocation] = []
    for header, section in zip(headers, sections):
        if header[1] == _SHT_SYMTAB:
            strings = headers[header[6]][4]
            for name, info, _, home, value, _ in struct.iter_unpack("<IBBHQQ", section.data):
                place = None if home in (_SHN_UNDEF, _SHN_ABS) else home
                found.append(Symbol(_text(data, strings + name), info >> 4 == _STB_LOCAL, place, value))
        elif header[1] == _SHT_RELA:
            for offset, info, addend in struct.iter_unpack("<QQq", section.data):
                relocations.append(Relocation(header[7], offset, info & 0xFFFFFFFF, info >> 32, addend))
    return Object(machine, tuple(sections), tuple(found), tuple(relocations))


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()
