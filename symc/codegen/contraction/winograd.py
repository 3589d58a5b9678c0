"""Winograd's minimal filtering: 3x3 windows of stride 1 with 2.25 times fewer multiplications (tiles of 2 x 2), or 4
times fewer (tiles of 4 x 4).

The output is cut into tiles of m x m.  With d the (m + 2) x (m + 2) inputs of a tile and w the 3x3 weights of a pair of
channels, both are transformed, multiplied element by element (each element, a *frequency*, is a matrix product over
channels and tiles), and transformed back:

    y = A^T [sum over channels of (G w G^T) * (B^T d B)] A

Integers stay integers: twice G has no halves, so that outputs are four times as large, and exact. Of bytes that lie as
int16, transformed inputs stay below 1021 in size and weights below 1153; sums of products may wrap in int32, where only
four times an output must fit.

Source: S. Winograd, Arithmetic Complexity of Computations (1980); A. Lavin and S. Gray, Fast Algorithms for
Convolutional Neural Networks (2015).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from symc.core.errors import CodegenError
from symc.core.shapes import FullShape, size_of
from symc.loopir.kernel import Buffer, Contraction, Nest, buffer_of
from symc.loopir.routine import Routine, even_parts

from .geometry import OUTSIDE, Geometry
from .panels import Panels

N_TAPS = 3  # along each of the two axes
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Transforms:
    """The three matrices for output tiles of `outputs` x `outputs`; `extent` = outputs + 2 is the input tile's.

    `shift` is the power of two by which what they compute is too large: of integers.
    """

    outputs: int
    weight: Matrix  # G    (extent, 3)
    input: Matrix  # B^T  (extent, extent)
    output: Matrix  # A^T  (outputs, extent)
    shift: int = 0

    @staticmethod
    def at(*points: float) -> Transforms:
        """Those that multiply polynomials by their values at `points`, all different, and at infinity (Toom, Cook).

        Filtering is the transpose of such a multiplication, so the inputs' matrix holds the polynomials that are 0 at
        all points but one, lowest power first.
        """
        outputs = len(points) + 2 - N_TAPS
        others = [np.poly([q for q in points if q != p]) for p in points]
        weight = [[p**k / float(np.polyval(other, p)) for k in range(N_TAPS)] for p, other in zip(points, others)]
        inputs = [[*other[::-1], 0] for other in others]
        output = [[*(p**k for p in points), k == outputs - 1] for k in range(outputs)]
        return Transforms(
            outputs,
            weight=_matrix([*weight, [0] * (N_TAPS - 1) + [1]]),
            input=_matrix([*inputs, np.poly(points)[::-1]]),
            output=_matrix(output),
        )

    @property
    def of_integers(self) -> Transforms:
        """Those with twice the weight's matrix, on either side."""
        return replace(self, weight=_matrix([2 * x for x in line] for line in self.weight), shift=2)

    @property
    def extent(self) -> int:
        return self.outputs + N_TAPS - 1

    @property
    def n_frequencies(self) -> int:
        return self.extent**2


def _matrix(lines: Iterable[Iterable[float]]) -> Matrix:
    return tuple(tuple(float(x) for x in line) for line in lines)


# Of the points tried these round off least, a third of what 0, 1, -1, 2, -2 do; float32 holds all their products.
TRANSFORMS = {t.outputs: t for t in (Transforms.at(0, 1, -1), Transforms.at(0, 11 / 16, -11 / 16, 3 / 2, -3 / 2))}
OF_INTEGERS = TRANSFORMS[2].of_integers
MOST_CHANNELS = 2**31 // (4 * N_TAPS**2 * 255 * 128)  # of bytes: four times an output fits int32


def factors_of(matrix: Matrix) -> tuple[Matrix, ...]:
    """The matrix as a product, of one or two, that takes the fewest operations.

    Of the values at p and -p one is a sum of what even and odd powers give, the other their difference.
    """
    found: list[tuple[Matrix, ...]] = [(matrix,)]
    for is_scaled in (False, True):
        found.append(_shared_lines(matrix, is_scaled))
        found.append(tuple(_matrix(zip(*m)) for m in reversed(_shared_lines(_matrix(zip(*matrix)), is_scaled))))
    return min(found, key=n_operations)


