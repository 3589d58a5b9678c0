"""`mx.recordio`: files of records in MXNet's format, and images with their labels in such records.

A record is one part, or several where its bytes hold the magic number at a multiple of 4, which is cut out of them.
A part is the magic number, its kind (3 bits) and length (29 bits), the bytes, and zeros up to a multiple of 4.
"""

from __future__ import annotations

import contextlib
import numbers
import os
import struct
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TextIO

import numpy as np

from symc.core.errors import ArgumentError, ConflictError, FormatError, MissingKeyError, SymcError
from symc.core.opencv import opencv
from symc.core.reading import not_opened

MAGIC = 0xCED7230A
WHOLE, FIRST, MIDDLE, LAST = range(4)  # kinds of parts
MAX_BYTES = (1 << 29) - 1

_MAGIC_BYTES = struct.pack("<I", MAGIC)
_PART = struct.Struct("<II")  # magic number, kind and length


def encoded(record: bytes) -> bytes:
    """A record as it lies in a file."""
    if len(record) > MAX_BYTES:
        raise ArgumentError(f"a record of {len(record)} bytes; at most {MAX_BYTES} fit into one")
    parts, start = [], 0
    for at in _magic_positions(record):
        parts.append((FIRST if not parts else MIDDLE, record[start:at]))
        start = at + 4
    parts.append((LAST if parts else WHOLE, record[start:]))
    return b"".join(_PART.pack(MAGIC, kind << 29 | len(part)) + part + bytes(-len(part) % 4) for kind, part in parts)


def _magic_positions(record: bytes) -> Iterator[int]:
    at = record.find(_MAGIC_BYTES)
    while at >= 0:
        if at % 4 == 0:
            yield at
        at = record.find(_MAGIC_BYTES, at + (4 if at % 4 == 0 else 1))


def record_at(file: int, position: int, name: str) -> tuple[bytes, int] | None:
    """The record that begins at a position of an open file, and where the next one begins; None at the file's end.

    The file's own position is neither read nor moved, so threads and forked processes may share it.
    """
    parts = []
    while True:
        head = os.pread(file, _PART.size, position)
        if not head and not parts:
            return None
        magic, length = _PART.unpack(head) if len(head) == _PART.size else (0, 0)
        kind, length = length >> 29, length & MAX_BYTES
        expected = (MIDDLE, LAST) if parts else (WHOLE, FIRST)
        if magic != MAGIC or kind not in expected:
            raise FormatError(f"{name}: no record begins at byte {position}: the file is damaged or cut off")
        part = os.pread(file, length, position + _PART.size)
        if len(part) != length:
            raise FormatError(
                f"{name}: {len(part)} bytes after byte {position + _PART.size}, expected {length}: the file is cut off"
            )
        parts.append(part)
        position += _PART.size + length + -length % 4
        if kind in (WHOLE, LAST):
            return _MAGIC_BYTES.join(parts), position


class MXRecordIO:
    """Records of a file, one after the other.

    flag   "w" writes a new file, "r" reads
    A pickled reader opens its file again, at the beginning.
    """

    def __init__(self, uri: str | os.PathLike[str], flag: str) -> None:
        self.uri = os.fspath(uri)
        self.flag = flag
        self.is_open = False
        self.open()

    def open(self) -> None:
        """Opens the file at its beginning; a file to write is emptied."""
        if self.flag not in ("r", "w"):
            raise ArgumentError(f"Invalid flag {self.flag}: expected 'r' or 'w'")
        self.writable = self.flag == "w"
        self._file: BinaryIO = _opened(self.uri, f"{self.flag}b")
        self._position = 0
        self.pid: int | None = os.getpid()
        self.is_open = True

    def close(self) -> None:
        """Closes the file; what was written is in it then."""
        if not self.is_open:
            return
        self.is_open = False
        if self.writable and self.pid != os.getpid():
            return  # a forked child: what waits to be written is the parent's
        self.pid = None
        self._file.close()

    def reset(self) -> None:
        """Goes back to the beginning; a file to write is emptied."""
        if self.is_open and not self.writable:
            self._position, self.pid = 0, os.getpid()
            return
        self.close()
        self.open()

    def write(self, buf: bytes) -> None:
        """Adds a record."""
        self._require("write", writable=True)
        record = encoded(bytes(buf))
        self._file.write(record)
        self._position += len(record)

    def read(self) -> bytes | None:
        """The next record, None at the end of the file."""
        self._require("read", writable=False)
        if self.pid != os.getpid():
            raise SymcError(
                f"Forbidden operation in multiple processes: {self.uri} was opened by process {self.pid}; reset() "
                "begins anew in this one, read_idx of an indexed file needs nothing"
            )
        return self._next()

    def _next(self) -> bytes | None:
        found = record_at(self._file.fileno(), self._position, self.uri)
        if found is None:
            return None
        record, self._position = found
        return record

    def _require(self, what: str, writable: bool) -> None:
        if not self.is_open:
            raise ConflictError(f"{what}: {self.uri} is closed; open() opens it")
        if self.writable != writable:
            raise ConflictError(f"{what}: {self.uri} was opened with flag {self.flag!r}")
        if writable and self.pid != os.getpid():
            raise SymcError(f"Forbidden operation in multiple processes: process {self.pid} writes {self.uri}")

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # __init__ failed
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        if self.writable:
            raise ConflictError(f"{self.uri} is being written: opening it again in another place would empty it")
        return {k: v for k, v in vars(self).items() if not k.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, is_open=False)
        if state["is_open"]:
            self.open()


