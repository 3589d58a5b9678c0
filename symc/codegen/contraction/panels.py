"""Weights in panels, as tiles of results read them: [group][panel][tap][channel][column], zero padded.

Where a step multiplies several channels at once, those of a column lie side by side: [...][word][column][channel].
Where what multiplies cuts off the last bits of a number, it is rounded to the others here, once.
Where columns fall into sections whose sums are seen together, a panel holds the same columns of each, one after the
other: [...][section][column].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from symc.core.dtypes import compute_dtype
from symc.core.errors import CodegenError
from symc.core.shapes import FullShape
from symc.loopir.expr import Affine, Axis, Expr, const, load, prim, select
from symc.loopir.kernel import Buffer, Contraction, Nest, Store


@dataclass(frozen=True)
class Panels:
    """A packing: the columns of the weight in panels of `panel_columns`.

    `shape` is (groups, panels, *kernel, channels, columns of a panel), with `n_together` channels in a word
    (groups, panels, *kernel, words, columns of a panel, channels of a word).  For a forward contraction channels are
    the input channels of a group and columns its output channels; for a data gradient the roles are exchanged and
    the taps are mirrored.  The groups of a stacked contraction lie along the weight's leading axis.
    `n_bits` significant bits of float32's 24 are kept, to the nearest number that has no more.
    """

    is_mirrored: bool
    is_transposed: bool
    dtype: str
    groups: int
    kernel: tuple[int, ...]
    channels: int
    columns: int
    panel_columns: int
    is_stacked: bool = False
    n_together: int = 1
    sections: int = 1
    n_bits: int | None = None

    routine: ClassVar[None] = None  # `nest` does all there is to do

    @property
    def n_panels(self) -> int:
        return -(-self.section_columns // self.width)

    @property
    def section_columns(self) -> int:
        """Columns of one section."""
        return self.columns // self.sections

    @property
    def width(self) -> int:
        """Columns of one section in a panel."""
        return self.panel_columns // self.sections

    @property
    def shape(self) -> FullShape:
        words = (self.channels,) if self.n_together == 1 else (self.channels // self.n_together,)
        together = () if self.n_together == 1 else (self.n_together,)
        return (self.groups, self.n_panels, *self.kernel, *words, self.panel_columns, *together)

    def nest(self, source: Buffer, packed: Buffer) -> Nest:
        """Copies the logical weight `source` (O, C / groups, *kernel), with any strides, into `packed`; the
        weight of a stacked contraction is (groups, O, C, *kernel).

        The last panel's missing columns are filled with zeros.
        """
        expected = self._source_shape()
        if source.shape != expected or packed.shape != self.shape:
            raise CodegenError(f"packing a weight: {source} and {packed}; expected shapes {expected} and {self.shape}")
        n_full, n_rest = divmod(self.section_columns, self.width)
        stores = []
        if n_full:
            stores.append(self._copy(source, packed, Axis("panel", n_full), 0, self.width, 0))
        if n_rest:
            last = Axis("panel", 1)
            stores.append(self._copy(source, packed, last, n_full, n_rest, 0))
            stores.append(self._copy(source, packed, last, n_full, self.width - n_rest, n_rest, is_zero=True))
        return Nest((source, packed), tuple(stores))

    def lies_in(self, source: Buffer) -> bool:
        """Whether the logical weight lies in this order already: the columns of one channel fill a panel."""
        is_matrix = self.groups == self.n_panels == self.n_together == self.sections == 1 and not self.kernel
        steps = (self.columns, 1) if self.is_transposed else (1, self.columns)
        return is_matrix and self.columns == self.panel_columns and source.strides == steps

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """The logical weight inside a packed array: the inverse of `nest`."""
        taps = range(2, 2 + len(self.kernel))
        array: np.ndarray = packed.reshape(self.shape)
        if self.n_together > 1:
            array = np.moveaxis(array, -1, -2)
            array = array.reshape(*array.shape[:-3], self.channels, self.panel_columns)
        if self.is_mirrored:
            array = np.flip(array, tuple(taps))
        array = array.transpose(0, 1, array.ndim - 1, array.ndim - 2, *taps)
        array = array.reshape(self.groups, self.n_panels, self.sections, self.width, self.channels, *self.kernel)
        array = np.moveaxis(array, 2, 1)
        array = array.reshape(self.groups, self.sections, self.n_panels * self.width, self.channels, *self.kernel)
        array = array[:, :, : self.section_columns]
        array = array.reshape(self.groups, self.columns, self.channels, *self.kernel)
        if self.is_transposed:
            array = array.swapaxes(1, 2)
        return array.reshape(self._source_shape())

    def _source_shape(self) -> FullShape:
        outer, inner = (self.channels, self.columns) if self.is_transposed else (self.columns, self.channels)
        if self.is_stacked:
            return (self.groups, outer, inner, *self.kernel)
        return (self.groups * outer, inner, *self.kernel)

    def _copy(
        self,
        source: Buffer,
        packed: Buffer,
        panel: Axis,
        first_panel: int,
        n_columns: int,
        first_column: int,
        is_zero: bool = False,
    ) -> Store:
        group, column = Axis("group", self.groups), Axis("column", n_columns)
        section = Axis("section", self.sections)
        word, byte = Axis("channel", self.channels // self.n_together), Axis("byte", self.n_together)
        together = () if self.n_together == 1 else (byte,)
        channel = Affine.of(word) if self.n_together == 1 else word * self.n_together + byte
        taps = tuple(Axis(f"tap{d}", extent) for d, extent in enumerate(self.kernel))
        # Mirrored where they are stored: taps are read as they lie, next to each other.
        places = tuple(tap.extent - 1 - tap if self.is_mirrored else Affine.of(tap) for tap in taps)
        place, inner = column + first_column, (panel + first_panel) * self.width + column
        if self.sections > 1:
            place, inner = section * self.width + place, section * self.section_columns + inner
        at = (Affine.of(group), panel + first_panel, *places, Affine.of(word), place)
        value: Expr
        if is_zero:
            value = const(0, compute_dtype(source.dtype))
        else:
            outer, inner_channel, extent = inner, channel, self.columns
            if self.is_transposed:
                outer, inner_channel, extent = channel, inner, self.channels
            first = (Affine.of(group), outer) if self.is_stacked else (group * extent + outer,)
            value = load(source.name, (*first, inner_channel, *map(Affine.of, taps)), compute_dtype(source.dtype))
            if self.n_bits is not None:
                value = rounded(value, self.n_bits)
        axes = (group, panel, *taps, word, *([section] if self.sections > 1 else []), column, *together)
        return Store(packed.name, (*at, *map(Affine.of, together)), value, axes)


def rounded(x: Expr, n_bits: int) -> Expr:
    """The nearest number of so many significant bits of float32's 24 (T. J. Dekker's splitting, 1971).

    What it would take beyond the largest number stays as it is.
    """
    far = x * float((1 << 24 - n_bits) + 1)
    return select(prim("lt", prim("abs", x), 2.0**100), far - (far - x), x)


def panels_of(c: Contraction, dtype: str, panel_columns: int, n_together: int = 1, n_bits: int | None = None) -> Panels:
    """The weight of a forward contraction or data gradient in panels of `panel_columns` columns.

    Depthwise weights are one group whose columns are all channels, each with a single input channel.
    """
    is_gradient = c.kind == "data_gradient"
    if c.is_depthwise:
        return Panels(is_gradient, False, dtype, 1, c.window.kernel, 1, c.groups, panel_columns)
    inner, outer = c.in_channels // c.groups, c.out_channels // c.groups
    channels, columns = (outer, inner) if is_gradient else (inner, outer)
    groups, is_stacked = (c.groups, False) if c.stack is None else (c.stack, True)
    sizes = (groups, c.window.kernel, channels, columns, panel_columns)
    return Panels(is_gradient, is_gradient, dtype, *sizes, is_stacked, n_together, c.sections, n_bits)
