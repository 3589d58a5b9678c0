"""Python function -> relocatable object.

With `lowering` and `inference` the only file that touches numba-private API (numba is pinned for its sake). Functions
over words, which all kernels but routines are, become an LLVM module in `lowering`; numba lowers those that compute
themselves, which we wrap in a plain C function. Then a few cheap passes run, and a target machine emits the object.
The result has no Python symbol in it, so the disk cache, the JIT and an ahead-of-time library share it.
numba's own back end (function passes, O3 module pipeline, MCJIT) takes 2 to 3 times as long for the same speed.
"""

# mypy: disable-error-code="no-untyped-call, attr-defined"
# (numba is typed in part)
from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from symc.core.bounded import BoundedCache
from symc.core.errors import CodegenError
from symc.core.required import missing, required
from symc.core.undisturbed import held_by_forks

from .elf import read_object
from .target import Target

if TYPE_CHECKING:
    import llvmlite.binding as llvm
    from llvmlite import ir

# A script that sets the root logger to DEBUG, as most of MXNet's do, means its own lines and not numba's thousands.
if logging.getLogger("numba").level == logging.NOTSET:
    logging.getLogger("numba").setLevel(logging.WARNING)

ArgType = Literal["i64", "ptr"]

# chunk, n_chunks, descriptor, buffer addresses; "ptr" is a pointer to int64
KERNEL_ARGS: tuple[ArgType, ...] = ("i64", "i64", "ptr", "ptr")

# What an object may expect from any process that loads it: libc, libm and pthreads. Not libgcc, whose __divti3 or
# __truncsfhf2 (float16 without F16C) are only there by luck.
_ALLOWED_SYMBOLS = re.compile(
    r"mem(cpy|move|set|cmp)"
    r"|(exp|exp2|expm1|log|log2|log10|log1p|pow|sin|cos|sincos|tan|asin|acos|atan|atan2|sinh|cosh|tanh|asinh|acosh|atanh|erf"
    r"|erfc|tgamma|lgamma|fmod|fma|floor|ceil|trunc|rint|round|roundeven|nearbyint|ldexp|frexp|hypot|cbrt)f?"
    r"|pthread_(mutex|cond)_\w+|sched_yield|clock_gettime"
)

_RAISED = "symc_kernel_raised"  # never defined anywhere

# What operators give, by their numba types and those of their arguments; ResNet-18's kernels need a hundred.
_types_of_calls: BoundedCache[tuple[Any, tuple[Any, ...]], Any] = BoundedCache(1024)


@held_by_forks
def _compilers_locks() -> list[Any]:
    """The locks that numba and llvmlite hold while somebody compiles, in the order they take them."""
    numba, llvmlite = sys.modules.get("numba.core.compiler_lock"), sys.modules.get("llvmlite.binding.ffi")
    found = [getattr(numba, "global_compiler_lock", None), getattr(getattr(llvmlite, "lib", None), "_lock", None)]
    return [lock._lock for lock in found if lock is not None]


@cache
def toolchain() -> str:
    """Names everything but source and target that decides an object's bytes; a part of every cache key.

    Made from files, because a warm start must not import numba (0.3 s) nor importlib.metadata (56 ms).
    """
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for package in ("numba", "llvmlite"):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise missing(package, "it is not installed")
        digest.update(Path(spec.origin).with_name("_version.py").read_bytes())
    return digest.hexdigest()[:16]


def compile_function(
    pyfunc: Callable[..., Any],
    name: str,
    target: Target,
    argtypes: Sequence[ArgType] = KERNEL_ARGS,
    *,
    has_result: bool = False,
) -> bytes:
    """A relocatable, position independent object that exports `void name(argtypes...)` with the C ABI.

    `pyfunc` is a function over words (see `lowering`), or one of `jit`, which may compute with whatever numba knows. It
    returns nothing, or with `has_result` an int64, as then the object's function does; it cannot raise, sees int64 and
    `int64*` (indexable) arguments, and each of its variables keeps one type.

    To be called within `alone` only: what numba registers is global, and two threads that import it at once fail
    ("partially initialized module 'numba.core.types'", its modules import one another in circles).

    Raises CodegenError when the function is neither, when it may raise, when the object would need a symbol that a
    process without Python cannot provide, or when the working directory is gone.
    """
    _require_working_directory(name)
    try:
        machine = _machine(target)
        if hasattr(pyfunc, "py_func"):  # `jit` made it
            text, libraries = _lower(pyfunc.py_func, name, tuple(argtypes))
        else:
            text, libraries = _walk(pyfunc, name, argtypes, has_result, machine), []
        module = _link(text, libraries, name)
    except Exception as error:  # numba and llvmlite let exceptions of any class out; all mean the same to our caller
        raise CodegenError(f"compiling {name}: the generated function was rejected: {error}") from error
    _optimize(module, machine)
    data: bytes = machine.emit_object(module)
    _check_symbols(data, name)
    return data


