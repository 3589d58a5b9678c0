"""Machine code as text, by NVIDIA's disassembler (package nvidia-cuda-nvdisasm)."""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, files

import pytest

from symc.codegen.cuda.image import KernelImage
from symc.codegen.cuda.target import Target

INSTRUCTION_BYTES = 16
ADDRESS = re.compile(r"^\s*/\*([0-9a-f]+)\*/", re.MULTILINE)


def disassembled(images: Sequence[KernelImage], target: Target) -> list[str]:
    """That of each image, functions it calls included, by one run: to begin takes it longer than some hundred kernels.

    Skips where the disassembler is missing.
    """
    try:
        (tool,) = (f for f in files("nvidia-cuda-nvdisasm") or () if f.name == "nvdisasm")
    except (PackageNotFoundError, ValueError):
        pytest.skip("nvidia-cuda-nvdisasm is not installed")
    codes = [b"".join(_instructions(image.cubin)) for image in images]
    with tempfile.NamedTemporaryFile() as raw:
        raw.write(b"".join(codes))
        raw.flush()
        command = [str(tool.locate()), "-b", f"SM{target.name[3:]}", raw.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    starts = [found.start() for found in ADDRESS.finditer(text)] + [len(text)]
    counts = [len(code) // INSTRUCTION_BYTES for code in codes]
    assert len(starts) == sum(counts) + 1, f"{sum(counts)} instructions and {len(starts) - 1} lines"
    found, first = [], 0
    for count in counts:
        found.append(text[starts[first] : starts[first + count]])
        first += count
    return found


def _instructions(cubin: bytes) -> Iterator[bytes]:
    """The sections .text.* of an ELF file of 64 bits."""
    (at,) = struct.unpack_from("<Q", cubin, 0x28)
    size, n, names = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", cubin, at + k * size) for k in range(n)]
    for name, _, _, _, start, n_bytes in sections:
        if cubin.startswith(b".text.", sections[names][4] + name):
            yield cubin[start : start + n_bytes]
