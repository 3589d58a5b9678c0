"""An interpreter of PTX; the modules gathered here say what each instruction does."""

from . import arithmetic, asynchronous, atomics, bits, convert, logic, matrix, move, transfer, warp, warpgroup
