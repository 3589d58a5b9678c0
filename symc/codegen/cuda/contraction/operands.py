"""The operands of tiles: where the neighbours lie that a thread copies, and where they go.

In shared memory, the side whose products are neighbours in device memory has them so there (`by products`), every other
one its rows or columns.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from symc.codegen.cuda.abilities import GLOBAL
from symc.codegen.cuda.ptx import thread
from symc.codegen.llvm.lanes import I32, I64
from symc.codegen.llvm.loops import Values, when

from .sums import Copy
from .tile import ITEM_BYTES, LONGER_PRODUCTS, LONGER_ROWS, QUAD, Tile


@dataclass(frozen=True, eq=False)
class Windows:
    """A streamed tensor through the table of its windows: int32 offsets in elements (pixels, taps), -1 outside.

    address      int64, of the first image, of the first channel of the group
    item_bytes   of an element
    image_bytes  of two images
    pixels, taps, channels   int32: of one image; of a window; of a group, in words
    """

    address: ir.Value
    item_bytes: int
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
        """(address, whether it is inside) of a word of a tap's channels."""
        place = b.add(line, b.mul(b.zext(tap, I64), I64(ITEM_BYTES)))
        offset = b.load(b.inttoptr(place, I32.as_pointer(addrspace=GLOBAL)), align=ITEM_BYTES)
        moved = b.add(b.mul(b.sext(offset, I64), I64(self.item_bytes)), b.mul(b.zext(channel, I64), I64(ITEM_BYTES)))
        return b.add(image, moved), b.icmp_signed(">=", offset, I32(0))


