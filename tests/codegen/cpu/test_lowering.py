"""Functions over words: what Python computes, and errors that name the line."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from symc.codegen.cpu.atomics import store, words
from symc.codegen.cpu.compile import compile_function
from symc.codegen.cpu.load import load_objects
from symc.codegen.cpu.lowering import Inner
from symc.codegen.cpu.target import host_target
from symc.core.errors import CodegenError

LIMIT = 3


def compiled(pyfunc):
    """What it leaves in 16 words, as a function of its descriptor."""
    address = load_objects({"kernel": compile_function(pyfunc, "kernel", host_target())})["kernel"]
    kernel = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)(address)

    def run(*desc):
        desc, bufs = np.array(desc, np.int64), np.zeros(16, np.int64)
        kernel(0, 1, desc.ctypes.data, bufs.ctypes.data)
        return bufs.tolist()

    return run


def arithmetic(chunk, n_chunks, desc, bufs):
    a, b = desc[0], desc[1]
    bufs[0] = a // b
    bufs[1] = a % b
    bufs[2] = a // 3 - a % -3
    bufs[3] = (a & 12) | (b >> 1) ^ (a << 3)
    bufs[4] = min(a, b, 2) - max(a, b, -2)
    bufs[5] = -a - b * 2
    bufs[6] = (a == b) + (a != b) + (a < b) + (a <= b)
    bufs[7] = LIMIT if a > b else -LIMIT
    bufs[8] = not a
    a += b
    b -= a
    bufs[9] = a * b


def choices(chunk, n_chunks, desc, bufs):
    a, b = desc[0], desc[1]
    smaller, is_first = (a, True) if a < b else (b, False)
    bufs[0] = smaller
    bufs[1] = is_first
    if (a and b) or a == b:
        bufs[2] = 1
    bufs[3] = -LIMIT <= a <= LIMIT
    if not is_first:
        bufs[4] = 1
    elif a == -7:
        bufs[4] = 2
        return
    bufs[5] = 1


def loops(chunk, n_chunks, desc, bufs):
    a, b = desc[0], desc[1]
    total = 0
    for k in range(3, 20, 5):
        total += k * a
    bufs[0] = total
    for k in range(a, b, -2):
        if k == 4:
            continue
        if k < -20:
            break
        total ^= k
    else:
        total -= 1
    bufs[1] = total
    n_rounds = 0
    while n_rounds < LIMIT and a != 3:
        for _ in range(a):
            for i in range(b):
                n_rounds += i
        n_rounds += 1
    bufs[2] = n_rounds
    limit = b
    for k in range(limit):
        limit = k
        bufs[3] += limit


@pytest.mark.parametrize("pyfunc", [arithmetic, choices, loops])
def test_words_are_what_they_are_in_python(pyfunc):
    run = compiled(pyfunc)
    for a in (-40, -7, -2, 0, 3, 4, 9):
        for b in (-7, -1, 2, 3, 9):
            expected = [0] * 16
            pyfunc(0, 1, [a, b], expected)
            assert run(a, b) == list(map(int, expected)), (a, b)


@Inner
def first_above(row, n, limit):
    for k in range(n):
        if words(row)[k] > limit:
            return k
    return -1


@Inner
def write(bufs, k, value):
    bufs[k] = value


def test_inner_functions():
    def kernel(chunk, n_chunks, desc, bufs):
        write(bufs, 0, first_above(desc[0], 4, 5) + 100 * first_above(desc[0], 4, 7))
        write(bufs, 1, first_above(desc[0], 4, 9))

    row = np.array([1, 6, 8, 2])
    assert compiled(kernel)(row.ctypes.data)[:2] == [201, -1]


def raises(chunk, n_chunks, desc, bufs):
    raise ValueError


def variable_step(chunk, n_chunks, desc, bufs):
    for i in range(0, 10, desc[0]):
        bufs[i] = 0


def prints(chunk, n_chunks, desc, bufs):
    print(chunk)


def unknown_name(chunk, n_chunks, desc, bufs):
    bufs[0] = not_defined_anywhere  # noqa: F821


def stores_text(chunk, n_chunks, desc, bufs):
    bufs[0] = "text"


def changes_type(chunk, n_chunks, desc, bufs):
    number = desc[0]
    if chunk == 1:
        number = 0.5
    bufs[0] = number


def names_an_argument(chunk, n_chunks, desc, bufs):
    store(address=desc[0], index=0, value=1)


def forgets_an_argument(chunk, n_chunks, desc, bufs):
    store(desc[0], 0)


def passes_a_word(chunk, n_chunks, desc, bufs):
    write(chunk, 0, 1)


def stores_in_a_word(chunk, n_chunks, desc, bufs):
    chunk[0] = 1


def adds_to_a_pointer(chunk, n_chunks, desc, bufs):
    bufs[0] = desc + 1


def keeps_a_function(chunk, n_chunks, desc, bufs):
    for _ in range(chunk):
        kept = store
        kept(desc[0], 0, 1)


def returns_sometimes(chunk, n_chunks, desc, bufs):
    if chunk == 1:
        return chunk
    return None


def divides_truly(chunk, n_chunks, desc, bufs):
    bufs[0] = desc[0] / 2


@pytest.mark.parametrize(
    "pyfunc, message",
    [
        (raises, "no `raise"),
        (variable_step, "step that is not a constant"),
        (prints, "<built-in function print> is no function over words"),
        (unknown_name, "the name not_defined_anywhere is not defined"),
        (stores_text, "a word is needed, and this is str"),
        (changes_type, "number is int64, and float here"),
        (names_an_argument, "no `call"),
        (forgets_an_argument, "takes 3 arguments"),
        (passes_a_word, "bufs is int64 and no pointer"),
        (stores_in_a_word, "chunk is int64 and no pointer"),
        (adds_to_a_pointer, "a word is needed, and this is pointer"),
        (keeps_a_function, "no variable may hold this"),
        (returns_sometimes, "it returns int64, and NoneType here"),
        (divides_truly, "no `"),
    ],
)
def test_errors_name_the_line(pyfunc, message):
    with pytest.raises(CodegenError, match=message) as caught:
        compile_function(pyfunc, "kernel", host_target())
    first = pyfunc.__code__.co_firstlineno
    assert any(f"test_lowering.py ({line})" in str(caught.value) for line in range(first + 1, first + 6))


def test_results_are_declared():
    def kernel(chunk, n_chunks, desc, bufs):
        return chunk

    with pytest.raises(CodegenError, match=r"compiling kernel: .*it returns int64"):
        compile_function(kernel, "kernel", host_target())
