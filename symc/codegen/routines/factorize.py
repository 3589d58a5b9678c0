"""Matrix factorisations: textbook algorithms, their innermost loops along rows; each matrix of a batch is a unit."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

import math
from collections.abc import Callable

from symc.core.shapes import size_of
from symc.loopir.factorize import Cholesky, Lq, Lu, TriangularSolve
from symc.loopir.kernel import Template, buffer_of
from symc.loopir.routine import Routine

from .body import Body, Compiler


def body(template: Template) -> Body:
    """The kernel that a routine's class stands for."""
    first, last = (buffer_of(template, name) for name in (template.ins[0], template.ins[-1]))
    routine, n_matrices = template.routine, size_of(first.shape[:-2])
    words = {"n_matrices": n_matrices, "rows": first.shape[-2], "columns": last.shape[-1]}
    makers: dict[type[Routine], Callable[..., Callable[..., None]]] = {
        Cholesky: cholesky_kernel, Lq: lq_kernel, Lu: lu_kernel, TriangularSolve: solve_kernel,
    }  # fmt: skip
    options = (routine.is_transposed, routine.is_unit) if isinstance(routine, TriangularSolve) else ()
    reason = f"{n_matrices} matrices of {first.shape[-2]} rows"
    structure = f"{first.dtype} {options}"
    return Body(template, "factorize", makers[type(routine)], (first.dtype, *options), structure, words, reason)


