"""Parameter sets of operators that move, repeat, join, cut and pick elements, and of sorting."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np

from tests.ops.cases import Case, Shape

from .draw import FLOATS, NUMBERS, Draw, Generator

INDICES = ("int32", "int64", "float32", "float64", "uint8")


def reshape(d: Draw) -> Case:
    """Codes that keep (0), take the rest (-1), copy all (-2), join (-3) and split (-4) axes."""
    shape = d.shape(1, 4)
    kind = d.integer(0, 5)
    if kind == 0:
        code: Tuple[int, ...] = d.split(int(np.prod(shape)))
    elif kind == 1:
        code = (d.split(int(np.prod(shape)))[0], -1)
    elif kind == 2:
        code = (0,) * (len(shape) - 1) + (-1,)
    elif kind == 3:
        code = (1, -2)
    elif kind == 4 and len(shape) > 1:
        code = (-3, -2)
    else:
        code = (-4, *d.split(shape[0]), -2)
    return d.case(shape, shape=code, keep_highest=False)


def transpose(d: Draw) -> Case:
    shape = d.shape(1, 5)
    return d.case(shape, axes=() if d.chance(0.2) else tuple(d.permuted(range(len(shape)))))


def swap(d: Draw) -> Case:
    rank = len(shape) if (shape := d.shape(2, 5)) else 0
    first, second = d.permuted(range(rank))[:2]
    return d.case(shape, dim1=first, dim2=second)


def reverse(d: Draw) -> Case:
    shape = d.shape()
    return d.case(shape, axis=tuple(d.some(range(len(shape)))))


def span(d: Draw, n: int) -> Tuple[Any, Any, Any]:
    """Begin, end and step of a slice of an axis with at least one element."""
    start, stop = sorted(d.permuted(range(n + 1))[:2])
    if d.chance(0.3):
        step = -d.integer(1, 3)
        return stop - 1 - (n if d.chance(0.3) else 0), start - 1 if start else None, step
    begin = None if start == 0 and d.chance(0.5) else start - (n if d.chance(0.3) else 0)
    end = None if stop == n and d.chance(0.5) else (stop - n if stop < n and d.chance(0.3) else stop)
    return begin, end, d.pick([1, 1, 2, 3, None])


def slices(d: Draw, shape: Shape) -> Dict[str, Any]:
    begin, end, step = zip(*(span(d, n) for n in shape[: d.integer(1, len(shape))]))
    return {"begin": begin, "end": end, **({"step": step} if any(s not in (1, None) for s in step) else {})}


def slice_(d: Draw) -> Case:
    shape = d.shape()
    return d.case(shape, **slices(d, shape))


def cut_shape(shape: Shape, begin: Any, end: Any, step: Any = ()) -> Shape:
    """The shape of a slice."""
    steps = tuple(step) + (None,) * (len(begin) - len(step))
    cut = tuple(len(range(n)[slice(*s)]) for n, s in zip(shape, zip(begin, end, steps)))
    return cut + shape[len(begin) :]


def slice_assign(d: Draw) -> Case:
    shape = d.shape()
    place = slices(d, shape)
    if d.op.endswith("scalar"):
        return d.case(shape, scalar=d.real(-3, 3), grads=(), **place)
    return d.case(shape, cut_shape(shape, **place), grads=(), **place)


def slice_axis(d: Draw) -> Case:
    shape = d.shape()
    axis = d.axis(len(shape))
    n = shape[axis]
    start, stop = sorted(d.permuted(range(n + 1))[:2])
    end = None if stop == n and d.chance(0.5) else stop - (n if 0 < stop < n and d.chance(0.4) else 0)
    return d.case(shape, axis=axis, begin=start - (n if d.chance(0.4) else 0), end=end)


def slice_like(d: Draw) -> Case:
    shape = d.shape()
    like = tuple(d.integer(1, n) for n in shape)
    if d.chance(0.4):
        return d.case(shape, like, grads=(0,))
    axes = tuple(a - len(shape) if d.chance(0.4) else a for a in d.some(range(len(shape))))
    return d.case(shape, like, axes=axes, grads=(0,))


def concat(d: Draw) -> Case:
    shape, n = d.shape(1, 4, 200), d.integer(1, 5)
    dim = d.axis(len(shape))
    shapes = []
    for _ in range(n):
        one = list(shape)
        one[dim] = d.integer(1, 5)
        shapes.append(tuple(one))
    return d.case(*shapes, num_args=n, dim=dim)


def stack(d: Draw) -> Case:
    shape, n = d.shape(1, 3), d.integer(1, 5)
    return d.case(*[shape] * n, num_args=n, axis=d.axis(len(shape) + 1))


def split(d: Draw) -> Case:
    shape = list(d.shape(1, 4, 100))
    axis, n = d.axis(len(shape)), d.integer(1, 4)
    if d.op == "SliceChannel":
        shape[axis] = n * d.integer(1, 3)
        squeezes = shape[axis] == n and len(shape) > 1 and d.chance(0.5)
        return d.case(tuple(shape), num_outputs=n, axis=axis, squeeze_axis=squeezes)
    if d.chance(0.5):
        shape[axis] = n * d.integer(1, 3)
        return d.case(tuple(shape), indices=(), sections=n, axis=axis, squeeze_axis=False)
    shape[axis] = d.integer(3, 9)
    inner = sorted(d.permuted(range(1, shape[axis]))[: d.integer(1, 2)])
    return d.case(tuple(shape), indices=(0, *inner), axis=axis, squeeze_axis=False)


def repeat(d: Draw) -> Case:
    shape = d.shape(1, 3, 100)
    axis = {} if d.chance(0.3) else {"axis": d.axis(len(shape))}
    return d.case(shape, repeats=d.integer(1, 4), **axis)


def tile(d: Draw) -> Case:
    return d.case(d.shape(1, 3, 60), reps=tuple(d.integer(1, 3) for _ in range(d.integer(1, 4))))


def broadcast_to(d: Draw) -> Case:
    shape = d.shape()
    return d.case(d.broadcast(shape), shape=tuple(0 if n == 1 and d.chance(0.2) else n for n in shape))


def broadcast_axis(d: Draw) -> Case:
    shape = list(d.shape(1, 4, 60))
    axes = d.some(range(len(shape)))
    for a in axes:
        shape[a] = 1
    return d.case(tuple(shape), axis=tuple(axes), size=tuple(d.integer(1, 4) for _ in axes))


def broadcast_like(d: Draw) -> Case:
    shape = d.shape()
    if d.chance(0.5):
        return d.case(d.broadcast(shape), shape, grads=(0,))
    other = d.shape()
    pairs = min(len(shape), len(other))
    mine = d.permuted(range(len(shape)))[: d.integer(1, pairs)]
    theirs = d.permuted(range(len(other)))[: len(mine)]
    lhs = tuple(1 if a in mine else n for a, n in enumerate(shape))
    if int(np.prod(lhs)) * int(np.prod([other[a] for a in theirs])) > 2000:
        other = (2,) * len(other)
    return d.case(lhs, other, lhs_axes=tuple(mine), rhs_axes=tuple(theirs), grads=(0,))


def expand_dims(d: Draw) -> Case:
    shape = d.shape()
    return d.case(shape, axis=d.axis(len(shape) + 1))


def squeeze(d: Draw) -> Case:
    shape = tuple(1 if d.chance(0.5) else n for n in d.shape(2, 5))
    ones = [a for a, n in enumerate(shape) if n == 1]
    if not ones or d.chance(0.3):
        return d.case(shape)
    return d.case(shape, axis=tuple(a - len(shape) if d.chance(0.3) else a for a in d.some(ones)))


def reshape_like(d: Draw) -> Case:
    shape = d.shape()
    if d.chance(0.5):
        return d.case(shape, tuple(d.permuted(shape)), grads=(0,))
    begin = d.integer(0, len(shape) - 1)
    end = d.integer(begin + 1, len(shape))
    other = d.split(int(np.prod(shape[begin:end])))
    return d.case(shape, (2, *other), lhs_begin=begin, lhs_end=end, rhs_begin=1, rhs_end=3, grads=(0,))


def pad(d: Draw) -> Case:
    mode = d.pick(["constant", "edge", "reflect"])
    rank = d.integer(4, 5)
    shape = (d.integer(1, 2), d.integer(1, 3), *(d.integer(3, 6) for _ in range(rank - 2)))
    width = (0,) * 4 + tuple(d.integer(0, 2) for _ in range(2 * rank - 4))
    return d.case(shape, dtypes=FLOATS, mode=mode, pad_width=width, constant_value=d.real(-2, 2))


def crop(d: Draw) -> Case:
    n, c, h, w = d.integer(1, 2), d.integer(1, 3), d.integer(4, 9), d.integer(4, 9)
    size = d.integer(1, h), d.integer(1, w)
    place = {} if d.chance(0.5) else {"offset": (d.integer(0, h - size[0]), d.integer(0, w - size[1]))}
    place["center_crop"] = not place and d.chance(0.5)
    if d.chance(0.5):
        return d.case((n, c, h, w), (1, 2, *size), num_args=2, dtypes=FLOATS[:2], grads=(0,), **place)
    return d.case((n, c, h, w), num_args=1, h_w=size, dtypes=FLOATS[:2], **place)


def blocks(d: Draw) -> Case:
    size = d.integer(1, 3)
    n, c, h, w = d.integer(1, 2), d.integer(1, 3), d.integer(1, 4), d.integer(1, 4)
    shape = (n, c * size * size, h, w) if d.op == "depth_to_space" else (n, c, h * size, w * size)
    return d.case(shape, block_size=size)


def diag(d: Draw) -> Case:
    shape = d.shape(1, 4, 150)
    if len(shape) == 1:
        return d.case(shape, k=d.integer(-3, 3))
    axis1, axis2 = d.permuted(range(len(shape)))[:2]
    k = d.integer(1 - shape[axis1], shape[axis2] - 1)
    return d.case(shape, axis1=axis1, axis2=axis2, k=k)


def mask(d: Draw) -> Case:
    """Some rows, at least the last one."""
    shape = d.shape()
    kinds = [d.pick(NUMBERS), d.pick(INDICES)]
    is_on = (*(float(d.chance(0.5)) for _ in range(shape[0] - 1)), 1.0)
    return d.case(shape, shape[:1], dtypes=kinds, given={1: is_on}, grads=(0,) if kinds[0] in FLOATS else (), axis=0)


def retain(d: Draw) -> Case:
    """Some rows, by their numbers."""
    shape = d.shape()
    rows = tuple(float(k) for k in sorted(d.some(range(shape[0]))))
    return d.case(shape, (len(rows),), dtypes=[d.pick(FLOATS), "int64"], given={1: rows}, grads=(0,))


def positions(d: Draw, n: int, outside: int = 0) -> Tuple[float, ...]:
    """Indices into n elements, some beyond."""
    parts = (0.0, 0.25, 0.75) if d.chance(0.3) else (0.0,)
    return tuple(float(d.integer(-outside, n - 1 + outside)) + d.pick(parts) for _ in range(24))


def take(d: Draw) -> Case:
    shape = d.shape()
    axis, mode = d.axis(len(shape)), d.pick(["clip", "wrap", "raise"])
    outside = 0 if mode == "raise" else 3
    dtypes = [d.pick(NUMBERS), d.pick(INDICES[:4])]
    given = {1: positions(d, shape[axis], outside)}
    return d.case(shape, d.shape(1, 2, 12), dtypes=dtypes, axis=axis, mode=mode, given=given, grads=(0,))


def batch_take(d: Draw) -> Case:
    n, m = d.extent(), d.extent()
    return d.case((n, m), (n,), dtypes=[d.pick(NUMBERS), "int32"], given={1: positions(d, m, 2)}, grads=())


def pick(d: Draw) -> Case:
    shape = d.shape(2, 4)
    axis, keeps, mode = d.axis(len(shape)), d.chance(0.5), d.pick(["clip", "wrap"])
    index = list(shape)
    index[axis] = 1
    if not keeps and d.chance(0.7):
        del index[axis]
    dtypes = [d.pick(NUMBERS), d.pick(INDICES[:4])]
    given = {1: positions(d, shape[axis], 2)}
    return d.case(shape, tuple(index), dtypes=dtypes, axis=axis, keepdims=keeps, mode=mode, given=given, grads=(0,))


def nd_positions(d: Draw, shape: Shape, n: int, distinct: bool) -> Tuple[float, ...]:
    """Coordinates of n elements of a shape, axis by axis."""
    total = int(np.prod(shape))
    flat = d.random.permutation(total)[:n] if distinct else d.random.randint(0, total, n)
    return tuple(float(v) for v in np.stack(np.unravel_index(flat, shape)).ravel())


def gather(d: Draw) -> Case:
    shape = d.shape(1, 4)
    depth, n = d.integer(1, len(shape)), d.integer(1, 5)
    given = {1: nd_positions(d, shape[:depth], n, False)}
    dtypes = [d.pick(NUMBERS), d.pick(["int32", "int64", "float32"])]
    return d.case(shape, (depth, n), dtypes=dtypes, given=given, grads=(0,))


def scatter(d: Draw) -> Case:
    shape = d.shape(1, 4)
    depth = d.integer(1, len(shape))
    n = d.integer(1, min(5, int(np.prod(shape[:depth]))))
    places = nd_positions(d, shape[:depth], n, True)
    data, index = (n, *shape[depth:]), d.pick(["int32", "int64", "float32"])
    return d.case(data, (depth, n), dtypes=[d.pick(NUMBERS), index], shape=shape, given={1: places}, grads=(0,))


def one_hot(d: Draw) -> Case:
    depth = d.integer(1, 6)
    dtype = {"dtype": d.pick(NUMBERS)} if d.chance(0.6) else {}
    values = {"on_value": d.real(-3, 3), "off_value": d.real(-3, 3)} if d.chance(0.5) else {}
    given = {0: positions(d, depth, 2)}
    return d.case(d.shape(1, 3, 40), dtypes=INDICES[:4], depth=depth, given=given, grads=(), **dtype, **values)


def embedding(d: Draw) -> Case:
    n, m = d.extent(), d.extent()
    dtypes = [d.pick(INDICES[:4]), d.pick(FLOATS)]
    typed = {"dtype": dtypes[1]}
    given = {0: positions(d, n, 2)}
    return d.case(d.shape(1, 3, 30), (n, m), dtypes=dtypes, input_dim=n, output_dim=m, given=given, grads=(1,), **typed)


def index_copy(d: Draw) -> Case:
    shape = d.shape(1, 3)
    n = d.integer(1, shape[0])
    where = tuple(float(k) for k in d.permuted(range(shape[0]))[:n])
    dtypes = [kind := d.pick(NUMBERS), "int32", kind]
    return d.case(shape, (n,), (n, *shape[1:]), dtypes=dtypes, given={1: where}, grads=())


def coordinates(d: Draw) -> Case:
    shape = d.shape(1, 4)
    n = d.integer(1, 6)
    kinds = ("float32", "float64", "int32", "int64")
    if d.op == "_unravel_index":
        return d.case((n,), dtypes=kinds, shape=shape, grads=(), given={0: positions(d, int(np.prod(shape)))})
    given = {0: nd_positions(d, shape, n, False)}
    return d.case((len(shape), n), dtypes=kinds, shape=shape, grads=(), given=given)


def sequence(d: Draw) -> Case:
    shape = d.shape(2, 4)
    axis = 0 if d.op == "SequenceReverse" else d.integer(0, 1)
    more = {"value": d.real(-2, 2)} if d.op == "SequenceMask" else {}
    if d.chance(0.3):
        return d.case(shape, axis=axis, use_sequence_length=False, **more)
    lengths = tuple(float(d.integer(1, shape[axis])) + d.pick([0.0, 0.0, 0.5]) for _ in range(9))
    kind = d.pick(NUMBERS)
    dtypes = [kind, d.pick([kind, "float32", "int32"])]
    return d.case(
        shape, (shape[1 - axis],), dtypes=dtypes, axis=axis, use_sequence_length=True, given={1: lengths}, grads=(0,),
        **more,
    )  # fmt: skip


def distinct(d: Draw, shape: Shape) -> Tuple[float, ...]:
    """Values without ties, within an int8."""
    return tuple(float(v) for v in d.random.permutation(int(np.prod(shape))) - 20)


def ordering(d: Draw) -> Case:
    shape = d.shape(1, 4, 100)
    axis = d.axis(len(shape)) if d.chance(0.8) else None
    params: Dict[str, Any] = {"axis": axis}
    if d.op == "topk":
        params["k"] = d.integer(0, min(4, shape[axis] if axis is not None else 4))
        params["ret_typ"] = d.pick(["value", "indices", "mask", "both"])
    if d.op in ("topk", "argsort") and d.chance(0.5):
        params["dtype"] = d.pick("float16 float32 float64 int32 int64 uint8".split())
    grads = "some" if params.get("ret_typ") in ("value", "both") or d.op == "sort" else ()
    kinds = ("float32", "float64", "float16", "int32", "int64")
    return d.case(shape, dtypes=kinds, given={0: distinct(d, shape)}, grads=grads, **params)


def histogram(d: Draw) -> Case:
    low = d.real(-3, 0)
    return d.case(d.shape(), dtypes=("float32", "float64"), bin_cnt=d.integer(1, 9), range=(low, low + 3), grads=())


GENERATORS: Dict[str, Generator] = {
    "Reshape": reshape, "transpose": transpose, "SwapAxis": swap, "reverse": reverse, "slice": slice_,
    "_slice_assign": slice_assign, "_slice_assign_scalar": slice_assign, "slice_axis": slice_axis,
    "slice_like": slice_like, "Concat": concat, "_rnn_param_concat": concat, "stack": stack, "SliceChannel": split,
    "_split_v2": split, "repeat": repeat, "tile": tile, "broadcast_to": broadcast_to, "broadcast_axis": broadcast_axis,
    "broadcast_like": broadcast_like, "expand_dims": expand_dims, "squeeze": squeeze, "reshape_like": reshape_like,
    "Pad": pad, "Crop": crop, "depth_to_space": blocks, "space_to_depth": blocks, "diag": diag, "take": take,
    "batch_take": batch_take, "pick": pick, "gather_nd": gather, "scatter_nd": scatter,
    "one_hot": one_hot, "Embedding": embedding, "_contrib_index_copy": index_copy, "_ravel_multi_index": coordinates,
    "_unravel_index": coordinates, "SequenceLast": sequence, "SequenceMask": sequence, "SequenceReverse": sequence,
    **dict.fromkeys("argmax argmin argsort sort topk".split(), ordering),
    "argmax_channel": lambda d: d.case(d.shape(2, 3), grads=()), "_histogram": histogram,
    "_contrib_boolean_mask": mask, "_sparse_retain": retain,
}  # fmt: skip
