"""Parameter sets of the operators that optimizers apply, and of others that take arrays alone.

For several weights arrays come weight by weight.
"""

from __future__ import annotations

from typing import Any, Dict, Tuple

from tests.ops.cases import Case

from .draw import FLOATS, Draw, Generator

# Arrays of each operator, w of the weight's dtype, f always float32, 1 a single float32; and its numbers.
RATE, CLIPPED = "lr wd", "rescale_grad clip_gradient"
SINGLE: Dict[str, Tuple[str, str]] = {
    "sgd_update": ("ww", f"{RATE} {CLIPPED}"),
    "sgd_mom_update": ("www", f"{RATE} momentum {CLIPPED}"),
    "nag_mom_update": ("www", f"{RATE} momentum {CLIPPED}"),
    "mp_sgd_update": ("wwf", f"{RATE} {CLIPPED}"),
    "mp_sgd_mom_update": ("wwff", f"{RATE} momentum {CLIPPED}"),
    "mp_nag_mom_update": ("wwff", f"{RATE} momentum {CLIPPED}"),
    "signsgd_update": ("ww", f"{RATE} {CLIPPED}"),
    "signum_update": ("www", f"{RATE} momentum wd_lh {CLIPPED}"),
    "adam_update": ("wwww", f"{RATE} beta1 beta2 epsilon {CLIPPED}"),
    "ftml_update": ("wwwww", f"{RATE} beta1 beta2 epsilon t rescale_grad clip_grad"),
    "ftrl_update": ("wwww", f"{RATE} lamda1 beta {CLIPPED}"),
    "rmsprop_update": ("www", f"{RATE} gamma1 epsilon clip_weights {CLIPPED}"),
    "rmspropalex_update": ("wwwww", f"{RATE} gamma1 gamma2 epsilon clip_weights {CLIPPED}"),
    "lamb_update_phase1": ("wwww", f"beta1 beta2 epsilon t wd {CLIPPED}"),
    "lamb_update_phase2": ("ww11", "lr lower_bound upper_bound"),
    "mp_lamb_update_phase1": ("wwfff", f"beta1 beta2 epsilon t wd {CLIPPED}"),
    "mp_lamb_update_phase2": ("wf11f", "lr lower_bound upper_bound"),
    "_adamw_update": ("wwww1", f"{RATE} eta beta1 beta2 epsilon clip_gradient"),
    "_mp_adamw_update": ("wwfff1", f"{RATE} eta beta1 beta2 epsilon clip_gradient"),
}
MULTI: Dict[str, Tuple[str, str]] = {
    "multi_sgd_update": ("ww", f"lrs wds {CLIPPED}"),
    "multi_sgd_mom_update": ("www", f"lrs wds momentum {CLIPPED}"),
    "multi_mp_sgd_update": ("wwf", f"lrs wds {CLIPPED}"),
    "multi_mp_sgd_mom_update": ("wwff", f"lrs wds momentum {CLIPPED}"),
    "_multi_lamb_update": ("wwww", f"learning_rates wds beta1 beta2 epsilon {CLIPPED}"),
    "_multi_mp_lamb_update": ("wwfff", f"learning_rates wds beta1 beta2 epsilon {CLIPPED}"),
}
# Those with arrays for all weights at the end: learning rates and decays, or the gradients' factor.
SHARED: Dict[str, Tuple[str, str, int]] = {
    "preloaded_multi_sgd_update": ("ww", CLIPPED, 2),
    "preloaded_multi_sgd_mom_update": ("www", f"momentum {CLIPPED}", 2),
    "preloaded_multi_mp_sgd_update": ("wwf", CLIPPED, 2),
    "preloaded_multi_mp_sgd_mom_update": ("wwff", f"momentum {CLIPPED}", 2),
    "_multi_adamw_update": ("wwww", "lrs wds etas beta1 beta2 epsilon clip_gradient", 1),
    "_multi_mp_adamw_update": ("wwfff", "lrs wds etas beta1 beta2 epsilon clip_gradient", 1),
}
RANGES = {
    "lr": (0.01, 0.5), "wd": (0.0, 0.2), "momentum": (0.0, 0.95), "rescale_grad": (0.3, 2.0), "wd_lh": (0.0, 0.2),
    "beta1": (0.5, 0.95), "beta2": (0.5, 0.99), "epsilon": (0.001, 0.1), "lamda1": (0.0, 0.5), "beta": (0.5, 2.0),
    "gamma1": (0.5, 0.95), "gamma2": (0.3, 0.9), "eta": (0.3, 1.5), "lower_bound": (0.1, 0.5),
    "upper_bound": (0.5, 3.0),
    "clip_gradient": (0.2, 1.0), "clip_grad": (0.2, 1.0), "clip_weights": (0.3, 1.5),
}  # fmt: skip
MANY = {"lrs": "lr", "learning_rates": "lr", "wds": "wd", "etas": "eta"}


