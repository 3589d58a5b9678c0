"""MXNet's .params files: NDArrays with or without names, written as MXNet 1.9 does and read in all its versions.

    u64 0x112 | u64 reserved | u64 n_arrays | records | u64 n_names (0 or n_arrays) | n_names x (u64 length, bytes)

    record V2, V3  u32 magic | i32 stype | [sparse: stored shape] | shape | i32 device, i32 number | i32 dtype
                   | [sparse: per index array i32 dtype, shape] | values | [sparse: index arrays]
    record V1      u32 magic | shape | i32 device, i32 number | i32 dtype | values
    record V0      u32 n_dims, n_dims x u32 | i32 device, i32 number | i32 dtype | values
    shape          i32 n_dims, n_dims x i64

A V2 record without dimensions (V3: with a negative number of them) ends after its shape: an array without contents,
read as one of shape (0,). Sparse arrays become dense, bfloat16 becomes float32, and every array is put on `cpu(0)`.
Source of the layout: src/ndarray/ndarray.cc of MXNet 1.9.1.
"""

from __future__ import annotations

import io
import math
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, NoReturn

import numpy as np

from symc.context import cpu
from symc.core.dtypes import BFLOAT16_CODE, code_of, dtype_of
from symc.core.errors import ArgumentError, ArgumentTypeError, DTypeError, FormatError
from symc.core.reading import reading, size_of
from symc.core.replacing import writing
from symc.util import is_np_shape

from .ndarray import NDArray
from .storage import empty_aligned, zeros_aligned

FILE_MAGIC = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
DENSE, ROW_SPARSE, CSR = 0, 1, 2

N_DIMS_LIMIT = 32
# A size of 0 lets the other sizes say anything, and NumPy refuses what it could not address.
N_ELEMENTS_LIMIT = 1 << 59
# The sparse arrays of a file may grow to this many times its size, or to the second number of bytes if that is more.
DENSE_GROWTH_LIMIT = 1024
DENSE_SIZE_FLOOR_BYTES = 1 << 20

Arrays = list[NDArray] | dict[str, NDArray]


def load(fname: str | os.PathLike[str]) -> Arrays:
    """The arrays of a file: a dict if they have names, else a list.

    Raises SymcError where the file cannot be opened and FormatError, with the byte offset, where it is damaged.
    """
    if not isinstance(fname, (str, os.PathLike)):
        raise ArgumentTypeError("fname required to be a string")
    with reading(fname) as file:
        return _Reader(file, size_of(file), os.fspath(fname)).arrays()


def load_named(fname: str | os.PathLike[str]) -> dict[str, NDArray]:
    """The arrays of a file by name, as `load`; raises FormatError where they have no names."""
    loaded = load(fname)
    if loaded and not isinstance(loaded, dict):
        raise FormatError(f"{os.fspath(fname)}: the arrays have no names; expected those of parameters")
    return dict(loaded)


def load_frombuffer(buf: bytes | bytearray | memoryview) -> Arrays:
    """The arrays of a file's contents in memory, as `load`."""
    if not isinstance(buf, (bytes, bytearray, memoryview)):
        raise ArgumentTypeError("buf required to be a string or bytes")
    return _Reader(io.BytesIO(buf), memoryview(buf).nbytes, "<buffer>").arrays()


def save(fname: str | os.PathLike[str], data: NDArray | Sequence[NDArray] | Mapping[str, NDArray]) -> None:
    """Writes one array, a list of arrays or a dict of names to arrays, byte for byte as MXNet does.

    An array of shape () is written as a V1 record, which MXNet reads; what MXNet itself writes for it cannot be read.
    A file of that name stays as it is until the new one is whole. Raises SymcError where it cannot be written.
    """
    names, arrays = _names_and_arrays(data)
    with writing(fname) as file:
        _write(file, names, arrays)


def dumps(data: NDArray | Sequence[NDArray] | Mapping[str, NDArray]) -> bytes:
    """What `save` writes, as bytes; `load_frombuffer` reads it."""
    file = io.BytesIO()
    _write(file, *_names_and_arrays(data))
    return file.getvalue()


def _names_and_arrays(data: Any) -> tuple[list[str], list[NDArray]]:
    """What a file holds; a file of unnamed arrays has no names."""
    if isinstance(data, NDArray):
        data = [data]
    if not isinstance(data, (list, dict)):
        raise ArgumentError("data needs to either be a NDArray, dict of str, NDArray pairs or a list of NDarrays.")
    names = list(data) if isinstance(data, dict) else []
    arrays = list(data.values()) if isinstance(data, dict) else data
    if not all(isinstance(name, str) for name in names) or not all(isinstance(a, NDArray) for a in arrays):
        raise ArgumentTypeError("save only accept dict str->NDArray or list of NDArray")
    return names, arrays


