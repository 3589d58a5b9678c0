"""The sizes of a block's part of a matrix product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from symc.core.dtypes import BYTES

ITEM_BYTES = 4  # of sums, and of what lies in shared memory: a float32, two float16, four integers of 8 bits
QUAD = 4  # words of one access to memory
TOGETHER = 16  # products of a round of the innermost loop, which is a long line of multiplications
STAGES = 3  # of shared memory: one is read, the others are filled
LEAST_ROWS = 16  # of a matrix, and columns: below, most of a tile would be empty
FEW_ROWS = 32  # for which weights are read once: tiles of few rows keep many of them under way
LONGER_ROWS, LONGER_PRODUCTS = 4, 8  # words by which lines of shared memory are longer: threads then meet all banks

Kind = Literal["fma", "tf32", "bfloat16", "float16", "int8", "uint8"]
TOGETHER_IN_WORD = {"float16": 2, "int8": 4, "uint8": 4}  # elements of a word, of what is multiplied as it is stored


@dataclass(frozen=True)
class Tile:
    """rows x columns results, `depth` words of products at a time; a thread has rows_of_thread x columns_of_thread.

    kind      what multiplies: each thread, or tensor cores operands rounded to tf32 or bfloat16, or stored in float16,
              or int8 and uint8 by int8
    n_teams   of threads, each of which has all results, of TOGETHER of every n_teams * TOGETHER products (see `teams`)
    by_group  whether four warps multiply together what lies in shared memory (see `warpgroups`)
    """

    rows: int
    columns: int
    depth: int
    rows_of_thread: int
    columns_of_thread: int
    n_blocks: int  # that shall run on one processor at once: as many as registers allow without spilling
    kind: Kind = "fma"
    n_teams: int = 1
    by_group: bool = False

    @property
    def team_threads(self) -> int:
        return self.rows // self.rows_of_thread * (self.columns // self.columns_of_thread)

    @property
    def n_threads(self) -> int:
        return self.n_teams * self.team_threads

    @property
    def n_together(self) -> int:
        """Products of a word."""
        return TOGETHER_IN_WORD.get(self.kind, 1)

    @property
    def sum_dtype(self) -> str:
        """Of a thread's sums; those of integers are exact."""
        return "int32" if self.kind in BYTES else "float32"

    @property
    def packed_together(self) -> int:
        """Products of a column side by side in a packed weight."""
        return self.n_together * self.words_of_column

    @property
    def words_of_column(self) -> int:
        """Of a column of the right operand that lie side by side."""
        return QUAD if self.by_group else 1

    @property
    def round(self) -> int:
        """Words of products of the innermost loop."""
        return self.depth if self.by_group else TOGETHER * self.n_teams

    @property
    def stored_together(self) -> int:
        """Sums of a thread whose columns are found before the first is stored: of a group it has many, for two rows."""
        return QUAD if self.by_group else self.n_sums

    @property
    def n_sums(self) -> int:
        """Of a thread."""
        return self.rows_of_thread * self.columns_of_thread

    def words(self, is_gradient: bool) -> tuple[int, int]:
        """What a stage of shared memory has of the left and of the right operand: lines, and what they are longer by.

        Lines are words of products, but of the left operand rows where its products are neighbours in device memory.
        In a gradient rows and columns are: a word has two float16 of these, and each product a line of its own.
        """
        if is_gradient:
            left, right = (self.n_products * self.line(n) for n in (self.rows, self.columns))
            return left, right
        longer = 0 if self.by_group else LONGER_PRODUCTS
        return self.rows * (self.depth + LONGER_ROWS), self.depth * (self.columns + longer)

    @property
    def n_products(self) -> int:
        """Of a step."""
        return self.depth * self.n_together

    def line(self, n: int) -> int:
        """Words of a product's n rows or columns in a gradient, and what they are longer by."""
        return n // self.n_together + (LONGER_PRODUCTS if self.n_together == 1 else LONGER_ROWS)

    def shared_bytes(self, is_gradient: bool) -> int:
        """Of a block."""
        return STAGES * sum(self.words(is_gradient)) * ITEM_BYTES

    def __str__(self) -> str:
        kind = "" if self.kind == "fma" else f" {self.kind}"
        teams = f" by {self.n_teams} teams" if self.n_teams > 1 else ""
        group = " by warpgroups" if self.by_group else ""
        return f"{self.rows}x{self.columns}x{self.depth}{kind}{teams}{group}"


WIDE = Tile(128, 256, 32, 16, 8, n_blocks=1)  # of tensor cores alone: it asks L2 for less
LARGE = Tile(128, 128, 32, 8, 8, n_blocks=1)
NARROW = Tile(128, 64, 32, 8, 8, n_blocks=2)
MIDDLE = Tile(64, 64, 32, 8, 4, n_blocks=3)
LEAN = Tile(64, 64, 32, 8, 8, n_blocks=4)  # half the threads: fewer accesses to shared memory, later alone
FLAT = Tile(32, 64, 32, 4, 8, n_blocks=5)
SMALL = Tile(32, 32, 32, 4, 4, n_blocks=5)
TWO_FLAT = Tile(32, 64, 32, 4, 8, n_blocks=3, n_teams=2)
FOUR_SMALL = Tile(32, 32, 64, 4, 4, n_blocks=2, n_teams=4)
GATES = Tile(64, 64, 32, 4, 16, n_blocks=4)  # of 4 sections of columns, of which a thread has the same 4 of each
FEW_GATES = Tile(16, 64, 32, 1, 16, n_blocks=8)
SIXTEEN_GATES = Tile(8, 16, 256, 1, 16, n_blocks=2, n_teams=16)
GROUP_WIDE = Tile(128, 256, 32, 2, 64, n_blocks=1, by_group=True)  # of groups of warps, each of 64 rows
GROUP_LARGE = Tile(128, 128, 32, 2, 32, n_blocks=1, by_group=True)
GROUP_FLAT = Tile(64, 128, 32, 2, 32, n_blocks=2, by_group=True)
GROUP_SMALL = Tile(64, 64, 32, 2, 16, n_blocks=3, by_group=True)
TILES_OF_GROUPS = GROUP_WIDE, GROUP_LARGE, GROUP_FLAT, GROUP_SMALL
TILES_OF_CORES = WIDE, LARGE, NARROW, MIDDLE, LEAN, FLAT, SMALL
TILES = *TILES_OF_CORES[1:], TWO_FLAT, FOUR_SMALL
FOUR_ROWS = Tile(4, 32, 256, 4, 4, n_blocks=1, n_teams=16)
FOUR_WIDE = Tile(4, 64, 128, 4, 4, n_blocks=1, n_teams=8)
EIGHT_ROWS = Tile(8, 64, 128, 4, 4, n_blocks=1, n_teams=4)
EIGHT_SLIM = Tile(8, 16, 256, 4, 4, n_blocks=2, n_teams=16)
SIXTEEN_ROWS = Tile(16, 32, 128, 4, 4, n_blocks=2, n_teams=4)
TILES_OF_FEW_ROWS = FOUR_ROWS, FOUR_WIDE, EIGHT_ROWS, EIGHT_SLIM, SIXTEEN_ROWS
SIXTEEN_OF_CORES = Tile(16, 128, 32, 4, 4, n_blocks=3)
SECTIONS, TILES_OF_SECTIONS = 4, (GATES, FEW_GATES, SIXTEEN_GATES)
