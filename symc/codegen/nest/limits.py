"""What is known of values before they are computed: the exponents of a softmax are at most 0."""

from __future__ import annotations

from symc.loopir.expr import Expr

from .form import Form
from .keep import Keys


def below_maximum(form: Form) -> tuple[Expr, ...]:
    """Differences between a value and the largest of all that it is one of: x[i, j] - max over k of x[i, k]."""
    keys = Keys(form)
    return tuple(e for e in form.every if e.op == "sub" and _is_one_of(form, keys, *e.args))


def _is_one_of(form: Form, keys: Keys, x: Expr, largest: Expr) -> bool:
    if largest.op != "reduce" or largest.data[0] != "max" or len(largest.args) > 1:  # bounds leave some out
        return False
    along, over = form.free(x) - form.free(largest), form.reduce_axes[largest]
    if len(along) != 1 or len(over) != 1:
        return False
    (mine,), (axis,) = along, over
    return form.extents[mine] == form.extents[axis] and keys.of(x, mine) == keys.of(largest.args[0], axis)
