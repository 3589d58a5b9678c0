"""What a name stands for that iterators are given: a file, or all files of a folder."""

from __future__ import annotations

from pathlib import Path

from symc.core.errors import MissingFileError


def files_of(place: str) -> list[Path]:
    """A file, or the files of a folder, sorted; raises MissingFileError where there is none."""
    path = Path(place)
    found = sorted(p for p in path.iterdir() if p.is_file()) if place and path.is_dir() else [path]
    if not found or not all(p.is_file() for p in found):
        raise MissingFileError(f'Open "{place}": no such file, or a folder without files')
    return found
