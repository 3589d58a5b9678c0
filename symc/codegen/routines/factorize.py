"""Matrix factorisations: textbook algorithms, their innermost loops along rows; each matrix of a batch is a unit."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

import math
from collections.abc import Callable

from symc.core.shapes import size_of
from symc.loopir.factorize import Cholesky, Eigen, Lq, Lu, TriangularSolve
from symc.loopir.kernel import Template, buffer_of
from symc.loopir.routine import Routine

from .body import Body, Compiler


def body(template: Template) -> Body:
    """The kernel that a routine's class stands for."""
    first, last = (buffer_of(template, name) for name in (template.ins[0], template.ins[-1]))
    routine, n_matrices = template.routine, size_of(first.shape[:-2])
    words = {"n_matrices": n_matrices, "rows": first.shape[-2], "columns": last.shape[-1]}
    makers: dict[type[Routine], Callable[..., Callable[..., None]]] = {
        Cholesky: cholesky_kernel, Eigen: eigen_kernel, Lq: lq_kernel, Lu: lu_kernel, TriangularSolve: solve_kernel,
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


def eigen_kernel(compiler: Compiler, dtype: str) -> Callable[..., None]:
    """Jacobi's rotations in double precision, row by row, until nothing is left beside the diagonal: ten sweeps are
    enough for any matrix of numbers, 40 are the limit.

    Golub and Van Loan, Matrix Computations (2013), 8.5.
    """
    values, float64s = compiler.elements(dtype), compiler.elements("float64")

    @compiler.jit
    def rotate(array, first, second, step, n, c, s):
        """n pairs of elements, `step` apart: (x, y) -> (c x - s y, s x + c y)."""
        for k in range(n):
            x, y = array[first + k * step], array[second + k * step]
            array[first + k * step] = c * x - s * y
            array[second + k * step] = s * x + c * y

    @compiler.jit
    def sweep(work, n):
        """One rotation for each element under the diagonal; how many were needed."""
        n_rotations = 0
        for p in range(n - 1):
            for q in range(p + 1, n):
                beside = work[p * n + q]
                if abs(beside) <= 1e-17 * math.sqrt(abs(work[p * n + p] * work[q * n + q])) or beside == 0:
                    continue
                n_rotations += 1
                slope = (work[q * n + q] - work[p * n + p]) / (2 * beside)
                t = (1.0 if slope >= 0 else -1.0) / (abs(slope) + math.sqrt(1 + slope * slope))
                c = 1 / math.sqrt(1 + t * t)
                rotate(work, p, q, n, n, c, t * c)
                rotate(work, p * n, q * n, 1, n, c, t * c)
                rotate(work, (n + p) * n, (n + q) * n, 1, n, c, t * c)
        return n_rotations

    def kernel(chunk, n_chunks, desc, bufs):
        source = values(bufs[desc[0]] + desc[1])
        vectors = values(bufs[desc[2]] + desc[3])
        numbers = values(bufs[desc[4]] + desc[5])
        n_matrices, n = desc[8], desc[9]
        work = float64s(bufs[desc[6]] + desc[7] + chunk * 2 * n * n * 8)
        for matrix in range(chunk * n_matrices // n_chunks, (chunk + 1) * n_matrices // n_chunks):
            start = matrix * n * n
            for i in range(n):
                for j in range(i + 1):
                    work[i * n + j] = source[start + i * n + j]
                    work[j * n + i] = source[start + i * n + j]
                for j in range(n):
                    work[(n + i) * n + j] = 1 if i == j else 0
            n_sweeps = 0
            while n_sweeps < 40 and sweep(work, n) > 0:
                n_sweeps += 1
            for place in range(n):
                best = place
                for i in range(place + 1, n):
                    if work[i * n + i] < work[best * n + best]:
                        best = i
                number = work[best * n + best]
                work[best * n + best] = work[place * n + place]
                largest = 0.0
                for j in range(n):
                    x = work[(n + best) * n + j]
                    work[(n + best) * n + j] = work[(n + place) * n + j]
                    work[(n + place) * n + j] = x
                    if abs(x) > abs(largest):
                        largest = x
                numbers[matrix * n + place] = number
                for j in range(n):
                    x = work[(n + place) * n + j]
                    vectors[start + place * n + j] = -x if largest < 0 else x

    return kernel