def _write(file: BinaryIO, names: Sequence[str], arrays: Sequence[NDArray]) -> None:
    file.write(struct.pack("<3Q", FILE_MAGIC, 0, len(arrays)))
    for a in arrays:
        _write_record(file, a)
    file.write(struct.pack("<Q", len(names)))
    for name in names:
        encoded = name.encode()
        file.write(struct.pack("<Q", len(encoded)) + encoded)


def _write_record(file: BinaryIO, a: NDArray) -> None:
    if is_np_shape():  # under it MXNet reads no other version, and without it not this one
        version = struct.pack("<Ii", V3, DENSE)
    else:
        version = struct.pack("<Ii", V2, DENSE) if a.ndim else struct.pack("<I", V1)
    shape = struct.pack(f"<i{a.ndim}q", a.ndim, *a.shape)
    device = struct.pack("<3i", a.context.device_typeid, a.context.device_id, code_of(a.dtype))
    file.write(version + shape + device)
    file.write(a._host.reshape(-1).view(np.uint8).data)


def record_of(array: NDArray) -> bytes:
    """The record of one array, as MXNet's pickled arrays hold it."""
    file = io.BytesIO()
    _write_record(file, array)
    return file.getvalue()


def from_record(record: bytes | bytearray) -> NDArray:
    """The array of a record; raises FormatError where it is damaged."""
    return _Reader(io.BytesIO(record), len(record), "<record>").record()


class _Reader:
    """Reads a .params file whose every number may be a lie: no size is believed beyond the bytes that are there."""

    def __init__(self, file: BinaryIO, size_bytes: int, name: str) -> None:
        self.file = file
        self.size_bytes = size_bytes
        self.name = name
        self.offset = 0
        self.growth_left_bytes = max(DENSE_SIZE_FLOOR_BYTES, DENSE_GROWTH_LIMIT * size_bytes)

    def arrays(self) -> Arrays:
        magic, _, n_arrays = self.numbers("3Q", "the file header")
        if magic != FILE_MAGIC:
            self.fail(f"magic number {magic:#x}, expected {FILE_MAGIC:#x}", at=0)
        self.require(n_arrays * 4, f"{n_arrays} arrays")
        arrays = [self.record() for _ in range(n_arrays)]
        (n_names,) = self.numbers("Q", "the number of names")
        if n_names not in (0, n_arrays):
            self.fail(f"{n_names} names for {n_arrays} arrays", at=self.offset - 8)
        return dict(zip([self.array_name() for _ in range(n_names)], arrays)) if n_names else arrays

    def record(self) -> NDArray:
        start = self.offset
        (magic,) = self.numbers("I", "an array's magic number")
        if magic <= N_DIMS_LIMIT:
            return self.dense(self.dims(magic, "I"))  # V0 has no magic number: this is its number of dimensions
        if magic == V1:
            return self.dense(self.shape())
        if magic not in (V2, V3):
            self.fail(f"array magic number {magic:#x}", at=start)
        (stype,) = self.numbers("i", "a storage type")
        if stype not in (DENSE, ROW_SPARSE, CSR):
            self.fail(f"storage type {stype}, expected 0 (dense), 1 (row_sparse) or 2 (csr)", at=start + 4)
        stored_shape = () if stype == DENSE else self.shape()
        shape = self.shape(none_allowed=magic)
        if shape is None:
            return _wrap(empty_aligned((0,), np.dtype(np.float32)))
        return self.dense(shape) if stype == DENSE else self.sparse(stype, stored_shape, shape)

    def dense(self, shape: tuple[int, ...]) -> NDArray:
        self.numbers("2i", "a device")
        return _wrap(self.values(shape, self.dtype_code()))

    def sparse(self, stype: int, stored_shape: tuple[int, ...], shape: tuple[int, ...]) -> NDArray:
        start = self.offset
        self.numbers("2i", "a device")
        code = self.dtype_code()
        heads = [(self.dtype_code(), self.shape()) for _ in range(stype)]  # row_sparse has one index array, csr two
        values = self.values(stored_shape, code)
        indices = [self.values(index_shape, index_code) for index_code, index_shape in heads]
        if not all(index.dtype.kind in "iu" and index.ndim == 1 for index in indices):
            self.fail("an index array of a sparse array is not a vector of integers", at=start)
        dense_bytes = math.prod(shape) * values.dtype.itemsize
        if dense_bytes > self.growth_left_bytes:
            self.fail(f"a sparse array of shape {shape} would take {dense_bytes} bytes when dense", at=start)
        self.growth_left_bytes -= dense_bytes
        result = zeros_aligned(shape, values.dtype)
        problem = (_fill_rows if stype == ROW_SPARSE else _fill_csr)(result, values, indices)
        if problem:
            self.fail(f"sparse array of shape {shape}, stored {stored_shape}: {problem}", at=start)
        return _wrap(result)

    def values(self, shape: tuple[int, ...], code: int) -> np.ndarray:
        """The next array of raw values, in memory of its own."""
        dtype = np.dtype(np.uint16) if code == BFLOAT16_CODE else dtype_of(code)
        self.require(math.prod(shape) * dtype.itemsize, f"the values of a {dtype} array of shape {shape}")
        result = empty_aligned(shape, dtype)
        flat = result.reshape(-1).view(np.uint8)
        if self.file.readinto(flat.data) != flat.size:
            self.fail("the file ended while it was read")
        self.offset += flat.size
        if code == BFLOAT16_CODE:
            widened = empty_aligned(shape, np.dtype(np.float32))
            np.left_shift(result, 16, out=widened.view(np.uint32), dtype=np.uint32)
            return widened
        if dtype == np.bool_:
            np.not_equal(flat, 0, out=result.reshape(-1))  # a bool of another value than 0 and 1 confuses NumPy
        return result

    def dtype_code(self) -> int:
        (code,) = self.numbers("i", "a dtype")
        if code != BFLOAT16_CODE:
            try:
                dtype_of(code)
            except DTypeError as error:
                self.fail(str(error), at=self.offset - 4)
        return code

    def shape(self, none_allowed: int | None = None) -> Any:
        """A shape; None for "no array here" where the record's version, given in `none_allowed`, has it."""
        (n_dims,) = self.numbers("i", "a number of dimensions")
        if (none_allowed == V2 and n_dims == 0) or (none_allowed == V3 and n_dims < 0):
            return None
        return self.dims(n_dims, "q")

    def dims(self, n_dims: int, kind: str) -> tuple[int, ...]:
        if not 0 <= n_dims <= N_DIMS_LIMIT:
            self.fail(f"{n_dims} dimensions, expected at most {N_DIMS_LIMIT}", at=self.offset - 4)
        start = self.offset
        dims = self.numbers(f"{n_dims}{kind}", "a shape")
        if any(size < 0 for size in dims):
            self.fail(f"shape {dims} has a negative size", at=start)
        if math.prod(size or 1 for size in dims) > N_ELEMENTS_LIMIT:
            self.fail(f"shape {dims} is too large", at=start)
        return dims

    def array_name(self) -> str:
        (length,) = self.numbers("Q", "the length of a name")
        raw = self.take(length, "a name")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.fail(f"name {raw[:40]!r} is not UTF-8", at=self.offset - length)

    def numbers(self, layout: str, what: str) -> tuple[int, ...]:
        """The next little-endian integers, `struct` letters in `layout`."""
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout), what))

    def take(self, n_bytes: int, what: str) -> bytes:
        self.require(n_bytes, what)
        raw = self.file.read(n_bytes)
        if len(raw) != n_bytes:
            self.fail("the file ended while it was read")
        self.offset += n_bytes
        return raw

    def require(self, n_bytes: int, what: str) -> None:
        left = self.size_bytes - self.offset
        if n_bytes > left:
            self.fail(f"expected {n_bytes} bytes of {what}, {left} are left")

    def fail(self, problem: str, at: int | None = None) -> NoReturn:
        offset = self.offset if at is None else at
        raise FormatError(f"{self.name}: Invalid NDArray file format at byte {offset}: {problem}")