def n_operations(factors: tuple[Matrix, ...]) -> int:
    """What applying `factors` to a vector takes: additions, with a multiplication or without, and multiplications."""
    return sum(sum(x != 0 for x in line) - (1 in line) for matrix in factors for line in matrix)


def _shared_lines(matrix: Matrix, is_scaled: bool) -> tuple[Matrix, Matrix]:
    """Two matrices whose product is `matrix`; of lines that differ in signs alone, halves of sum and difference.

    before:  a + 2 b + c, a - 2 b + c        after:  (e + o, e - o) of  e = a + c, o = 2 b
                                            scaled:  (e + 2 o, e - 2 o) of  e = a + c, o = b
    """
    lines = [np.array(line) for line in matrix]
    combine: list[dict[int, float]] = [{} for _ in lines]
    shared: list[np.ndarray] = []
    for i, line in enumerate(lines):
        if combine[i]:
            continue
        twin = next((k for k in range(i + 1, len(lines)) if not combine[k] and _differ_in_signs(line, lines[k])), None)
        if twin is None:
            combine[i] = {len(shared): 1}
            shared.append(line)
            continue
        even, odd = (line + lines[twin]) / 2, (line - lines[twin]) / 2
        scale = odd[np.flatnonzero(odd)[-1]] if is_scaled else 1
        for k, sign in ((i, 1), (twin, -1)):
            combine[k] = {len(shared): 1, len(shared) + 1: sign * scale}
        shared += [even, odd / scale]
    return _matrix([of.get(k, 0) for k in range(len(shared))] for of in combine), _matrix(shared)


