"""The .symc container: the parts of a compiled model in one file, every byte of which is proved before it is used.

The file is an ordinary zip archive (any tool lists and extracts it) of which only one spelling is valid: parts are
stored, follow each other without gaps in the order they are named below, and carry nothing but their name and as much
padding as puts their data at a multiple of 64 bytes.  So a reader need not judge what a zip file may say: it writes
down the headers that belong to the names, sizes and checksums it found, and refuses the file when they differ.

    manifest.json       what follows: versions, inputs, outputs, and SHA-256 and size of every other part
    mac                 optional: HMAC-SHA256 of manifest.json with the user's own key
    symbol.json         the graph
    weights.params      parameters, MXNet's format
    golden.params       inputs and the outputs they must give
    kernels/<name>.o    object code of the program's kernels
    functions/<name>.o  and of the functions that the device's runner is made of
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import struct
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from symc.core.errors import ArgumentError, FormatError, TrustError
from symc.core.private import own_file
from symc.core.reading import reading, size_of
from symc.core.replacing import replacing

FORMAT_VERSION = 2
ALIGNMENT = 64
MANIFEST, MAC = "manifest.json", "mac"
SYMBOL, WEIGHTS, GOLDEN = "symbol.json", "weights.params", "golden.params"
KERNELS, FUNCTIONS = "kernels/", "functions/"

MAX_PARTS = 4096
MAX_FILE_BYTES = (1 << 32) - 1  # of a zip archive without the 64-bit extension
MAX_MANIFEST_BYTES = 1 << 22
_PART_NAME = re.compile(
    r"manifest\.json|mac|symbol\.json|(weights|golden)\.params|(kernels|functions)/symc_\w{1,120}\.o", re.ASCII
)
_KEY_BYTES = 32

# PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16. Version 1.0, no flags, stored, 1980-01-01 00:00.
_FIXED = struct.pack("<HHHHH", 10, 0, 0, 0, 0x21)
_LOCAL = struct.Struct("<4s10sIIIHH")
_CENTRAL = struct.Struct("<4sH10sIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_PADDING_ID = 0xD935  # the extra field that Android's zipalign uses for the same purpose


@dataclass(frozen=True)
class _Entry:
    """One part as the archive describes it; `offset` is that of its local header."""

    name: str
    crc: int
    size: int
    offset: int

    def local_header(self) -> bytes:
        """The header in front of the data, padded so that the data is aligned."""
        name = self.name.encode()
        n_extra = 4 + -(self.offset + _LOCAL.size + len(name) + 4) % ALIGNMENT
        fixed = _LOCAL.pack(b"PK\3\4", _FIXED, self.crc, self.size, self.size, len(name), n_extra)
        return fixed + name + struct.pack("<HH", _PADDING_ID, n_extra - 4) + bytes(n_extra - 4)

    def central_header(self) -> bytes:
        """The entry of the directory at the end."""
        name = self.name.encode()
        rest = (len(name), 0, 0, 0, 0, 0, self.offset)
        return _CENTRAL.pack(b"PK\1\2", 10, _FIXED, self.crc, self.size, self.size, *rest) + name

    @property
    def end(self) -> int:
        return self.offset + len(self.local_header()) + self.size


@dataclass(frozen=True)
class Container:
    """A file whose parts are as its manifest says (which proves that it is whole, not who made it)."""

    path: Path
    manifest: Mapping[str, Any]
    manifest_bytes: bytes
    parts: Mapping[str, bytes]
    mac: str | None

    def is_signed_with(self, key: bytes) -> bool:
        """Whether the file carries the MAC of this key."""
        return self.mac is not None and hmac.compare_digest(self.mac.encode(), _mac(key, self.manifest_bytes))

    def fail(self, part: str, problem: str) -> NoReturn:
        """Raises FormatError about one part."""
        _fail(self.path, part, problem)


def write_container(path: Path, about: Mapping[str, Any], parts: Mapping[str, bytes], key: bytes | None = None) -> None:
    """Writes the file atomically.

    about   entries of the manifest besides "format" and "parts" (JSON values)
    key     signs the manifest, which covers all parts

    Raises ArgumentError for a part that has no place in the format or a file that would be too large, SymcError where
    the file cannot be written.
    """
    described = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in parts.items()}
    manifest = json.dumps({"format": FORMAT_VERSION, **about, "parts": described}, indent=1).encode()
    signature = {} if key is None else {MAC: _mac(key, manifest)}
    contents = {MANIFEST: manifest, **signature, **parts}
    entries: list[_Entry] = []
    for name, data in contents.items():
        if not _PART_NAME.fullmatch(name):
            raise ArgumentError(f"writing {path}: {name!r} is not a part of a .symc file")
        entries.append(_Entry(name, zlib.crc32(data), len(data), entries[-1].end if entries else 0))
    directory = _directory(entries)
    size_bytes = entries[-1].end + len(directory)
    if size_bytes > MAX_FILE_BYTES or len(entries) > MAX_PARTS:
        raise ArgumentError(
            f"writing {path}: {size_bytes} bytes in {len(entries)} parts; a .symc file holds at most "
            f"{MAX_FILE_BYTES} bytes in {MAX_PARTS} parts"
        )
    with replacing(path) as unfinished, open(unfinished, "wb") as file:
        for entry, data in zip(entries, contents.values()):
            file.write(entry.local_header())
            file.write(data)
        file.write(directory)


def read_container(path: Path) -> Container:
    """Reads and checks the whole file.

    Raises FormatError naming the file, the part, what was seen and what was expected; SymcError where the file cannot
    be read.  Takes no more memory than the file has bytes.
    """
    with reading(path) as file:
        entries = _entries(file, size_of(file), path)
        contents = {e.name: _data(file, e, path) for e in entries}
    manifest = _manifest(contents[MANIFEST], path)
    mac = contents.get(MAC)
    parts = {name: data for name, data in contents.items() if name not in (MANIFEST, MAC)}
    described: dict[str, Any] = manifest["parts"]
    if list(described) != list(parts):
        odd = sorted(set(described) ^ set(parts)) or list(parts)
        _fail(path, MANIFEST, f"describes other parts than the file has: {', '.join(odd)}")
    for name, data in parts.items():
        seen = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        if described[name] != seen:
            _fail(path, name, f"damaged: is {_digest_text(seen)}, expected {_digest_text(described[name])}")
    return Container(path, manifest, contents[MANIFEST], parts, None if mac is None else mac.decode("ascii", "replace"))


def _directory(entries: list[_Entry]) -> bytes:
    """The central directory and the record that ends the file."""
    headers = b"".join(e.central_header() for e in entries)
    n = len(entries)
    return headers + _END.pack(b"PK\5\6", 0, 0, n, n, len(headers), entries[-1].end, 0)


def _entries(file: BinaryIO, size_bytes: int, path: Path) -> list[_Entry]:
    """The parts of the archive, proved to lie one after the other and to fill the file."""
    if size_bytes < _END.size:
        _fail(path, "end of archive", f"the file has {size_bytes} bytes, expected at least {_END.size}")
    end_offset = size_bytes - _END.size
    magic, _, _, _, n_entries, n_directory, start, _ = _END.unpack(_at(file, end_offset, _END.size))
    if magic != b"PK\5\6":
        problem = f"{magic!r}, expected b'PK\\5\\6'; truncated or not a .symc file"
        _fail(path, "end of archive", f"byte {end_offset}: {problem}")
    if start + n_directory != end_offset or not 1 <= n_entries <= MAX_PARTS:
        _fail(
            path,
            "end of archive",
            f"byte {end_offset}: {n_entries} parts with a directory of {n_directory} bytes at {start}, "
            f"expected 1 to {MAX_PARTS} parts and a directory that ends at {end_offset}",
        )
    directory = _at(file, start, end_offset - start)
    entries = _parse_directory(directory, n_entries, start, path)
    offset = 0
    for e in entries:
        if e.offset != offset or e.end > start:
            _fail(path, e.name, f"lies at {e.offset} to {e.end}, expected it from {offset} to at most {start}")
        if _at(file, offset, len(e.local_header())) != e.local_header():
            _fail(path, e.name, f"byte {offset}: the header differs from what the directory says")
        offset = e.end
    if offset != start or _directory(entries) != directory + _at(file, end_offset, _END.size):
        _fail(path, "directory", f"byte {start}: not as symc writes it")
    return entries


def _parse_directory(directory: bytes, n_entries: int, start: int, path: Path) -> list[_Entry]:
    entries: list[_Entry] = []
    position = 0
    for _ in range(n_entries):
        if position + _CENTRAL.size > len(directory):
            _fail(path, "directory", f"byte {start + position}: ends after {len(entries)} parts, expected {n_entries}")
        fields = _CENTRAL.unpack_from(directory, position)
        crc, size, n_name, offset = fields[3], fields[4], fields[6], fields[-1]
        raw = directory[position + _CENTRAL.size : position + _CENTRAL.size + n_name]
        name = raw.decode("ascii", "backslashreplace")
        if not _PART_NAME.fullmatch(name):
            _fail(path, "directory", f"byte {start + position}: {name[:80]!r} is not a part of a .symc file")
        if any(name == e.name for e in entries):
            _fail(path, name, "appears twice")
        entries.append(_Entry(name, crc, size, offset))
        position += _CENTRAL.size + n_name
    if entries[0].name != MANIFEST or entries[0].size > MAX_MANIFEST_BYTES:
        seen = f"{entries[0].size} bytes as the first part"
        _fail(path, entries[0].name, f"{seen}, expected {MANIFEST} of at most {MAX_MANIFEST_BYTES}")
    return entries


def _data(file: BinaryIO, entry: _Entry, path: Path) -> bytes:
    data = _at(file, entry.end - entry.size, entry.size)
    if len(data) != entry.size:
        _fail(path, entry.name, f"the file ended after {len(data)} of {entry.size} bytes while it was read")
    if entry.name in (MANIFEST, MAC) and zlib.crc32(data) != entry.crc:  # the others have a digest in the manifest
        _fail(path, entry.name, f"damaged: CRC-32 {zlib.crc32(data):08x}, expected {entry.crc:08x}")
    return data


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _manifest(data: bytes, path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        _fail(path, MANIFEST, f"not JSON: {error}")
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        _fail(path, MANIFEST, f"format {version!r}, expected {FORMAT_VERSION}; another version of symc made this file")
    if not isinstance(manifest.get("parts"), dict):
        _fail(path, MANIFEST, f"parts is {type(manifest.get('parts')).__name__}, expected an object")
    return manifest


def _digest_text(described: Any) -> str:
    if isinstance(described, dict) and isinstance(described.get("sha256"), str):
        return f"{described.get('size')!r} bytes with SHA-256 {described['sha256'][:12]}..."
    return repr(described)[:80]


def _fail(path: Path, part: str, problem: str) -> NoReturn:
    raise FormatError(f"{path}: {part}: {problem}")


# -- keys ----------------------------------------------------------------------------------------------------------


def _mac(key: bytes, manifest: bytes) -> bytes:
    return hmac.new(key, manifest, hashlib.sha256).hexdigest().encode()


def default_key_path() -> Path:
    """Where the user's own key lies: $XDG_CONFIG_HOME/symc/key, by default ~/.config/symc/key."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.config")) / "symc" / "key"


def read_key(path: Path) -> bytes:
    """The key in a file that only its owner can read; raises TrustError when it is missing, short or open to others."""
    try:
        with own_file(path, max_bytes=1 << 16, others=0o077) as file:
            key = file.read()
    except PermissionError as error:
        raise TrustError(f"key {error}; no access for others: chmod 600 {path}") from error
    except OSError as error:
        raise TrustError(f"key {path}: {error.strerror}") from error
    if len(key) < _KEY_BYTES:
        raise TrustError(f"key {path}: {len(key)} bytes, expected at least {_KEY_BYTES} random ones")
    return key


def own_key() -> bytes:
    """The user's key, made when there is none yet; raises TrustError where that is impossible or the key unsafe."""
    path = default_key_path()
    if not path.exists():
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make_key(path)
        except OSError as error:
            raise TrustError(
                f"making your key {path}: {error.strerror}; give a key file (`key`, --key), or an XDG_CONFIG_HOME "
                "that can be written"
            ) from error
    return read_key(path)


def _make_key(path: Path) -> None:
    """Writes the whole key or nothing; where another process was faster its key stays."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(os.urandom(_KEY_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
