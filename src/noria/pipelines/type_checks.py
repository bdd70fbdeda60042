"""Whether a value is what a parameter is annotated with, as PEP 484 has it; a value is never changed to fit.

An int does for a float, a bool for an int, None for a parameter whose default is None. What cannot be told exactly and
at little cost is not checked: protocols, type variables, callables, names that do not resolve. Items of lists, sets,
tuples and dictionaries are; of frames and other classes it is the class.
"""

import collections.abc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Rational, Real
from types import NoneType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints, is_typeddict

from noria.pipelines.annotations import members_of, unwrapped
from noria.pipelines.model import Failure

Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Check:
    """Says whether a value fits; `by_type` if that depends on the value's type alone."""

    test: Test
    by_type: bool = False

    def fits(self, value: object) -> bool:
        """Say whether a value fits; one whose class does not let itself be asked does."""
        try:
            return self.test(value)
        except Exception:  # noqa: BLE001 - users' classes may do anything here
            return True


def check_of(annotation: Any) -> Check | None:  # noqa: ANN401 - see unwrapped
    """Return what says whether a value fits an annotation; None where anything may."""
    members = members_of(annotation)
    if len(members) > 1:
        return _any_of([check_of(member) for member in members])
    found = unwrapped(annotation)
    origin, inner = get_origin(found), get_args(found)
    if found is None or found is NoneType:
        return Check(lambda value: value is None, by_type=True)
    if origin is Literal:
        return Check(lambda value: any(_is_same(value, each) for each in inner))
    if is_typeddict(found):
        return _typed_dict(found)
    if origin is not None:
        return _generic(origin, inner)
    return _class(found) if isinstance(found, type) else None


def _any_of(checks: list[Check | None]) -> Check | None:
    known = [check for check in checks if check is not None]
    if len(known) < len(checks):
        return None
    return Check(lambda value: any(check.test(value) for check in known), by_type=all(c.by_type for c in known))


def _class(kind: type[Any]) -> Check | None:
    if kind in (object, Any) or getattr(kind, "_is_protocol", False):
        return None
    if kind is int:
        return Check(lambda value: isinstance(value, int | Integral), by_type=True)
    if kind is float:
        return Check(_is_float, by_type=True)
    if kind is complex:
        return Check(lambda value: isinstance(value, complex) or _is_float(value), by_type=True)
    if kind is bytes:
        return Check(lambda value: isinstance(value, bytes | bytearray | memoryview), by_type=True)
    return Check(lambda value: isinstance(value, kind) or _is_named_like(value, kind), by_type=True)


def _is_float(value: object) -> bool:
    """Say whether it is a number of a machine: an int, a float, or one of NumPy's."""
    if isinstance(value, float | int):
        return True
    return isinstance(value, Integral) or (isinstance(value, Real) and not isinstance(value, Rational))


def _is_named_like(value: object, kind: type[Any]) -> bool:
    """Say whether a value is of that class by name: a module that was loaded twice has made it twice."""
    name = kind.__module__, kind.__qualname__
    return any((each.__module__, each.__qualname__) == name for each in type(value).__mro__)


def _is_same(value: object, literal: object) -> bool:
    return (
        isinstance(value, type(literal)) and isinstance(value, bool) == isinstance(literal, bool) and value == literal
    )


def _generic(origin: Any, inner: tuple[Any, ...]) -> Check | None:  # noqa: ANN401 - see unwrapped
    """Check the items of the collections that everybody uses; of any other class the class."""
    if not isinstance(origin, type) or getattr(origin, "_is_protocol", False):
        return None
    kind = cast("type[Any]", origin)
    if kind is type or kind is cast("Any", collections.abc.Callable):
        return None
    if kind is tuple:
        return _tuple(inner)
    if issubclass(kind, collections.abc.Mapping) and len(inner) == 2:  # noqa: PLR2004 - keys and values
        return _mapping(cast("type[Any]", origin), check_of(inner[0]), check_of(inner[1]))
    if issubclass(kind, collections.abc.Sequence | collections.abc.Set) and len(inner) == 1:
        return _collection(cast("type[Any]", origin), check_of(inner[0]))
    return _class(cast("type[Any]", origin))


def _collection(origin: type[Any], item: Check | None) -> Check:
    if item is None:
        return Check(lambda value: isinstance(value, origin), by_type=True)
    return Check(lambda value: isinstance(value, origin) and _all_fit(item, cast("Iterable[object]", value)))


def _mapping(origin: type[Any], key: Check | None, item: Check | None) -> Check:
    def test(value: object) -> bool:
        if not isinstance(value, origin):
            return False
        whole = cast("Mapping[object, object]", value)
        return (key is None or _all_fit(key, whole)) and (item is None or _all_fit(item, whole.values()))

    return Check(test)


def _tuple(inner: tuple[Any, ...]) -> Check:
    if len(inner) == 2 and inner[1] is Ellipsis:  # noqa: PLR2004 - tuple[int, ...]
        return _collection(tuple, check_of(inner[0]))
    checks = [check_of(each) for each in inner]

    def test(value: object) -> bool:
        if not isinstance(value, tuple):
            return False
        items = cast("tuple[object, ...]", value)
        pairs = zip(items, checks, strict=False)
        return len(items) == len(checks) and all(check is None or check.test(item) for item, check in pairs)

    return Check(test)


def _all_fit(check: Check, items: Iterable[object]) -> bool:
    """Say whether all items fit, of those of one type by the first; a failed item of a map stands for any value."""
    some = {type(item): item for item in items}.values() if check.by_type else items
    return all(check.test(item) or isinstance(item, Failure) for item in some)


def _typed_dict(kind: Any) -> Check:  # noqa: ANN401 - see unwrapped
    checks = {name: check_of(annotation) for name, annotation in get_type_hints(kind, include_extras=True).items()}
    required = frozenset(kind.__required_keys__)

    def test(value: object) -> bool:
        if not isinstance(value, dict) or not required <= value.keys():
            return False
        whole = cast("dict[str, object]", value)
        return all(check is None or name not in whole or check.test(whole[name]) for name, check in checks.items())

    return Check(test)
