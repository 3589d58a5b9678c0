"""The packages that symc stands on, imported when they are first needed: one error where one is not there."""

from __future__ import annotations

from typing import Any

from .errors import MissingPackageError
from .undisturbed import imported


def required(name: str) -> Any:
    """A module of such a package, imported where no signal reaches.

    Raises MissingPackageError where the package is not installed, or refuses another one, as numba does a newer NumPy.
    """
    try:
        return imported(name)
    except ImportError as error:
        raise missing(name.partition(".")[0], error) from error


def missing(package: str, problem: object) -> MissingPackageError:
    """What is raised where a package cannot be used."""
    return MissingPackageError(
        f"symc cannot use the package {package}, which it needs ({problem}); `pip check` tells what does not fit, and "
        f"installing symc again brings what it was tested with"
    )
