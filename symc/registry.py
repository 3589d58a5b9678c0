"""Classes by name: `register`, `alias` and `create` for initializers, metrics and other families, as `mx.registry`."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from symc.core.errors import ArgumentError, ConflictError

Class = TypeVar("Class", bound=type)

_classes: dict[type, dict[str, type]] = {}
_homes: dict[type, dict[str, ModuleType | None]] = {}  # the module that registered each


def get_registry(base_class: type) -> dict[str, type]:
    """A copy of the classes registered under a base class, by lower-case name."""
    return dict(_classes.get(base_class, {}))


def get_register_func(base_class: type, nickname: str) -> Callable[..., Any]:
    """`register(klass, name=None)`: makes a subclass creatable by its name; replacing another warns."""
    known, homes = _classes.setdefault(base_class, {}), _homes.setdefault(base_class, {})

    def register(klass: Class, name: str | None = None) -> Class:
        if not (isinstance(klass, type) and issubclass(klass, base_class)):
            raise ConflictError(f"Can only register subclass of {base_class.__name__}, got {klass!r}")
        key = (name or klass.__name__).lower()
        if key in known and homes[key] is sys.modules.get(known[key].__module__):  # else its import was thrown away
            old, new = (f"{c.__module__}.{c.__name__}" for c in (known[key], klass))
            warnings.warn(f"New {nickname} {new} registered with name {key} replaces {old}", stacklevel=2)
        known[key], homes[key] = klass, sys.modules.get(klass.__module__)
        return klass

    register.__doc__ = f"Makes a subclass of {base_class.__name__} creatable by its name or the given one."
    return register


def add_by_name(classes: dict[str, type], klass: Class, family: str) -> Class:
    """Puts a class under its lower-case name; replacing another warns.  Optimizers and stores are registered so.

    Raises ConflictError for what is no class.
    """
    if not isinstance(klass, type):
        raise ConflictError(f"register: expected a class, got {klass!r}")
    name = klass.__name__.lower()
    if name in classes:
        new, known = (f"{c.__module__}.{c.__name__}" for c in (klass, classes[name]))
        warnings.warn(f"WARNING: New {family} {new} is overriding existing {family} {known}", stacklevel=3)
    classes[name] = klass
    return klass


def get_alias_func(base_class: type, nickname: str) -> Callable[..., Any]:
    """`alias(*names)`: a decorator that registers a class under further names."""
    register = get_register_func(base_class, nickname)

    def alias(*names: str) -> Callable[[Class], Class]:
        def decorate(klass: Class) -> Class:
            for name in names:
                register(klass, name)
            return klass

        return decorate

    alias.__doc__ = f"Registers a subclass of {base_class.__name__} under further names."
    return alias


def get_create_func(base_class: type, nickname: str) -> Callable[..., Any]:
    """`create(name, *args, **kwargs)`: an instance by name; also from a dict, JSON (`["name", {...}]`) or an instance.

    The text is data: it can only name a registered class and its arguments. Raises ConflictError for what is not
    registered, as MXNet asserts it is, and ArgumentError for damaged JSON and wrong arguments.
    """
    known = _classes.setdefault(base_class, {})

    def create(*args: Any, **kwargs: Any) -> Any:
        name, args = (args[0], args[1:]) if args else (kwargs.pop(nickname, None), ())
        if isinstance(name, base_class):
            if args or kwargs:
                raise ConflictError(f"{nickname} is already an instance. Additional arguments are invalid")
            return name
        if isinstance(name, dict):
            return create(**name)
        if not isinstance(name, str):
            raise ConflictError(f"{nickname} must be of string type, got {name!r}")
        if name.startswith(("[", "{")):
            try:
                return create(*_from_json(name, nickname))
            except TypeError as e:  # arguments that the class does not take
                raise ArgumentError(f"{nickname} {name[:80]!r}: {e}") from None
        if name.lower() not in known:
            raise ConflictError(
                f"{name.lower()} is not registered. Please register with {nickname}.register first; "
                f"there are {', '.join(sorted(known))}"
            )
        return known[name.lower()](*args, **kwargs)

    def _from_json(text: str, nickname: str) -> tuple[Any, ...]:
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise ArgumentError(f"{nickname} {text[:80]!r} is no JSON: {e}") from None
        if isinstance(content, dict):
            return (content,)
        if len(content) == 2 and isinstance(content[0], str) and isinstance(content[1], dict):
            return ({nickname: content[0], **content[1]},)
        raise ArgumentError(f'{nickname} {text[:80]!r}: expected ["name", {{arguments}}]')

    create.__doc__ = f"An instance of a registered {base_class.__name__}: by name, from JSON, or as it is."
    return create