def _require_working_directory(name: str) -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise CodegenError(
            f"compiling {name}: the working directory was removed, and numba names files relative to it; change to "
            f"another one (os.chdir)"
        ) from None


def jit() -> Callable[..., Any]:
    """numba's own decorator, for functions in which O3 makes loops faster, and which may use all that numba knows."""
    decorator: Callable[..., Any] = required("numba").njit(error_model="numpy")
    from numba.core import registry

    context: Any = registry.cpu_target.target_context
    context.refresh()  # learns all of it, which takes 0.4 s: what other functions need is in `_looked_up_once`
    return decorator


@cache
def _machine(target: Target) -> llvm.TargetMachine:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # Small code model and PIC: the same object can be linked by `cc -shared` and loaded by the JIT.
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="small"
    )


def _walk(
    pyfunc: Callable[..., Any], name: str, argtypes: Sequence[ArgType], has_result: bool, machine: llvm.TargetMachine
) -> str:
    """LLVM text of a function over words."""
    from llvmlite import ir

    from .lowering import define

    word = ir.IntType(64)
    types = {"i64": word, "ptr": word.as_pointer()}
    module = ir.Module(name)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    define(module, pyfunc, name, [types[kind] for kind in argtypes], word if has_result else ir.VoidType())
    _call_through_table(module)
    return str(module)


def _lower(pyfunc: Callable[..., Any], name: str, argtypes: tuple[ArgType, ...]) -> tuple[str, list[llvm.ModuleRef]]:
    """LLVM text of `pyfunc` with its C entry point `name`, and the modules of the numba functions it calls."""
    from numba.core import cgutils, compiler_lock, types

    numba_types = {"i64": types.int64, "ptr": types.CPointer(types.int64)}
    with compiler_lock.global_compiler_lock, _looked_up_once():
        types_of_arguments = tuple(numba_types[kind] for kind in argtypes)
        result, library = _module_of(pyfunc, name, types_of_arguments)
        _add_entry_point(library.module, result.fndesc.llvm_func_name, name)
        libraries = [called._get_module_for_linking() for called in library._linking_libraries]
    return cgutils.normalize_ir_text(str(library.module)), libraries


@contextlib.contextmanager
def _looked_up_once() -> Iterator[None]:
    """While it lasts, numba looks only once for what does not change: a third of a compilation goes that way.

    It tries dozens of definitions each time that it lowers `i + 1`; searches all its registries for each intrinsic, of
    which only two learn while it compiles; and has LLVM read a module to tell the size of an int64. To be entered with
    numba's lock held, as what is patched is numba's for the whole process.
    """
    from numba.core import imputils, registry, types
    from numba.core.typing.templates import builtin_registry
    from numba.cpython import builtins, numbers, rangeobj, tupleobj  # noqa: F401  they register what kernels need
    from numba.extending import _Intrinsic

    function_type: Any = types.BaseFunction
    typing: Any = registry.cpu_target.typing_context
    target: Any = registry.cpu_target.target_context
    look_up = function_type.get_call_type

    def remember(function: Any, typing: Any, arguments: Any, named: Any) -> Any:
        if named or isinstance(function.typing_key, _Intrinsic):  # ours are made anew for every kernel
            return look_up(function, typing, arguments, named)
        key = (function, tuple(arguments))
        return _types_of_calls.obtain(key, lambda: look_up(function, typing, arguments, named))

    typing.refresh()  # learn what was registered since: intrinsics of templates imported after the last compile
    target.install_registry(imputils.builtin_registry)  # not what numba knows of NumPy: importing that takes 0.4 s
    function_type.get_call_type = remember
    typing.refresh = partial(typing.install_registry, builtin_registry)
    target.refresh = partial(target.install_registry, next(iter(target._registries)))  # numba's choice for intrinsics
    target.get_abi_sizeof = cache(target.get_abi_sizeof)
    try:
        yield
    finally:
        function_type.get_call_type = look_up
        del typing.refresh, target.refresh, target.get_abi_sizeof


def _module_of(pyfunc: Callable[..., Any], name: str, argtypes: tuple[Any, ...]) -> tuple[Any, Any]:
    """What numba makes of `pyfunc`, and the library with its LLVM module, which nobody has optimised or loaded."""
    from numba.core import compiler, registry, types

    flags: Any = compiler.Flags()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.nrt = False
    flags.error_model = "numpy"  # integer division by zero gives 0 instead of raising
    typing, context = registry.cpu_target.typing_context, registry.cpu_target.target_context
    library = _module_keeper()(context.codegen(), name)
    kept = {"library": library, "pipeline_class": _pipeline()}
    return compiler.compile_extra(typing, context, pyfunc, argtypes, types.void, flags, {}, **kept), library


@cache
def _module_keeper() -> type:
    from numba.core import codegen

    class ModuleKeeper(codegen.JITCodeLibrary):
        """Keeps the module numba hands over instead of optimising and loading it."""

        module: Any = None

        def add_ir_module(self, module: Any) -> None:
            self.module = module

    return ModuleKeeper


