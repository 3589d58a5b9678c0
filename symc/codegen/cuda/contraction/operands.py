"""The operands of tiles: where the elements lie that a thread brings."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from symc.codegen.cuda.abilities import GLOBAL
from symc.codegen.cuda.ptx import thread
from symc.codegen.llvm.lanes import I32, I64
from symc.codegen.llvm.loops import Values

from .sums import element
from .tile import ITEM_BYTES, Tile


@dataclass(frozen=True, eq=False)
class Windows:
    """A streamed tensor through the table of its windows: int32 offsets in elements (pixels, taps), -1 outside.

    address      int64, of the first image, of the first channel of the group
    image_bytes  of two images
    pixels, taps, channels   int32: of one image; of a window; of a group
    """

    address: ir.Value
    image_bytes: ir.Value
    table: ir.Value
    pixels: ir.Value
    taps: ir.Value
    channels: ir.Value

    def image_and_pixel(self, b: ir.IRBuilder, row: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The address of the image of a row (int32), and of the pixel's line in the table."""
        image, pixel = b.udiv(row, self.pixels), b.urem(row, self.pixels)
        line = b.mul(b.zext(b.mul(pixel, self.taps), I64), I64(ITEM_BYTES))
        return b.add(self.address, b.mul(b.zext(image, I64), self.image_bytes)), b.add(self.table, line)

    def at(self, b: ir.IRBuilder, image: ir.Value, line: ir.Value, tap: ir.Value, channel: ir.Value) -> tuple:
        """(address, whether it is inside) of a tap's channel."""
        place = b.add(line, b.mul(b.zext(tap, I64), I64(ITEM_BYTES)))
        offset = b.load(b.inttoptr(place, I32.as_pointer(addrspace=GLOBAL)), align=ITEM_BYTES)
        moved = b.mul(b.sext(b.add(offset, channel), I64), I64(ITEM_BYTES))
        return b.add(image, moved), b.icmp_signed(">=", offset, I32(0))


