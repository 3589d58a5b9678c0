"""Decisions for contractions: which kernel, register tile, blocking and chunks, and why."""

from __future__ import annotations

from dataclasses import replace

from symc.codegen.cpu.target import Target
from symc.codegen.kernel import KernelCall, Ref
from symc.core.dtypes import ITEM_SIZE
from symc.core.errors import CodegenError
from symc.core.shapes import size_of
from symc.loopir.expr import Axis
from symc.loopir.kernel import Buffer, Contraction, Nest, Store, buffer_of, load_all

from . import depthwise, forward, weight_gradient
from .epilogue import Epilogue, channel_stride, epilogue_of, even_stride
from .micro import Tile
from .packing import Packing, packing_of
from .shapes import choose_depthwise_tile, choose_gradient_tile, choose_tile
from .tables import Geometry, images_per_table, tile_tables, window_geometry

DTYPES = ("float32", "float64")

WEIGHTS_IN_L2_BYTES = 384 * 1024  # packed weights of a panel group; L2 is 1 MB or more on current cores
PIXELS_IN_L2_BYTES = 256 * 1024  # source read by a block of tiles
CHUNK_FLOPS = 1_600_000  # about 20 us of one core
CHUNK_BYTES = 400_000  # about 20 us of memory traffic
MAX_CHUNKS = 32
