"""What is known of values before they are computed: the exponents of a softmax are at most 0, and what they are all
multiplied with cancels.
"""

from __future__ import annotations

from collections.abc import Collection

from symc.loopir.expr import Expr, operands_of

from .form import Form
from .keep import Keys


def below_maximum(form: Form) -> tuple[Expr, ...]:
    """Differences between a value and the largest of all that it is one of: x[i, j] - max over k of x[i, k]."""
    keys = Keys(form)
    return tuple(e for e in form.every if e.op == "sub" and _is_one_of(form, keys, *e.args))


def cancels_factors(form: Form, exponents: Collection[Expr]) -> bool:
    """Whether all exponentials of these may be larger by one factor: each is a summand, or multiplied with the
    reciprocal of a sum of such, which nothing else reads.
    """
    powers = {e for e in form.every if e.op == "exp" and e.args[0] in exponents}
    sums = {e for e in form.every if e.op == "reduce" and e.data[0] == "sum" and e.args[0] in powers}
    shares = {e for e in form.every if e.op == "div" and e.args[0].op == "const" and e.args[1] in sums}

    def fits(user: Expr, e: Expr) -> bool:
        if e in powers:
            return user in sums or (user.op == "mul" and any(other in shares for other in user.args))
        return user in shares if e in sums else user.op == "mul" and any(other in powers for other in user.args)

    followed = powers | sums | shares
    is_read_so = all(fits(user, e) for user in form.every for e in operands_of(user) if e in followed)
    return bool(shares) and is_read_so and followed.isdisjoint(form.roots)


def _is_one_of(form: Form, keys: Keys, x: Expr, largest: Expr) -> bool:
    if largest.op != "reduce" or largest.data[0] != "max" or len(largest.args) > 1:  # bounds leave some out
        return False
    along, over = form.free(x) - form.free(largest), form.reduce_axes[largest]
    if len(along) != 1 or len(over) != 1:
        return False
    (mine,), (axis,) = along, over
    return form.extents[mine] == form.extents[axis] and keys.of(x, mine) == keys.of(largest.args[0], axis)