class _Lines:
    """Lines of shared memory, of which neighbouring threads bring neighbours.

    width     words of a copy
    along     int32: where in its lines this thread's part begins
    line      int32: the first line of it
    step      lines from one copy of a thread to the next
    per_step  products, or words of them
    """

    def __init__(self, b: ir.IRBuilder, tile: Tile, n_lines: int, length: int, padding: int, width: int) -> None:
        self.b, self.tile, self.width = b, tile, width
        self.length, self.words = length + padding, n_lines * (length + padding)
        across = I32(length // width)
        self.along = b.mul(b.urem(thread(b), across), I32(width))
        self.line = b.udiv(thread(b), across)
        self.step = tile.n_threads * width // length
        self.place = b.add(b.mul(self.line, I32(self.length)), self.along)
        self.passes = range(n_lines // self.step)
        self.per_step = tile.depth

    def copy(self, number: int, address: ir.Value, is_there: list[ir.Value], rest: ir.Value | None = None) -> Copy:
        """Of a pass, where all conditions hold; of `rest` words (int32) at most."""
        b, size_bytes = self.b, I32(self.width * ITEM_BYTES)
        if rest is not None and self.width > 1:
            left = b.mul(rest, I32(ITEM_BYTES))
            size_bytes = b.select(b.icmp_signed("<", left, size_bytes), left, size_bytes)
        for condition in is_there:
            size_bytes = b.select(condition, size_bytes, I32(0))
        return Copy(self.place, number * self.step * self.length, address, size_bytes)

    def begin(self, step: ir.Value) -> Values:
        """See Operand; here the first product of the tile."""
        return [self.b.mul(step, I32(self.per_step))]

    def advance(self, at: Values) -> Values:
        """See Operand."""
        return [self.b.add(at[0], I32(self.per_step))]

    def line_of(self, number: int) -> ir.Value:
        """The line of a pass."""
        return self.b.add(self.line, I32(number * self.step))


class Rows(_Lines):
    """The left operand of sums over windows: a row is a pixel, a product a word of channels of a tap."""

    def __init__(
        self,
        b: ir.IRBuilder,
        tile: Tile,
        windows: Windows,
        first_row: ir.Value,
        n_rows: ir.Value,
        width: int,
    ) -> None:
        super().__init__(b, tile, tile.rows, tile.depth, LONGER_ROWS, width)
        self.windows, self.steps = windows, (1, self.length)
        self.pixels = []
        for k in self.passes:
            row = b.add(first_row, self.line_of(k))
            is_row = b.icmp_unsigned("<", row, n_rows)
            self.pixels.append((is_row, *windows.image_and_pixel(b, b.select(is_row, row, I32(0)))))

    def copies(self, at: Values) -> list[Copy]:
        """See Operand."""
        return self.started(self.found(self.b.add(at[0], self.along)))

    def found(self, product: ir.Value) -> Values:
        """Tap and channel of a product, and (address, whether anything is there) by pass."""
        channels = self.windows.channels
        return self.found_in(self.b.udiv(product, channels), self.b.urem(product, channels))

    def found_in(self, tap: ir.Value, channel: ir.Value) -> Values:
        """The same of a channel of a tap."""
        b, windows, found = self.b, self.windows, [tap, channel]
        is_tap = b.icmp_unsigned("<", tap, windows.taps)
        known = b.select(is_tap, tap, I32(0))
        for is_row, image, line in self.pixels:
            address, is_inside = windows.at(b, image, line, known, channel)
            address = b.select(is_inside, address, windows.address)
            found += [address, b.and_(b.and_(is_row, is_tap), is_inside)]
        return found

    def started(self, found: Values) -> list[Copy]:
        """The copies of what was found."""
        places = zip(found[2::2], found[3::2])
        return [self.copy(k, address, [is_there]) for k, (address, is_there) in enumerate(places)]


class Runs(Rows):
    """Rows whose copies move on with the channels of a tap: of four words, as more would not fit into registers."""

    def begin(self, step: ir.Value) -> Values:
        """See Operand; here what is found."""
        return self.found(self.b.add(*super().begin(step), self.along))

    def copies(self, at: Values) -> list[Copy]:
        """See Operand."""
        return self.started(at)

    def advance(self, at: Values) -> Values:
        """See Operand: further channels of the same tap, else some of another one."""
        b, (tap, channel, *places) = self.b, at
        channels, depth = self.windows.channels, I32(self.tile.depth)
        tap, channel = b.add(tap, b.udiv(depth, channels)), b.add(channel, b.urem(depth, channels))
        is_over = b.icmp_unsigned(">=", channel, channels)
        tap, channel = b.add(tap, b.zext(is_over, I32)), b.sub(channel, b.select(is_over, channels, I32(0)))
        moved = [b.add(x, I64(self.tile.depth * ITEM_BYTES)) if x.type == I64 else x for x in places]
        is_other = b.icmp_unsigned("!=", tap, at[0])
        return when(b, is_other, lambda: self.found_in(tap, channel), [tap, channel, *moved])


class Panel(_Lines):
    """A packed weight: a product's columns side by side, or quads of products of a column, these side by side."""

    def __init__(self, b: ir.IRBuilder, tile: Tile, address: ir.Value, depth: ir.Value) -> None:
        self.of_line = n = tile.words_of_column
        super().__init__(b, tile, tile.depth // n, tile.columns * n, 0 if tile.by_group else LONGER_PRODUCTS, QUAD)
        self.address, self.depth, self.steps = address, depth, (self.length // n, n)

    def begin(self, step: ir.Value) -> Values:
        """See Operand: the product and the address of the first pass."""
        b, (first,) = self.b, super().begin(step)
        product = b.add(first, b.mul(self.line, I32(self.of_line)))
        at = b.add(b.mul(b.zext(product, I64), I64(self.tile.columns)), b.zext(self.along, I64))
        return [product, b.add(self.address, b.mul(at, I64(ITEM_BYTES)))]

    def copies(self, at: Values) -> list[Copy]:
        """See Operand."""
        b, (product, address), found = self.b, at, []
        for k in self.passes:
            further = k * self.step * self.of_line
            is_product = b.icmp_signed("<", product, b.sub(self.depth, I32(further)))
            place = b.add(address, I64(further * self.tile.columns * ITEM_BYTES))
            found.append(self.copy(k, place, [is_product]))
        return found

    def advance(self, at: Values) -> Values:
        """See Operand."""
        product_bytes = self.tile.columns * ITEM_BYTES
        return [*super().advance(at[:1]), self.b.add(at[1], I64(self.tile.depth * product_bytes))]


class _Products(_Lines):
    """Lines of a gradient: a product's rows or columns side by side, two float16 to a word."""

    def __init__(self, b: ir.IRBuilder, tile: Tile, n: int, width: int, depth: ir.Value) -> None:
        length = n // tile.n_together
        super().__init__(b, tile, tile.n_products, length, tile.line(n) - length, width)
        self.depth, self.per_step = depth, tile.n_products
        self.steps = self.length * tile.n_together, 1

    def words_of(self, n: ir.Value) -> ir.Value:
        """So many rows or columns, int32, in words."""
        return self.b.udiv(n, I32(self.tile.n_together))


class Pixels(_Products):
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
        width: int,
    ) -> None:
        super().__init__(b, tile, tile.rows, width, depth)
        self.address, self.image_bytes, self.pixel_bytes, self.pixels = address, image_bytes, pixel_bytes, pixels
        row, n_rows = b.add(self.words_of(first_row), self.along), self.words_of(n_rows)
        self.is_row, self.rest = b.icmp_unsigned("<", row, n_rows), b.sub(n_rows, row)
        self.channel_at = b.add(address, b.mul(b.zext(row, I64), I64(ITEM_BYTES)))

    def copies(self, at: Values) -> list[Copy]:
        """See Operand."""
        b, found = self.b, []
        for k in self.passes:
            product = b.add(at[0], self.line_of(k))
            image, pixel = b.udiv(product, self.pixels), b.urem(product, self.pixels)
            moved = b.add(b.mul(b.zext(image, I64), self.image_bytes), b.mul(b.zext(pixel, I64), self.pixel_bytes))
            is_there = b.and_(self.is_row, b.icmp_unsigned("<", product, self.depth))
            address = b.select(is_there, b.add(self.channel_at, moved), self.address)
            found.append(self.copy(k, address, [is_there], self.rest))
        return found


class Taps(_Products):
    """The right operand of a weight gradient: a column is a channel of a tap, a product a pixel of dy that sees it."""

    def __init__(
        self,
        b: ir.IRBuilder,
        tile: Tile,
        windows: Windows,
        first_column: ir.Value,
        n_columns: ir.Value,
        depth: ir.Value,
        width: int,
    ) -> None:
        super().__init__(b, tile, tile.columns, width, depth)
        self.windows = windows
        column = b.add(self.words_of(first_column), self.along)
        self.is_column = b.icmp_unsigned("<", column, self.words_of(n_columns))
        column = b.select(self.is_column, column, I32(0))
        self.tap, self.channel = b.udiv(column, windows.channels), b.urem(column, windows.channels)

    def copies(self, at: Values) -> list[Copy]:
        """See Operand."""
        b, windows, found = self.b, self.windows, []
        for k in self.passes:
            product = b.add(at[0], self.line_of(k))
            is_product = b.icmp_unsigned("<", product, self.depth)
            image, line = windows.image_and_pixel(b, b.select(is_product, product, I32(0)))
            address, is_inside = windows.at(b, image, line, self.tap, self.channel)
            address = b.select(is_inside, address, windows.address)
            found.append(self.copy(k, address, [self.is_column, is_product, is_inside]))
        return found
