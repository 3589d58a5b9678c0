"""NDArray: a dense array in host memory, with the operators and methods of MXNet's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from symc.context import Context, current_context
from symc.core.dtypes import dtype_name
from symc.core.errors import ArgumentError, ArgumentTypeError, ShapeError, SymcError

from . import elementwise as ew
from .elementwise import NUMBERS, Binary, store
from .indexing import is_advanced, is_whole, numpy_index
from .reshape import infer_reshape
from .storage import Storage, empty_aligned


class NDArray:
    """A dense, C-contiguous array in host memory, which it owns (64-byte aligned) or shares with the array it views.

    `x[i]`, `x[a:b]` and `reshape` share memory: writing to one writes to all. Arithmetic keeps the dtype of the array;
    two arrays must agree in dtype and broadcast. Methods named after operators are added from the operator registry.

    `_data` is the NumPy array inside, `_address` its first byte. Whoever writes to the memory other than through this
    class calls `_touch()` afterwards.
    """

    __slots__ = ("__weakref__", "_context", "_data", "_first_byte", "_grad", "_storage")
    __array_priority__ = 1000.0  # numpy_scalar * x asks x

    def __init__(self, data: np.ndarray, context: Context | None = None, storage: Storage | None = None) -> None:
        """Wraps `data` (C-contiguous, writable) without a copy; a view passes the storage it shares.

        Raises SymcError for a device whose memory symc cannot allocate, ArgumentTypeError for what is no device.
        """
        self._context = current_context() if context is None else context
        if not isinstance(self._context, Context):
            raise ArgumentTypeError(f"expected a Context such as cpu(0), got {context!r}")
        if self._context.device_type == "gpu":
            raise SymcError(f"cannot hold an NDArray on {self._context}: num_gpus() is 0; use cpu()")
        self._data = data
        self._first_byte: int | None = None
        self._storage = Storage() if storage is None else storage
        self._grad: NDArray | None = None

    @classmethod
    def _copy_of(cls, data: np.ndarray, context: Context | None = None, dtype: np.dtype | None = None) -> NDArray:
        """A new array with the contents of `data`, cast to `dtype`."""
        result = empty_aligned(data.shape, data.dtype if dtype is None else dtype)
        store(result, ..., data)
        return cls(result, context)

    def _view(self, data: np.ndarray) -> NDArray:
        """An array over `data`, a contiguous part of this array's memory."""
        return NDArray(data, self._context, self._storage)

    @property
    def _address(self) -> int:
        """The address of the first byte, asked of NumPy once (1.2 us) and only when somebody wants it."""
        if self._first_byte is None:
            self._first_byte = self._data.ctypes.data
        return self._first_byte

    def _touch(self) -> None:
        """Records that the memory was written."""
        self._storage.touch()

    @property
    def _version(self) -> int:
        """The number of the last write to the memory; equal numbers mean that nothing was written between."""
        return self._storage.version

    # What it is.

    @property
    def shape(self) -> tuple[int, ...]:
        """The extent of each dimension."""
        return self._data.shape

    @property
    def dtype(self) -> type[np.generic]:
        """The element type as a NumPy class, `numpy.float32` for instance."""
        return self._data.dtype.type

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._data.ndim

    @property
    def context(self) -> Context:
        """The device that holds the array."""
        return self._context

    ctx = context

    @property
    def stype(self) -> str:
        """The storage type: always "default", dense."""
        return "default"

    @property
    def writable(self) -> bool:
        """Whether the array may be assigned to: always True."""
        return True

    @property
    def grad(self) -> NDArray | None:
        """The gradient buffer attached to this array, or None."""
        return self._grad

    @property
    def T(self) -> NDArray:
        """A copy with the axes in reverse order; the array itself below two dimensions."""
        return self if self.ndim < 2 else NDArray._copy_of(self._data.T, self._context)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[NDArray]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.size > 1:
            raise ArgumentError("The truth value of an NDArray with multiple elements is ambiguous.")
        return bool(self.size and self.asscalar())

    def __repr__(self) -> str:
        extents = "x".join(map(str, self.shape))
        return f"\n{self._data}\n<{type(self).__name__} {extents} @{self._context}>"

    __hash__ = object.__hash__

    # Its contents, elsewhere.

    def asnumpy(self) -> np.ndarray:
        """A copy as a NumPy array."""
        return self._data.copy()

    def asscalar(self) -> Any:
        """The one element as a NumPy scalar; raises ArgumentError for any other number of elements."""
        if self.size != 1:
            raise ArgumentError("The current array is not a scalar")
        return self._data.reshape(-1)[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """For `np.asarray(x)`: the memory itself, read-only, where no cast or copy is asked for."""
        if copy or (dtype is not None and np.dtype(dtype) != self._data.dtype):
            if copy is False:
                raise ArgumentError(f"{self._data.dtype} cannot become {np.dtype(dtype)} without a copy")
            return self._data.astype(self._data.dtype if dtype is None else dtype)
        view = self._data.view()
        view.flags.writeable = False
        return view

    def __dlpack__(self, **options: Any) -> Any:
        """A DLPack capsule of the memory itself; after writing to it elsewhere, call `_touch()`."""
        return self._data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._data, self._context.device_type, self._context.device_id)

    def astype(self, dtype: Any, copy: bool = True) -> NDArray:
        """A copy with another dtype; with `copy=False` the array itself where the dtype is that already."""
        target = np.dtype(dtype_name(dtype))
        if not copy and target == self._data.dtype:
            return self
        return NDArray._copy_of(self._data, self._context, target)

    def copy(self) -> NDArray:
        """A copy on the same device."""
        return NDArray._copy_of(self._data, self._context)

    def copyto(self, other: NDArray | Context) -> NDArray | bool:
        """Copies into another array of this shape (cast to its dtype) or to a new one on a device; gives that array.

        Copying an array to itself warns and gives False. Raises ShapeError where the shapes differ.
        """
        if isinstance(other, Context):
            return NDArray._copy_of(self._data, other)
        if not isinstance(other, NDArray):
            raise ArgumentTypeError(f"copyto does not support type {type(other)}")
        if other is self:
            warnings.warn("You are attempting to copy an array to itself", RuntimeWarning, stacklevel=2)
            return False
        if other.shape != self.shape:
            raise ShapeError(f"copyto: cannot copy an array of shape {self.shape} to one of shape {other.shape}")
        store(other._data, ..., self._data)
        other._touch()
        return other

    def as_in_context(self, context: Context) -> NDArray:
        """The array itself if it is on that device, or a copy there."""
        return self if context == self._context else NDArray._copy_of(self._data, context)

    def detach(self) -> NDArray:
        """An array over the same memory without a gradient."""
        return self._view(self._data)

    def wait_to_read(self) -> None:
        """Returns at once: every write is finished when the call that made it returns."""

    # Shape.

    def reshape(self, *shape: Any, **options: Any) -> NDArray:
        """A view with another shape of the same size, as a tuple or as numbers, with MXNet's codes 0, -1, -2, -3, -4.

        `reverse=True` matches the codes from the right; `shape=` may be given by name. Raises ArgumentError when the
        sizes differ.
        """
        unknown = sorted(options.keys() - {"shape", "reverse"})
        if unknown:
            raise ArgumentTypeError(f"Got unknown keywords in reshape: {', '.join(unknown)}.")
        if len(shape) == 1 and isinstance(shape[0], (list, tuple)):
            shape = tuple(shape[0])
        elif not shape:
            assert options.get("shape"), "Shape must be provided."
            shape = tuple(options["shape"])
        return self._view(self._data.reshape(infer_reshape(self.shape, shape, bool(options.get("reverse", False)))))

    def expand_dims(self, axis: int, inplace: bool = False) -> NDArray:
        """A copy, or with `inplace` a view, with a dimension of 1 inserted at `axis`."""
        if not -self.ndim - 1 <= axis <= self.ndim:
            raise ArgumentError(f"expand_dims: axis {axis} is out of range for an array of {self.ndim} dimensions")
        view = self._view(np.expand_dims(self._data, axis))
        return view if inplace else view.copy()

    def squeeze(self, axis: int | tuple[int, ...] | None = None, inplace: bool = False) -> NDArray:
        """A copy, or with `inplace` a view, without dimensions of 1 (all, or those named); at least (1,) is left."""
        try:
            squeezed = np.squeeze(self._data, axis if axis is None or isinstance(axis, int) else tuple(axis))
        except ValueError as error:
            raise ArgumentError(f"squeeze: {error}; the shape is {self.shape}") from None
        view = self._view(squeezed.reshape(squeezed.shape or (1,)))
        return view if inplace else view.copy()

    def flatten(self, inplace: bool = False) -> NDArray:
        """A copy, or with `inplace` a view, of shape (first dimension, all others together)."""
        view = self._view(self._data.reshape(self.shape[0], math.prod(self.shape[1:])))
        return view if inplace else view.copy()

    # Parts.

    def __getitem__(self, key: Any) -> NDArray:
        """The part of the array that `key` selects, by NumPy's rules except that there are no masks.

        It shares memory where the part is contiguous and selected by numbers and slices, else it is a copy; a single
        element has shape (1,). Raises IndexError outside the array, ArgumentError for a key of another kind.
        """
        if is_whole(key):
            return self
        index = numpy_index(key, NDArray)
        part = self._data[index]
        part = part.reshape(part.shape or (1,))
        if part.flags.c_contiguous and not is_advanced(index):
            return self._view(part)
        return NDArray._copy_of(part, self._context)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Writes a number, an array or nested lists, broadcast and cast, into the part that `key` selects.

        Raises as `x[key]` does, ValueError where the value does not broadcast, ArgumentTypeError where it is no array.
        """
        index = (Ellipsis,) if is_whole(key) else numpy_index(key, NDArray)
        store(self._data, index, as_numpy(value))
        self._touch()

    # Arithmetic.

    def _update(self, op: Binary, other: Any) -> NDArray:
        """Writes `op(self, other)` into this array."""
        binary(op, self, other, out=self)
        return self

    def __add__(self, other: Any) -> Any:
        return binary(ew.ADD, self, other)

    def __radd__(self, other: Any) -> Any:
        return binary(ew.ADD, other, self)

    def __iadd__(self, other: Any) -> NDArray:
        return self._update(ew.ADD, other)

    def __sub__(self, other: Any) -> Any:
        return binary(ew.SUBTRACT, self, other)

    def __rsub__(self, other: Any) -> Any:
        return binary(ew.SUBTRACT, other, self)

    def __isub__(self, other: Any) -> NDArray:
        return self._update(ew.SUBTRACT, other)

    def __mul__(self, other: Any) -> Any:
        return binary(ew.MULTIPLY, self, other)

    def __rmul__(self, other: Any) -> Any:
        return binary(ew.MULTIPLY, other, self)

    def __imul__(self, other: Any) -> NDArray:
        return self._update(ew.MULTIPLY, other)

    def __truediv__(self, other: Any) -> Any:
        return binary(ew.DIVIDE, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return binary(ew.DIVIDE, other, self)

    def __itruediv__(self, other: Any) -> NDArray:
        return self._update(ew.DIVIDE, other)

    def __mod__(self, other: Any) -> Any:
        return binary(ew.MODULO, self, other)

    def __rmod__(self, other: Any) -> Any:
        return binary(ew.MODULO, other, self)

    def __imod__(self, other: Any) -> NDArray:
        return self._update(ew.MODULO, other)

    def __pow__(self, other: Any) -> Any:
        return binary(ew.POWER, self, other)

    def __rpow__(self, other: Any) -> Any:
        return binary(ew.POWER, other, self)

    def __eq__(self, other: object) -> Any:
        return binary(ew.EQUAL, self, other)

    def __ne__(self, other: object) -> Any:
        return binary(ew.NOT_EQUAL, self, other)

    def __gt__(self, other: Any) -> Any:
        return binary(ew.GREATER, self, other)

    def __ge__(self, other: Any) -> Any:
        return binary(ew.GREATER_EQUAL, self, other)

    def __lt__(self, other: Any) -> Any:
        return binary(ew.LESSER, self, other)

    def __le__(self, other: Any) -> Any:
        return binary(ew.LESSER_EQUAL, self, other)

    def __neg__(self) -> Any:
        return binary(ew.MULTIPLY, self, -1)

    def __abs__(self) -> NDArray:
        return NDArray._copy_of(np.abs(self._data), self._context)


def binary(op: Binary, lhs: Any, rhs: Any, out: NDArray | None = None) -> Any:
    """`op` of two arrays, of an array and a number (an NDArray of the array's dtype), or of two numbers (a number).

    The result goes to `out` if given, which must have its shape and dtype. Raises ArgumentTypeError for other operands,
    ShapeError and DTypeError where the arrays do not fit.
    """
    for operand in (lhs, rhs):
        if not isinstance(operand, (NDArray, *NUMBERS)):
            raise ArgumentTypeError(f"type {type(operand)} not supported")
    if isinstance(lhs, NDArray):
        context = lhs._context
        a, b = (lhs._data, rhs._data) if isinstance(rhs, NDArray) else ew.with_scalar(lhs._data, rhs)
    elif isinstance(rhs, NDArray):
        context = rhs._context
        b, a = ew.with_scalar(rhs._data, lhs)
    else:
        return op.on_numbers(lhs, rhs)
    shape = op.result_shape(a, b)
    if out is None:
        out = NDArray(empty_aligned(shape or (1,), a.dtype), context)
    elif out.shape != shape or out._data.dtype != a.dtype:
        raise ShapeError(f"{op.name}: the result {shape} {a.dtype} does not fit {out.shape} {out._data.dtype}")
    op(a, b, out._data)
    out._touch()
    return out


def as_numpy(value: Any) -> np.ndarray:
    """The NumPy array of an NDArray (its memory), a number, or anything array-like; else ArgumentTypeError."""
    if isinstance(value, NDArray):
        return value._data
    try:
        array = np.asarray(value)
        return array if array.dtype.kind in "fiub" else array.astype(np.float64)
    except (TypeError, ValueError):
        raise ArgumentTypeError(
            f"expected a number or an array-like object, got {value!r} of type {type(value)}"
        ) from None


def _restore(data: np.ndarray, device_type: str, device_id: int) -> NDArray:
    """Rebuilds an unpickled array."""
    return NDArray._copy_of(data, Context(device_type, device_id))
