"""Object code -> addresses: links relocatable x86-64 objects into memory of this process."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping
from functools import cache

from symc.core.errors import CodegenError

from .code_memory import Code
from .elf import SHF_ALLOC, SHF_WRITE, Object, Relocation, read_object

_X86_64 = 62
# x86-64 psABI, table 4.9
_ABSOLUTE_64, _RELATIVE_32, _CALL_32, _RELATIVE_64 = 1, 2, 4, 24
_BY_TABLE = (9, 41, 42)  # through the global offset table, from which whole addresses are read
_JUMP_BY_TABLE = b"\xff\x25"  # jmp [rip + displacement]
_STUB_BYTES = 8


class LoadedKernels(dict[str, int]):
    """Addresses of functions by name, which hold as long as this does."""

    def __init__(self, codes: Mapping[str, LoadedKernel]) -> None:
        super().__init__({name: code.address for name, code in codes.items()})
        self._codes = codes


class LoadedKernel:
    """The function `name` of an object in memory; it stays as long as this does.

    The bytes must be trusted: compiled here, or checked by the cache.
    Raises CodegenError when the object does not define the name, or needs what no process has.
    """

    def __init__(self, name: str, data: bytes) -> None:
        linked = _Linked(name, read_object(data))
        self._code = Code(linked.size)
        self.address = self._code.address + linked.entry
        self._code.write(linked.image(self._code.address))


def load_objects(objects: Mapping[str, bytes]) -> dict[str, int]:
    """Address of the function `name` of every object `objects[name]`; they stay loaded until the process ends."""
    kernels = {name: LoadedKernel(name, data) for name, data in objects.items()}
    _forever.extend(kernels.values())
    return {name: kernel.address for name, kernel in kernels.items()}


_forever: list[LoadedKernel] = []


class _Linked:
    """An object laid out: its sections, then the table of outside addresses, then a jump through each of them."""

    def __init__(self, name: str, parsed: Object) -> None:
        if parsed.machine != _X86_64:
            raise CodegenError(f"loading {name}: code for machine {parsed.machine}, expected x86-64 ({_X86_64})")
        self._name, self._object = name, parsed
        self._starts: dict[int, int] = {}
        end = 0
        for k, section in enumerate(parsed.sections):
            if not section.flags & SHF_ALLOC or section.name == ".eh_frame":  # nothing is thrown through a kernel
                continue
            if section.flags & SHF_WRITE and not section.name.startswith(".data.rel.ro") and section.data:
                raise CodegenError(f"loading {name}: it has variables ({section.name}), expected code and constants")
            self._starts[k] = end = -(-end // section.alignment) * section.alignment
            end += len(section.data)
        self._table = -(-end // 8) * 8
        self._relocations = [r for r in parsed.relocations if r.section in self._starts]
        used = dict.fromkeys(r.symbol for r in self._relocations if r.kind in (*_BY_TABLE, _CALL_32))
        self._slots = {symbol: k for k, symbol in enumerate(used)}
        self._stubs = self._table + 8 * len(used)
        self.size = max(1, self._stubs + _STUB_BYTES * len(used))
        places = {s.name: k for k, s in enumerate(parsed.symbols) if not s.is_local and s.section in self._starts}
        if name not in places:
            raise CodegenError(f"loading kernels: {name} not defined by the objects stored under these names")
        self.entry = self._address(places[name], 0)

    def image(self, base: int) -> bytes:
        """What lies at address `base`."""
        image = bytearray(self.size)
        for k, start in self._starts.items():
            data = self._object.sections[k].data
            image[start : start + len(data)] = data
        for symbol, slot in self._slots.items():
            at, stub = self._table + 8 * slot, self._stubs + _STUB_BYTES * slot
            struct.pack_into("<Q", image, at, self._address(symbol, base))
            image[stub : stub + 6] = _JUMP_BY_TABLE + struct.pack("<i", at - (stub + 6))
        for relocation in self._relocations:
            self._fill_in(image, base, relocation)
        return bytes(image)

    def _fill_in(self, image: bytearray, base: int, r: Relocation) -> None:
        at = self._starts[r.section] + r.offset
        if r.kind in _BY_TABLE:
            target = base + self._table + 8 * self._slots[r.symbol]
        elif r.kind == _CALL_32 and self._object.symbols[r.symbol].section is None:
            target = base + self._stubs + _STUB_BYTES * self._slots[r.symbol]
        else:
            target = self._address(r.symbol, base)
        value = target + r.addend
        if r.kind == _ABSOLUTE_64:
            struct.pack_into("<Q", image, at, value)
        elif r.kind == _RELATIVE_64:
            struct.pack_into("<q", image, at, value - (base + at))
        elif r.kind in (_RELATIVE_32, _CALL_32, *_BY_TABLE) and abs(value - (base + at)) < 1 << 31:
            struct.pack_into("<i", image, at, value - (base + at))
        else:
            raise CodegenError(
                f"loading {self._name}: cannot link {self._object.symbols[r.symbol].name} (relocation {r.kind})"
            )

    def _address(self, number: int, base: int) -> int:
        symbol = self._object.symbols[number]
        if symbol.section is None:
            return _address_in_process(symbol.name)
        if symbol.section not in self._starts:
            raise CodegenError(f"loading {self._name}: {symbol.name} is in a section that is not loaded")
        return base + self._starts[symbol.section] + symbol.value


@cache
def _address_in_process(name: str) -> int:
    """Where libc or libm has a function; raises CodegenError when neither does."""
    for library in (ctypes.CDLL(None), ctypes.CDLL("libm.so.6")):
        found = getattr(library, name, None)
        if found is not None:
            return ctypes.cast(found, ctypes.c_void_p).value or 0
    raise CodegenError(f"loading kernels: this process has no function {name}")