def _differ_in_signs(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((abs(a) == abs(b)).all() and (a != b).any() and (a != -b).any())


@dataclass(frozen=True)
class Filtering:
    """A contraction as a filter from `channels` images of `inputs` pixels to `columns` images of `outputs` pixels:

    y[column, q] = sum over channel, tap of x[channel, q + tap - pad] * w[channel, column, tap]
    """

    channels: int
    columns: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    pad: tuple[int, ...]

    @staticmethod
    def of(c: Contraction) -> Filtering:
        """A data gradient is a filter too, from results to data: its taps are mirrored, so the border is the rest."""
        w = c.window
        if c.kind == "forward":
            return Filtering(c.in_channels, c.out_channels, w.in_extents, w.out_extents, w.pad)
        border = tuple(N_TAPS - 1 - p for p in w.pad)
        return Filtering(c.out_channels, c.in_channels, w.out_extents, w.in_extents, border)

    def n_tiles(self, outputs: int) -> int:
        """Tiles of `outputs` squared results in one image."""
        return size_of(tuple(-(-n // outputs) for n in self.outputs))


def work_flops(c: Contraction, transforms: Transforms) -> tuple[int, int]:
    """Additions of the inputs' transform; multiplications and additions of the products and their transform back."""
    m, extent, f = transforms.outputs, transforms.extent, Filtering.of(c)
    n_tiles = c.batch * f.n_tiles(m)
    into, back = (n_operations(factors_of(matrix)) for matrix in (transforms.input, transforms.output))
    products = 2 * transforms.n_frequencies * f.channels * f.columns
    return n_tiles * 2 * extent * into * f.channels, n_tiles * (products + (extent + m) * back * f.columns)


def is_winograd(c: Contraction) -> bool:
    """Whether Winograd's algorithm can compute `c`."""
    w = c.window
    has_work = c.batch * c.in_channels * c.out_channels * size_of(w.in_extents) * size_of(w.out_extents) > 0
    return (
        c.kind in ("forward", "data_gradient")
        and c.groups == 1
        and c.stack is None
        and has_work
        and w.kernel == (N_TAPS, N_TAPS)
        and w.stride == w.dilate == (1, 1)
    )


def input_geometry(c: Contraction, outputs: int) -> Geometry:
    """Which inputs the tiles of outputs of one image read: rows are tiles, taps the inputs of a tile."""
    source, f = buffer_of(c, c.lhs), Filtering.of(c)
    return Geometry(
        1,
        tuple(-(-n // outputs) for n in f.outputs),
        f.inputs,
        source.strides[0],
        source.strides[2:],
        scale=(outputs, outputs),
        taps=(outputs + N_TAPS - 1,) * 2,
        step=(1, 1),
        shift=tuple(-p for p in f.pad),
    )


def output_pixels(extents: tuple[int, ...], outputs: int) -> np.ndarray:
    """(tiles, outputs ** 2) int32: the pixels of each tile of one image, or OUTSIDE."""
    lines = [np.arange(-(-n // outputs) * outputs).reshape(-1, outputs) for n in extents]
    y, x = lines[0][:, None, :, None], lines[1][None, :, None, :]
    inside = (y < extents[0]) & (x < extents[1])
    return np.where(inside, y * extents[1] + x, OUTSIDE).reshape(-1, outputs**2).astype(np.int32)


@dataclass(frozen=True)
class WinogradPanels:
    """A packing: a 3x3 weight (O, C, 3, 3) transformed once, its columns in panels of `panel_columns`.

    `shape` is (panels, frequencies, channels, columns of a panel), with `n_together` channels in a word (panels,
    frequencies, words, columns of a panel, channels of a word); `outputs` is the extent of a tile of results.  Of a
    data gradient the channels are the O, the columns the C, and the taps are mirrored.
    """

    outputs: int
    dtype: str
    channels: int
    columns: int
    panel_columns: int
    is_gradient: bool = False
    n_together: int = 1

    @property
    def transforms(self) -> Transforms:
        return TRANSFORMS[self.outputs] if self.dtype.startswith("float") else OF_INTEGERS

    @property
    def n_panels(self) -> int:
        return -(-self.columns // self.panel_columns)

    @property
    def shape(self) -> FullShape:
        together = () if self.n_together == 1 else (self.n_together,)
        return (self.n_panels, self.transforms.n_frequencies, self.n_words, self.panel_columns, *together)

    @property
    def n_words(self) -> int:
        """Words of channels."""
        return self.channels // self.n_together

    @property
    def routine(self) -> TransformWeight:
        """What is left to do after `nest`."""
        return TransformWeight(self)

    def nest(self, source: Buffer, packed: Buffer) -> Nest:
        """Copies the logical weight `source` (O, C, 3, 3), with any strides, where `routine` expects it in `packed`."""
        if packed.shape != self.shape:
            raise CodegenError(f"packing a weight: {packed}; expected shape {self.shape}")
        sizes = (1, (N_TAPS, N_TAPS), self.channels, self.columns, self.panel_columns)
        direct = Panels(self.is_gradient, self.is_gradient, self.dtype, *sizes, n_together=self.n_together)
        panel, frequency, *inner = packed.strides
        strides = (panel, panel, N_TAPS * frequency, frequency, *inner)
        return direct.nest(source, Buffer(packed.name, direct.shape, self.dtype, strides, packed.offset))

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """The logical weight inside a packed array, up to rounding: G has full column rank, so it can be undone."""
        extent = self.transforms.extent
        back = np.linalg.pinv(np.array(self.transforms.weight))
        frequencies = packed.reshape(self.n_panels, extent, extent, self.n_words, self.panel_columns, self.n_together)
        frequencies = np.moveaxis(frequencies, -1, -2)
        frequencies = frequencies.reshape(self.n_panels, extent, extent, self.channels, self.panel_columns)
        weight = np.einsum("ia,pabco,jb->pocij", back, frequencies, back)
        weight = weight.reshape(-1, self.channels, N_TAPS, N_TAPS)[: self.columns]
        if packed.dtype.kind == "i":
            weight = np.rint(weight).astype(packed.dtype)
        return np.flip(weight, (2, 3)).swapaxes(0, 1) if self.is_gradient else weight


@dataclass(frozen=True)
class TransformWeight(Routine):
    """G w G^T of every pair of channels, in place: the nine taps lie where the first nine frequencies will."""

    packing: WinogradPanels

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        (packed,) = outs
        taps = packed[:, : N_TAPS**2].reshape(-1, N_TAPS, N_TAPS, *packed.shape[2:])
        matrix = np.array(self.packing.transforms.weight, packed.dtype)
        packed[...] = np.einsum("ai,pij...,bj->pab...", matrix, taps, matrix).reshape(packed.shape)

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        return even_parts(self.packing.n_panels * self.packing.channels, self._line_flops())

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        return self.packing.n_panels * self.packing.channels * self._line_flops()

    def _line_flops(self) -> int:
        transforms = self.packing.transforms
        terms = sum(c != 0 for line in transforms.weight for c in line)
        return 2 * terms * (N_TAPS + transforms.extent) * self.packing.panel_columns
