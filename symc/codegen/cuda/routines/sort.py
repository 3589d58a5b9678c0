"""Sorting lines: a block sorts a tile of 2048 in shared memory; pairs of tiles are merged by all blocks, a launch each.

Every element finds its place by itself: of a run of sorted elements and its neighbour, it lies behind as many as there
are before it in its own run, and as many of the other one as are smaller, which a binary search tells.  Equal elements
of the left run come first, so that the order is the CPU's.  Elements that do not get among those kept are left behind.
"""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symc.codegen.kernel import KernelCall
from symc.codegen.routines.body import Body
from symc.codegen.routines.sort import key_function
from symc.core.dtypes import ITEM_SIZE
from symc.core.shapes import FullShape
from symc.loopir.kernel import Buffer, Template, buffer_of
from symc.loopir.routine import Routine, lines_of
from symc.loopir.sorting import Sort
from symc.loopir.work import Work

from .block import BlockCompiler, call_of

TILE = 2048  # elements that a block sorts: two copies of keys and positions are 48 KB of shared memory
LEAST_TILE, OF_THREAD = 128, 4  # elements
RUN = 16  # elements that all count those before them, before runs are merged
MERGE_THREADS = 256  # of a block that merges


def key_dtype(dtype: str) -> str:
    """What holds the keys of a dtype."""
    return "int64" if ITEM_SIZE[dtype] == ITEM_SIZE["int64"] else "int32"


def scratch(routine: Routine, ins: Sequence[Buffer]) -> Sequence[tuple[FullShape, str]]:
    """Keys and positions of lines of several tiles, before and after a merge."""
    assert isinstance(routine, Sort)
    (data,) = ins
    outer, extent, inner = lines_of(data.shape, routine.axis)
    both = (2, outer * inner, extent)
    return ((both, key_dtype(data.dtype)), (both, "int32")) if extent > TILE else ()


