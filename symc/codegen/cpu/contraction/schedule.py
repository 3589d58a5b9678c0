"""Decisions for contractions: register tile, blocking, chunks."""

from __future__ import annotations

from symc.codegen.cpu.target import Target
from symc.codegen.kernel import KernelCall, Ref
from symc.core.dtypes import ITEM_SIZE
from symc.core.errors import CodegenError
from symc.core.shapes import size_of
from symc.loopir.expr import Axis
from symc.loopir.kernel import Contraction, Store, buffer_of

from . import forward
from .epilogue import Epilogue, channel_stride, epilogue_of, even_stride
from .micro import Tile
from .packing import Packing, packing_of
from .tables import Geometry, images_per_table, tile_tables, window_geometry


FORCE = None

def choose_tile(c, target, dtype):
    if FORCE: return FORCE
    return Tile(14, 2, target.lanes(dtype))

def packing(c, target):
    dtype = buffer_of(c, c.lhs).dtype
    return packing_of(c, dtype, choose_tile(c, target, dtype).columns)

def _pixels_and_channels(store: Store, strides: dict[Axis, int]) -> tuple[int, int]:
    image, channel, *positions = store.axes
    return even_stride([image, *positions], strides), channel_stride(channel, strides)

BLOCK = [None, None, 1]
def schedule_contraction(c, target):
    source = buffer_of(c, c.lhs); weight = buffer_of(c, c.rhs)
    dtype = source.dtype
    tile = choose_tile(c, target, dtype)
    pk = packing_of(c, dtype, tile.columns)
    pixels = size_of(c.window.out_extents if c.kind == 'forward' else c.window.in_extents)
    images = images_per_table(c.batch, pixels, tile.rows)
    g = window_geometry(c, source, images, pk.channels, c.groups == 1)
    t = tile_tables(g, tile.rows)
    item = ITEM_SIZE[dtype]
    p = forward.Problem(dtype, Ref(c.lhs, source.offset*item), Ref(c.rhs, weight.offset*item), t, c.batch//images, images*pixels,
        images*source.strides[0], pk.channels, c.groups, pk.columns, pk.channels*size_of(pk.kernel), epilogue_of(c, _pixels_and_channels))
    nt=len(t.tiles)*p.n_repeats
    bl = forward.Blocking(BLOCK[0] or nt, BLOCK[1] or 1, BLOCK[2])
    return forward.emit(p, tile, bl, "avx512vl" in target.features, "x")
