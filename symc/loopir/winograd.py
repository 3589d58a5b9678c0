"""Winograd's minimal filtering: 3x3 windows of stride 1 with 2.25 times fewer multiplications (tiles of 2 x 2).

The output is cut into tiles of m x m.  With d the (m + 2) x (m + 2) inputs of a tile and w the 3x3 weights of a pair of
channels, both are transformed, multiplied element by element (each element, a *frequency*, is a matrix product over
channels and tiles), and transformed back:

    y = A^T [sum over channels of (G w G^T) * (B^T d B)] A

Source: S. Winograd, Arithmetic Complexity of Computations (1980); A. Lavin and S. Gray, Fast Algorithms for
Convolutional Neural Networks (2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from symc.core.errors import CodegenError
from symc.core.shapes import FullShape

from .kernel import Buffer, Nest
from .packing import Packing
from .routine import Routine, even_parts

N_TAPS = 3  # along each of the two axes
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Transforms:
    """The three matrices for output tiles of `outputs` x `outputs`; `extent` = outputs + 2 is the input tile's."""

    outputs: int
    weight: Matrix  # G    (extent, 3)
    input: Matrix  # B^T  (extent, extent)
    output: Matrix  # A^T  (outputs, extent)

    @property
    def extent(self) -> int:
        return self.outputs + N_TAPS - 1

    @property
    def n_frequencies(self) -> int:
        return self.extent**2


TRANSFORMS = {
    2: Transforms(
        2,
        weight=((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
        input=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
        output=((1, 1, 1, 0), (0, 1, -1, -1)),
    ),
}


@dataclass(frozen=True)
class WinogradPacking:
    """A 3x3 weight (O, C, 3, 3) transformed once, in the order the register tile reads it.

    `shape` is dense: (panels, frequencies, C, columns of a panel).  The register tile is `rows` x (`vectors` x
    `lanes`); the kernel keeps the transformed inputs of `part_groups` groups of `rows` tiles in memory of its own, as
    (groups, frequencies, rows, C), and works on one such part after the other.
    """

    outputs: int
    dtype: str
    channels: int
    columns: int
    vectors: int
    lanes: int
    rows: int = field(compare=False)  # two layers that share a weight share the packed one, too
    part_groups: int = field(compare=False)

    @property
    def panel_columns(self) -> int:
        return self.vectors * self.lanes

    @property
    def transforms(self) -> Transforms:
        return TRANSFORMS[self.outputs]

    @property
    def n_panels(self) -> int:
        return -(-self.columns // self.panel_columns)

    @property
    def shape(self) -> FullShape:
        return (self.n_panels, self.transforms.n_frequencies, self.channels, self.panel_columns)

    @property
    def scratch(self) -> FullShape:
        """The shape of the memory the kernel needs while it runs."""
        return (self.part_groups, self.transforms.n_frequencies, self.rows, self.channels)

    def buffer(self, name: str) -> Buffer:
        """The packed weight as a buffer that owns its memory."""
        return Buffer.dense(name, self.shape, self.dtype)

    @property
    def routine(self) -> TransformWeight:
        """What is left to do after `nest`."""
        return TransformWeight(self)

    def nest(self, source: Buffer, packed: Buffer) -> Nest:
        """Copies the logical weight `source` (O, C, 3, 3), with any strides, where `routine` expects it in `packed`."""
        if packed.shape != self.shape:
            raise CodegenError(f"packing a weight: {packed}; expected shape {self.shape}")
        direct = Packing(False, False, self.dtype, 1, (N_TAPS, N_TAPS), self.channels, self.columns, self.panel_columns)
        panel, frequency, channel, column = packed.strides
        strides = (panel, panel, N_TAPS * frequency, frequency, channel, column)
        return direct.nest(source, Buffer(packed.name, direct.shape, self.dtype, strides, packed.offset))

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """The logical weight inside a packed array, up to rounding: G has full column rank, so it can be undone."""
        extent = self.transforms.extent
        back = np.linalg.pinv(np.array(self.transforms.weight))
        frequencies = packed.reshape(self.n_panels, extent, extent, self.channels, self.panel_columns)
        weight = np.einsum("ia,pabco,jb->pocij", back, frequencies, back)
        return weight.reshape(-1, self.channels, N_TAPS, N_TAPS)[: self.columns]


@dataclass(frozen=True)
class TransformWeight(Routine):
    """G w G^T of every pair of channels, in place: the nine taps lie where the first nine frequencies will."""

    packing: WinogradPacking

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        (packed,) = outs
        taps = packed[:, : N_TAPS**2].reshape(-1, N_TAPS, N_TAPS, *packed.shape[2:])
        matrix = np.array(self.packing.transforms.weight, packed.dtype)
        packed[...] = np.einsum("ai,pijco,bj->pabco", matrix, taps, matrix).reshape(packed.shape)

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        return even_parts(self.packing.n_panels * self.packing.channels, self._line_flops())

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        return self.packing.n_panels * self.packing.channels * self._line_flops()

    def _line_flops(self) -> int:
        transforms = self.packing.transforms
        terms = sum(c != 0 for line in transforms.weight for c in line)
        return 2 * terms * (N_TAPS + transforms.extent) * self.packing.panel_columns
