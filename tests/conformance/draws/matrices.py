"""Parameter sets of matrix operators, transforms, attention and probability densities."""

from __future__ import annotations

from typing import Dict, Tuple

import numpy as np

from tests.ops.cases import Case, Shape

from .draw import Draw, Generator

SINGLE = ("float32", "float64")


def lead(d: Draw) -> Shape:
    """Leading axes of a stack of matrices."""
    return d.pick([(), (), (1,), (2,), (3,), (2, 2)])


def gemm(d: Draw) -> Case:
    n, k, m = d.integer(1, 6), d.integer(1, 6), d.integer(1, 6)
    ta, tb, many = d.chance(0.5), d.chance(0.5), lead(d)
    shapes = [many + ((k, n) if ta else (n, k)), many + ((m, k) if tb else (k, m))]
    more = {"alpha": d.real(-2, 2)}
    if d.op == "_linalg_gemm":
        shapes.append((*many, n, m))
        more["beta"] = d.real(-2, 2)
    return d.case(*shapes, dtypes=SINGLE, transpose_a=ta, transpose_b=tb, **more)


def syrk(d: Draw) -> Case:
    return d.case((*lead(d), d.integer(1, 6), d.integer(1, 6)), dtypes=SINGLE, alpha=d.real(-2, 2))


def steady(d: Draw, many: Shape, n: int, kind: str) -> Tuple[float, ...]:
    """Values of matrices far from singular: symmetric and positive definite, triangular, or any."""
    found = []
    for _ in range(int(np.prod(many))):
        a = d.random.uniform(-1, 1, (n, n))
        if kind == "definite":
            a = a @ a.T + n * np.eye(n)
        elif kind == "triangular":
            a = np.tril(a, -1) + np.diag(d.random.uniform(1, 2, n))
        elif kind == "symmetric":
            a = a + a.T + 3 * np.diag(np.arange(n))
        else:
            a = a + 2 * np.eye(n) * d.pick([1, -1])
        found.append(a.round(4))
    return tuple(float(v) for v in np.stack(found).ravel())


def square(d: Draw) -> Case:
    kinds = {"_linalg_potrf": "definite", "_linalg_potri": "triangular", "_linalg_sumlogdiag": "definite"}
    many, n = lead(d), d.integer(1, 6)
    kind = "symmetric" if d.op == "_linalg_syevd" else kinds.get(d.op, "any")
    grads = () if d.op == "_linalg_syevd" else None
    return d.case((*many, n, n), dtypes=SINGLE, given={0: steady(d, many, n, kind)}, grads=grads)


def wide(d: Draw) -> Case:
    n = d.integer(1, 4)
    return d.case((*lead(d), n, n + d.integer(0, 3)), dtypes=SINGLE, grads=None)


def triangular(d: Draw) -> Case:
    many, n, m = lead(d), d.integer(1, 6), d.integer(1, 6)
    right, lower = d.chance(0.5), d.chance(0.5)
    values = np.array(steady(d, many, n, "triangular")).reshape((*many, n, n))
    values = values if lower else np.swapaxes(values, -1, -2)
    other = (*many, m, n) if right else (*many, n, m)
    given = {0: tuple(float(v) for v in values.ravel())}
    more = {"rightside": right, "lower": lower, "alpha": d.real(-2, 2)}
    return d.case((*many, n, n), other, dtypes=SINGLE, given=given, grads=None, **more)