class MXIndexedRecordIO(MXRecordIO):
    """Records by key, with an index file of lines `key<tab>byte`; any thread and any forked process may read.

    key_type   makes a key of its text
    """

    def __init__(
        self,
        idx_path: str | os.PathLike[str],
        uri: str | os.PathLike[str],
        flag: str,
        key_type: Callable[[Any], Any] = int,
    ) -> None:
        self.idx_path = os.fspath(idx_path)
        self.idx: dict[Any, int] = {}  # key -> byte
        self.keys: list[Any] = []
        self.key_type = key_type
        super().__init__(uri, flag)

    def open(self) -> None:
        super().open()
        self.idx, self.keys = {}, []
        if self.writable:
            self._index: TextIO = _opened(self.idx_path, "w")
            return
        try:
            self._read_index()
        except BaseException:
            super().close()
            raise

    def _read_index(self) -> None:
        with _opened(self.idx_path, "r") as file:
            for number, line in enumerate(file, 1):
                key_text, _, byte = line.rstrip("\n").partition("\t")
                try:
                    key, position = self.key_type(key_text), int(byte)
                    if position < 0:
                        raise ValueError
                except ValueError:
                    raise FormatError(
                        f"{self.idx_path}, line {number}: {line.strip()!r}, expected a key, a tab and a byte"
                    ) from None
                self.idx[key] = position
                self.keys.append(key)

    def close(self) -> None:
        if not self.is_open:
            return
        is_own = self.pid == os.getpid()
        super().close()
        if self.writable and is_own:
            self._index.close()

    def seek(self, idx: Any) -> None:
        """Moves to the record of a key."""
        self._require("seek", writable=False)
        self._position = self._place(idx)

    def _place(self, key: Any) -> int:
        if key not in self.idx:
            raise MissingKeyError(f"{self.idx_path} has no record {key!r}; it has {len(self.idx)}")
        return self.idx[key]

    def tell(self) -> int:
        """The byte at which the next record will be written."""
        self._require("tell", writable=True)
        return self._position

    def read_idx(self, idx: Any) -> bytes:
        """The record of a key."""
        self._require("read_idx", writable=False)
        found = record_at(self._file.fileno(), self._place(idx), self.uri)
        if found is None:
            raise FormatError(f"{self.uri} ends before byte {self.idx[idx]}, where {self.idx_path} says {idx!r} is")
        record, self._position = found
        return record

    def write_idx(self, idx: Any, buf: bytes) -> None:
        """Adds a record with a key."""
        key = self.key_type(idx)
        position = self.tell()
        self.write(buf)
        self._index.write(f"{key}\t{position}\n")
        self.idx[key] = position
        self.keys.append(key)


def _opened(path: str, mode: str) -> Any:
    of_text = (None, None) if "b" in mode else ("utf-8", "surrogateescape")  # keys are anybody's bytes
    try:
        return open(path, mode, -1, *of_text)
    except OSError as error:
        raise not_opened(path, error) from None


# What stands in front of an image. flag: how many labels follow (0: `label` is the only one); id, id2: of the image.
IRHeader = HEADER = namedtuple("HEADER", ["flag", "label", "id", "id2"])
_HEADER = struct.Struct("<IfQQ")


def pack(header: Any, s: bytes) -> bytes:
    """A record of a header (an IRHeader or such a tuple) and bytes; several labels become float32."""
    header = IRHeader(*header)
    if isinstance(header.label, numbers.Number):
        header = header._replace(flag=0)
    else:
        labels = np.asarray(header.label, np.float32)
        header = header._replace(flag=labels.size, label=0)
        s = labels.tobytes() + s
    try:
        return _HEADER.pack(*header) + s
    except struct.error as error:
        raise ArgumentError(f"pack: {header}: {error}") from None


def unpack(s: bytes) -> tuple[HEADER, bytes]:
    """Header and bytes of a record; several labels are a float32 array."""
    if len(s) < _HEADER.size:
        raise FormatError(f"unpack: a record of {len(s)} bytes, expected at least the {_HEADER.size} of its header")
    header, s = IRHeader(*_HEADER.unpack_from(s)), s[_HEADER.size :]
    if not header.flag:
        return header, s
    if len(s) < 4 * header.flag:
        raise FormatError(f"unpack: {len(s)} bytes after the header, which says that {header.flag} labels follow")
    return header._replace(label=np.frombuffer(s, np.float32, header.flag)), s[4 * header.flag :]


def unpack_img(s: bytes, iscolor: int = -1) -> tuple[HEADER, np.ndarray | None]:
    """Header and image of a record: uint8 (H, W, 3) in the order blue, green, red, or (H, W) of grey ones.

    iscolor   OpenCV's flag: -1 as the image is, 0 grey, 1 colours
    As from OpenCV, the image is None where its bytes are none.
    """
    header, data = unpack(s)
    return header, opencv().imdecode(np.frombuffer(data, np.uint8), iscolor) if data else None


def pack_img(header: Any, img: np.ndarray, quality: int = 95, img_fmt: str = ".jpg") -> bytes:
    """A record of a header and an image (H, W, 3), blue first, or (H, W), encoded.

    quality   of .jpg 1 to 100; of .png how much it is compressed, 1 to 9
    """
    cv2 = opencv()
    kinds = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".jpeg": cv2.IMWRITE_JPEG_QUALITY, ".png": cv2.IMWRITE_PNG_COMPRESSION}
    kind = kinds.get(img_fmt.lower())
    try:
        is_encoded, data = cv2.imencode(img_fmt, img, None if kind is None else [kind, quality])
    except cv2.error as error:
        raise ArgumentError(f"pack_img: OpenCV cannot make {img_fmt} of it: {error}") from None
    if not is_encoded:
        raise ArgumentError(f"pack_img: failed to encode an image {np.shape(img)} as {img_fmt}")
    return pack(header, data.tobytes())
