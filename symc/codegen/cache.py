"""The kernel cache on disk: object code and programs by key, proved intact before anyone sees a byte of them.

One file per entry, named by the hash of its key, with its kind ("kernel", "program" or "plans") as suffix:

    magic "SYMCKC01" | SHA-256 of all that follows | manifest length (u32, little endian) | manifest (JSON) | data

Object code is code, and a program says where it writes: so the directory must belong to this user and be writable by
nobody else. Everything that can go wrong with a cache (damaged entries, a full or read-only disk, an unsafe directory)
costs a compilation, never an error: numba's own cache raised or killed the process on damaged entries (18 of 120 bit
flips).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from symc.core.config import setting
from symc.core.private import PrivateFolder

Kind = Literal["kernel", "program", "plans"]

_MAGIC = b"SYMCKC01"  # the last two digits are the format's version
_DIGEST = slice(len(_MAGIC), len(_MAGIC) + 32)
_MANIFEST_LENGTH = struct.Struct("<I")
_SUFFIXES = (".kernel", ".program")
# A file that grows by one byte for every block that an entry begins: its length says how full the folder is, without
# looking at the entries, and several processes may add to it.
_FILLING = "filling"
_BLOCK_BYTES = 4096


@dataclass(frozen=True)
class CacheInfo:
    """What `symc cache` prints; `directory` is None when there is no cache on disk."""

    directory: Path | None
    n_entries: int
    size_bytes: int
    limit_bytes: int


class KernelCache:
    """Maps keys to bytes in `directory` (None: remembers nothing), least recently used entries dropped first.

    Safe to share between threads and processes: entries appear and vanish atomically. Reading and writing take the same
    time however many entries there are: only when the estimate of their size exceeds the limit are they looked at, and
    then a tenth of the limit is made free.
    """

    def __init__(self, directory: Path | str | None, limit_bytes: int = 512 << 20) -> None:
        self._folder = None if directory is None else PrivateFolder(Path(directory))
        self._limit_bytes = limit_bytes
        self._has_warned = False

    def get(self, key: str, kind: Kind = "kernel") -> bytes | None:
        """What is stored under `key`, None when there is none or when the entry is damaged (it is removed)."""
        folder, name = self._usable_folder(), _file_name(key, kind)
        if folder is None:
            return None
        try:
            data = _unpack(folder.read(name, self._limit_bytes), key)
        except OSError:  # absent, or no file of ours: `put` takes its place
            return None
        if data is None:
            _remove(folder, name)
            if kind == "plans":  # the only kind that no compilation brings back
                _warn(f"{folder.path / name} was damaged and is removed; `symc tune` measures again what it held")
        return data

    def put(self, key: str, data: bytes, header: Mapping[str, Any], kind: Kind = "kernel") -> None:
        """Stores `data`; `header` (JSON values) tells a reader of the file what it is. A failure warns once."""
        folder, entry, name = self._usable_folder(), _pack(key, data, header), _file_name(key, kind)
        if folder is None:
            return
        if len(entry) > self._limit_bytes:
            self._warn(f"an entry of {len(entry)} bytes is not kept: {folder.path} holds {self._limit_bytes} bytes")
            return
        try:
            folder.write(name, entry)
            self._make_room(folder, name, len(entry))
        except OSError as error:
            self._warn(f"cannot write to {folder.path} ({error}); kernels are compiled again in every process")

    def merge(self, key: str, merged: Callable[[bytes | None], bytes], header: Mapping[str, Any], kind: Kind) -> Path:
        """Replaces an entry by what `merged` makes of its data; no other process does so meanwhile. Gives the file.

        Raises OSError where that fails, or where there is no folder.
        """
        if self._folder is None:
            raise FileNotFoundError("there is no kernel cache (SYMC_CACHE=0, or no home directory)")
        name = _file_name(key, kind)
        with self._folder.locked():
            self._folder.write(name, _pack(key, merged(self.get(key, kind)), header))
        return self._folder.path / name

    def clear(self) -> None:
        """Removes all kernels and programs (not what other processes are writing at this moment)."""
        folder = self._usable_folder()
        if folder is not None:
            for name, _ in _entries(folder):
                _remove(folder, name)
            _remove(folder, _FILLING)

    def info(self) -> CacheInfo:
        """Where the cache is and how full."""
        folder = self._usable_folder()
        if folder is None:
            return CacheInfo(None, 0, 0, self._limit_bytes)
        sizes = [status.st_size for _, status in _entries(folder)]
        return CacheInfo(folder.path, len(sizes), sum(sizes), self._limit_bytes)

    def _usable_folder(self) -> PrivateFolder | None:
        """The folder once it exists and is known to be private."""
        if self._folder is not None:
            try:
                self._folder.require_private()
                return self._folder
            except OSError as error:
                self._warn(_unusable(self._folder.path, error))
        return None

    def _make_room(self, folder: PrivateFolder, added: str, added_bytes: int) -> None:
        """Removes entries, the longest unused first, where the folder may be fuller than it should."""
        n_blocks = -(-added_bytes // _BLOCK_BYTES)
        try:
            n_filled = folder.append(_FILLING, bytes(n_blocks))
        except OSError:  # something else has its name
            n_filled = n_blocks
        is_known = n_filled > n_blocks
        if is_known and n_filled * _BLOCK_BYTES <= self._limit_bytes:
            return
        wanted_bytes = self._limit_bytes - self._limit_bytes // (10 * _BLOCK_BYTES) * _BLOCK_BYTES
        folder.write(_FILLING, bytes(wanted_bytes // _BLOCK_BYTES))  # others need not look meanwhile
        entries = sorted(_entries(folder), key=lambda entry: entry[1].st_mtime_ns)
        size_bytes = sum(status.st_size for _, status in entries)
        for name, status in entries:
            if size_bytes > wanted_bytes and name != added:
                _remove(folder, name)
                size_bytes -= status.st_size
        folder.write(_FILLING, bytes(1 + size_bytes // _BLOCK_BYTES))

    def _warn(self, problem: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _warn(problem)


def _warn(problem: str) -> None:
    warnings.warn(f"symc kernel cache: {problem}", RuntimeWarning, stacklevel=4)


def _unusable(directory: Path | str, error: Exception) -> str:
    return (
        f"cannot use {directory}: {str(error).rstrip('.')}. Continuing without it, so kernels are compiled again in "
        f"every process; set SYMC_CACHE_DIR to another folder, or mend this one"
    )


def _file_name(key: str, kind: Kind) -> str:
    return f"{hashlib.sha256(key.encode()).hexdigest()}.{kind}"


def _remove(folder: PrivateFolder, name: str) -> None:
    with contextlib.suppress(OSError):  # a directory, or a file of somebody else
        folder.remove(name)


def _entries(folder: PrivateFolder) -> Iterator[tuple[str, os.stat_result]]:
    return ((name, status) for name, status in folder.files() if name.endswith(_SUFFIXES))


@cache
def kernel_cache() -> KernelCache:
    """The process's cache, placed by SYMC_CACHE_DIR, XDG_CACHE_HOME or ~/.cache; SYMC_CACHE=0 switches it off."""
    return KernelCache(_default_directory() if setting("SYMC_CACHE") else None)


