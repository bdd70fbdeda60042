"""Digests of code by what it does: a changed helper or constant changes them, a changed comment does not.

A function is digested with everything of the user's own modules that it reaches by name: functions, classes and
module-level constants, and theirs in turn. Of a module that is handed on as a value (in a list, an attribute, a closure)
all counts that anything reached asks of some object; where it is asked by a name made up at run time, its whole source.
Installed packages count by their version alone. What cannot be looked into (a frame read from a file at import, an open
connection) is known by its type, by the user's own code in it and, where there is one, by the statement that assigned
it. What is imported by a name made up at run time, or executed as a text, is not found: see `Looked.unfollowed`.
"""

import functools
import operator
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.util import resolve_name
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, cast

from noria.core import digests
from noria.pipelines.bodies import Assignment, Body, assignment_of, body_of, import_of
from noria.pipelines.contents import PLAIN, attributes_of, content_of, is_flat
from noria.pipelines.dynamic import cannot_be_followed, reaches_modules, texts_of
from noria.pipelines.holding import code_in, in_order
from noria.pipelines.modules import NOTHING, imported, is_found, is_submodule, member, modules_named, source_digest
from noria.pipelines.ownership import is_own, version_of
from noria.pipelines.parsing import parsing
from noria.pipelines.references import module_name

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
    return look_into(function).digest


@dataclass(frozen=True, slots=True)
class Looked:
    """The digest of some code, and the expressions in it that may lead to code which no digest knows."""

    digest: str
    unfollowed: tuple[str, ...]


def look_into(function: Callable[..., Any]) -> Looked:
    """Return the digest of a function's code, as `code_digest` does, and what in that code cannot be followed."""
    with parsing:
        walk = _Walk(function)
        return Looked(walk.digest(), cannot_be_followed(sorted(walk.made_up)))


