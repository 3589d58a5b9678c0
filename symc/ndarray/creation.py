"""Making NDArrays: filled, evenly spaced, from Python and NumPy data, and over memory shared through DLPack."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from symc.context import Context
from symc.core.dtypes import dtype_name
from symc.core.errors import ArgumentError, ArgumentTypeError, ShapeError
from symc.core.shapes import MAX_ELEMENTS, FullShape
from symc.core.timeline import timeline
from symc.util import is_np_shape

from .capsules import Exporter
from .casting import cast
from .fit import is_usable, require_fit
from .ndarray import NDArray, as_numpy
from .on_device import wait_for_all
from .storage import allocating, empty_aligned, require_dense, zeros_aligned

Shape = int | Sequence[int]
F = TypeVar("F", bound=Callable)


def array(source_array: Any, ctx: Context | None = None, dtype: Any = None) -> NDArray:
    """A new array with the contents of an NDArray, NumPy array, DLPack exporter or (nested) sequence.

    The dtype is float32 unless given, whatever the source's, except that an NDArray's is kept. A number gives shape ().
    Texts are read as numbers of the dtype. Raises ArgumentTypeError where the source is no array.
    """
    if dtype is None:
        dtype = source_array.dtype if isinstance(source_array, NDArray) else np.float32
    what = "source_array must be array like object"
    try:
        data = as_numpy(source_array, what)
    except ArgumentTypeError:
        if not _has_texts(source_array):
            raise
        try:
            data = np.asarray(source_array).astype(as_dtype(dtype))
        except (ValueError, OverflowError) as e:
            raise ArgumentTypeError(f"{what}: {e}") from e
    return NDArray._copy_of(data, ctx, as_dtype(dtype))


def _has_texts(source: Any) -> bool:
    try:
        return np.asarray(source).dtype.kind in "US"
    except ValueError:  # sequences of several lengths
        return False


def empty(shape: Shape, ctx: Context | None = None, dtype: Any = None, stype: str | None = None) -> NDArray:
    """A new array, contents undefined; float32 unless `dtype` is given."""
    require_dense(stype)
    return NDArray(empty_aligned(as_shape(shape), as_dtype(dtype)), ctx)


def require_decided(shape: FullShape) -> FullShape:
    """The shape; raises ShapeError for (), which outside np_shape means in MXNet that nothing is known yet."""
    if shape == () and not is_np_shape():
        raise ShapeError("the shape () is unknown; under mx.util.np_shape() it is that of a number")
    return shape


def without_attributes(function: F) -> F:
    """A function that ignores what belongs to a symbol: its name, and attributes such as `__layout__`."""

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> NDArray:
        return function(*args, **{k: v for k, v in kwargs.items() if k != "name" and not k.startswith("__")})

    return called  # type: ignore[return-value]


def timed_as(name: str) -> Callable[[F], F]:
    """A function that profilers see as the operator of this name."""

    def decorate(function: F) -> F:
        @wraps(function)
        def called(*args: Any, **kwargs: Any) -> NDArray:
            if not timeline.is_on:
                return function(*args, **kwargs)
            with timeline.operator(name):
                return function(*args, **kwargs)

        return called  # type: ignore[return-value]

    return decorate


@without_attributes
@timed_as("_zeros")
def zeros(
    shape: Shape,
    ctx: Context | None = None,
    dtype: Any = None,
    stype: str | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """A new array (or `out`) of zeros; float32 unless `dtype` is given."""
    require_dense(stype)
    if out is not None:
        return full(shape, 0, ctx, dtype, out)
    return NDArray(zeros_aligned(require_decided(as_shape(shape)), as_dtype(dtype)), ctx)


@without_attributes
@timed_as("_ones")
def ones(shape: Shape, ctx: Context | None = None, dtype: Any = None, out: NDArray | None = None) -> NDArray:
    """A new array (or `out`) of ones; float32 unless `dtype` is given."""
    return full(shape, 1, ctx, dtype, out)


@timed_as("_full")
def full(shape: Shape, val: Any, ctx: Context | None = None, dtype: Any = None, out: NDArray | None = None) -> NDArray:
    """A new array (or `out`) filled with `val`, cast; float32 unless `dtype` is given."""
    wanted = require_decided(as_shape(shape))
    result = empty(wanted, ctx, dtype) if out is None else require_fit("full: out=", out, wanted)
    result[:] = val
    return result


@timed_as("_arange")
def arange(
    start: float,
    stop: float | None = None,
    step: float = 1.0,
    repeat: int = 1,
    infer_range: bool | None = None,
    ctx: Context | None = None,
    dtype: Any = np.float32,
) -> NDArray:
    """start, start + step, ... below `stop` (0 to `start` when only that is given), each `repeat` times.

    Start and step are cast to the dtype first, and the steps are taken in it. Raises ArgumentError for an empty range.
    `infer_range` is accepted and ignored, as in MXNet.
    """
    if stop is None:
        start, stop = 0, start
    span = (stop - start) / step if step else 0
    if not 0 < span < math.inf or repeat < 1:
        raise ArgumentError(f"arange: invalid range (start, stop, step) = ({start}, {stop}, {step}), repeat {repeat}")
    target = as_dtype(dtype)
    first, stride = (cast(np.asarray(float(x)), target) for x in (start, step))
    n_steps = math.ceil(span)
    as_shape(n_steps * repeat)
    with allocating("arange"):
        return NDArray._copy_of(np.repeat(first + np.arange(n_steps).astype(target) * stride, repeat), ctx, target)


@timed_as("_linspace")
def linspace(
    start: float, stop: float, num: int, endpoint: bool = True, ctx: Context | None = None, dtype: Any = np.float32
) -> NDArray:
    """`num` evenly spaced numbers from `start` to `stop`, which is the last of them if `endpoint`."""
    as_shape(num)
    with allocating("linspace"):
        return NDArray._copy_of(np.linspace(start, stop, num, endpoint), ctx, as_dtype(dtype))


@timed_as("_eye")
def eye(
    N: int, M: int = 0, k: int = 0, ctx: Context | None = None, dtype: Any = None, out: NDArray | None = None
) -> NDArray:
    """Zeros of shape (N, M or N) with ones on the diagonal `k` above the main one."""
    ones = zeros_aligned(as_shape((N, M or N)), as_dtype(dtype))
    np.fill_diagonal(ones[max(-k, 0) :, max(k, 0) :], 1)
    made = NDArray(ones, ctx)
    return made if out is None else made.copyto(out)  # type: ignore[return-value]


def from_numpy(ndarray: np.ndarray, zero_copy: bool = True) -> NDArray:
    """An array over the memory of a C-contiguous NumPy array, which becomes read-only; a copy without `zero_copy`.

    Raises ArgumentError where that memory cannot be shared: it is not contiguous, in another byte order, of a dtype
    MXNet lacks, or was read-only before and is not NumPy's own (a file's pages, the inside of a `bytes`).
    """
    if not isinstance(ndarray, np.ndarray):
        raise ArgumentTypeError(f"from_numpy: expected a NumPy array, got {type(ndarray).__name__}")
    if not zero_copy:
        return array(ndarray, dtype=ndarray.dtype)
    if not ndarray.flags.c_contiguous:
        raise ArgumentError("Only c-contiguous arrays are supported for zero-copy")
    if not ndarray.flags.writeable and not _owner(ndarray).flags.owndata:
        raise ArgumentError("from_numpy: the array's memory is read-only and not NumPy's own; use zero_copy=False")
    shared = NDArray(np.asarray(_Writable(ndarray)))
    ndarray.flags.writeable = False
    return shared


def from_dlpack(dlpack: Any) -> NDArray:
    """An array over memory shared through DLPack: an object with `__dlpack__` or a capsule.

    A capsule's memory may be written, as in MXNet. Memory that is not contiguous, or that its object marks read-only,
    is copied. What lies on a GPU stays there, and is refused where it cannot be shared as it is; for that, an object
    with `__cuda_array_interface__` will do, too.
    """
    from .sharing import from_gpu  # late: it knows NVIDIA's devices

    shared = from_gpu(dlpack)
    if shared is not None:
        return shared
    if not hasattr(dlpack, "__dlpack__") and type(dlpack).__name__ != "PyCapsule":
        raise ArgumentError(f"from_dlpack: expected a DLPack capsule or exporter, got {type(dlpack)}")
    is_capsule = not hasattr(dlpack, "__dlpack__")
    try:
        data = np.from_dlpack(Exporter(dlpack) if is_capsule else dlpack)
    except (TypeError, ValueError, BufferError, RuntimeError) as e:
        raise ArgumentError(f"from_dlpack: cannot take over a {type(dlpack).__name__}: {e}") from e
    if is_capsule:  # of the first version, which says nothing about writing: NumPy takes that for a no
        data = np.asarray(_Writable(data))
    if is_usable(data):
        return NDArray(data)
    return NDArray._copy_of(data, dtype=as_dtype(data.dtype))


def to_dlpack_for_read(data: NDArray) -> Any:
    """A DLPack capsule of the array's memory, to be consumed once."""
    return data.__dlpack__()


