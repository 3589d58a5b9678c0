"""Functions over words become LLVM IR in one walk: types and code together.

A generated kernel looks for a chunk's work with int64 words and calls emitters that print the rest; the runner is of
the same kind. numba's interpreter reads the bytecode. Its inference and lowering, made for all of Python, take four
times as long as this walk, and leave LLVM twice as much to clean up. Here there are words, truth values, pointers to
words, and tuples and ranges of words; a variable keeps one type; nothing can be raised.
"""

# mypy: disable-error-code="no-untyped-call, attr-defined"
# (numba is typed in part)
from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import ir as read
from numba.core.bytecode import ByteCode, FunctionIdentity
from numba.core.interpreter import Interpreter

from symc.codegen.llvm.intrinsic import WORDS, printer_of
from symc.codegen.llvm.lanes import I1, I64
from symc.core.errors import CodegenError
from symc.core.lazy import lazy

_COMPARED = {
    operator.eq: "==", operator.ne: "!=", operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=",
}  # fmt: skip
_COMPUTED: dict[Callable[..., Any], Callable[[ir.IRBuilder, Any, Any], Any]] = {
    operator.add: lambda b, x, y: b.add(x, y, flags=("nsw",)),
    operator.sub: lambda b, x, y: b.sub(x, y, flags=("nsw",)),
    operator.mul: lambda b, x, y: b.mul(x, y, flags=("nsw",)),
    operator.and_: lambda b, x, y: b.and_(x, y),
    operator.or_: lambda b, x, y: b.or_(x, y),
    operator.xor: lambda b, x, y: b.xor(x, y),
    operator.lshift: lambda b, x, y: b.shl(x, y),
    operator.rshift: lambda b, x, y: b.ashr(x, y),
    operator.floordiv: lambda b, x, y: _divided(b, x, y)[0],
    operator.mod: lambda b, x, y: _divided(b, x, y)[1],
}


def define(module: ir.Module, pyfunc: Callable[..., Any], name: str, types: Sequence[ir.Type], gives: ir.Type) -> None:
    """Adds a function to a module; `gives` is the type of its result.

    Raises CodegenError, which names the line, for what no function over words does.
    """
    function = ir.Function(module, ir.FunctionType(gives, types), name)
    b = ir.IRBuilder(function.append_basic_block("entry"))
    result = _Walk(b, Inner(pyfunc), function.args).run()
    if (ir.VoidType() if result is None else result.type) != gives:
        raise CodegenError(f"it returns {_kind(result)}")
    if result is None:
        b.ret_void()
    else:
        b.ret(result)


class Inner:
    """A decorator for what functions over words may call; its code takes the place of the call."""

    def __init__(self, pyfunc: Callable[..., Any]) -> None:
        self._pyfunc = pyfunc

    @lazy
    def blocks(self) -> dict[int, list[Any]]:
        """The statements of its basic blocks, in the order of the source."""
        identity = FunctionIdentity.from_function(self._pyfunc)
        code = Interpreter(identity).interpret(ByteCode(identity))
        return {label: block.body for label, block in sorted(code.blocks.items())}


class _Range(NamedTuple):
    start: Any
    stop: Any
    step: int


class _Rounds(NamedTuple):
    """The rounds of a loop over a range; `following` is where the next value is kept."""

    following: Any
    stop: Any
    step: int


class _Round(NamedTuple):
    value: Any
    is_valid: Any


