"""Files that this user alone can have written: what is checked is the very file or folder that is then used.

A name may lead elsewhere at any moment, and a name may be a pipe, a device or a link.  So a folder is held by its
descriptor, its files are opened below that, and each is looked at after it is open.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # neither waits for a pipe nor leaves the folder

_UNFINISHED = ".tmp"
_UNFINISHED_LIFE_S = 3600.0  # older ones were left by a process that died


@contextlib.contextmanager
def own_file(path: str | Path, max_bytes: int, others: int, folder: int | None = None) -> Iterator[BinaryIO]:
    """A regular file of this user, open to be read.

    max_bytes   the file may have
    others      permissions that nobody else may have
    folder      descriptor of the folder that `path` is relative to; then `path` may be no link
    Raises PermissionError for what is no such file, OSError where it cannot be opened.
    """
    flags = os.O_RDONLY | _OPEN & ~(0 if folder is not None else os.O_NOFOLLOW)
    with open(os.open(path, flags, dir_fd=folder), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(f"{path}: not a regular file")
        if status.st_uid != os.geteuid() or status.st_mode & others:
            raise PermissionError(
                f"{path}: owner {status.st_uid}, mode {status.st_mode & 0o777:o}; expected owner {os.geteuid()} and "
                f"no permission of {others:o}"
            )
        if status.st_size > max_bytes:
            raise PermissionError(f"{path}: {status.st_size} bytes, expected at most {max_bytes}")
        yield file


class PrivateFolder:
    """A folder that only this user can write; made when it is first used.

    Every method raises OSError where it fails, PermissionError where the folder is not private.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: tuple[int, tuple[int, int]] | None = None  # descriptor; device and inode it was opened for

    def read(self, name: str, max_bytes: int) -> bytes:
        """The contents of a file of at most `max_bytes` that only this user can write; its time becomes now."""
        with own_file(name, max_bytes, 0o022, self._descriptor()) as file:
            with contextlib.suppress(OSError):  # of a read-only file system
                os.utime(file.fileno())
            return file.read(os.fstat(file.fileno()).st_size)  # room is made for as much as is asked for

    def require_private(self) -> None:
        """Makes the folder where there is none."""
        self._descriptor()

    def write(self, name: str, data: bytes) -> None:
        """Writes a file under another name, then under its own: others see the old one or the whole new one.

        No fsync: a digest must find what a power cut leaves behind.
        """
        folder, unfinished = self._descriptor(), f"{os.urandom(8).hex()}{_UNFINISHED}"
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600, dir_fd=folder)
        try:
            with open(handle, "wb") as file:
                file.write(data)
            os.replace(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(unfinished, dir_fd=folder)
            raise

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """While no other process, and no other thread, is here."""
        opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._descriptor())
        try:  # of its own, because a lock belongs to all copies of a descriptor
            fcntl.flock(opened, fcntl.LOCK_EX)
            yield
        finally:
            os.close(opened)

    def append(self, name: str, data: bytes) -> int:
        """Adds to the end of a file, which is made where there is none; gives its length then."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _OPEN
        with open(os.open(name, flags, 0o600, dir_fd=self._descriptor()), "ab", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise PermissionError(f"{name}: not a regular file")
            file.write(data)
            return os.fstat(file.fileno()).st_size

    def remove(self, name: str) -> None:
        """Removes a file, a link or a pipe; one that is not there is no error."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor())

    def files(self) -> Iterator[tuple[str, os.stat_result]]:
        """Names in the folder and what is there, links not followed; others may remove them at any time.

        What processes that died left half-written is removed on the way.
        """
        listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._descriptor())
        try:  # of its own, because all copies of a descriptor share one position in the folder
            with os.scandir(listed) as items:
                for item in items:
                    with contextlib.suppress(FileNotFoundError):
                        status = item.stat(follow_symlinks=False)
                        if not item.name.endswith(_UNFINISHED):
                            yield item.name, status
                        elif time.time() - status.st_mtime > _UNFINISHED_LIFE_S:
                            self.remove(item.name)
        finally:
            os.close(listed)

    def _descriptor(self) -> int:
        """The folder as long as it is there, else the one that is there now."""
        if self._held is not None:
            handle, identity = self._held
            with contextlib.suppress(OSError):  # a daemon closes all descriptors, and numbers are used again
                status = os.fstat(handle)
                if (status.st_dev, status.st_ino) == identity and status.st_nlink:
                    self._require_private(status)
                    return handle
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        status = os.fstat(handle)
        try:
            self._require_private(status)
        except PermissionError:
            os.close(handle)
            raise
        self._held = handle, (status.st_dev, status.st_ino)
        weakref.finalize(self, _close, *self._held).atexit = False
        return handle

    def _require_private(self, status: os.stat_result) -> None:
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PermissionError(
                f"it has owner {status.st_uid} and mode {status.st_mode & 0o777:o}, so others could plant code in it; "
                f"expected owner {os.geteuid()} and no write permission for group and others"
            )


def _close(handle: int, identity: tuple[int, int]) -> None:
    with contextlib.suppress(OSError):
        status = os.fstat(handle)
        if (status.st_dev, status.st_ino) == identity:  # else the number is somebody else's by now
            os.close(handle)
