"""Files of arrays by suffix: MXNet's .params, .safetensors, NumPy's .npz (and a single .npy to read)."""

from __future__ import annotations

import importlib
import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.core.dtypes import dtype_name
from symc.core.errors import ArgumentError, DTypeError, FormatError, SymcError
from symc.core.reading import contents

if TYPE_CHECKING:
    from symc.ndarray import NDArray

OTHER_SUFFIXES = (".safetensors", ".npz")  # all else is taken for .params
# What safetensors calls the dtypes that arrays may have here; bfloat16 is widened to float32.
SAFETENSORS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U64": "<u8",
    "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "?", "BF16": "<u2",
}  # fmt: skip
NPY_MAGIC = b"\x93NUMPY"
PREAMBLE_BYTES = 12  # of an .npy file: magic, version, length of the header
# What NumPy, its header's tokenizer, zipfile (RuntimeError: encrypted) and zlib raise for damaged files.
NOT_NUMPY = (
    ValueError, EOFError, OSError, KeyError, AttributeError, RuntimeError, OverflowError, zipfile.BadZipFile,
    zlib.error, tokenize.TokenError,
)  # fmt: skip


def load_arrays(path: Path) -> dict[str, NDArray] | list[NDArray]:
    """The arrays of a .params, .safetensors or .npz file; a list when a .params file has no names.

    Raises FormatError for a damaged file, SymcError where it cannot be opened or the package for it is not installed.
    """
    from symc.ndarray import array, load

    if path.suffix not in OTHER_SUFFIXES:
        return load(str(path))
    found = _read_safetensors(path) if path.suffix == ".safetensors" else read_numpy(path)
    try:
        return {name: array(value, dtype=dtype_name(value.dtype)) for name, value in found.items()}
    except DTypeError as error:
        raise FormatError(f"{path}: {error}") from None


def save_arrays(path: Path, suffix: str, arrays: Mapping[str, NDArray] | Sequence[NDArray]) -> None:
    """Writes arrays in the format that `suffix` names; what has no names gets "0", "1" ... where names are needed.

    Raises SymcError where the package for it is not installed, OSError as writing does.
    """
    if suffix not in OTHER_SUFFIXES:
        from symc.ndarray.serialize import dumps

        path.write_bytes(dumps(dict(arrays) if isinstance(arrays, Mapping) else list(arrays)))
        return
    named = arrays if isinstance(arrays, Mapping) else {str(k): a for k, a in enumerate(arrays)}
    values = {name: np.ascontiguousarray(a.asnumpy()).reshape(a.shape) for name, a in named.items()}
    if suffix == ".safetensors":
        _safetensors(".numpy").save_file(values, str(path))
        return
    write_npz(path, values)


def write_npz(path: Path, values: Mapping[str, np.ndarray]) -> None:
    """Writes an .npz file; numpy.savez takes names as keywords, so not all of them."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in values.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, value, allow_pickle=False)


def read_numpy(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, or the one of an .npy file as {"": array}.

    Raises FormatError when the file is damaged, or claims more bytes than it holds; objects are never unpickled.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(PREAMBLE_BYTES)
            if start and not start.startswith((b"PK", NPY_MAGIC)):  # NumPy would take it for a pickle
                raise ValueError(f"it starts with {start[:6]!r}, expected {NPY_MAGIC!r}")
            if not start.startswith(b"PK"):
                _check_header(start, path.stat().st_size)
                # A memory map believes no size that the file does not have; object arrays (pickles) are refused.
                return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
            with zipfile.ZipFile(file) as archive:
                return {m.filename.removesuffix(".npy"): _read_member(archive, m) for m in archive.infolist()}
    except NOT_NUMPY as error:
        raise FormatError(f"{path}: not a NumPy file of numbers: {error}") from None


def read_numbers(path: Path, name: str) -> dict[str, np.ndarray]:
    """Inputs by name: all arrays of an .npz file, or the one of an .npy file under `name`.

    Raises FormatError as `read_numpy`, ArgumentError for an array of something else than numbers, or without any.
    """
    found = {key or name: array for key, array in read_numpy(path).items()}
    for key, array in found.items():
        if array.dtype.kind not in "fiub":
            raise ArgumentError(f"{path}: input {key} has dtype {array.dtype}, expected numbers")
        if not array.shape or not array.size:
            raise ArgumentError(
                f"{path}: input {key} has shape {array.shape}, expected at least one axis and one element"
            )
    return found


def _check_header(start: bytes, size_bytes: int) -> None:
    """NumPy allocates as many bytes for the header as a file claims it has: no more than the file has are allowed."""
    header_bytes = int.from_bytes(start[8 : 10 if start[6:7] == b"\x01" else PREAMBLE_BYTES], "little")
    if start.startswith(NPY_MAGIC) and header_bytes > size_bytes:
        raise ValueError(f"a header of {header_bytes} bytes in {size_bytes} bytes")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array of an .npz file, when the member holds as many bytes as its header says: NumPy allocates first."""
    with archive.open(member) as file:
        _check_header(file.read(PREAMBLE_BYTES), member.file_size)
    with archive.open(member) as file:
        is_old = np.lib.format.read_magic(file) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if is_old else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    size_bytes = math.prod(shape) * dtype.itemsize
    if not 0 <= size_bytes <= member.file_size:
        raise ValueError(f"{member.filename}: {size_bytes} bytes of values in {member.file_size} bytes")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    package = _safetensors()
    try:
        found = package.deserialize(contents(path))
    except package.SafetensorError as error:
        raise FormatError(f"{path}: not a safetensors file: {error}") from None
    return {name: _safetensor(f"{path}: array {name!r}", view) for name, view in found}


def _safetensor(what: str, view: Mapping[str, Any]) -> np.ndarray:
    if view["dtype"] not in SAFETENSORS:
        raise FormatError(f"{what} has dtype {view['dtype']}; expected one of {', '.join(SAFETENSORS)}")
    values = np.frombuffer(view["data"], SAFETENSORS[view["dtype"]]).reshape(view["shape"])
    if view["dtype"] == "BF16":
        return np.left_shift(values, 16, dtype=np.uint32).view(np.float32)
    return values


def _safetensors(module: str = "") -> ModuleType:
    try:
        return importlib.import_module("safetensors" + module)
    except ImportError:
        raise SymcError(".safetensors files need the package safetensors: pip install safetensors") from None
