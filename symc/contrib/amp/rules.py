"""What mixed precision does with the inputs of an operator: cast to the target dtype, float32 or the widest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from symc.core.errors import ConflictError
from symc.ir.op import registered_names

from . import lists

Treatment = Literal["target", "float32", "widest", None]
Conditional = Sequence[tuple[str, str, Sequence[str]]]  # operator, parameter, values with which it needs float32


@dataclass(frozen=True)
class Rules:
    """Canonical names of operators by what is done with them; `conditional` by operator and parameter."""

    target: frozenset[str]
    float32: frozenset[str]
    widest: frozenset[str]
    conditional: Mapping[str, Sequence[tuple[str, Sequence[str]]]]

    def treatment(self, operator: str, attributes: Mapping[str, object]) -> Treatment:
        """What is done with an operator that has these parameters, as text or as values."""
        if operator in self.float32:
            return "float32"
        if operator in self.target:
            return "target"
        if operator in self.widest:
            return "widest"
        found = self.conditional.get(operator, ())
        return "float32" if any(str(attributes.get(name)) in values for name, values in found) else None


def make_rules(
    target: Sequence[str] | None = None, float32: Sequence[str] | None = None, conditional: Conditional | None = None
) -> Rules:
    """Rules by lists of names; None is MXNet's list.

    Raises ConflictError for something else than lists, for a name in two of them, or for one in none of MXNet's.
    """
    target = lists.LP16 if target is None else target
    float32 = lists.FP32 if float32 is None else float32
    conditional = lists.CONDITIONAL_FP32 if conditional is None else conditional
    for what, names in (("target_dtype_ops", target), ("fp32_ops", float32), ("conditional_fp32_ops", conditional)):
        if not isinstance(names, list):
            raise ConflictError(f"amp: {what} should be a list, got {type(names).__name__}")
    for item in conditional:
        if tuple(map(type, item)) != (str, str, list):
            raise ConflictError(f"amp: conditional_fp32_ops should be a list of (str, str, list of str), got {item!r}")
    of_conditional = [name for name, *_ in conditional]
    for one, other in ((target, float32), (target, of_conditional), (of_conditional, float32)):
        common = sorted({*one} & {*other})
        if common:
            raise ConflictError(f"amp: Ops cannot be in two or more lists. Common ops {', '.join(common)}")
    allowed = {*lists.LP16, *lists.FP32, *lists.LP16_FP32, *(name for name, *_ in lists.CONDITIONAL_FP32)}
    strange = sorted({*target, *float32, *of_conditional} - allowed)
    if strange:
        raise ConflictError(
            f"amp: {', '.join(strange)} not in any of the lists to choose from: list_lp16_ops, list_fp32_ops, "
            "list_lp16_fp32_ops, list_conditional_fp32_ops"
        )
    by_operator: dict[str, list[tuple[str, Sequence[str]]]] = {}
    for name, parameter, values in conditional:
        for canonical in _canonical([name]):
            by_operator.setdefault(canonical, []).append((parameter, values))
    return Rules(_canonical(target), _canonical(float32), _canonical(lists.WIDEST), by_operator)


def _canonical(names: Iterable[str]) -> frozenset[str]:
    """The operators of these names that there are; other names stay as they are."""
    known = registered_names()
    return frozenset(known[name].name if name in known else name for name in names)
