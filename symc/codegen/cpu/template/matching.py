"""Greedy matching: each matrix is a unit, its pairs are visited in the order given."""

# mypy: disable-error-code="no-untyped-def"
# (the kernel is typed by numba)
from __future__ import annotations

from collections.abc import Callable

from symc.codegen.kernel import KernelCall
from symc.loopir.kernel import Template, buffer_of
from symc.loopir.matching import Match

from .call import template_call


def schedule(template: Template) -> KernelCall:
    """The call of the one kernel."""
    routine, scores = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, Match)
    n_matrices, dtype, is_ascending = scores.shape[0], scores.dtype, routine.is_ascending
    words = {
        "n_matrices": n_matrices, "n_rows": routine.n_rows, "n_columns": routine.n_columns,
        "threshold": routine.threshold, "limit": routine.limit,
    }  # fmt: skip

    def build() -> Callable[..., None]:
        return matching_kernel(dtype, is_ascending)

    reason = f"{n_matrices} matrices of {routine.n_rows} x {routine.n_columns}"
    return template_call(template, "matching", f"{dtype} {is_ascending}", matching_kernel, build, words, reason)


def matching_kernel(dtype: str, is_ascending: bool) -> Callable[..., None]:
    """One walk over the pairs, until one is not good enough."""
    from symc.codegen.cpu.atomics import address_of

    from .elements import elements

    values, int32s, float64s = elements(dtype), elements("int32"), elements("float64")

    def kernel(chunk, n_chunks, desc, bufs):
        scores = values(bufs[desc[0]] + desc[1])
        order = int32s(bufs[desc[2]] + desc[3])
        columns = values(bufs[desc[4]] + desc[5])
        rows = values(bufs[desc[6]] + desc[7])
        n_matrices, n_rows, n_columns, limit = desc[8], desc[9], desc[10], desc[12]
        threshold = float64s(address_of(desc))[11]
        size = n_rows * n_columns
        for matrix in range(chunk * n_matrices // n_chunks, (chunk + 1) * n_matrices // n_chunks):
            for row in range(n_rows):
                columns[matrix * n_rows + row] = -1
            for column in range(n_columns):
                rows[matrix * n_columns + column] = -1
            n_matches = 0
            for k in range(matrix * size, (matrix + 1) * size):
                pair = order[k]
                row = pair // n_columns
                column = pair - row * n_columns
                if columns[matrix * n_rows + row] >= 0 or rows[matrix * n_columns + column] >= 0:
                    continue
                score = scores[matrix * size + pair]
                if not (score < threshold if is_ascending else score > threshold):
                    break
                columns[matrix * n_rows + row] = column
                rows[matrix * n_columns + column] = row
                n_matches += 1
                if limit > 0 and n_matches > limit:
                    break

    return kernel