class _Walk:
    """Emits the code of one function where a builder is."""

    def __init__(self, builder: ir.IRBuilder, function: Inner, arguments: Iterable[Any]) -> None:
        self._b = builder
        self._statements = function.blocks
        self._arguments = tuple(arguments)
        self._blocks = {label: builder.append_basic_block() for label in self._statements}
        self._end = builder.append_basic_block()
        self._results: list[tuple[Any, ir.Block]] = []
        # Of variables that are assigned once, before all that reads them: temporary ones, and those of the first block.
        self._values: dict[str, Any] = {}
        # Of all others: memory, of which LLVM makes registers, and what they hold.
        self._places: dict[str, tuple[Any, str]] = {}
        first, *others = ([s for s in body if isinstance(s, read.Assign)] for body in self._statements.values())
        n_assigned = Counter(s.target.name for body in (first, *others) for s in body)
        of_first = {s.target.name for s in first}
        self._has_value = {name for name, n in n_assigned.items() if n == 1 and (name[0] == "$" or name in of_first)}

    def run(self) -> Any:
        """What it returns, None for nothing; the builder is behind it then."""
        b = self._b
        b.branch(next(iter(self._blocks.values())))
        for label, body in self._statements.items():
            b.position_at_end(self._blocks[label])
            for statement in body:
                try:
                    self._emit(statement)
                except CodegenError as error:
                    raise CodegenError(f"{error}, in {statement.loc}") from error
        b.position_at_end(self._end)
        values = [value for value, _ in self._results]
        if not values or values[0] is None:
            return None
        result = b.phi(values[0].type)
        for value, block in self._results:
            result.add_incoming(value, block)
        return result

    def _emit(self, statement: Any) -> None:
        b = self._b
        match statement:
            case read.Assign():
                self._assign(statement.target.name, self._value_of(statement.value))
            case read.SetItem():
                b.store(_word(b, self._of(statement.value)), self._element(statement.target, statement.index))
            case read.Jump():
                b.branch(self._blocks[statement.target])
            case read.Branch():
                condition = _truth(b, self._of(statement.cond))
                b.cbranch(condition, self._blocks[statement.truebr], self._blocks[statement.falsebr])
            case read.Return():
                result = self._of(statement.value)
                if self._results and _kind(result) != _kind(self._results[0][0]):
                    raise CodegenError(f"it returns {_kind(self._results[0][0])}, and {_kind(result)} here")
                self._results.append((result, b.block))
                b.branch(self._end)
            case _:
                raise _foreign(statement)

    def _assign(self, name: str, value: Any) -> None:
        if name in self._has_value:
            self._values[name] = value
            return
        if name not in self._places:
            self._places[name] = _place_for(self._b, value), _kind(value)
        place, kind = self._places[name]
        if kind != _kind(value):
            raise CodegenError(f"{name} is {kind}, and {_kind(value)} here")
        _store(self._b, value, place)

    def _of(self, variable: Any) -> Any:
        if variable.name in self._values:
            return self._values[variable.name]
        return _load(self._b, self._places[variable.name][0])

    def _value_of(self, value: Any) -> Any:
        match value:
            case read.Var():
                return self._of(value)
            case read.Arg():
                return self._arguments[value.index]
            case read.Expr():
                return self._result_of(value)
        if value.value is read.UNDEFINED:
            raise CodegenError(f"the name {value.name} is not defined")
        return _constant(value.value)

    def _result_of(self, value: Any) -> Any:
        match value.op:
            case "call":
                return self._call(value)
            case "binop":
                return self._computed(value, value.fn)
            case "inplace_binop":
                return self._computed(value, value.immutable_fn)
            case "getitem":
                return self._b.load(self._element(value.value, value.index))
            case "pair_first":
                return self._of(value.value).value
            case "pair_second":
                return self._of(value.value).is_valid
            case "build_tuple":
                return tuple(map(self._of, value.items))
        operand = self._of(value.value)
        match value.op:
            case "getattr" if isinstance(operand, ModuleType):
                return _constant(getattr(operand, value.attr))
            case "static_getitem" if isinstance(operand, tuple):
                return operand[value.index]
            case "getiter" if isinstance(operand, _Range):
                following = _place_for(self._b, operand.start)
                self._b.store(operand.start, following)
                return _Rounds(following, operand.stop, operand.step)
            case "iternext":
                return self._round(operand)
            case "unary" if value.fn is operator.neg:
                return self._b.neg(_word(self._b, operand))
            case "unary" if value.fn is operator.not_:
                return self._b.not_(_truth(self._b, operand))
            case "exhaust_iter" | "cast":  # `a, b = ` a tuple; what is returned
                return operand
        raise _foreign(value)

    def _call(self, value: Any) -> Any:
        b, function, arguments = self._b, self._of(value.func), [self._of(each) for each in value.args]
        if value.kws or value.vararg:
            raise _foreign(value)
        printer = printer_of(function)
        if printer is not None:
            if len(arguments) != len(printer.arguments):
                raise CodegenError(f"{function} takes {len(printer.arguments)} arguments")
            return printer.emit(b, *(self._argument(*each) for each in zip(printer.arguments, arguments)))
        if isinstance(function, Inner):
            return _Walk(b, function, arguments).run()
        if function is bool:
            return _truth(b, arguments[0])
        words = [_word(b, each) for each in arguments]
        if function is range:
            start, stop, step, *_ = words if len(words) > 2 else [*([I64(0)] * (len(words) == 1)), *words, I64(1)]
            if not isinstance(step, ir.Constant) or step.constant == 0:
                raise CodegenError("range() with a step that is not a constant, or 0")
            return _Range(start, stop, step.constant)
        if function in (min, max):
            found = words[0]
            for each in words[1:]:
                found = b.select(b.icmp_signed("<" if function is min else ">", each, found), each, found)
            return found
        raise CodegenError(f"{function} is no function over words")

    def _argument(self, name: str, value: Any) -> Any:
        if name not in WORDS:
            return _word(self._b, value)
        if _kind(value) != "pointer":
            raise CodegenError(f"{name} is {_kind(value)} and no pointer")
        return value

    def _computed(self, value: Any, function: Any) -> Any:
        x, y = (_word(self._b, self._of(each)) for each in (value.lhs, value.rhs))
        if function in _COMPARED:
            return self._b.icmp_signed(_COMPARED[function], x, y)
        if function in _COMPUTED:
            return _COMPUTED[function](self._b, x, y)
        raise _foreign(value)

    def _element(self, pointer: Any, index: Any) -> Any:
        """The address of a pointer's item."""
        base = self._of(pointer)
        if _kind(base) != "pointer":
            raise CodegenError(f"{pointer.name} is {_kind(base)} and no pointer")
        return self._b.gep(base, [_word(self._b, self._of(index))])

    def _round(self, rounds: _Rounds) -> _Round:
        b, value = self._b, self._b.load(rounds.following)
        b.store(b.add(value, I64(rounds.step), flags=("nsw",)), rounds.following)
        return _Round(value, b.icmp_signed("<" if rounds.step > 0 else ">", value, rounds.stop))


