"""The one error hierarchy: every error symc raises on purpose is a SymcError.

Each message says what was being done, to which node (name, operator, origin), what was seen, what was expected and
what to do.  `MXNetError` is the root so that scripts written against MXNet (`except mx.base.MXNetError`) keep working;
the mixed-in builtins are those MXNet's Python front end raises in the same place.
"""


class MXNetError(RuntimeError):
    """What MXNet 1.9 raises for errors of its engine; the root of symc's hierarchy."""


class SymcError(MXNetError):
    """Base of every error raised by symc."""


class ParameterError(SymcError):
    """An operator parameter is missing, unknown, of the wrong type or out of range."""


class ArgumentError(SymcError, ValueError):
    """A Python argument (array, name, shape) does not fit what the call needs."""


class SettingError(ArgumentError):
    """A SYMC_* environment variable cannot be read, or asks for what this machine does not have."""


class ArgumentTypeError(SymcError, TypeError):
    """A Python argument has the wrong type."""


class OperandError(ArgumentTypeError, AssertionError):
    """What is no NDArray, or no Symbol, where an operator takes one; MXNet's Python front end asserts that it is."""


class ConflictError(SymcError, AssertionError):
    """What is given contradicts what is there already; MXNet's Python front end asserts that it does not."""


class UsageError(SymcError, UserWarning):
    """A call that would silently do something else than it says; MXNet raises its UserWarning as an error."""


class DeprecatedError(SymcError, DeprecationWarning):
    """A way that MXNet has given up; it raises its DeprecationWarning as an error."""


class AllocationError(ArgumentError, MemoryError):
    """Arrays of the sizes asked for need more memory than this machine gives."""


class DeviceError(SymcError):
    """A device is missing, or cannot do what a program asks of it; the message names the node or the device."""


class UnknownOperatorError(SymcError):
    """A model uses operators symc does not have; the message lists all of them with their nodes."""


class ElementError(SymcError, IndexError, ValueError):
    """An operator cannot work with the elements of an input: positions outside an array, a singular matrix."""


class ShapeError(SymcError):
    """Shapes contradict each other or cannot be decided."""


class DTypeError(SymcError):
    """Element types contradict each other or are not supported by an operator."""


class UnknownDTypeError(DTypeError, TypeError):
    """There is no element type of the name given."""


class GradientError(SymcError):
    """A gradient was asked for where none exists or a head gradient is missing."""


class FormatError(SymcError):
    """A file is truncated, damaged or lies about its contents; the message names the file and the byte offset."""


class TrustError(SymcError):
    """An artifact carries code whose origin cannot be proved."""


class MissingModuleError(SymcError, ModuleNotFoundError):
    """A module of MXNet was imported that symc does not have yet."""


class MissingPackageError(SymcError, ImportError):
    """A package is not installed, or does not go with others; the message names it, and what brings it."""


class MissingFileError(SymcError, FileNotFoundError):
    """There is no file of the name asked for."""


class DownloadError(SymcError, OSError):
    """A file could not be fetched; the message has its address."""


class ExhaustedError(SymcError, StopIteration):
    """An iterator that should give batches has none."""


class MissingKeyError(SymcError, KeyError):
    """Nothing has the key asked for."""

    __str__ = Exception.__str__  # a KeyError shows the repr of its message


class CustomError(SymcError):
    """Python code of the user's, an operator or a function, raised; the error it raised is the cause of this one."""


class GraphError(SymcError):
    """A graph breaks an invariant: an internal error, reported with the pass that caused it."""


class CodegenError(SymcError):
    """A kernel could not be generated or compiled: an internal error, reported with the kernel's source."""


class NotSupportedForSymbol(SymcError, NotImplementedError):
    """An NDArray-only method was called on a Symbol."""
