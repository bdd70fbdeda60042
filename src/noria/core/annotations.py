"""What an annotation tells of values: whether any value of it can be carried by a codec."""

import inspect
import sys
import types
import typing
from abc import ABCMeta
from collections.abc import Callable, Iterable
from dataclasses import MISSING, is_dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any, cast

from noria.core.codecs import name_of

Carries = Callable[[type[Any]], bool]

_USUAL = (bool, int, float, str, bytes, list, tuple, dict, set, frozenset, Path)
"""Types that are carried; what is abstract and can be one of them is carried sometimes."""
_UNIONS = frozenset({typing.Union, types.UnionType})
_WRAPPERS = frozenset({typing.Annotated, typing.Final, typing.ClassVar, typing.Required, typing.NotRequired})


def returned(function: Callable[..., object]) -> object:
    """Return what a function is annotated to return; `Any` where it does not say, or says what is not there to be found."""
    said = getattr(function, "__annotations__", {}).get("return", Any)
    if not isinstance(said, str):
        return said
    holder = types.new_class("_Returned", exec_body=lambda names: names.update(__annotations__={"said": said}))
    try:
        return typing.get_type_hints(holder, getattr(function, "__globals__", {}), {}, include_extras=True)["said"]
    except Exception:  # noqa: BLE001 - an annotation is any expression, of names that only a type checker imports
        return Any


def never_carried(annotation: object, carries: Carries) -> str | None:
    """Return what of an annotated value no codec carries, whatever the value is; None where it may be carried.

    >>> never_carried(list[types.ModuleType], lambda kind: kind is list)
    'types.ModuleType'
    >>> never_carried(types.ModuleType | None, lambda kind: kind is type(None)) is None
    True
    """
    return _Asked(carries).about(annotation)


class _Asked:
    def __init__(self, carries: Carries) -> None:
        self._carries = carries
        self._seen: list[object] = []

    def about(self, annotation: object) -> str | None:
        """Return the name of what is never carried; a type that is inside itself is asked about once."""
        if annotation is None or annotation in self._seen:
            return None
        self._seen.append(annotation)
        annotation = getattr(annotation, "__supertype__", annotation)  # of a NewType
        annotation = getattr(annotation, "__value__", annotation)  # of a type alias
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in _UNIONS:
            found = [self.about(argument) for argument in arguments]
            return found[0] if all(found) else None
        if origin in _WRAPPERS:
            return self.about(arguments[0])
        if isinstance(origin, type):
            inside = arguments if issubclass(origin, Iterable) and origin.__module__ in _CONTAINERS else ()
            return self._about_class(cast("type[Any]", origin)) or self._first(inside)
        return self._about_class(cast("type[Any]", annotation)) if isinstance(annotation, type) else None

    def _first(self, annotations: Iterable[object]) -> str | None:
        return next((found for each in annotations if (found := self.about(each)) is not None), None)

    def _about_class(self, kind: type[Any]) -> str | None:
        if kind in {object, Any} or typing.is_typeddict(kind) or getattr(kind, "_is_protocol", False):
            return None
        if self._carries(kind):
            return self._first(_needed(kind))
        if any(map(self._carries, _below(kind))) or _is_abstract(kind):
            return None
        return name_of(kind)


_CONTAINERS = frozenset({"builtins", "collections", "collections.abc"})


def _is_abstract(kind: type[Any]) -> bool:
    """Say whether a value may be of a class that nobody sees from here: a user's abstract one, or one of a usual type."""
    if not isinstance(kind, ABCMeta):
        return False
    if any(issubclass(usual, kind) for usual in _USUAL):
        return True
    return inspect.isabstract(kind) and kind.__module__.partition(".")[0] not in sys.stdlib_module_names


def _below(kind: type[Any]) -> set[type[Any]]:
    """Return all subclasses that there are now."""
    found, waiting = set[type[Any]](), [kind]
    while waiting:
        for each in type.__subclasses__(waiting.pop()):
            if each not in found and isinstance(cast("object", each.__module__), str):
                found.add(each)
                waiting.append(each)
    return found


def _needed(kind: type[Any]) -> list[object]:
    """Return the annotations of the fields that each object of a class has, unless a default stands in for them."""
    if is_dataclass(kind):
        declared = dataclass_fields(kind)
        named = [each.name for each in declared if each.default is MISSING and each.default_factory is MISSING]
    elif "_fields" in dir(kind):
        named = [name for name in cast("Any", kind)._fields if name not in getattr(kind, "_field_defaults", ())]
    else:
        return []
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001 - see `returned`
        return []
    return [hints[name] for name in named if name in hints]