to_dlpack_for_write = to_dlpack_for_read


def waitall() -> None:
    """Returns when every operation is finished; on the CPU one is when the call that started it returns."""
    wait_for_all()


def _owner(array: np.ndarray) -> np.ndarray:
    """The array whose memory a view shows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class _Writable:
    """The memory of a NumPy array, which stays alive, as an array that may be written though the original may not."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        address = array.__array_interface__["data"][0]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def as_dtype(dtype: Any) -> np.dtype:
    """The NumPy dtype meant, float32 for None; raises DTypeError for one MXNet does not have."""
    return np.dtype(np.float32 if dtype is None else dtype_name(dtype))


def as_shape(shape: Shape) -> tuple[int, ...]:
    """The sizes meant by a number or a sequence.

    Raises ArgumentError for a negative one, ArgumentTypeError for what are no whole numbers.
    """
    given = shape.tolist() if isinstance(shape, np.ndarray) else shape
    try:
        sizes = tuple(map(operator.index, [given] if isinstance(given, (int, np.integer)) else given))
    except TypeError as error:
        raise ArgumentTypeError(f"a shape is an integer or a sequence of them, got {shape!r}") from error
    if any(size < 0 for size in sizes):
        raise ArgumentError(f"cannot allocate an NDArray of shape {sizes}: sizes must not be negative")
    if math.prod(sizes) > MAX_ELEMENTS:
        raise ArgumentError(f"cannot allocate an NDArray of shape {sizes}: more than {MAX_ELEMENTS} elements")
    return sizes