def numbers(d: Draw, names: str, n: int = 1) -> Dict[str, Any]:
    """Values of the numbers, now and then none of those that bound something; for so many weights."""
    found: Dict[str, Any] = {}
    for name in names.split():
        if name == "t":
            found[name] = d.integer(1, 6)
        elif name in MANY:
            found[name] = tuple(d.real(*RANGES[MANY[name]]) for _ in range(n))
        elif not ("clip" in name or "bound" in name) or d.chance(0.5):
            found[name] = d.real(*RANGES[name])
    return found


def single(d: Draw) -> Case:
    arrays, names = SINGLE[d.op]
    shape, kind = d.shape(), d.pick(["float32", "float32", "float64", "float16"])
    kind = "float32" if d.op == "rmspropalex_update" else kind  # in float16 rounding decides its differences
    kind = "float16" if "f" in arrays and (d.op == "mp_lamb_update_phase1" or d.chance(0.7)) else kind
    kinds = [{"w": kind, "f": "float32", "1": kind if d.op == "lamb_update_phase2" else "float32"}[a] for a in arrays]
    shapes = [(1,) if a == "1" else shape for a in arrays]
    return d.case(*shapes, dtypes=kinds, domain=(0.1, 1.5), grads=(), **numbers(d, names))


def multi(d: Draw) -> Case:
    arrays, names, n_shared = (*MULTI[d.op], 0) if d.op in MULTI else SHARED[d.op]
    n, kind = d.integer(1, 3), d.pick(["float16", *FLOATS] if "f" in arrays else FLOATS)
    kind = "float32" if d.op == "_multi_adamw_update" else kind  # into others MXNet copies the bytes of its rates
    shapes = [shape for shape in (d.shape() for _ in range(n)) for _ in arrays]
    shapes += [(n,) if n_shared == 2 else (1,)] * n_shared
    kinds = [kind if a == "w" else "float32" for a in arrays] * n + ["float32"] * n_shared
    count = {"num_tensors": n, "step_count": tuple(d.integer(1, 5) for _ in range(n))}
    more = count if "lamb" in d.op else {"num_weights": n}
    return d.case(*shapes, dtypes=kinds, domain=(0.1, 1.5), grads=(), **numbers(d, names, n), **more)


def lars(d: Draw) -> Case:
    n = d.integer(1, 6)
    values = {"eta": d.real(0.01, 1), "eps": d.real(0.001, 0.1), "rescale_grad": d.real(0.3, 2)}
    return d.case(*[(n,)] * 4, dtypes=("float32",), domain=(0.1, 2.0), grads=(), **values)


def reset(d: Draw) -> Case:
    n = d.integer(1, 4)
    return d.case(*[d.shape() for _ in range(n)], dtypes=("float32", "float64", "float16"), grads=(), num_arrays=n)


def one_of_each_row(d: Draw) -> Case:
    """A 1, or a number, at one place of each row."""
    n, m = d.integer(1, 17), d.integer(1, 9)
    places = tuple(float(d.integer(0, m - 1)) for _ in range(n))
    if d.op == "_onehot_encode":
        return d.case((n,), (n, m), dtypes=("float32",), given={0: places}, grads=())
    return d.case((n, m), (n,), (n,), dtypes=("float32",), given={2: places}, grads=())


GENERATORS: Dict[str, Generator] = {
    **dict.fromkeys(SINGLE, single),
    **dict.fromkeys((*MULTI, *SHARED), multi),
    "multi_lars": lars,
    "reset_arrays": reset,
    **dict.fromkeys(("_onehot_encode", "fill_element_0index"), one_of_each_row),
}
