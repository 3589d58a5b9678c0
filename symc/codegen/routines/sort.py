"""Sorting lines: insertion of short runs, then merges from the bottom up; where little is kept, only that is sorted."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symc.core.dtypes import ITEM_SIZE, is_float
from symc.loopir.kernel import Template, buffer_of
from symc.loopir.routine import lines_of
from symc.loopir.sorting import SELECTED, Sort

from .body import Body, Compiler

RUN = 16  # elements that insertion sorts faster than merging does
LARGEST_KEY = int(np.iinfo("int64").max)


def body(template: Template) -> Body:
    """The selecting or the merging kernel."""
    routine, data = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, Sort)
    outer, extent, inner = lines_of(data.shape, routine.axis)
    whole = few_kernel if routine.keeps_few(extent) else merge_kernel
    make = select_kernel if routine.n_kept <= SELECTED else whole
    direction = "ascending" if routine.is_ascending else "descending"
    words = {"n_lines": outer * inner, "length": extent, "inner": inner, "n_kept": routine.n_kept}
    reason = f"{outer * inner} lines of {extent}, {routine.n_kept} kept"
    options = data.dtype, routine.is_ascending
    return Body(template, "sort", make, options, f"{data.dtype} {direction}", words, reason)


def key_function(compiler: Compiler, dtype: str, is_ascending: bool) -> Callable[..., Any]:
    """(address, position) -> int64 that orders elements of a dtype: smaller keys go first.

    Floats are read as integers of sign and magnitude: -0 equals 0, and NaN, beyond infinity, becomes the largest.
    """
    flip = 0 if is_ascending else -1  # x ^ -1 = -1 - x reverses the order
    if not is_float(dtype):
        integers = compiler.elements(dtype)

        @compiler.jit
        def integer_key(address, at):
            return integers(address)[at] ^ flip

        return integer_key
    name = f"int{8 * ITEM_SIZE[dtype]}"
    bits, largest = compiler.elements(name), int(np.iinfo(name).max)
    infinity = int(np.array([np.inf], dtype).view(name)[0])

    @compiler.jit
    def float_key(address, at):
        key = np.int64(bits(address)[at])
        size = key & largest
        if size > infinity:
            return largest ^ flip
        return (size if key >= 0 else -size) ^ flip

    return float_key


def select_kernel(compiler: Compiler, dtype: str, is_ascending: bool) -> Callable[..., None]:
    """The first `n_kept` of each line: a sweep that inserts what belongs among the kept."""
    key_of = key_function(compiler, dtype, is_ascending)
    words, int32s = compiler.elements("int64"), compiler.elements("int32")

    def kernel(chunk, n_chunks, desc, bufs):
        source = bufs[desc[0]] + desc[1]
        order = int32s(bufs[desc[2]] + desc[3])
        n_lines, length, inner, n_kept = desc[8], desc[9], desc[10], desc[11]
        keys = words(bufs[desc[4]] + desc[5] + chunk * length * 8)
        kept = int32s(bufs[desc[6]] + desc[7] + chunk * length * 8)
        for line in range(chunk * n_lines // n_chunks, (chunk + 1) * n_lines // n_chunks):
            outer = line // inner
            rest = line - outer * inner
            n_found = 0
            for k in range(length):
                key = key_of(source, (outer * length + k) * inner + rest)
                if n_found == n_kept:
                    if keys[n_kept - 1] <= key:
                        continue
                else:
                    n_found += 1
                at = n_found - 1
                while at > 0 and keys[at - 1] > key:
                    keys[at] = keys[at - 1]
                    kept[at] = kept[at - 1]
                    at -= 1
                keys[at] = key
                kept[at] = k
            for k in range(n_kept):
                order[(outer * n_kept + k) * inner + rest] = kept[k]

    return kernel


def sorting(compiler: Compiler) -> Callable[..., Any]:
    """(keys, here, there, length) -> here or there, whichever holds the positions of the keys, smallest first."""

    @compiler.jit
    def merge(keys, here, there, low, middle, high):
        """Merges the runs here[low:middle] and here[middle:high] into there[low:high]; equal keys stay in order."""
        left, right = low, middle
        for k in range(low, high):
            if left < middle and (right == high or keys[here[left]] <= keys[here[right]]):
                there[k] = here[left]
                left += 1
            else:
                there[k] = here[right]
                right += 1

    @compiler.jit
    def in_order(keys, here, there, length):
        for k in range(length):
            run = k - k % RUN
            at = k
            while at > run and keys[here[at - 1]] > keys[k]:
                here[at] = here[at - 1]
                at -= 1
            here[at] = k
        width = RUN
        while width < length:
            for low in range(0, length, 2 * width):
                merge(keys, here, there, low, min(low + width, length), min(low + 2 * width, length))
            here, there = there, here
            width *= 2
        return here

    return in_order


def merge_kernel(compiler: Compiler, dtype: str, is_ascending: bool) -> Callable[..., None]:
    """Each line as a whole: sorted runs of 16 positions, merged in pairs until one is left."""
    key_of, in_order = key_function(compiler, dtype, is_ascending), sorting(compiler)
    words, int32s = compiler.elements("int64"), compiler.elements("int32")

    def kernel(chunk, n_chunks, desc, bufs):
        source = bufs[desc[0]] + desc[1]
        order = int32s(bufs[desc[2]] + desc[3])
        n_lines, length, inner, n_kept = desc[8], desc[9], desc[10], desc[11]
        keys = words(bufs[desc[4]] + desc[5] + chunk * length * 8)
        first = bufs[desc[6]] + desc[7] + chunk * length * 8
        for line in range(chunk * n_lines // n_chunks, (chunk + 1) * n_lines // n_chunks):
            outer = line // inner
            rest = line - outer * inner
            for k in range(length):
                keys[k] = key_of(source, (outer * length + k) * inner + rest)
            positions = in_order(keys, int32s(first), int32s(first + length * 4), length)
            for k in range(n_kept):
                order[(outer * n_kept + k) * inner + rest] = positions[k]

    return kernel


def few_kernel(compiler: Compiler, dtype: str, is_ascending: bool) -> Callable[..., None]:
    """The first `n_kept` of long lines: what may belong to them is collected, twice as many are sorted and halved."""
    key_of, in_order = key_function(compiler, dtype, is_ascending), sorting(compiler)
    words, int32s = compiler.elements("int64"), compiler.elements("int32")

    @compiler.jit
    def halve(keys, found, room, n, n_kept):
        """The first n_kept of n collected keys and positions in order; `room` is for 6 * n_kept positions."""
        order = in_order(keys, int32s(room), int32s(room + 8 * n_kept), n)
        sorted_found = int32s(room + 16 * n_kept)
        for k in range(n_kept):
            keys[2 * n_kept + k] = keys[order[k]]
            sorted_found[k] = found[order[k]]
        for k in range(n_kept):
            keys[k] = keys[2 * n_kept + k]
            found[k] = sorted_found[k]

    def kernel(chunk, n_chunks, desc, bufs):
        source = bufs[desc[0]] + desc[1]
        order = int32s(bufs[desc[2]] + desc[3])
        n_lines, length, inner, n_kept = desc[8], desc[9], desc[10], desc[11]
        keys = words(bufs[desc[4]] + desc[5] + chunk * length * 8)
        first = bufs[desc[6]] + desc[7] + chunk * length * 8
        found, room = int32s(first), first + 8 * n_kept
        for line in range(chunk * n_lines // n_chunks, (chunk + 1) * n_lines // n_chunks):
            outer = line // inner
            rest = line - outer * inner
            n = 0
            worst = LARGEST_KEY
            for k in range(length):
                key = key_of(source, (outer * length + k) * inner + rest)
                if key >= worst and n >= n_kept:
                    continue
                keys[n] = key
                found[n] = k
                n += 1
                if n == 2 * n_kept:
                    halve(keys, found, room, n, n_kept)
                    n = n_kept
                    worst = keys[n_kept - 1]
            halve(keys, found, room, n, n_kept)
            for k in range(n_kept):
                order[(outer * n_kept + k) * inner + rest] = found[k]

    return kernel