class _Walk:
    """One look through a function and what it refers to, each thing once and in a fixed order."""

    def __init__(self, root: Callable[..., Any]) -> None:
        self._root = root
        self.made_up: set[str] = set()
        self._modules: dict[str, ModuleType] = {}
        self._asked: set[str] = set()
        self._told: set[tuple[str, str]] = set()
        self._by_source: set[str] = set()
        self._package = (getattr(root, "__module__", None) or "").rpartition(".")[0]
        self._numbers: dict[int, int] = {}
        self._kept: list[object] = []
        self._contents: list[str] = []
        self._opaque = 0

    def digest(self) -> str:
        """Return the digest of everything that was reached."""
        whole = self._spell(self._root, always=True)
        more = self._reached_in_modules()
        return digests.of_parts(part.encode("utf-8", "surrogatepass") for part in (whole, *self._contents, *more))

    def _reached_in_modules(self) -> list[str]:
        """Spell what may be asked of modules that are handed on as values: which code asks it of which nobody knows."""
        told: list[str] = []
        while waiting := {(name, asked) for name in self._modules for asked in self._asked} - self._told:
            for name, asked in sorted(waiting):
                self._told.add((name, asked))
                module = self._modules[name]
                if is_submodule(module, asked):
                    self._count_source(f"{name}.{asked}")
                elif (found := member(module, asked)) is not NOTHING:
                    told.append(f"{name}.{asked}={self._named(asked, found, vars(module))}")
        if self.made_up:
            self._by_source.update(self._modules)
        return told + [f"{module_name(name)}:{source_digest(name)}" for name in sorted(self._by_source)]

    def _count_source(self, name: str) -> None:
        """Let a module count by its source, and those inside it whose names are asked of anything."""
        if name not in self._by_source:
            self._by_source.add(name)
            for asked in sorted(self._asked):
                if is_found(f"{name}.{asked}"):
                    self._count_source(f"{name}.{asked}")

    def _spell(self, thing: Any, *, always: bool = False) -> str:  # noqa: ANN401, PLR0911 - one answer for each kind of thing
        """Return a text that differs when the thing does; functions and classes get a number and are looked into once."""
        if isinstance(thing, PLAIN) and type(thing) in PLAIN:
            return f"{type(thing).__name__}:{thing!r}"
        if id(thing) in self._numbers:
            return f"#{self._numbers[id(thing)]}"
        wrapped = vars(thing).get("__wrapped__") if hasattr(thing, "__dict__") else None
        if wrapped is not None and not isinstance(thing, FunctionType):  # a step, or what functools.cache made
            return self._spell(wrapped, always=always)
        if isinstance(thing, FunctionType | type):
            if not (always or self._is_own_code(thing)):
                return f"{version_of(thing.__module__ or 'builtins')}:{thing.__qualname__}"
            return self._number(thing, self._function if isinstance(thing, FunctionType) else self._class)
        if isinstance(thing, ModuleType):
            return self._module(thing)
        if isinstance(thing, BuiltinFunctionType):
            return f"{version_of(thing.__module__ or 'builtins')}:{thing.__qualname__}{self._bound_to(thing)}"
        return self._number(thing, self._instance)

    def _number(self, thing: Any, look: Callable[[Any], str]) -> str:  # noqa: ANN401 - anything
        number = self._numbers[id(thing)] = len(self._numbers)
        self._kept.append(thing)  # so that no other thing gets its id
        self._contents.append(f"#{number}={look(thing)}")
        return f"#{number}"

    def _module(self, module: ModuleType) -> str:
        if not self._is_own(module.__name__):
            return version_of(module.__name__)
        self._modules[module.__name__] = module
        return "module"

    def _bound_to(self, function: BuiltinFunctionType) -> str:
        """Spell the collection of which something is a method, such as the `get` of a dictionary of functions."""
        bound = function.__self__
        return f" of {self._spell(bound)}" if isinstance(bound, list | dict | set | deque) else ""

    def _function(self, function: FunctionType) -> str:
        body = body_of(function)
        self._asked.update(body.attributes, body.texts)
        self.made_up.update(body.made_up)
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
        parts += self._by_text(body, function.__globals__)
        held = self._own_code_in(_held_by(function))
        parts += [f"{path}={self._spell(one)}" for path, one in held if id(one) not in self._numbers]
        return "\n".join(parts)

    def _by_text(self, body: Body, names: dict[str, Any]) -> Iterable[str]:
        """Spell the modules that texts in a function name, where it imports by a text."""
        if not body.texts or not reaches_modules((*body.names, *body.attributes)):
            return
        for name in modules_named(body.texts, names):
            if self._is_own(name) and (module := imported(name)) is not None:
                yield f"{name}={self._module(module)}"

    def _cell(self, cell: Any) -> str:  # noqa: ANN401 - a cell may hold anything
        try:
            return self._spell(cell.cell_contents)
        except ValueError:  # not filled yet
            return "empty"

    def _globals(self, body: Body, names: Mapping[str, Any]) -> Iterable[str]:
        for name in body.names:
            if name in names:
                found = names[name]
                if not isinstance(found, ModuleType):
                    yield f"{name}={self._named(name, found, names)}"
                    continue
                if name in body.bare or body.made_up or body.texts:
                    self._module(found)
                yield f"{name}={'module' if self._is_own(found.__name__) else version_of(found.__name__)}"
                yield from self._attributes(name, found, body)

    def _imports(self, body: Body, names: Mapping[str, Any]) -> Iterable[str]:
        for level, spelled, wanted in body.imports:
            name = resolve_name("." * level + spelled, names.get("__package__") or "") if level else spelled
            if not self._is_own(name):
                yield version_of(name)
                continue
            module = imported(name)
            if module is None:
                yield f"{name} is not there"
                self._by_source |= {name} if is_found(name) else set()
                continue
            self._parents(name)
            yield from self._imported(module, wanted, body)

    def _imported(self, module: ModuleType, wanted: tuple[str, ...], body: Body) -> Iterable[str]:
        """Spell what an import inside a function takes of a module, or may ask of it."""
        if not isinstance(cast("object", module), ModuleType):  # a module may put another object in its place
            yield self._spell(module)
            return
        name = module.__name__
        if not wanted:
            self._module(module)
        for inner in wanted or body.attributes:
            found = vars(module).get(inner, NOTHING)
            if is_submodule(module, inner):
                found = self._submodule(f"{name}.{inner}") if wanted else NOTHING
            elif wanted and found is NOTHING:
                found = member(module, inner)
            if found is not NOTHING:
                self._told.add((name, inner))
                yield f"{name}.{inner}={self._named(inner, found, vars(module))}"

    def _submodule(self, name: str) -> object:
        """Return a module inside a package; one that cannot be imported here counts by its source."""
        found = imported(name)
        if found is None:
            self._by_source.add(name)
        return NOTHING if found is None else found

    def _parents(self, name: str) -> None:
        """Count the packages of an imported module: importing it runs theirs, and binds the first."""
        while name := name.rpartition(".")[0]:
            if self._is_own(name) and (package := sys.modules.get(name)) is not None:
                self._module(package)

    def _attributes(self, path: str, module: ModuleType, body: Body) -> Iterable[str]:
        """Spell what stands in a module under the names that a function asks of anything."""
        if not self._is_own(module.__name__):
            return
        for name in body.attributes:
            found = vars(module).get(name, NOTHING)
            is_asked = f"{path}.{name}" in body.chains
            if is_submodule(module, name):  # there when somebody has imported it, which the digest must not depend on
                found = self._submodule(f"{module.__name__}.{name}") if is_asked else NOTHING
            elif found is NOTHING and is_asked:
                found = member(module, name)
            if found is NOTHING:
                continue
            if not isinstance(found, ModuleType):
                yield f"{path}.{name}={self._named(name, found, vars(module))}"
                continue
            yield f"{path}.{name}={'module' if self._is_own(found.__name__) else version_of(found.__name__)}"
            if path.count(".") < 8:  # noqa: PLR2004 - deeper than any package, and modules may refer to each other
                yield from self._attributes(f"{path}.{name}", found, body)

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

    def _instance(self, thing: Any) -> str:  # noqa: ANN401 - one answer for each kind of thing
        kind = self._spell(cast("type[Any]", type(thing)))
        if isinstance(thing, Enum):
            return f"{kind}.{thing.name}={self._spell(thing.value)}"
        if isinstance(thing, tuple | list | set | frozenset | dict | MappingProxyType):
            return f"{kind}{self._collection(cast('Any', thing))}{self._more_of(cast('Any', thing))}"
        if isinstance(thing, MethodType):
            return self._spell_all((thing.__func__, thing.__self__))
        if isinstance(thing, functools.partial):
            part = cast("functools.partial[Any]", thing)
            return self._spell_all((part.func, part.args, part.keywords))
        if self._is_own(type(thing).__module__):
            return f"{kind} {self._spell_names(attributes_of(thing))}"
        return f"{kind}{self._foreign(thing)}"

    def _foreign(self, thing: Any) -> str:  # noqa: ANN401 - see _instance
        """Spell an object of a library: what is in it where that is known, else the user's own code that it holds."""
        content = content_of(thing)
        if content is not None:
            return content
        self._opaque += 1
        held = self._own_code_in(thing)
        if isinstance(thing, operator.attrgetter | operator.methodcaller):
            self._asked.update(texts_of(cast("Any", thing).__reduce__()[1:]))
        return "".join(f" {path}={self._spell(one)}" for path, one in held)

    def _collection(self, thing: Any) -> str:  # noqa: ANN401 - one of many kinds
        if isinstance(thing, tuple | list | dict) and is_flat(cast("Any", thing)):
            return f"{thing!r}"
        if isinstance(thing, tuple | list):
            return self._spell_all(cast("list[object]", thing))
        if isinstance(thing, set | frozenset):
            return self._spell_all(in_order(cast("set[object]", thing)))
        pairs = cast("dict[object, object]", thing).items()
        return ",".join(f"{self._spell(key)}:{self._spell(value)}" for key, value in pairs)

    def _more_of(self, thing: Any) -> str:  # noqa: ANN401 - see _collection
        """Spell what a collection of the user's own kind has besides its items, and what makes a `defaultdict`'s."""
        if isinstance(thing, defaultdict) and isinstance(thing.default_factory, FunctionType):
            return f" by {self._spell(thing.default_factory)}"
        kind = cast("type[Any]", type(cast("object", thing)))
        attributes = attributes_of(cast("object", thing)) if self._is_own(kind.__module__) else {}
        return f" {self._spell_names(attributes)}" if attributes else ""

    def _own_code_in(self, thing: object) -> list[tuple[str, Any]]:
        """Return the functions, classes and modules of the user's own that an object of another's holds, by their paths."""
        return code_in(thing, lambda held: self._is_own_code(held) or self._is_own_code(type(held)))

    def _spell_all(self, things: Iterable[object]) -> str:
        return f"({','.join(self._spell(thing) for thing in things)})"

    def _spell_names(self, things: Mapping[str, object]) -> str:
        return ",".join(f"{name}={self._spell(things[name])}" for name in sorted(things))

    def _is_own_code(self, thing: Any) -> bool:  # noqa: ANN401 - a function, a class, a module, or an object
        """Say whether this is the user's: a function by where it stands too, for `functools.wraps` tells another place."""
        if isinstance(thing, ModuleType):
            return self._is_own(thing.__name__)
        if isinstance(thing, FunctionType) and self._is_own(thing.__globals__.get("__name__")):
            return True
        return isinstance(thing, FunctionType | type) and self._is_own(thing.__module__)

    def _is_own(self, module: str | None) -> bool:
        return module is not None and is_own(module, self._package)


def _held_by(function: FunctionType) -> dict[str, object]:
    """Return the attributes that somebody has put on a function."""
    return {name: held for name, held in vars(function).items() if name != "registry"}
