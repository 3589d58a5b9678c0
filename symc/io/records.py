"""The records of one part of record files, in order or shuffled."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from symc.core.reading import not_opened
from symc.recordio import FIRST, MAGIC, WHOLE, MXIndexedRecordIO, record_at

from .places import files_of

SCANNED_BYTES = 1 << 16
CHUNK_BYTES = 64 << 20  # of records that are shuffled together where there is no index


@dataclass(frozen=True)
class Span:
    """The records of an open file that begin at `start` or later, and before `end`."""

    file: int
    name: str
    start: int
    end: int

    def __iter__(self) -> Iterator[bytes]:
        position = self.start
        while position < self.end:
            found = record_at(self.file, position, self.name)
            if found is None:
                return
            record, position = found
            yield record


class RecordFiles:
    """Record files, one after the other: a file, a folder of files, or several separated by semicolons.

    part_index, num_parts   which part, of how many equal ones by bytes; a record belongs to where it begins
    """

    def __init__(self, place: str, part_index: int = 0, num_parts: int = 1) -> None:
        self._opened: list[int] = []
        paths = [path for name in place.split(";") for path in files_of(name)]
        sizes = [path.stat().st_size for path in paths]
        step = -(-sum(sizes) // num_parts)
        step += -step % 4
        begin, end = step * part_index, step * (part_index + 1)
        self.spans = []
        for path, size in zip(paths, sizes):
            if begin < size and end > 0:
                file = _opened(path)
                self._opened.append(file)
                start = next_record(file, max(begin, 0)) if begin > 0 else 0
                self.spans.append(Span(file, str(path), start, min(end, size)))
            begin, end = begin - size, end - size

    def epoch(self, rng: random.Random | None, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """All records, with `rng` in an order that it draws within chunks of so many bytes."""
        if rng is None:
            for span in self.spans:
                yield from span
            return
        rng.shuffle(self.spans)
        chunk: list[bytes] = []
        n_bytes = 0
        for record in (record for span in self.spans for record in span):
            chunk.append(record)
            n_bytes += len(record)
            if n_bytes >= chunk_bytes:
                yield from _shuffled(chunk, rng)
                chunk, n_bytes = [], 0
        yield from _shuffled(chunk, rng)

    def __del__(self) -> None:
        for file in self._opened:
            os.close(file)


class IndexedRecords:
    """The records of a file with an index, in the file's order; each part has as many, the last one the fewest."""

    def __init__(self, place: str, index: str, part_index: int = 0, num_parts: int = 1) -> None:
        self._reader = MXIndexedRecordIO(index, place, "r")
        keys = sorted(self._reader.idx, key=self._reader.idx.__getitem__)
        step = -(-len(keys) // num_parts)
        self._keys = keys[step * part_index : step * (part_index + 1)]

    def epoch(self, rng: random.Random | None, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """All records, with `rng` in an order that it draws."""
        for key in self._keys if rng is None else _shuffled(self._keys, rng):
            yield self._reader.read_idx(key)


def _opened(path: Path) -> int:
    """A descriptor to read a file by."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise not_opened(path, error) from error


def _shuffled(items: Sequence, rng: random.Random) -> list:
    return rng.sample(items, len(items))


def next_record(file: int, position: int) -> int:
    """Where the first record begins at `position` (a multiple of 4) or after; the file's end where none does."""
    magic = MAGIC.to_bytes(4, "little")
    while True:
        block = os.pread(file, SCANNED_BYTES + 8, position)
        at = block.find(magic)
        while 0 <= at <= len(block) - 8:
            kind = int.from_bytes(block[at + 4 : at + 8], "little") >> 29
            if at % 4 == 0 and kind in (WHOLE, FIRST):
                return position + at
            at = block.find(magic, at + 1)
        if len(block) < SCANNED_BYTES + 8:
            return position + len(block)
        position += SCANNED_BYTES
