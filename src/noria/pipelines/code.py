"""Digests of code by what it does: a changed helper or constant changes them, a changed comment does not.

A function is digested with everything of the user's own modules that it reaches by name: functions, classes and
module-level constants, and theirs in turn. Installed packages count by their version alone. What cannot be looked
into (a frame read from a file at import, an open connection) is known by its type and, where there is one, by the
statement that assigned it. What is reached by a name made up at run time (`getattr(module, name)`) is not found.
"""

import functools
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from importlib import import_module
from importlib.util import resolve_name
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, cast
from uuid import UUID

from noria.core import digests
from noria.pipelines.bodies import Assignment, Body, assignment_of, body_of, import_of
from noria.pipelines.ownership import is_own, version_of
from noria.pipelines.parsing import parsing

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
_TOLD_BY_REPR = (date, time, timedelta, timezone, Decimal, Fraction, PurePath, UUID, range, slice, bytearray)
"""Values whose spelling tells all of them; a `datetime` is a `date`."""
_MADE_BY_PYTHON = frozenset(
    [
        "__dict__",
        "__weakref__",
        "__doc__",
        "__module__",
        "__qualname__",
        "__annotations__",
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "__dataclass_params__",
        "__dataclass_fields__",
        "__match_args__",
        "__firstlineno__",
        "__static_attributes__",
        "__abstractmethods__",
        "_abc_impl",
        "__orig_bases__",
        "__parameters__",
    ]
)


def code_digest(function: Callable[..., Any]) -> str:
    """Return the digest of a function's code and of the code that it refers to, 64 hexadecimal digits.

    Comments, formatting, docstrings, annotations and decorators do not matter. Names are looked up anew each time,
    so a helper that a notebook redefines counts as it is now.
    """
    with parsing:
        return _Walk(function).digest()