def calls(template: Template) -> list[KernelCall]:
    """One for the tiles, one for each width of the runs that are merged."""
    routine, data = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, Sort)
    outer, extent, inner = lines_of(data.shape, routine.axis)
    n_lines, n_kept, n_tiles = outer * inner, routine.n_kept, -(-extent // TILE)
    capacity = min(TILE, max(LEAST_TILE, _power(extent)))
    common = {"n_lines": n_lines, "length": extent, "inner": inner, "n_kept": n_kept}
    direction = "ascending" if routine.is_ascending else "descending"
    kept, tiles = f"{n_lines} lines of {extent}, {n_kept} kept", f", tiles of {TILE}" * (n_tiles > 1)
    options = data.dtype, routine.is_ascending, capacity, n_tiles == 1
    structure = f"{data.dtype} {direction} {capacity} {'whole' if n_tiles == 1 else 'tiles'}"
    body = Body(template, "sort", tile_kernel, options, structure, common, f"{kept}, a block for each{tiles}")
    item_bytes, n_sorted = ITEM_SIZE[key_dtype(data.dtype)] + 4, min(n_kept, TILE) * n_tiles * n_lines
    work = Work(n_lines * extent * (RUN + search_steps(min(extent, capacity))), data.size_bytes + n_sorted * item_bytes)
    found = [call_of(body, n_lines * n_tiles, capacity // OF_THREAD, work, "tiles of sort" * (n_tiles > 1))]
    width, here = TILE, 0
    while width < extent:
        n_reaching, is_last = min(width, n_kept), 2 * width >= extent
        n = n_lines * -(-extent // width) * n_reaching
        words = {**common, "width": width, "step": _power(n_reaching), "here": here}
        reason = f"{kept}, a thread for each of {n} in runs of {width}"
        structure = f"{key_dtype(data.dtype)} {'last' if is_last else 'to be merged'}"
        body = Body(template, "merge", merge_kernel, (key_dtype(data.dtype), is_last), structure, words, reason)
        work = Work(n * _power(n_reaching).bit_length(), 2 * n * item_bytes)
        found.append(call_of(body, -(-n // MERGE_THREADS), MERGE_THREADS, work, "" if is_last else "merge of sort"))
        width, here = 2 * width, 1 - here
    return found


def _power(n: int) -> int:
    """The least power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def search_steps(n: int) -> int:
    """Of one element of a tile of n, in all merges."""
    widths = (RUN << k for k in range(n.bit_length()))
    return sum(width.bit_length() for width in widths if width < n)


def ranking(compiler: BlockCompiler) -> Callable[..., Any]:
    """(keys, first, n, step, key, is_right) -> how many of n sorted keys come before one of the run to their right or
    left; `step` is a power of two not below n."""

    @compiler.jit
    def rank(keys, first, n, step, key, is_right):
        count = 0
        while step > 0:
            at = count + step
            if at <= n:
                other = keys[first + at - 1]
                if (other < key) | (is_right & (other == key)):
                    count = at
            step >>= 1
        return count

    return rank


def sorting(compiler: BlockCompiler, n_threads: int) -> Callable[..., Any]:
    """(keys, positions, n, n_kept, distance) -> where the first n_kept of n sorted keys and positions lie: 0, or
    `distance` elements behind, where there must be room for as many; all threads of the block call it, and it begins
    and ends with a barrier."""
    cuda, rank = compiler.cuda, ranking(compiler)

    @compiler.jit
    def sort(keys, positions, n, n_kept, distance):
        cuda.syncthreads()
        k = cuda.threadIdx.x
        while k < n:
            key, first, place = keys[k], k - (k & (RUN - 1)), 0
            other, stop = first, min(first + RUN, n)
            while other < stop:
                if (keys[other] < key) | ((keys[other] == key) & (other < k)):
                    place += 1
                other += 1
            keys[distance + first + place] = key
            positions[distance + first + place] = positions[k]
            k += n_threads
        cuda.syncthreads()
        here, width = distance, RUN
        while width < n:
            there, n_reaching = distance - here, min(width, n_kept)
            k = cuda.threadIdx.x
            while k < n:
                place = k & (width - 1)
                if place < n_reaching:
                    is_right, key, first = (k & width) != 0, keys[here + k], k - place
                    left = first - width if is_right else first
                    other = left if is_right else first + width
                    n_others = min(n_reaching, n - other)
                    place += rank(keys, here + other, n_others, width, key, is_right)
                    if place < n_kept:
                        keys[there + left + place] = key
                        positions[there + left + place] = positions[here + k]
                k += n_threads
            cuda.syncthreads()
            here = there
            width *= 2
        return here

    return sort


def tile_kernel(compiler: BlockCompiler, dtype: str, is_ascending: bool, capacity: int, is_whole: bool) -> Callable:
    """Tiles of lines, sorted in shared memory: positions where a tile is a line, else keys and positions to merge."""
    cuda, n_threads, key_bytes = compiler.cuda, capacity // OF_THREAD, ITEM_SIZE[key_dtype(dtype)]
    key_of, sort = key_function(compiler, dtype, is_ascending), sorting(compiler, n_threads)
    values, int32s = compiler.elements(key_dtype(dtype)), compiler.elements("int32")
    memory, first_word = compiler.shared(2 * capacity * (key_bytes + 4)), 4 if is_whole else 8

    def kernel(desc, bufs):
        source, order = bufs[desc[0]] + desc[1], int32s(bufs[desc[2]] + desc[3])
        n_lines, length = desc[first_word], desc[first_word + 1]
        inner, n_kept = desc[first_word + 2], desc[first_word + 3]
        address = memory()
        keys, positions = values(address), int32s(address + 2 * capacity * key_bytes)
        n_tiles = (length + capacity - 1) // capacity
        unit = cuda.blockIdx.x
        while unit < n_lines * n_tiles:
            line = unit // n_tiles
            outer = line // inner
            rest = line - outer * inner
            start = (unit - line * n_tiles) * capacity
            n = min(capacity, length - start)
            k = cuda.threadIdx.x
            while k < n:
                keys[k] = key_of(source, (outer * length + start + k) * inner + rest)
                positions[k] = start + k
                k += n_threads
            here = sort(keys, positions, n, n_kept, capacity)
            k = cuda.threadIdx.x
            while k < min(n, n_kept):
                if is_whole:
                    order[(outer * n_kept + k) * inner + rest] = positions[here + k]
                else:
                    values(bufs[desc[4]] + desc[5])[line * length + start + k] = keys[here + k]
                    int32s(bufs[desc[6]] + desc[7])[line * length + start + k] = positions[here + k]
                k += n_threads  # and what comes next, each thread writes where it has read
            unit += cuda.gridDim.x

    return kernel


def merge_kernel(compiler: BlockCompiler, dtype: str, is_last: bool) -> Callable[..., None]:
    """Pairs of sorted runs of each line, from one half of the scratch memory to the other, or to where they belong."""
    cuda, rank = compiler.cuda, ranking(compiler)
    values, int32s = compiler.elements(dtype), compiler.elements("int32")

    def kernel(desc, bufs):
        order = int32s(bufs[desc[2]] + desc[3])
        keys, positions = values(bufs[desc[4]] + desc[5]), int32s(bufs[desc[6]] + desc[7])
        n_lines, length, inner, n_kept = desc[8], desc[9], desc[10], desc[11]
        width, step, half = desc[12], desc[13], desc[14]
        n_reaching, n_runs = min(width, n_kept), (length + width - 1) // width
        unit = cuda.grid(1)
        while unit < n_lines * n_runs * n_reaching:
            number = unit // n_reaching
            line = number // n_runs
            run, place = number - line * n_runs, unit - number * n_reaching
            first = run * width
            if first + place < length:
                here = (half * n_lines + line) * length
                there = ((1 - half) * n_lines + line) * length
                is_right, at = (run & 1) != 0, here + first + place
                left = first - width if is_right else first
                other = left if is_right else first + width
                key, position = keys[at], positions[at]
                place += rank(keys, here + other, min(n_reaching, length - other), step, key, is_right)
                if place < n_kept:
                    if is_last:
                        outer = line // inner
                        order[(outer * n_kept + place) * inner + line - outer * inner] = position
                    else:
                        keys[there + left + place] = key
                        positions[there + left + place] = position
            unit += cuda.gridsize(1)

    return kernel