@cache
def _pipeline() -> type:
    """numba's nopython pipeline with our inference and without what generated code never needs: with-blocks, closures,
    rewrites, literal unrolling, overload inlining, type annotation, deletion of variables (nothing here counts
    references)."""
    from numba.core import compiler, compiler_machinery, typed_passes, untyped_passes

    from .inference import InferTypes

    class GeneratedCodePipeline(compiler.CompilerBase):
        def define_pipelines(self) -> list[Any]:
            passes = compiler_machinery.PassManager("symc")
            for stage in (
                untyped_passes.TranslateByteCode,
                untyped_passes.FixupArgs,
                untyped_passes.IRProcessing,
                InferTypes,
                typed_passes.NativeLowering,
                typed_passes.NoPythonBackend,
            ):
                passes.add_pass(stage, stage.__name__)
            passes.finalize()
            return [passes]

    return GeneratedCodePipeline


def _add_entry_point(module: Any, implementation: str, name: str) -> None:
    """Adds `void name(args...)`, which calls numba's `i32 implementation(result*, exception**, args...)`.

    A call of a function that does not exist guards the error status: when the optimiser cannot prove that the
    implementation never raises, the symbol survives into the object, where `_check_symbols` finds it.
    """
    from llvmlite import ir
    from numba.core import callconv

    body = module.globals[implementation]
    body.linkage = "internal"
    body.attributes.add("alwaysinline")
    result_type, exception_type, *arg_types = body.function_type.args
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), arg_types), name)
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    result, exception = [builder.alloca(pointer.pointee) for pointer in (result_type, exception_type)]
    status = builder.call(body, [result, exception, *entry.args])
    has_raised = builder.and_(
        builder.icmp_signed("!=", status, callconv.RETCODE_OK), builder.icmp_signed("!=", status, callconv.RETCODE_NONE)
    )
    with builder.if_then(has_raised):
        builder.call(ir.Function(module, ir.FunctionType(ir.VoidType(), ()), _RAISED), ())
    builder.ret_void()
    _call_through_table(module)


def _call_through_table(module: ir.Module) -> None:
    """Has calls that LLVM itself makes into libm go through the GOT, too: for calls through a PLT the JIT linker needs
    memory that it does not reserve in advance, and llvmlite's memory manager aborts."""
    from llvmlite import ir

    module.add_named_metadata("llvm.module.flags", (ir.IntType(32)(7), "RtLibUseGOT", ir.IntType(32)(1)))


def _link(text: str, libraries: list[llvm.ModuleRef], name: str) -> llvm.ModuleRef:
    """One verified module in which only `name` is visible."""
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(text)
    generated = {function.name for function in module.functions if not function.is_declaration}
    for library in libraries:
        module.link_in(library, preserve=True)
    for function in module.functions:
        if not function.is_declaration and function.name not in generated:
            function.add_function_attribute("alwaysinline")  # called in loops; its status must be seen to be constant
        if function.is_declaration and not function.name.startswith("llvm."):
            function.add_function_attribute("nonlazybind")  # call through the GOT, see _call_through_table
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != name:
            value.linkage = llvm.Linkage.internal
    module.verify()
    return module


def _optimize(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """Folds numba's stack variables and status codes away; measured enough for code whose SIMD is explicit."""
    import llvmlite.binding as llvm

    tuning = llvm.create_pipeline_tuning_options(3)
    tuning.loop_vectorization = tuning.slp_vectorization = False
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()  # range() keeps its counter behind a pointer in a struct: this uncovers
    passes.add_sroa_pass()  # the pointer, and the second sroa turns the counter into a register
    passes.add_simplify_cfg_pass()
    passes.add_dead_code_elimination_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, tuning))


def _check_symbols(data: bytes, name: str) -> None:
    """Raises CodegenError unless the object defines exactly `name` and needs only what any process has.

    A missing symbol must be found here: MCJIT answers one with abort().
    """
    found = read_object(data)
    missing = [
        symbol
        for symbol in found.undefined
        if symbol not in (_RAISED, "_GLOBAL_OFFSET_TABLE_") and not _ALLOWED_SYMBOLS.fullmatch(symbol)
    ]
    if missing:
        raise CodegenError(
            f"compiling {name}: the object needs symbols that only a Python process could provide: "
            f"{', '.join(missing)}; the function must not allocate, print or touch Python objects"
        )
    if _RAISED in found.undefined:
        raise CodegenError(
            f"compiling {name}: the function may raise, and a kernel has no way to report that; "
            f"usual causes are `raise`, `assert` and range() with a step that is not a constant"
        )
    if found.defined != (name,):
        raise CodegenError(
            f"compiling {name}: expected the object to export only {name}, "
            f"it exports {', '.join(found.defined) or 'nothing'}"
        )
