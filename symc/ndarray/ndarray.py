"""NDArray: a dense array in host memory, with the operators and methods of MXNet's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.context import DEVICES, Context, current_context
from symc.core.divided import rest_of
from symc.core.dtypes import dtype_name
from symc.core.errors import AllocationError, ArgumentError, ArgumentTypeError, ConflictError, ElementError, ShapeError
from symc.core.shapes import require_axes
from symc.util import number_shape

from . import tape
from .casting import store
from .fit import require_usable
from .indexing import box, is_advanced, is_whole, numpy_index, picked, recorded_box, written_index
from .located import Located
from .operators import add_operators, call, recorded
from .reshape_codes import infer_reshape
from .storage import WriteCounter, allocation, empty_aligned, require_dense, zeros_aligned

if TYPE_CHECKING:
    from .tape import Made

__getattr__ = rest_of(__name__)  # array, zeros ...
CPU = Context.devstr2type["cpu"]
_STORAGE_TYPE_STR_TO_ID = {"undefined": -1, "default": 0, "row_sparse": 1, "csr": 2}  # for scripts; all are dense
py_slice = slice  # scripts import it from here: the method `slice` hides the builtin inside the class


@add_operators
class NDArray(Located):
    """A dense, C-contiguous array in host memory, which it owns or shares with the array it views.

    `x[i]`, `x[a:b]` and `reshape` share memory: writing to one writes to all. Arithmetic keeps the dtype of the array;
    two arrays must agree in dtype and broadcast. Methods named after operators are added from the operator registry.

    Where it lies, and how its contents are read and written there: `Located`.
    """

    __slots__ = ("_fresh_grad", "_grad", "_grad_req", "_made")
    __array_priority__ = 1000.0  # numpy_scalar * x asks x

    def __init__(
        self, data: np.ndarray | None, context: Context | None = None, storage: WriteCounter | None = None
    ) -> None:
        """Wraps `data` without a copy; a view passes the storage it shares. None is for pickles of MXNet's alone, which
        give the contents afterwards, to `__setstate__`.

        Raises SymcError for a device that symc has no backend for, ArgumentTypeError for what is no device,
        ArgumentError for memory that is not C-contiguous, aligned, writable and in native byte order.
        """
        data = np.empty(0, np.float32) if data is None else require_usable(data)
        place = current_context() if context is None else context
        if not isinstance(place, Context):
            raise ArgumentTypeError(f"expected a Context such as cpu(0), got {context!r}")
        if place.device_typeid not in DEVICES:
            place.require_device()  # raises
        self._hold(data, place, storage)

    def _hold(self, data: np.ndarray, context: Context, storage: WriteCounter | None) -> None:
        if context.device_typeid != CPU:
            from .on_device import placed

            self.__class__, storage = placed(data, context, storage)
        self._settle(data, context, storage)
        self._grad: NDArray | None = None
        self._grad_req = "null"
        self._fresh_grad = False  # whether a backward has written the gradient; trainers set it back
        self._made: Made | None = None  # the recorded operator whose result this is

    @classmethod
    def _over(cls, data: np.ndarray, context: Context, storage: WriteCounter | None = None) -> NDArray:
        """An array over memory that symc has allocated itself, for a context that has a device: nothing to check."""
        made = cls.__new__(cls)
        made._hold(data, context, storage)
        return made

    @classmethod
    def _copy_of(cls, data: np.ndarray, context: Context | None = None, dtype: np.dtype | None = None) -> NDArray:
        """A new array with the contents of `data`, cast to `dtype`."""
        if dtype is None:
            dtype = data.dtype if data.dtype.isnative else data.dtype.newbyteorder("=")
        result = empty_aligned(data.shape, dtype)
        store(result, ..., data)
        return cls(result, context)

    def _view(self, data: np.ndarray) -> NDArray:
        """An array over `data`, a contiguous part of this array's memory."""
        return NDArray._over(data, self._context, self._storage)

    # What it is.

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
        return self if self.ndim < 2 else call("transpose", self)

    def __len__(self) -> int:
        return len(self._memory)

    def __iter__(self) -> Iterator[NDArray]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.size > 1:
            raise ArgumentError("The truth value of an NDArray with multiple elements is ambiguous.")
        return bool(self.size and self.asscalar())

    def __repr__(self) -> str:
        extents = "x".join(map(str, self.shape))
        return f"\n{self._host}\n<{type(self).__name__} {extents} @{self._context}>"

    __hash__ = object.__hash__

    # Its contents, elsewhere.

    def asnumpy(self) -> np.ndarray:
        """A copy as a NumPy array; raises AllocationError where memory is missing."""
        try:
            return self._host.copy()
        except MemoryError as error:
            raise AllocationError(f"asnumpy: {error}") from None

    def asscalar(self) -> Any:
        """The one element as a NumPy scalar; raises ArgumentError for any other number of elements."""
        if self.size != 1:
            raise ArgumentError("The current array is not a scalar")
        return self._host.reshape(-1)[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """For `np.asarray(x)`: the memory itself, read-only, where no cast or copy is asked for."""
        if copy or (dtype is not None and np.dtype(dtype) != self._dtype):
            if copy is False:
                raise ArgumentError(f"{self._dtype} cannot become {np.dtype(dtype)} without a copy")
            return self._host.astype(self._dtype if dtype is None else dtype)
        view = self._host.view()
        view.flags.writeable = False
        return view

    def to_dlpack_for_read(self) -> Any:
        """A DLPack capsule of the memory itself, to be consumed once."""
        return self.__dlpack__()

    to_dlpack_for_write = to_dlpack_for_read

    def __dlpack__(self, **options: Any) -> Any:
        """A DLPack capsule of the memory itself; after writing to it elsewhere, call `_touch()`."""
        return self._host.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._host.__dlpack_device__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._host, self._context.device_type, self._context.device_id)

    def __getstate__(self) -> dict[str, Any]:
        """The state of MXNet's pickled arrays: a record of a .params file."""
        from .serialize import record_of

        return {"handle": bytearray(record_of(self))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes over the state of a pickled array of MXNet; raises FormatError where it is damaged."""
        from .serialize import from_record

        restored = from_record(state["handle"])
        self.__init__(restored._host, restored._context)  # type: ignore[misc]

    def astype(self, dtype: Any, copy: bool = True) -> NDArray:
        """A copy with another dtype; with `copy=False` the array itself where the dtype is that already."""
        target = np.dtype(dtype_name(dtype))
        if not copy and target == self._dtype:
            return self
        if self._leads_to_gradient:
            return call("Cast", self, dtype=target.name)
        return NDArray._copy_of(self._host, self._context, target)

    def copy(self) -> NDArray:
        """A copy on the same device."""
        if self._leads_to_gradient:
            return call("_copy", self)
        return self._copied(self._context)

    def _copy_to(self, context: Context) -> NDArray:
        """A new array on a device, recorded where a gradient may flow back."""
        made = self._copied(context)
        return call("_copy", self, out=made) if self._leads_to_gradient else made

    def _copied(self, context: Context) -> NDArray:
        """A copy on a device, not recorded."""
        return NDArray._copy_of(self._host, context)

    def _room(self) -> NDArray:
        """An array of this shape and dtype on this device, contents undefined, for a program to fill."""
        return NDArray._over(allocation(self._shape, self._dtype)(self._shape, self._dtype), self._context)

    def _plus(self, other: NDArray) -> NDArray:
        """The sum with an array of this shape and dtype, not recorded."""
        total = np.asarray(self._host + other._host)  # of two arrays of shape () NumPy makes a number
        return NDArray._over(total, self._context)

    def _add(self, other: NDArray) -> None:
        """Adds an array of this shape and dtype in place."""
        contents = self._writable()
        contents += other._host
        self._touch()

    def copyto(self, other: NDArray | Context) -> NDArray | bool:
        """Copies into another array of this shape (cast to its dtype) or to a new one on a device; gives that array.

        Copying an array to itself warns and gives False. Raises ShapeError where the shapes differ.
        """
        if isinstance(other, Context):
            return self._copy_to(other)
        if not isinstance(other, NDArray):
            raise ArgumentTypeError(f"copyto does not support type {type(other)}")
        if other is self:
            warnings.warn("You are attempting to copy an array to itself", RuntimeWarning, stacklevel=2)
            return False
        if self._leads_to_gradient:
            return call("Cast", self, dtype=other._dtype.name, out=other)
        if tape.is_recording():
            tape.refuse_in_place([self], [other])
        if other.shape != self.shape:
            raise ShapeError(f"copyto: cannot copy an array of shape {self.shape} to one of shape {other.shape}")
        other._take(self)
        return other

    def as_in_context(self, context: Context) -> NDArray:
        """The array itself if it is on that device, or a copy there."""
        return self if context == self._context else self._copy_to(context)

    as_in_ctx = as_in_context

    def as_nd_ndarray(self) -> NDArray:
        """Itself: every array is of the classic kind."""
        return self

    def as_np_ndarray(self) -> Any:
        """Not available: symc has no `mx.np`; raises ArgumentError."""
        raise ArgumentError("mx.np is not supported; use the arrays of mx.nd")

    def tostype(self, stype: str) -> NDArray:
        """A copy with dense storage, the only kind there is; raises ArgumentError for another."""
        require_dense(stype)
        return self.copy()

    def detach(self) -> NDArray:
        """An array over the same memory without a gradient."""
        return NDArray._over(self._memory, self._context, self._storage)

    def wait_to_read(self) -> None:
        """Returns when the array is complete: at once in the host's memory, where calls return when they are done."""

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
            if not options.get("shape"):
                raise ConflictError("reshape: Shape must be provided.")
            shape = tuple(options["shape"])
        target = infer_reshape(self.shape, shape, bool(options.get("reverse", False)))
        require_axes(target)
        return self._shown("Reshape", self._memory.reshape(target), True, shape=target)

    def _shown(self, op: str, data: np.ndarray, inplace: bool, **params: Any) -> NDArray:
        """This array's memory as `data`, another shape of it: a view or a copy, recorded as an operator."""
        view = self._view(data)
        made = view if inplace else view.copy()
        return recorded(op, self, made, **params) if self._leads_to_gradient else made

    @property
    def _leads_to_gradient(self) -> bool:
        """Whether what is done to this array must be recorded."""
        return tape.is_recording() and tape.source_of(self) is not None

    def expand_dims(self, axis: int, inplace: bool = False) -> NDArray:
        """A copy, or with `inplace` a view, with a dimension of 1 inserted at `axis`."""
        if not -self.ndim - 1 <= axis <= self.ndim:
            raise ArgumentError(f"expand_dims: axis {axis} is out of range for an array of {self.ndim} dimensions")
        require_axes((*self.shape, 1))
        return self._shown("expand_dims", np.expand_dims(self._memory, axis), inplace, axis=axis)

    def squeeze(self, axis: int | tuple[int, ...] | None = None, inplace: bool = False) -> NDArray:
        """A copy, or with `inplace` a view, without dimensions of 1 (all, or those named); at least (1,) is left."""
        try:
            squeezed = np.squeeze(self._memory, axis if axis is None or isinstance(axis, int) else tuple(axis))
        except ValueError as error:
            raise ArgumentError(f"squeeze: {error}; the shape is {self.shape}") from None
        shape = squeezed.shape or (1,)
        return self._shown("Reshape", squeezed.reshape(shape), inplace, shape=shape)

    def flatten(self, inplace: bool = False) -> NDArray:
        """A copy, or with `inplace` a view, of shape (first dimension, all others together)."""
        shape = (self.shape[0], math.prod(self.shape[1:]))
        return self._shown("Flatten", self._memory.reshape(shape), inplace)

    def broadcast_to(self, shape: Sequence[int]) -> NDArray:
        """A copy of another shape by NumPy's rules: where operator broadcast_to cannot, it puts dimensions in front.

        Raises ArgumentError where the array has a dimension of another size than `shape`.
        """
        own, shape = (1,) * (len(shape) - self.ndim) + self.shape, tuple(shape)
        if len(own) != len(shape) or any(n not in (1, extent) for n, extent in zip(own, shape)):
            raise ArgumentError(
                "operands could not be broadcast together with remapped shapes[original->remapped]: "
                f"{own} and requested shape {shape}"
            )
        return call("broadcast_to", self if own == self.shape else self.reshape(own), shape=shape)

    def broadcast_like(self, other: NDArray) -> NDArray:
        """A copy of the shape of `other` by NumPy's rules: where operator broadcast_like cannot, it puts dimensions
        in front. No gradient flows to `other`.
        """
        return self.broadcast_to(other.shape)

    # Parts.

    def __getitem__(self, key: Any) -> NDArray:
        """The part of the array that `key` selects, by NumPy's rules except that there are no masks.

        It shares memory where the part is contiguous and selected by numbers and slices, else it is a copy; a single
        element has shape (1,), () under `np_shape`. Raises ElementError, an IndexError, outside the array,
        ArgumentError for a key of another kind.
        """
        if is_whole(key):
            return self
        index = numpy_index(key, NDArray)
        try:
            return self._part(index)
        except IndexError as error:
            raise ElementError(f"{error}; the shape is {self._shape}") from None

    def _part(self, index: tuple[Any, ...]) -> NDArray:
        """What an index that NumPy takes selects."""
        is_recorded = self._leads_to_gradient
        if is_advanced(index):
            return picked(self, index) if is_recorded else NDArray._copy_of(self._host[index], self._context)
        part = self._memory[index]
        part = part.reshape(part.shape or number_shape())
        made = self._view(part) if part.flags.c_contiguous else NDArray._copy_of(self._seen(part), self._context)
        return recorded_box(self, index, made) if is_recorded else made

    def __setitem__(self, key: Any, value: Any) -> None:
        """Writes a number, an array or nested lists, broadcast and cast, into the part that `key` selects.

        Raises as `x[key]` does, ElementError, a ValueError, where the value does not broadcast, ArgumentTypeError where
        it is no array, GradientError where a gradient would no longer fit what is recorded (new data for all of it,
        `x[:] = numpy_array`, is let through, as in MXNet).
        """
        if tape.is_recording() and not (is_whole(key) and isinstance(value, np.ndarray)):
            if isinstance(value, NDArray) and is_whole(key) and value.shape == self.shape:
                value.copyto(self)
                return
            tape.refuse_in_place([value, self] if isinstance(value, NDArray) else [self], [self])
        given = value if isinstance(value, NDArray) else as_numpy(value)
        index = None if is_whole(key) else written_index(key, NDArray)
        try:
            if index is None:
                self._take(given)
            else:
                self._write(index, as_numpy(given))
        except (IndexError, ValueError) as error:
            raise ElementError(f"{error}; the shape is {self._shape}") from None

    def slice_assign(self, rhs: NDArray, begin: Any, end: Any, step: Any = ()) -> NDArray:
        """Writes `rhs` into the box from `begin` to `end` (None: all the way) by `step`; gives this array."""
        self[box(begin, end, step)] = rhs
        return self

    def slice_assign_scalar(self, value: float, begin: Any, end: Any, step: Any = ()) -> NDArray:
        """Writes a number into the box from `begin` to `end` by `step`; gives this array."""
        self[box(begin, end, step)] = value
        return self

    # Gradients.

    def attach_grad(self, grad_req: str = "write", stype: str | None = None) -> None:
        """Makes this array a variable: `backward` writes or adds its gradient to `grad`, zeros at first.

        The array is cut from what computed it. Raises ArgumentError for another `grad_req` than write, add and null.
        """
        tape.mark(self, NDArray(zeros_aligned(self.shape, self._dtype), self._context), grad_req)

    def backward(self, out_grad: NDArray | None = None, retain_graph: bool = False, train_mode: bool = True) -> None:
        """Computes the gradients of all variables this array was computed from while recording.

        out_grad   gradient of this array; ones if not given
        Raises GradientError where nothing was recorded.
        """
        from symc.autograd import backward

        backward([self], [out_grad], retain_graph, train_mode)


def as_numpy(value: Any, what: str = "value") -> np.ndarray:
    """The NumPy array of an NDArray (its memory), a number, or anything array-like, without a copy where that can be.

    Objects that are numbers are read as float64. Raises ArgumentTypeError, naming `what`, for what holds no real
    numbers: texts and None are none, though NumPy would make some of them.
    """
    if isinstance(value, NDArray):
        return value._host
    if type(value) is np.ndarray and value.dtype.kind in "fiub":
        return value
    try:
        has_dlpack = hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray)
        array = np.from_dlpack(value) if has_dlpack else np.asarray(value)
        if array.dtype.kind == "O" and not any(x is None or isinstance(x, (str, bytes)) for x in array.flat):
            array = array.astype(np.float64)
    except (TypeError, ValueError, BufferError, RuntimeError) as e:
        raise ArgumentTypeError(f"{what}: expected a number or an array, got {type(value).__name__}: {e}") from e
    if array.dtype.kind not in "fiub":
        raise ArgumentTypeError(f"{what}: expected real numbers, got {type(value).__name__} of dtype {array.dtype}")
    return array


def _restore(data: np.ndarray, device_type: str, device_id: int) -> NDArray:
    """Rebuilds an unpickled array."""
    return NDArray._copy_of(data, Context(device_type, device_id))
