"""Factorisations of square and wide matrices over leading batch axes, and triangular systems.

Where a matrix has no factors (not positive definite, singular) the results hold NaN or infinities; nothing is raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symc.core.shapes import FullShape, size_of

from .routine import Routine, even_parts


@dataclass(frozen=True)
class MatrixRoutine(Routine):
    """Work on each matrix of a batch alone; the shapes are (*lead, rows, columns)."""

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        return even_parts(size_of(shapes[0][:-2]), self._matrix_work(shapes))

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        return size_of(shapes[0][:-2]) * self._matrix_work(shapes)

    def _matrix_work(self, shapes: Sequence[FullShape]) -> int:
        return shapes[0][-2] ** 2 * shapes[-1][-1]

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        for at in np.ndindex(*ins[0].shape[:-2]):
            self.run_one([a[at] for a in ins], [a[at] for a in outs])

    def run_one(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        """The work on one matrix."""
        raise NotImplementedError


@dataclass(frozen=True)
class Cholesky(MatrixRoutine):
    """The lower triangular L with A = L @ L.T; only the lower triangle of A is read."""

    def run_one(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        lower = np.tril(ins[0])
        try:
            outs[0][...] = np.linalg.cholesky(lower + np.tril(lower, -1).T)
        except np.linalg.LinAlgError:
            outs[0][...] = np.nan


@dataclass(frozen=True)
class TriangularSolve(MatrixRoutine):
    """X with L @ X = B, or L.T @ X = B; only the lower triangle of L is read, without its diagonal when that is 1."""

    is_transposed: bool
    is_unit: bool

    def run_one(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        lower, b = ins
        matrix = np.tril(lower, -1) + np.eye(len(lower)) if self.is_unit else np.tril(lower)
        try:
            outs[0][...] = np.linalg.solve(matrix.T if self.is_transposed else matrix, b)
        except np.linalg.LinAlgError:
            outs[0][...] = np.nan


@dataclass(frozen=True)
class Lu(MatrixRoutine):
    """L and U in one matrix (the diagonal of L is 1), int32 row numbers p with A[p] = L @ U, and the sign of p (1,).

    The pivot is the first largest element in magnitude of what is left of a column.
    """

    def run_one(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        lu, rows, sign = ins[0].copy(), np.arange(len(ins[0])), 1
        for k in range(len(lu)):
            pivot = k + int(np.abs(lu[k:, k]).argmax())
            if pivot != k:
                lu[[k, pivot]], rows[[k, pivot]], sign = lu[[pivot, k]], rows[[pivot, k]], -sign
            if lu[k, k] != 0:
                lu[k + 1 :, k] /= lu[k, k]
                lu[k + 1 :, k + 1 :] -= np.outer(lu[k + 1 :, k], lu[k, k + 1 :])
        outs[0][...], outs[1][...], outs[2][...] = lu, rows, sign


@dataclass(frozen=True)
class Lq(MatrixRoutine):
    """Q with orthonormal rows and lower triangular L with A = L @ Q, by Householder reflections as LAPACK's gelqf."""

    def scratch(self, shapes: Sequence[FullShape]) -> tuple[tuple[FullShape, str], ...]:
        """A matrix that is being reflected."""
        return (((self.n_parts(shapes), *shapes[0][-2:]), "float64"),)

    def run_one(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        q, r = np.linalg.qr(ins[0].T)
        outs[0][...], outs[1][...] = q.T, r.T


@dataclass(frozen=True)
class Eigen(MatrixRoutine):
    """U with eigenvectors as rows and eigenvalues L (n,), ascending, of symmetric A = U.T @ diag(L) @ U.

    Only the lower triangle of A is read. The element of a vector with the largest magnitude is positive.
    """

    def scratch(self, shapes: Sequence[FullShape]) -> tuple[tuple[FullShape, str], ...]:
        """A matrix that becomes diagonal, and what turned it."""
        n = shapes[0][-1]
        return (((self.n_parts(shapes), 2, n, n), "float64"),)

    def _matrix_work(self, shapes: Sequence[FullShape]) -> int:
        return 60 * shapes[0][-1] ** 3  # ten sweeps of n * n / 2 rotations of 12 n operations

    def run_one(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        lower = np.tril(ins[0])
        outs[1][...], vectors = np.linalg.eigh(lower + np.tril(lower, -1).T)
        largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
        outs[0][...] = (vectors * np.where(largest < 0, -1, 1)).T