def parts(d: Draw) -> Case:
    """Diagonals and triangles taken out of matrices, and matrices made of them."""
    many, n = lead(d), d.integer(1, 6)
    offset = d.integer(1 - n, n - 1)
    if d.op.startswith("_linalg_extract"):
        return d.case((*many, n, n), dtypes=SINGLE, offset=offset)
    if d.op == "_linalg_makediag":
        return d.case((*many, n), dtypes=SINGLE, offset=offset)
    return d.case((*many, n * (n + 1) // 2), dtypes=SINGLE, offset=offset)


def khatri_rao(d: Draw) -> Case:
    n, columns = d.integer(1, 4), d.integer(1, 4)
    return d.case(*[(d.integer(1, 4), columns) for _ in range(n)], dtypes=SINGLE, num_args=n, grads=())


def attention(d: Draw) -> Case:
    heads, size, n, q, k = (d.integer(1, 4) for _ in range(5))
    wide = heads * size
    if "selfatt" in d.op:
        shapes = [(q, n, 3 * wide), *([(n * heads, q, q)] if "valatt" in d.op else [])]
    elif "valatt" in d.op:
        shapes = [(k, n, 2 * wide), (n * heads, q, k)]
    else:
        shapes = [(q, n, wide), (k, n, 2 * wide)]
    return d.case(*shapes, dtypes=SINGLE[:1], heads=heads)


def density(d: Draw) -> Case:
    name = d.op[len("_random_pdf_") :]
    n = {"exponential": 1, "poisson": 1, "dirichlet": 1}.get(name, 2)
    many = d.shape(1, 2, 30)
    inner = () if d.chance(0.3) else d.shape(1, 1)
    if name == "dirichlet":
        k = d.integer(2, 4)
        return d.case((*many, *inner, k), (*many, k), dtypes=SINGLE, domain=(0.2, 0.9))
    if name == "uniform":
        rising = {0: (1.0, 1.5, 1.2), 1: (0.1, 0.5), 2: (2.0, 3.0, 2.5)}
        return d.case((*many, *inner), many, many, dtypes=SINGLE, given=rising, grads=(1, 2))
    whole = {0: (0.0, 1.0, 2.0, 3.0)} if "binomial" in name or name == "poisson" else {}
    grads = tuple(range(1 if whole else 0, n + 1))
    return d.case((*many, *inner), *[many] * n, dtypes=SINGLE, domain=(0.2, 0.9), given=whole, grads=grads)


def multinomial(d: Draw) -> Case:
    block = d.pick([(), (d.integer(1, 4),), (2, d.integer(1, 3))])
    kind = d.pick(SINGLE)
    return d.case(
        (*d.shape(1, 1, 6), d.integer(1, 6)), dtypes=(kind,), domain=(0.1, 0.9), shape=block, get_prob=True, dtype=kind
    )


def transform(d: Draw) -> Case:
    shape = d.shape(1, 4, 60)
    if d.op == "_contrib_ifft":
        shape = (*shape[:-1], 2 * shape[-1])
    return d.case(shape, dtypes=SINGLE)


def sketch(d: Draw) -> Case:
    """Each number of the last axis goes to a place, with a sign."""
    shape, out_dim = d.shape(1, 3, 60), d.integer(1, 5)
    signs = (1, shape[-1])
    given = {
        1: tuple(float(d.integer(0, out_dim - 1)) for _ in range(33)),
        2: tuple(d.pick([-1.0, 1.0]) for _ in range(33)),
    }
    return d.case(shape, signs, signs, dtypes=SINGLE, out_dim=out_dim, given=given, grads=(0,))


def hawkes(d: Draw) -> Case:
    """Likelihoods of marked events in sequences of several lengths."""
    n, marks, most = d.integer(1, 3), d.integer(1, 4), d.integer(1, 6)
    given = {
        5: tuple(float(d.integer(0, marks - 1)) for _ in range(n * most)),
        6: tuple(float(d.integer(0, most)) for _ in range(n)),
        7: tuple(d.real(12, 15) for _ in range(n)),
    }
    kind = d.pick(SINGLE)
    shapes = (n, marks), (marks,), (marks,), (n, marks), (n, most), (n, most), (n,), (n,)
    kinds = [*[kind] * 5, "int32", kind, kind]
    return d.case(*shapes, dtypes=kinds, domain=(0.1, 1.9), given=given, grads=(0, 1, 2, 3))


DENSITIES = "normal gamma exponential poisson negative_binomial generalized_negative_binomial uniform dirichlet"

GENERATORS: Dict[str, Generator] = {
    "_linalg_gemm": gemm, "_linalg_gemm2": gemm, "_linalg_syrk": syrk, "_linalg_gelqf": wide,
    **{f"_linalg_{name}": square for name in "det inverse slogdet potrf potri sumlogdiag syevd".split()},
    "_linalg_trmm": triangular, "_linalg_trsm": triangular,
    **{f"_linalg_{name}": parts for name in "extractdiag extracttrian makediag maketrian".split()},
    "khatri_rao": khatri_rao,
    **{f"_contrib_interleaved_matmul_{name}": attention
       for name in "selfatt_qk selfatt_valatt encdec_qk encdec_valatt".split()},
    "_contrib_fft": transform, "_contrib_ifft": transform, "_contrib_count_sketch": sketch,
    "_contrib_hawkesll": hawkes,
    "_sample_multinomial": multinomial,
    **{f"_random_pdf_{name}": density for name in DENSITIES.split()},
}  # fmt: skip
