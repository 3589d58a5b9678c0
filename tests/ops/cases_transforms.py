"""Cases of Fourier transforms, projections, point processes and what MXNet has for sparse arrays alone."""

from __future__ import annotations

import numpy as np

from .cases import Case

HAWKES = {
    "shapes": ((2, 3), (3,), (3,), (2, 3), (2, 5), (2, 5), (2,), (2,)),
    "domain": (0.3, 1.5),
    "grads": (0, 1, 2),
    "given": {5: (0.0, 2.0, 2.0, 1.0, 2.0, 1.0, 1.0, 0.0, 1.0, 2.0), 6: (5.0, 3.0), 7: (6.0, 7.5)},
}

CASES = [
    *(Case("_contrib_fft", shape, dtypes=d)
      for shape in (((3, 8),), ((2, 2, 5),), ((1, 1),)) for d in ("float32", "float64")),
    *(Case("_contrib_ifft", shape, dtypes="float64") for shape in (((3, 8),), ((2, 2, 10),))),
    Case("_contrib_count_sketch", ((2, 3, 6), (1, 6), (1, 6)), {"out_dim": 4}, grads=(0,),
         given={1: (0.0, 3.0, 1.0, 3.0, 0.0, 0.0), 2: (1.0, -1.0, -1.0, 1.0, 1.0, -1.0)}, dtypes="float64"),
    Case("_contrib_hawkesll", dtypes=(*("float32",) * 5, "int32", "float32", "float32"), smooth=False, **HAWKES),
    Case("_sparse_retain", ((4, 2, 3), (2,)), given={1: (3.0, 0.0)}, grads=(0,)),
    *(Case("_contrib_getnnz", ((3, 4),), params, given={0: (0.0, 1.0, 2.0, 0.0, -1.0)}, grads=())
      for params in ({}, {"axis": 0}, {"axis": 1})),
    Case("_contrib_edge_id", ((2, 3), (4,), (4,)), given={0: (1.0, 0.0, 2.0, 0.0, 0.0, 3.0), 1: (0.0, 0.0, 1.0, 1.0),
                                                          2: (0.0, 1.0, 2.0, 0.0)}, grads=()),
    Case("_onehot_encode", ((3,), (3, 4)), given={0: (2.0, 0.0, 3.0)}, grads=()),
    Case("fill_element_0index", ((3, 4), (3,), (3,)), given={2: (2.0, 0.0, 3.0)}, grads=()),
    Case("_zeros_without_dtype", (), {"shape": (2, 3)}),
]  # fmt: skip


def _pairs(x: np.ndarray) -> np.ndarray:
    """Complex numbers as pairs of neighbours."""
    return np.stack([x.real, x.imag], axis=-1).reshape((*x.shape[:-1], -1))


def _sketch(data: np.ndarray, h: np.ndarray, s: np.ndarray, out_dim: int) -> np.ndarray:
    out = np.zeros((*data.shape[:-1], out_dim))
    for i, place in enumerate(h[0].astype(int)):
        out[..., place] += s[0, i] * data[..., i]
    return out


def _kept(data: np.ndarray, indices: np.ndarray) -> np.ndarray:
    is_kept = np.isin(np.arange(len(data)), indices)
    return data * is_kept.reshape(-1, *(1,) * (data.ndim - 1))


def _edges(data: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    found = data[u.astype(int), v.astype(int)]
    return np.where(found == 0, -1, found)


def _filled(lhs: np.ndarray, mhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    out = lhs.copy()
    out[np.arange(len(lhs)), rhs.astype(int)] = mhs
    return out


def _hawkes(lda, alpha, beta, state, lags, marks, valid_length, max_time):  # type: ignore[no-untyped-def]
    """Event by event, as MXNet."""
    likelihood, state = np.zeros(len(lda)), state.copy()
    for i, length in enumerate(valid_length.astype(int)):
        now, last = 0.0, np.zeros(lda.shape[1])
        for lag, k in zip(lags[i, :length], marks[i].astype(int)):
            now += lag
            left = np.exp(-beta[k] * (now - last[k]))
            likelihood[i] += np.log(lda[i, k] + alpha[k] * beta[k] * state[i, k] * left)
            likelihood[i] -= lda[i, k] * (now - last[k]) + alpha[k] * state[i, k] * (1 - left)
            state[i, k], last[k] = 1 + state[i, k] * left, now
        left = np.exp(-beta * (max_time[i] - last))
        likelihood[i] -= (lda[i] * (max_time[i] - last) + alpha * state[i] * (1 - left)).sum()
        state[i] *= left
    return likelihood, state


# What NumPy says in float64; MXNet has most of these on GPUs or for sparse arrays alone.
ORACLE = {
    "_contrib_fft": lambda x: _pairs(np.fft.fft(x)),
    "_contrib_ifft": lambda x: np.fft.ifft(x[..., ::2] + 1j * x[..., 1::2]).real * (x.shape[-1] // 2),
    "_contrib_count_sketch": _sketch,
    "_contrib_hawkesll": _hawkes,
    "_sparse_retain": _kept,
    "_contrib_getnnz": lambda x, axis=None: np.atleast_1d(np.count_nonzero(x, axis=axis)),
    "_contrib_edge_id": _edges,
    "_onehot_encode": lambda lhs, rhs: np.eye(rhs.shape[1])[lhs.astype(int)],
    "fill_element_0index": _filled,
    "_zeros_without_dtype": lambda shape: np.zeros(shape),
}
