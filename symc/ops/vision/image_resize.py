"""`mx.nd.image.resize`: pictures in another size by the arithmetic of OpenCV, which MXNet calls.

Source: modules/imgproc/src/resize.cpp of OpenCV 3.4.  Of uint8, linear and cubic weights are numbers of 11 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import ceil, pi

from symc.core.errors import DTypeError, ParameterError, ShapeError
from symc.core.shapes import is_known, mx_text, unify
from symc.ir.op import DTypes, Op, Shapes, op, param
from symc.loopir.expr import Expr, IndexLike, cast, const, index_value, prim, select
from symc.loopir.tensor import Lowering

NEAREST, LINEAR, CUBIC, AREA, LANCZOS = range(5)
BITS = 11  # of a weight

Pixel = Callable[[Expr, Expr], Expr]  # row, column -> the colour there
Tap = tuple[Expr, Expr]  # a position, and its weight (float32)


@op("_image_resize", aliases=("_npx__image_resize",))
class ResizeImage(Op):
    """(H, W, C) or (N, H, W, C) in another size: the nearest pixel, linear between four, cubic between sixteen, the
    mean of what a pixel covers, or Lanczos's kernel over 64.

    uint8 equals MXNet's to the bit, but for cubic's last bit where a value lies half way.
    MXNet operator _image_resize.
    """

    is_differentiable = False
    needs_elements = ("data",)

    size: tuple[int, ...] = param((), doc="width and height, or one number for both or for the shorter edge")
    keep_ratio: bool = param(False, doc="one number is the shorter edge of the result")
    interp: int = param(1, doc="0: nearest, 1: linear, 2: cubic, 3: area, 4: Lanczos")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if self.interp not in range(LANCZOS + 1):
            raise ParameterError(
                f"_image_resize: interp must be 0 to 4 (nearest, linear, cubic, area, Lanczos), got {self.interp}"
            )
        if len(self.size) not in (1, 2) or any(n < 1 for n in self.size):
            raise ShapeError(f"size must be one or two positive numbers, got {self.size}")
        if data is None or not is_known(data):
            return ins, outs
        if len(data) not in (3, 4):
            raise ShapeError(f"an image must have 3 or 4 dimensions, got {mx_text(data)}")
        return ins, [unify(outs[0], (*data[:-3], *self.extents(data[-3], data[-2]), data[-1]))]  # type: ignore[arg-type]

    def extents(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result."""
        if len(self.size) == 2:
            return self.size[1], self.size[0]
        (n,) = self.size
        if not self.keep_ratio:
            return n, n
        return (height * n // width, n) if height > width else (n, width * n // height)

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        ins, outs = super().infer_dtype(ins, outs)
        if ins[0] not in (None, "uint8", "float32", "float64"):
            raise DTypeError(f"an image to be resized must be uint8, float32 or float64, got {ins[0]}")
        return ins, outs

    def lower(self, t: Lowering) -> None:
        x, sizes = t.ins[0], tuple(zip(t.ins[0].shape[-3:-1], t.out_shapes[0][-3:-1]))
        scales = [n / m for n, m in sizes]
        is_smaller = all(s >= 1 for s in scales)
        is_halved = scales == [2.0, 2.0]

        def element(*i: IndexLike) -> Expr:
            at = tuple(map(index_value, i[-3:-1]))

            def pixel(row: Expr, column: Expr) -> Expr:
                return x(*i[:-3], row, column, i[-1])

            if self.interp == NEAREST:
                return pixel(*(_nearest(j, *size) for j, size in zip(at, sizes)))
            if (self.interp == AREA and is_smaller) or (self.interp == LINEAR and is_halved):
                return _covered(t, pixel, at, sizes, x.dtype)
            taps = {LINEAR: _linear, CUBIC: _cubic, AREA: _linear_in_area, LANCZOS: _lanczos}[self.interp]
            rows, columns = (taps(j, *size, is_row) for j, size, is_row in zip(at, sizes, (True, False)))
            if x.dtype != "uint8":
                return _total(pixel, rows, columns, x.dtype)
            return (_bytes_linear if self.interp in (LINEAR, AREA) else _bytes_cubic)(pixel, rows, columns)

        t.map(element)


def _nearest(j: Expr, n: int, m: int) -> Expr:
    return prim("minimum", cast(prim("floor", cast(j, "float64") * (1 / (m / n))), "int64"), n - 1)


def _at(position: Expr, n: int) -> Expr:
    """The position among n that is nearest."""
    return prim("minimum", prim("maximum", position, 0), n - 1)


def _between(j: Expr, n: int, m: int) -> tuple[Expr, Expr]:
    """The pixel before, and how far (float32) one is on the way from there to the next."""
    at = cast((cast(j, "float64") + 0.5) * (n / m) - 0.5, "float32")
    before = prim("floor", at)
    return cast(before, "int64"), at - before


def _linear(j: Expr, n: int, m: int, is_row: bool) -> list[Tap]:
    """Two taps. Beyond the last pixel OpenCV takes that alone for columns, and twice, in two parts, for rows."""
    before, part = _between(j, n, m)
    if not is_row:
        is_inside = prim("and", prim("ge", before, 0), prim("lt", before, n - 1))
        part = select(is_inside, part, part * 0)
    return [(_at(before, n), 1.0 - part), (_at(before + 1, n), part)]


def _linear_in_area(j: Expr, n: int, m: int, is_row: bool) -> list[Tap]:
    """Two taps where "area" makes an edge longer: most pixels lie in one."""
    before = cast(prim("floor", cast(j, "float64") * (n / m)), "int64")
    over = cast(cast(j + 1, "float64") - cast(before + 1, "float64") * (m / n), "float32")
    part = select(prim("le", over, 0), over * 0, over - prim("floor", over))
    if not is_row:
        part = select(prim("lt", before, n - 1), part, part * 0)
    return [(_at(before, n), 1.0 - part), (_at(before + 1, n), part)]


def _cubic(j: Expr, n: int, m: int, is_row: bool) -> list[Tap]:
    """Four taps of the cubic kernel with a slope of -0.75."""
    before, x = _between(j, n, m)
    a, rest = -0.75, 1.0 - x
    first = ((a * (x + 1.0) - 5 * a) * (x + 1.0) + 8 * a) * (x + 1.0) - 4 * a
    second, third = (((a + 2) * p - (a + 3)) * p * p + 1.0 for p in (x, rest))
    weights = (first, second, third, 1.0 - first - second - third)
    return [(_at(before + (k - 1), n), w) for k, w in enumerate(weights)]


def _lanczos(j: Expr, n: int, m: int, is_row: bool) -> list[Tap]:
    """Eight taps of sin(pi t) sin(pi t / 4) / t^2, divided by their sum."""
    before, x = _between(j, n, m)
    is_there = prim("lt", x, 1.1920929e-07)  # at the fourth pixel: the others would be 0 / 0
    far = x + 3.0
    first = cast(far, "float64") * (-pi / 4)
    raw = []
    for k in range(8):
        angle = cast(far - float(k), "float64") * (-pi / 4)
        # sin(pi t) changes its sign from tap to tap; the rest of it is the same for all.
        raw.append(cast(prim("sin", first + k * (5 * pi / 4)) / (angle * angle), "float32"))
    scale = 1.0 / _sum(raw)
    weights = [select(is_there, x * 0 + float(k == 3), w * scale) for k, w in enumerate(raw)]
    return [(_at(before + (k - 3), n), w) for k, w in enumerate(weights)]


def _sum(terms: Sequence[Expr]) -> Expr:
    return reduce(Expr.__add__, terms)


def _total(pixel: Pixel, rows: Sequence[Tap], columns: Sequence[Tap], dtype: str) -> Expr:
    """Sums along a row, then of rows."""
    return _sum([_sum([pixel(r, c) * cast(u, dtype) for c, u in columns]) * cast(v, dtype) for r, v in rows])


def _bytes_of(pixel: Pixel, rows: Sequence[Tap], columns: Sequence[Tap]) -> list[tuple[Expr, Expr]]:
    """Of each row the sum with whole weights, and the row's whole weight."""
    whole = [[(at, cast(prim("rint", w * float(1 << BITS)), "int64")) for at, w in taps] for taps in (rows, columns)]
    return [(_sum([cast(pixel(r, c), "int64") * u for c, u in whole[1]]), v) for r, v in whole[0]]


def _bytes_linear(pixel: Pixel, rows: Sequence[Tap], columns: Sequence[Tap]) -> Expr:
    """OpenCV's VResizeLinear for 8 bits drops 4 bits of the sums, 16 of the products, and 2 in the end."""
    parts = [prim("div", v * prim("div", s, 16), 1 << 16) for s, v in _bytes_of(pixel, rows, columns)]
    return cast(prim("div", _sum(parts) + 2, 4), "uint8")


def _bytes_cubic(pixel: Pixel, rows: Sequence[Tap], columns: Sequence[Tap]) -> Expr:
    total = _sum([s * v for s, v in _bytes_of(pixel, rows, columns)])
    whole = prim("div", total + (1 << (2 * BITS - 1)) + (1 << 32), 1 << 2 * BITS) - (1 << 32 - 2 * BITS)
    return cast(_at(whole, 256), "uint8")


def _covered(t: Lowering, pixel: Pixel, at: Sequence[Expr], sizes: Sequence[tuple[int, int]], dtype: str) -> Expr:
    """The mean of what a pixel of the result covers; parts below a thousandth of a pixel do not count."""
    working = "float32" if dtype == "uint8" else dtype
    is_whole = all(n % m == 0 for n, m in sizes)

    def tap(j: Expr, k: Expr, n: int, m: int) -> Tap:
        start = cast(j, "float64") * (n / m)
        first = cast(prim("floor", start), "int64")
        position = first + k
        low, high = cast(position, "float64"), cast(position + 1, "float64")
        part = prim("minimum", high, start + n / m) - prim("maximum", low, start)
        part = select(prim("gt", part, 1e-3), part, part * 0)
        width = prim("minimum", part * 0 + n / m, float(n) - start)
        return _at(position, n), cast(part / width, "float32")

    if is_whole:
        blocks = [n // m for n, m in sizes]
        total = t.reduce(
            "sum",
            blocks,
            lambda a, b: cast(pixel(*(j * s + index_value(k) for j, k, s in zip(at, (a, b), blocks))), working),
        )
        mean = total * const(1 / (blocks[0] * blocks[1]), working)
        if dtype == "uint8" and blocks == [2, 2]:
            return cast(prim("floor", (total + 2.0) * 0.25), dtype)
    else:
        extents = [ceil(n / m) + 1 for n, m in sizes]

        def weighted(a: IndexLike, b: IndexLike) -> Expr:
            (row, v), (column, u) = (tap(j, index_value(k), *size) for j, k, size in zip(at, (a, b), sizes))
            return cast(pixel(row, column), working) * cast(u, working) * cast(v, working)

        mean = t.reduce("sum", extents, weighted)
    return cast(prim("rint", mean), dtype) if dtype == "uint8" else mean
