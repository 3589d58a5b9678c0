"""A digest of symc's own sources: what was made by other sources is never taken from a cache."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


@functools.cache
def source_digest(*folders: str) -> str:
    """16 hexadecimal digits that change with any Python source in these folders of the package."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
