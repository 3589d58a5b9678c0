"""What GPUs can do that emitted code depends on, and libdevice, which NVIDIA's compiler brings along."""

from __future__ import annotations

from symc.codegen.llvm.abilities import Abilities

LIBDEVICE = {
    "cbrt": "cbrt", "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p", "log2": "log2", "log10": "log10",
    "pow": "pow", "hypot": "hypot", "sin": "sin", "cos": "cos", "tan": "tan", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "arcsinh": "asinh", "arccosh": "acosh",
    "arctanh": "atanh", "erf": "erf", "gamma": "tgamma", "gammaln": "lgamma", "mod": "fmod",
}  # fmt: skip

GLOBAL = 1  # the address space of device memory
INTRINSICS = frozenset("fabs copysign floor ceil trunc rint sqrt".split())  # that NVIDIA's compiler lacks

GPU = Abilities(
    {name: f"__nv_{function}" for name, function in LIBDEVICE.items()} | {name: f"__nv_{name}" for name in INTRINSICS},
    fused="fma",
    calls=INTRINSICS,
    is_llvm7=True,
    address_space=GLOBAL,
)