def _foreign(what: Any) -> CodegenError:
    return CodegenError(f"functions over words have no `{what}`")


def _kind(value: Any) -> str:
    """What a value is, in words."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_kind, value))})"
    if isinstance(value, ir.Value):
        return {I1: "bool", I64: "int64"}.get(value.type, "pointer")
    return type(value).__name__


def _constant(value: Any) -> Any:
    """A number of Python's as LLVM's; anything else as it is."""
    if isinstance(value, bool):
        return I1(value)
    return I64(value) if isinstance(value, int) else value


def _word(b: ir.IRBuilder, value: Any) -> Any:
    if _kind(value) == "bool":
        return b.zext(value, I64)
    if _kind(value) != "int64":
        raise CodegenError(f"a word is needed, and this is {_kind(value)}")
    return value


def _truth(b: ir.IRBuilder, value: Any) -> Any:
    return value if _kind(value) == "bool" else b.icmp_signed("!=", _word(b, value), I64(0))


def _place_for(b: ir.IRBuilder, value: Any) -> Any:
    """Memory for a value, or for each of a tuple."""
    if isinstance(value, tuple):
        return tuple([_place_for(b, each) for each in value])
    if not isinstance(value, ir.Value):
        raise CodegenError(f"no variable may hold this: {_kind(value)}")
    with b.goto_entry_block():
        return b.alloca(value.type)


def _store(b: ir.IRBuilder, value: Any, place: Any) -> None:
    if isinstance(value, tuple):
        for each, at in zip(value, place):
            _store(b, each, at)
    else:
        b.store(value, place)


def _load(b: ir.IRBuilder, place: Any) -> Any:
    return tuple([_load(b, at) for at in place]) if isinstance(place, tuple) else b.load(place)


def _divided(b: ir.IRBuilder, x: Any, y: Any) -> tuple[Any, Any]:
    """Quotient, rounded down, and remainder; both 0 where y is 0, at which the machine would stop."""
    zero, is_zero = I64(0), b.icmp_signed("==", y, I64(0))
    divisor = b.select(is_zero, I64(1), y)
    quotient, remainder = b.sdiv(x, divisor), b.srem(x, divisor)
    is_above = b.and_(b.icmp_signed("!=", remainder, zero), b.icmp_signed("<", b.xor(remainder, y), zero))
    below = b.add(quotient, b.sext(is_above, I64), flags=("nsw",))
    rest = b.add(remainder, b.select(is_above, y, zero), flags=("nsw",))
    return b.select(is_zero, zero, below), b.select(is_zero, zero, rest)
