"""Where an array lies, apart from what can be done with it: memory of a device, read and written through one face."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symc.context import Context

from .casting import store
from .storage import WriteCounter, address_of


class Located:
    """Memory on a device, of a shape and a dtype, owned or shared with the array it is a view of.

    What it is (`_shape`, `_dtype`) is apart from where it lies. `_memory` is the NumPy array over its memory, and
    `_address`, the first byte, is all that kernels know of it. `_host` is the one way to read its contents, `_write`
    and `_take` those to write them: here all are that memory, of a device that does not see the host's it stands for
    the device's (`on_device.py`). Whoever writes to the memory otherwise calls `_touch()` afterwards.
    """

    __slots__ = (
        "__weakref__",
        "_context",
        "_dtype",
        "_first_byte",
        "_memory",
        "_shape",
        "_storage",
    )
    _host: np.ndarray

    def _settle(self, data: np.ndarray, context: Context, storage: WriteCounter | None) -> None:
        """Takes its place; `storage` is the counter of writes that views share, None for memory of its own."""
        self._context = context
        self._memory = data
        self._shape: tuple[int, ...] = data.shape
        self._dtype = data.dtype
        self._first_byte: int | None = None
        self._storage = WriteCounter() if storage is None else storage

    @property
    def shape(self) -> tuple[int, ...]:
        """The extent of each dimension."""
        return self._shape

    @property
    def dtype(self) -> type[np.generic]:
        """The element type as a NumPy class, `numpy.float32` for instance."""
        return self._dtype.type

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self._shape)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._shape)

    @property
    def context(self) -> Context:
        """The device that holds the array."""
        return self._context

    ctx = context

    # What programs are given.

    @property
    def _address(self) -> int:
        """The address of the first byte, asked of NumPy once (0.3 us) and only when somebody wants it."""
        if self._first_byte is None:
            self._first_byte = address_of(self._memory)
        return self._first_byte

    def _on(self, context: Context) -> np.ndarray:
        """What a program of a device is pointed at."""
        return self._memory

    def _address_on(self, context: Context) -> int:
        """The address that a program of a device is given."""
        return self._address if self._first_byte is None else self._first_byte

    def _is_seen_by(self, context: Context) -> bool:
        """Whether programs of a device may be bound to the array."""
        return True

    # Its contents.

    def _seen(self, part: np.ndarray) -> np.ndarray:
        """A part of the memory, to be read."""
        return part

    def _writable(self) -> np.ndarray:
        """The contents, to be changed in place before `_touch()` is called."""
        return self._memory

    def _write(self, index: Any, value: np.ndarray) -> None:
        """Stores into the elements of an index that NumPy takes, cast as C does it."""
        store(self._memory, index, value)
        self._storage.touch()

    def _take(self, source: Located | np.ndarray) -> None:
        """Becomes what an array holds, broadcast and cast."""
        store(self._memory, ..., source._host if isinstance(source, Located) else source)
        self._storage.touch()

    def _filled(self) -> None:
        """Records that somebody has overwritten all of `_memory`, whatever the contents were."""
        self._storage.touch()

    def _touch(self) -> None:
        """Records that the memory was written."""
        self._storage.touch()

    @property
    def _version(self) -> int:
        """The number of the last write to the memory; equal numbers mean that nothing was written between."""
        return self._storage.version


Located._host = Located._memory  # the same slot under another name, which an array of a device redefines
