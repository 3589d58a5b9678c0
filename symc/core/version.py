"""A digest of symc's own sources: what was made by other sources is never taken from a cache."""

from __future__ import annotations

import functools
import hashlib
import os
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
        for here, inner, names in os.walk(_PACKAGE / folder):  # Path.rglob takes four times as long
            inner[:] = sorted({*inner} - DEVICE_FOLDERS)
            for name in sorted(names):
                if name.endswith(".py"):
                    digest.update(Path(here, name).read_bytes())
    return digest.hexdigest()[:16]
