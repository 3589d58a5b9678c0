"""`symc`: the console script."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from symc.core.config import SETTINGS, setting
from symc.core.errors import SettingError, SymcError
from symc.core.undisturbed import imported

from .report import Report, UsageError

# Each is a module of this package with EXAMPLES, add_arguments(parser) and execute(args) -> Report.
VERBS = {
    "inspect": "show layers, operators, inputs, parameters, work and memory",
    "run": "predict, with inputs from files or random ones",
    "compile": "compile a model into one .symc file",
    "verify": "prove a .symc file on this machine",
    "bench": "time predictions, with a profile of the steps",
    "tune": "measure which plans are the fastest here, and keep them",
    "convert": "convert symbols and parameters of any age, names and formats",
    "viz": "draw a model as SVG, HTML, PDF or DOT",
    "im2rec": "pack images into record files",
    "ops": "list the operators, or show one",
    "migrate": "list what scripts use of mxnet that symc does not have",
    "cache": "show or empty the kernel cache",
}

FAULT, USAGE, BROKEN_PIPE = 1, 2, 141

_DESCRIPTION = """\
symc compiles MXNet Symbol graphs into a few fused kernels and runs them as one native call.

MODEL is a .symc file, a -symbol.json file (with --params), a prefix (with --epoch), or one of the built-in networks:
mlp, lenet, resnet-18, resnet-50, inception-bn, mobilenet, squeezenet, vgg-16."""

_EPILOG = """\
exit codes: 0 fine, 1 the model or the data is at fault, 2 the arguments or the environment are
environment: SYMC_DEBUG=1..5 tells more (1 and up: tracebacks), SYMC_NUM_THREADS, SYMC_CACHE_DIR, SYMC_DUMP=dir

example: symc run resnet-18"""


class _Parser(argparse.ArgumentParser):
    """Refuses bad arguments with the one-line error of every other fault, not with the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; nothing but SystemExit of --help and Ctrl-C leaves it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names that its encoding lacks, as Python does for stderr
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = _command(sys.argv[1:] if arguments is None else list(arguments))
        if sys.stdout is not None:  # None: the caller closed it
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except OSError as error:
        print(f"symc: writing the output: {error.strerror or error}", file=sys.stderr)
        _discard_output()
        return FAULT


def _discard_output() -> None:
    """The interpreter flushes stdout once more when it ends: what is left in it goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _command(words: list[str]) -> int:
    """The command's output is written here, so an OSError that leaves this function is that of stdout."""
    verb = next((w for w in words if not w.startswith("-")), None)
    as_json, shows_traceback = "--json" in words, False
    try:
        for name in SETTINGS:
            setting(name)  # what cannot be read ends a command that would not ask for it, too
        shows_traceback = setting("SYMC_DEBUG") >= 1
        args = _arguments(words, verb)
        as_json = as_json or args.json
        report: Report = _versions() if args.version else args.execute(args)
    except Exception as error:
        if shows_traceback:
            traceback.print_exception(error, file=sys.stderr)
        return _failed(f"symc {verb}" if verb in VERBS else "symc", error, as_json)
    print(_json(report.data) if as_json else report.text)
    return report.exit_code


def _json(data: Any) -> str:
    """A list is printed as JSON lines."""
    if isinstance(data, list):
        return "\n".join(json.dumps(_finite(item)) for item in data)
    return json.dumps(_finite(data), indent=1)


def _arguments(words: list[str], verb: str | None) -> argparse.Namespace:
    parser = _parser(verb)
    args, unknown = parser.parse_known_args(words)
    prog = f"symc {verb}" if verb in VERBS else "symc"
    if unknown:
        raise UsageError(f"unrecognized arguments: {' '.join(unknown)}; see {prog} --help")
    if args.verb is None and not args.version:
        parser.error(f"no verb, expected one of {', '.join(VERBS)}")
    return args


def _versions() -> Report:
    from symc.artifact import versions

    found = versions()
    return Report(found, ", ".join(f"{package} {version}" for package, version in found.items()))


def _failed(who: str, error: Exception, as_json: bool) -> int:
    """Says what went wrong; an exception that is not symc's own is a defect, and is called one."""
    code = USAGE if isinstance(error, (UsageError, SettingError)) else FAULT
    if isinstance(error, SymcError):
        message = str(error)
    elif isinstance(error, MemoryError):
        message = f"out of memory: {error}"
    elif isinstance(error, OSError):
        message = f"{error.filename or 'input or output'}: {error.strerror or error}"
    else:
        message = f"internal error, {type(error).__name__}: {error}; SYMC_DEBUG=1 shows where"
    print(f"{who}: {message}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": {"type": type(error).__name__, "message": message, "exit_code": code}}, indent=1))
    return code


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"symc: warning: {message}", file=sys.stderr)


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser of all verbs; only the chosen one is imported (symc --help imports no NumPy)."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser("symc", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw)
    parser.add_argument("--version", action="store_true", help="print the versions of symc and of what it stands on")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)  # beside --version, or before the verb
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, text in VERBS.items():
        if name != chosen:
            verbs.add_parser(name, help=text)
            continue
        module = imported(f"symc.cli.{name}")  # NumPy with it, whose half an import hides that it was Ctrl-C
        examples = "examples:\n" + "\n".join(f"  {e}" for e in module.EXAMPLES)
        verb = verbs.add_parser(name, help=text, description=module.__doc__, epilog=examples, formatter_class=raw)
        module.add_arguments(verb)
        verb.add_argument("--json", action="store_true", help="print the result as JSON")
        verb.set_defaults(execute=module.execute)
    return parser