class _Walk:
    """One look through a function and what it refers to, each thing once and in a fixed order."""

    def __init__(self, root: Callable[..., Any]) -> None:
        self._root = root
        self._package = (getattr(root, "__module__", None) or "").rpartition(".")[0]
        self._numbers: dict[int, int] = {}
        self._kept: list[object] = []
        self._contents: list[str] = []
        self._opaque = 0

    def digest(self) -> str:
        """Return the digest of everything that was reached."""
        whole = self._spell(self._root, always=True)
        return digests.of_parts(part.encode("utf-8", "surrogatepass") for part in (whole, *self._contents))

    def _spell(self, thing: Any, *, always: bool = False) -> str:  # noqa: ANN401, PLR0911 - one answer for each kind of thing
        """Return a text that differs when the thing does; functions and classes get a number and are looked into once."""
        if isinstance(thing, _PLAIN) and type(thing) in _PLAIN:
            return f"{type(thing).__name__}:{thing!r}"
        if id(thing) in self._numbers:
            return f"#{self._numbers[id(thing)]}"
        wrapped = vars(thing).get("__wrapped__") if hasattr(thing, "__dict__") else None
        if wrapped is not None and not isinstance(thing, FunctionType):  # a step, or what functools.cache made
            return self._spell(wrapped, always=always)
        if isinstance(thing, FunctionType | type):
            if not (always or self._is_own(thing.__module__)):
                return f"{version_of(thing.__module__)}:{thing.__qualname__}"
            return self._number(thing, self._function if isinstance(thing, FunctionType) else self._class)
        if isinstance(thing, ModuleType):
            return "module" if self._is_own(thing.__name__) else version_of(thing.__name__)
        if isinstance(thing, BuiltinFunctionType):
            return f"{version_of(thing.__module__ or 'builtins')}:{thing.__qualname__}"
        return self._number(thing, self._instance)

    def _number(self, thing: Any, look: Callable[[Any], str]) -> str:  # noqa: ANN401 - anything
        number = self._numbers[id(thing)] = len(self._numbers)
        self._kept.append(thing)  # so that no other thing gets its id
        self._contents.append(f"#{number}={look(thing)}")
        return f"#{number}"

    def _function(self, function: FunctionType) -> str:
        body = body_of(function)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        parts = [
            body.text,
            self._spell_all(function.__defaults__ or ()),
            self._spell_names(function.__kwdefaults__ or {}),
            ",".join(f"{name}={self._cell(cell)}" for name, cell in cells),
            ",".join(self._globals(body, function.__globals__)),
            ",".join(self._imports(body, function.__globals__)),
            self._spell(vars(function).get("registry")),  # of functools.singledispatch
        ]
        return "\n".join(parts)

    def _cell(self, cell: Any) -> str:  # noqa: ANN401 - a cell may hold anything
        try:
            return self._spell(cell.cell_contents)
        except ValueError:  # not filled yet
            return "empty"

    def _globals(self, body: Body, names: Mapping[str, Any]) -> Iterable[str]:
        for name in body.names:
            if name in names:
                yield f"{name}={self._named(name, names[name], names)}"
                if isinstance(names[name], ModuleType):
                    yield from self._attributes(name, names[name], body.attributes)

    def _imports(self, body: Body, names: Mapping[str, Any]) -> Iterable[str]:
        for level, spelled, wanted in body.imports:
            name = resolve_name("." * level + spelled, names.get("__package__") or "") if level else spelled
            if not self._is_own(name):
                yield version_of(name)
                continue
            if _imported(name) is None:
                yield f"{name} is not there"
                continue
            for inner in wanted or body.attributes:
                found = vars(sys.modules[name])
                if inner in found:
                    yield f"{name}.{inner}={self._named(inner, found[inner], found)}"

    def _attributes(self, path: str, module: ModuleType, wanted: Iterable[str]) -> Iterable[str]:
        if not self._is_own(module.__name__):
            return
        for name in wanted:
            if name in vars(module):
                found = vars(module)[name]
                yield f"{path}.{name}={self._named(name, found, vars(module))}"
                if isinstance(found, ModuleType) and path.count(".") < 8:  # noqa: PLR2004 - deeper than any package, and modules may refer to each other
                    yield from self._attributes(f"{path}.{name}", found, wanted)

    def _named(self, name: str, thing: Any, names: Mapping[str, Any]) -> str:  # noqa: ANN401 - anything
        """Spell a global; one that cannot be looked into is known by its assignment, and what stands in that."""
        before = self._opaque
        spelled = self._spell(thing)
        if self._opaque == before or not self._is_own(str(names.get("__name__", ""))):
            return spelled
        assigned = self._assigned(name, thing, names)
        if assigned is None:
            return spelled
        assignment, there = assigned
        others = [
            f"{other}={self._spell(there[other])}" for other in assignment.names if other in there and other != name
        ]
        return f"{spelled} {assignment.text} {','.join(others)}"

    def _assigned(self, name: str, thing: Any, names: Mapping[str, Any]) -> tuple[Assignment, Mapping[str, Any]] | None:  # noqa: ANN401 - anything
        """Return how a global is assigned, and the globals there: it may be imported from another of the user's modules."""
        found = assignment_of(name, names)
        if found is not None:
            return found, names
        where, inner = import_of(name, names) or ("", "")
        module = sys.modules.get(where)
        is_there = module is not None and self._is_own(where) and vars(module).get(inner) is thing
        return self._assigned(inner, thing, vars(module)) if is_there else None

    def _class(self, kind: type) -> str:
        members = vars(kind)
        own = (f"{name}={self._member(members[name])}" for name in sorted(members) if name not in _MADE_BY_PYTHON)
        more = (type(kind), getattr(kind, "__struct_defaults__", ()))  # the latter msgspec keeps outside of the members
        return "\n".join([self._spell_all(kind.__bases__), self._spell_all(more), *own])

    def _member(self, member: Any) -> str:  # noqa: ANN401 - anything
        if isinstance(member, staticmethod | classmethod):
            return self._spell(cast("Any", member).__func__)
        if isinstance(member, property):
            return self._spell_all((member.fget, member.fset, member.fdel))
        if isinstance(member, functools.cached_property):
            return self._spell(cast("Any", member).func)
        if isinstance(member, functools.singledispatchmethod):
            return self._spell(cast("Any", member).dispatcher)
        if isinstance(member, functools.partialmethod):
            part = cast("Any", member)
            return self._spell_all((part.func, part.args, part.keywords))
        return self._spell(member)

    def _instance(self, thing: Any) -> str:  # noqa: ANN401, PLR0911 - one answer for each kind of thing
        kind = self._spell(cast("type[Any]", type(thing)))
        if isinstance(thing, Enum):
            return f"{kind}.{thing.name}={self._spell(thing.value)}"
        if isinstance(thing, tuple | list | dict) and _is_flat(cast("Any", thing)):
            return f"{kind}{thing!r}"
        if isinstance(thing, tuple | list):
            return f"{kind}{self._spell_all(cast('list[object]', thing))}"
        if isinstance(thing, set | frozenset):
            return f"{kind}{self._spell_all(sorted(cast('set[object]', thing), key=repr))}"
        if isinstance(thing, dict | MappingProxyType):
            pairs = cast("dict[object, object]", thing).items()
            return kind + ",".join(f"{self._spell(key)}:{self._spell(value)}" for key, value in pairs)
        if isinstance(thing, MethodType):
            return self._spell_all((thing.__func__, thing.__self__))
        if isinstance(thing, functools.partial):
            part = cast("functools.partial[Any]", thing)
            return self._spell_all((part.func, part.args, part.keywords))
        if self._is_own(type(thing).__module__):
            return f"{kind} {self._spell_names(_attributes_of(thing))}"
        content = _content_of(thing)
        self._opaque += content is None
        return f"{kind}{content or ''}"

    def _spell_all(self, things: Iterable[object]) -> str:
        return f"({','.join(self._spell(thing) for thing in things)})"

    def _spell_names(self, things: Mapping[str, object]) -> str:
        return ",".join(f"{name}={self._spell(things[name])}" for name in sorted(things))

    def _is_own(self, module: str | None) -> bool:
        return module is not None and is_own(module, self._package)


def _imported(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ImportError:  # an optional one, which the function does without
        return None


def _content_of(thing: Any) -> str | None:  # noqa: ANN401 - anything
    """Return what is in a value of a well-known kind; None for what cannot be looked into."""
    if isinstance(thing, _TOLD_BY_REPR):
        return repr(cast("object", thing))
    if isinstance(thing, re.Pattern):
        return f"{cast('Any', thing).pattern!r}{cast('Any', thing).flags}"
    if type(thing).__module__ == "numpy" and hasattr(thing, "tobytes") and not thing.dtype.hasobject:
        return f"{thing.dtype.descr}{thing.shape}{digests.of_bytes(thing.tobytes())}"
    return None


def _attributes_of(thing: object) -> dict[str, object]:
    slots = {name for kind in type(thing).__mro__ for name in _names_of(vars(kind).get("__slots__", ()))}
    found = {name: getattr(thing, name) for name in slots if hasattr(thing, name) and name != "__weakref__"}
    return found | getattr(thing, "__dict__", {})


def _names_of(slots: str | Iterable[str]) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def _is_flat(things: list[object] | dict[object, object]) -> bool:
    values = (*things, *things.values()) if isinstance(things, dict) else things
    return all(type(thing) in _PLAIN for thing in values)
