"""A digest of symc's own sources: what was made by other sources is never taken from a cache."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

DEVICE_FOLDERS = {"cpu", "cuda"}
_PACKAGE = Path(__file__).parents[1]


@functools.cache
def source_digest(*folders: str) -> str:
    """16 hexadecimal digits that change with any Python source in these folders of the package.

    What a folder has for one device alone counts only when it is named: ("codegen", "codegen/cpu").
    """
    digest = hashlib.sha256()
    for folder in folders:
        root = _PACKAGE / folder
        for path in sorted(root.rglob("*.py")):
            if not DEVICE_FOLDERS & {*path.relative_to(root).parts}:
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
