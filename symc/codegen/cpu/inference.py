"""The types of a generated function's variables, found in one walk.

numba's own inference solves constraints in rounds, over variables that it first renames until each has one definition:
a third of its front end. Generated functions need none of it: a variable has one type, and numba's interpreter has
refused what is read without having been defined above.
"""

# mypy: disable-error-code="no-untyped-call, attr-defined"
# (numba is typed in part)
from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable
from typing import Any

from numba.core import errors, ir, types
from numba.core.compiler_machinery import FunctionPass, register_pass


@register_pass(mutates_CFG=False, analysis_only=False)
class InferTypes(FunctionPass):
    """A pass of numba's, instead of its ReconstructSSA, NopythonTypeInference and PreLowerStripPhis."""

    _name = "symc_infer_types"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        walk = _Walk(state.typingctx, state.func_ir, state.args, state.return_type)
        state.typemap, state.calltypes, state.return_type = walk.variables, walk.calls, walk.result
        return True


class _Walk:
    """What numba's lowering asks for: the types of variables, the signatures of calls, the type of the result."""

    def __init__(self, typing: Any, function: Any, arguments: tuple[Any, ...], result: Any) -> None:
        self.variables: dict[str, Any] = {f"arg.{name}": type_ for name, type_ in zip(function.arg_names, arguments)}
        self.calls: dict[Any, Any] = {}
        self.result = result  # None: what the function returns
        self._typing = typing
        self._arguments = arguments
        statements = [each for _, block in sorted(function.blocks.items()) for each in block.body]
        for each in statements:
            if not isinstance(each, (ir.Assign, ir.SetItem, ir.StaticSetItem, ir.Return, ir.Jump, ir.Branch)):
                raise errors.UnsupportedError(f"not for generated functions: {each}", loc=each.loc)
        assigned = Counter(each.target.name for each in statements if isinstance(each, ir.Assign))
        self._assigned_once = {name for name, n in assigned.items() if n == 1}
        for each in statements:
            self._visit(each)

    def _visit(self, statement: Any) -> None:
        if isinstance(statement, ir.Assign):
            self._define(statement, self._type_of(statement.value))
        elif isinstance(statement, ir.SetItem):
            self._set_item(statement, statement.index)
        elif isinstance(statement, ir.StaticSetItem):
            self._set_item(statement, statement.index_var)
        elif isinstance(statement, ir.Return):
            found = self._of(statement.value)
            if self.result is None:
                self.result = found
            if found != self.result:
                raise errors.TypingError(f"No conversion from {found} to {self.result}", loc=statement.loc)

    def _define(self, statement: Any, found: Any) -> None:
        name = statement.target.name
        if name not in self._assigned_once:
            found = types.unliteral(found)
        if self.variables.setdefault(name, found) != found:
            raise errors.TypingError(f"{name} is {self.variables[name]}, and {found} here", loc=statement.loc)

    def _set_item(self, statement: Any, index: Any) -> None:
        operands = (statement.target, index, statement.value)
        self.calls[statement] = self._typing.resolve_setitem(*map(self._of, operands))

    def _of(self, variable: Any) -> Any:
        return self.variables[variable.name]

    def _type_of(self, value: Any) -> Any:
        if isinstance(value, ir.Var):
            return self._of(value)
        if isinstance(value, ir.Arg):
            return self._arguments[value.index]
        if isinstance(value, ir.Expr):
            return self._type_of_expression(value)
        if value.value is ir.UNDEFINED:
            raise errors.TypingError(f"the name {value.name} is not defined", loc=value.loc)
        return types.maybe_literal(value.value) or self._typing.resolve_value_type(value.value)

    def _type_of_expression(self, value: Any) -> Any:
        match value.op:
            case "call":
                return self._call(value, self._of(value.func), value.args, {name: self._of(v) for name, v in value.kws})
            case "binop" | "inplace_binop":
                return self._call(value, value.fn, (value.lhs, value.rhs))
            case "unary":
                return self._call(value, value.fn, (value.value,))
            case "getiter" | "iternext":
                return self._call(value, value.op, (value.value,))
            case "getitem":
                return self._call(value, operator.getitem, (value.value, value.index))
            case "static_getitem":
                self.calls[value] = found = self._typing.resolve_static_getitem(self._of(value.value), value.index)
                return (
                    found.return_type if found else self._call(value, operator.getitem, (value.value, value.index_var))
                )
            case "getattr":
                return self._typing.resolve_getattr(self._of(value.value), value.attr)
            case "pair_first":
                return self._of(value.value).first_type
            case "pair_second":
                return self._of(value.value).second_type
            case "build_tuple":
                return types.BaseTuple.from_types(tuple(map(self._of, value.items)))
            case "exhaust_iter":  # `a, b = ` a tuple
                return self._of(value.value)
            case "cast":  # what is returned
                return types.unliteral(self._of(value.value))
        raise errors.UnsupportedError(f"not for generated functions: {value}", loc=value.loc)

    def _call(self, value: Any, function: Any, arguments: Iterable[Any], named: dict[str, Any] | None = None) -> Any:
        found = self._typing.resolve_function_type(function, tuple(map(self._of, arguments)), named or {})
        if found is None:
            raise errors.TypingError(f"no definition for these types: {value}", loc=value.loc)
        self.calls[value] = found
        return found.return_type