def _default_directory() -> Path | None:
    """None where there is no home directory (an arbitrary uid in a container); warns where one was asked for."""
    chosen = setting("SYMC_CACHE_DIR")
    if chosen is not None:
        try:
            return Path(chosen).expanduser()
        except RuntimeError as error:
            _warn(_unusable(chosen, error))
            return None
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG specification says to ignore relative paths
        base = os.path.expanduser("~/.cache")
    return Path(base) / "symc" if os.path.isabs(base) else None


def _pack(key: str, data: bytes, header: Mapping[str, Any]) -> bytes:
    manifest = json.dumps({**header, "key": key, "size_bytes": len(data)}, sort_keys=True).encode()
    body = _MANIFEST_LENGTH.pack(len(manifest)) + manifest + data
    return _MAGIC + hashlib.sha256(body).digest() + body


def _unpack(entry: bytes, key: str) -> bytes | None:
    """The data in `entry`; None unless every byte is as it was written, for this key."""
    body = entry[_DIGEST.stop :]
    if entry[: _DIGEST.start] != _MAGIC or entry[_DIGEST] != hashlib.sha256(body).digest():
        return None
    (n_manifest,) = _MANIFEST_LENGTH.unpack_from(body)  # whole from here on: the digest covers it
    start = _MANIFEST_LENGTH.size + n_manifest
    manifest = json.loads(body[_MANIFEST_LENGTH.size : start])
    return body[start:] if manifest["key"] == key else None