def _fill_rows(dense: np.ndarray, values: np.ndarray, indices: list[np.ndarray]) -> str | None:
    """Writes the rows of a row_sparse array into `dense`; gives what is wrong with them, if anything."""
    (rows,) = indices
    if not dense.ndim or values.shape != (rows.size, *dense.shape[1:]):
        return f"{rows.size} row numbers"
    if rows.size and not (0 <= rows.min() and rows.max() < len(dense)):
        return "a row number is out of range"
    dense[rows] = values
    return None


def _fill_csr(dense: np.ndarray, values: np.ndarray, indices: list[np.ndarray]) -> str | None:
    """Writes the elements of a csr array into `dense`; gives what is wrong with them, if anything."""
    starts, columns = indices
    if dense.ndim != 2 or values.shape != columns.shape:
        return f"{columns.size} column numbers"
    if columns.size and not (0 <= columns.min() and columns.max() < dense.shape[1]):
        return "a column number is out of range"
    if not columns.size and not starts.any():
        return None  # MXNet may store a single start for an empty array
    starts = starts.astype(np.int64)
    lengths = starts[1:] - starts[:-1]
    if len(lengths) != len(dense) or starts[0] != 0 or lengths.min() < 0 or starts[-1] != columns.size:
        return "the row starts do not ascend from 0 to the number of elements"
    dense[np.repeat(np.arange(len(dense)), lengths), columns] = values
    return None


def _wrap(data: np.ndarray) -> NDArray:
    return NDArray(data, cpu())