class Rows:
    """The left operand of sums over windows: a row is a pixel, a product a channel of a tap.

    Neighbouring threads bring neighbouring channels.
    """

    def __init__(
        self, b: ir.IRBuilder, tile: Tile, windows: Windows, first_row: ir.Value, n_rows: ir.Value, depth: ir.Value
    ) -> None:
        self.b, self.tile, self.windows, self.depth = b, tile, windows, depth
        self.product = b.urem(thread(b), I32(tile.depth))
        self.row = b.udiv(thread(b), I32(tile.depth))
        self.step = tile.n_threads // tile.depth
        self.passes = []
        for k in range(tile.rows // self.step):
            row = b.add(first_row, self.place(k)[1])
            is_row = b.icmp_unsigned("<", row, n_rows)
            self.passes.append((is_row, *windows.image_and_pixel(b, b.select(is_row, row, I32(0)))))

    def place(self, number: int) -> tuple[ir.Value, ir.Value]:
        return self.product, self.b.add(self.row, I32(number * self.step))

    def load(self, step: ir.Value) -> Values:
        b, windows = self.b, self.windows
        product = b.add(b.mul(b.trunc(step, I32), I32(self.tile.depth)), self.product)
        is_product = b.icmp_unsigned("<", product, self.depth)
        product = b.select(is_product, product, I32(0))
        tap, channel = b.udiv(product, windows.channels), b.urem(product, windows.channels)
        found = []
        for is_row, image, line in self.passes:
            address, is_inside = windows.at(b, image, line, tap, channel)
            found.append(element(b, address, windows.address, [is_row, is_product, is_inside]))
        return found


class Panel:
    """A packed weight: a product's columns side by side."""

    def __init__(self, b: ir.IRBuilder, tile: Tile, address: ir.Value, depth: ir.Value) -> None:
        self.b, self.tile, self.address, self.depth = b, tile, address, depth
        self.column = b.urem(thread(b), I32(tile.columns))
        self.product = b.udiv(thread(b), I32(tile.columns))
        self.step = tile.n_threads // tile.columns

    def place(self, number: int) -> tuple[ir.Value, ir.Value]:
        return self.b.add(self.product, I32(number * self.step)), self.column

    def load(self, step: ir.Value) -> Values:
        b, found = self.b, []
        for k in range(self.tile.depth // self.step):
            product = b.add(b.mul(b.trunc(step, I32), I32(self.tile.depth)), self.place(k)[0])
            at = b.add(b.mul(b.zext(product, I64), I64(self.tile.columns)), b.zext(self.column, I64))
            address = b.add(self.address, b.mul(at, I64(ITEM_BYTES)))
            found.append(element(b, address, self.address, [b.icmp_unsigned("<", product, self.depth)]))
        return found


class Pixels:
    """The left operand of a weight gradient: a row is a channel of dy, a product one of its pixels."""

    def __init__(
        self,
        b: ir.IRBuilder,
        tile: Tile,
        address: ir.Value,
        image_bytes: ir.Value,
        pixel_bytes: ir.Value,
        pixels: ir.Value,
        first_row: ir.Value,
        n_rows: ir.Value,
        depth: ir.Value,
    ) -> None:
        self.b, self.tile, self.address, self.depth = b, tile, address, depth
        self.image_bytes, self.pixel_bytes, self.pixels = image_bytes, pixel_bytes, pixels
        self.row = b.urem(thread(b), I32(tile.rows))
        self.product = b.udiv(thread(b), I32(tile.rows))
        self.step = tile.n_threads // tile.rows
        row = b.add(first_row, self.row)
        self.is_row = b.icmp_unsigned("<", row, n_rows)
        self.channel_at = b.add(address, b.mul(b.zext(row, I64), I64(ITEM_BYTES)))

    def place(self, number: int) -> tuple[ir.Value, ir.Value]:
        return self.b.add(self.product, I32(number * self.step)), self.row

    def load(self, step: ir.Value) -> Values:
        b, found = self.b, []
        for k in range(self.tile.depth // self.step):
            product = b.add(b.mul(b.trunc(step, I32), I32(self.tile.depth)), self.place(k)[0])
            image, pixel = b.udiv(product, self.pixels), b.urem(product, self.pixels)
            moved = b.add(b.mul(b.zext(image, I64), self.image_bytes), b.mul(b.zext(pixel, I64), self.pixel_bytes))
            is_product = b.icmp_unsigned("<", product, self.depth)
            found.append(element(b, b.add(self.channel_at, moved), self.address, [self.is_row, is_product]))
        return found


class Taps:
    """The right operand of a weight gradient: a column is a channel of a tap, a product a pixel of dy that sees it."""

    def __init__(
        self,
        b: ir.IRBuilder,
        tile: Tile,
        windows: Windows,
        first_column: ir.Value,
        n_columns: ir.Value,
        depth: ir.Value,
    ) -> None:
        self.b, self.tile, self.windows, self.depth = b, tile, windows, depth
        self.column = b.urem(thread(b), I32(tile.columns))
        self.product = b.udiv(thread(b), I32(tile.columns))
        self.step = tile.n_threads // tile.columns
        column = b.add(first_column, self.column)
        self.is_column = b.icmp_unsigned("<", column, n_columns)
        column = b.select(self.is_column, column, I32(0))
        self.tap, self.channel = b.udiv(column, windows.channels), b.urem(column, windows.channels)

    def place(self, number: int) -> tuple[ir.Value, ir.Value]:
        return self.b.add(self.product, I32(number * self.step)), self.column

    def load(self, step: ir.Value) -> Values:
        b, windows, found = self.b, self.windows, []
        for k in range(self.tile.depth // self.step):
            product = b.add(b.mul(b.trunc(step, I32), I32(self.tile.depth)), self.place(k)[0])
            is_product = b.icmp_unsigned("<", product, self.depth)
            image, line = windows.image_and_pixel(b, b.select(is_product, product, I32(0)))
            address, is_inside = windows.at(b, image, line, self.tap, self.channel)
            found.append(element(b, address, windows.address, [self.is_column, is_product, is_inside]))
        return found