def cholesky_kernel(compiler: Compiler, dtype: str) -> Callable[..., None]:
    """Row after row: an element is what is left of A's after the products of the elements before it."""
    values = compiler.elements(dtype)

    def kernel(chunk, n_chunks, desc, bufs):
        source = values(bufs[desc[0]] + desc[1])
        lower = values(bufs[desc[2]] + desc[3])
        n_matrices, n = desc[4], desc[5]
        for matrix in range(chunk * n_matrices // n_chunks, (chunk + 1) * n_matrices // n_chunks):
            start = matrix * n * n
            for i in range(n):
                row = start + i * n
                for j in range(i + 1):
                    other = start + j * n
                    rest = source[row + j]
                    for k in range(j):
                        rest -= lower[row + k] * lower[other + k]
                    lower[row + j] = math.sqrt(rest) if i == j else rest / lower[other + j]
                for j in range(i + 1, n):
                    lower[row + j] = 0

    return kernel


def solve_kernel(compiler: Compiler, dtype: str, is_transposed: bool, is_unit: bool) -> Callable[..., None]:
    """Rows of X from the first on (transposed: from the last), each from those before it."""
    values = compiler.elements(dtype)

    def kernel(chunk, n_chunks, desc, bufs):
        lower = values(bufs[desc[0]] + desc[1])
        source = values(bufs[desc[2]] + desc[3])
        result = values(bufs[desc[4]] + desc[5])
        n_matrices, n, columns = desc[6], desc[7], desc[8]
        for matrix in range(chunk * n_matrices // n_chunks, (chunk + 1) * n_matrices // n_chunks):
            triangle = matrix * n * n
            start = matrix * n * columns
            for step in range(n):
                i = n - 1 - step if is_transposed else step
                row = start + i * columns
                for c in range(columns):
                    result[row + c] = source[row + c]
                for done in range(step):
                    k = n - 1 - done if is_transposed else done
                    factor = lower[triangle + (k * n + i if is_transposed else i * n + k)]
                    other = start + k * columns
                    for c in range(columns):
                        result[row + c] -= factor * result[other + c]
                if not is_unit:
                    pivot = lower[triangle + i * n + i]
                    for c in range(columns):
                        result[row + c] /= pivot

    return kernel


def lu_kernel(compiler: Compiler, dtype: str) -> Callable[..., None]:
    """Gaussian elimination with rows exchanged so that the largest element of a column divides."""
    values, int32s = compiler.elements(dtype), compiler.elements("int32")

    def kernel(chunk, n_chunks, desc, bufs):
        source = values(bufs[desc[0]] + desc[1])
        lu = values(bufs[desc[2]] + desc[3])
        order = int32s(bufs[desc[4]] + desc[5])
        signs = values(bufs[desc[6]] + desc[7])
        n_matrices, n = desc[8], desc[9]
        for matrix in range(chunk * n_matrices // n_chunks, (chunk + 1) * n_matrices // n_chunks):
            start = matrix * n * n
            for at in range(start, start + n * n):
                lu[at] = source[at]
            for i in range(n):
                order[matrix * n + i] = i
            sign = 1
            for k in range(n):
                row = start + k * n
                best = k
                for i in range(k + 1, n):
                    if abs(lu[start + i * n + k]) > abs(lu[start + best * n + k]):
                        best = i
                if best != k:
                    sign = -sign
                    other = start + best * n
                    for c in range(n):
                        kept = lu[row + c]
                        lu[row + c] = lu[other + c]
                        lu[other + c] = kept
                    number = order[matrix * n + k]
                    order[matrix * n + k] = order[matrix * n + best]
                    order[matrix * n + best] = number
                pivot = lu[row + k]
                if pivot == 0:
                    continue
                for i in range(k + 1, n):
                    other = start + i * n
                    factor = lu[other + k] / pivot
                    lu[other + k] = factor
                    for c in range(k + 1, n):
                        lu[other + c] -= factor * lu[row + c]
            signs[matrix] = sign

    return kernel


def lq_kernel(compiler: Compiler, dtype: str) -> Callable[..., None]:
    """Each row is reflected onto the axis of its number; Q is the unit rows reflected back, the last first."""
    values, float64s = compiler.elements(dtype), compiler.elements("float64")

    @compiler.jit
    def size(vector, start, stop):
        total = 0.0
        for c in range(start, stop):
            total += vector[c] * vector[c]
        return total

    @compiler.jit
    def reflect(array, row, mirror, normal, n, square):
        """Reflects n elements from `row` on in the plane whose normal, of squared length `square`, lies at `normal`."""
        dot = 0.0
        for c in range(n):
            dot += mirror[normal + c] * array[row + c]
        for c in range(n):
            array[row + c] -= 2 * dot / square * mirror[normal + c]

    def kernel(chunk, n_chunks, desc, bufs):
        source = values(bufs[desc[0]] + desc[1])
        orthonormal = values(bufs[desc[2]] + desc[3])
        lower = values(bufs[desc[4]] + desc[5])
        n_matrices, rows, columns = desc[8], desc[9], desc[10]
        work = float64s(bufs[desc[6]] + desc[7] + chunk * rows * columns * 8)
        for matrix in range(chunk * n_matrices // n_chunks, (chunk + 1) * n_matrices // n_chunks):
            start = matrix * rows * columns
            triangle = matrix * rows * rows
            for at in range(rows * columns):
                work[at] = source[start + at]
                orthonormal[start + at] = 0
            for i in range(rows):
                row, end = i * columns, (i + 1) * columns
                for c in range(rows):
                    lower[triangle + i * rows + c] = work[row + c] if c < i else 0.0
                orthonormal[start + row + i] = 1
                pivot = work[row + i]
                if size(work, row + i + 1, end) == 0:
                    lower[triangle + i * rows + i] = pivot
                    work[row + i] = 0
                    continue
                length = math.sqrt(size(work, row + i, end))
                length = -length if pivot >= 0 else length
                lower[triangle + i * rows + i] = length
                work[row + i] = pivot - length
                square = size(work, row + i, end)
                for r in range(i + 1, rows):
                    reflect(work, r * columns + i, work, row + i, columns - i, square)
            for step in range(rows):
                i = rows - 1 - step
                row = i * columns
                square = size(work, row + i, row + columns)
                if square == 0:
                    continue
                for r in range(i, rows):
                    reflect(orthonormal, start + r * columns + i, work, row + i, columns - i, square)

    return kernel
