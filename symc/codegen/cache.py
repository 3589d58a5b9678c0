"""The kernel cache on disk: object code and programs by key, proved intact before anyone sees a byte of them.

One file per entry, named by the hash of its key, with its kind ("kernel" or "program") as suffix:

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
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from symc.core.config import setting
from symc.core.lazy import lazy

Kind = Literal["kernel", "program"]

_MAGIC = b"SYMCKC01"  # the last two digits are the format's version
_DIGEST = slice(len(_MAGIC), len(_MAGIC) + 32)
_MANIFEST_LENGTH = struct.Struct("<I")
_SUFFIXES = (".kernel", ".program")
_UNFINISHED = ".tmp"
_UNFINISHED_LIFE_S = 3600.0  # older ones were left by a process that died


@dataclass(frozen=True)
class CacheInfo:
    """What `symc cache` prints; `directory` is None when there is no cache on disk."""

    directory: Path | None
    n_entries: int
    size_bytes: int
    limit_bytes: int


class KernelCache:
    """Maps keys to bytes in `directory` (None: remembers nothing), least recently used entries dropped first.

    Safe to share between threads and processes: entries appear and vanish atomically.
    """

    def __init__(self, directory: Path | str | None, limit_bytes: int = 512 << 20) -> None:
        self._wanted = None if directory is None else Path(directory)
        self._limit_bytes = limit_bytes
        self._has_warned = False

    def get(self, key: str, kind: Kind = "kernel") -> bytes | None:
        """What is stored under `key`, None when there is none or when the entry is damaged (it is removed)."""
        if self._directory is None:
            return None
        path = self._path(self._directory, key, kind)
        try:
            entry = path.read_bytes()
        except OSError:
            return None
        data = _unpack(entry, key)
        with contextlib.suppress(OSError):
            if data is None:
                path.unlink()
            else:
                os.utime(path)  # the recency that eviction goes by
        return data

    def put(self, key: str, data: bytes, header: Mapping[str, Any], kind: Kind = "kernel") -> None:
        """Stores `data`; `header` (JSON values) tells a reader of the file what it is. A failure warns once."""
        if self._directory is None:
            return
        entry = _pack(key, data, header)
        try:
            _write_atomically(self._path(self._directory, key, kind), entry)
            self._evict(self._directory)
        except OSError as error:
            self._warn(f"cannot write to {self._directory} ({error}); kernels are compiled again in every process")

    def obtain(self, key: str, make: Callable[[], bytes], header: Mapping[str, Any]) -> bytes:
        """The object stored under `key`; the first time, what `make` returns."""
        data = self.get(key)
        if data is None:
            data = make()
            self.put(key, data, header)
        return data

    def clear(self) -> None:
        """Removes all entries (not what other processes are writing at this moment)."""
        for path, _ in self._files():
            if path.suffix in _SUFFIXES:
                with contextlib.suppress(OSError):
                    path.unlink()

    def info(self) -> CacheInfo:
        """Where the cache is and how full."""
        sizes = [status.st_size for path, status in self._files() if path.suffix in _SUFFIXES]
        return CacheInfo(self._directory, len(sizes), sum(sizes), self._limit_bytes)

    @lazy
    def _directory(self) -> Path | None:
        """The directory once it exists and is known to be private."""
        if self._wanted is None:
            return None
        try:
            self._wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self._wanted.stat()
        except OSError as error:
            self._warn(f"cannot use {self._wanted} ({error}); kernels are compiled again in every process")
            return None
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            self._warn(
                f"{self._wanted} has owner {status.st_uid} and mode {status.st_mode & 0o777:o}, so others could "
                f"plant code in it; expected owner {os.geteuid()} and no write permission for group and others. "
                f"Continuing without it; fix the permissions or set SYMC_CACHE_DIR"
            )
            return None
        return self._wanted

    def _evict(self, directory: Path) -> None:
        """Removes what dead processes left half-written, then the least recently used entries beyond the limit."""
        files = sorted(self._files(), key=lambda file: file[1].st_mtime_ns, reverse=True)
        size_bytes = 0
        for path, status in files:
            if path.suffix in _SUFFIXES:
                size_bytes += status.st_size
                is_unwanted = size_bytes > self._limit_bytes
            else:
                is_unwanted = time.time() - status.st_mtime > _UNFINISHED_LIFE_S
            if is_unwanted:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Our files and their status; other processes may remove them at any time."""
        if self._directory is None:
            return
        with contextlib.suppress(OSError):
            for item in os.scandir(self._directory):
                if item.name.endswith((*_SUFFIXES, _UNFINISHED)):
                    with contextlib.suppress(FileNotFoundError):
                        yield Path(item.path), item.stat(follow_symlinks=False)

    def _warn(self, problem: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(f"symc kernel cache: {problem}", RuntimeWarning, stacklevel=3)

    @staticmethod
    def _path(directory: Path, key: str, kind: Kind = "kernel") -> Path:
        return directory / f"{hashlib.sha256(key.encode()).hexdigest()}.{kind}"


@cache
def kernel_cache() -> KernelCache:
    """The process's cache, placed by SYMC_CACHE_DIR, XDG_CACHE_HOME or ~/.cache; SYMC_CACHE=0 switches it off."""
    return KernelCache(_default_directory() if setting("SYMC_CACHE") else None)


def _default_directory() -> Path | None:
    """None for a user without a home directory (an arbitrary uid in a container)."""
    chosen = setting("SYMC_CACHE_DIR")
    if chosen is not None:
        return Path(chosen).expanduser()
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


def _write_atomically(path: Path, entry: bytes) -> None:
    """Readers see the old file or the whole new one. No fsync: the digest finds what a power cut leaves behind."""
    unfinished = path.with_name(f"{path.stem}-{os.urandom(8).hex()}{_UNFINISHED}")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(entry)
        os.replace(unfinished, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise
