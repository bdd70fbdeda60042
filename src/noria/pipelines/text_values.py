"""Values of parameters from texts, as they are typed after `-p NAME=`: the parameter's annotation says what a text means."""

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from types import NoneType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, is_typeddict
from uuid import UUID

import msgspec

from noria.core.durations import as_duration
from noria.core.errors import Invalid, NoriaError
from noria.pipelines.annotations import members_of, spelled, unwrapped
from noria.pipelines.secrets import FORMS, Secret, asks_for_secret

Note = Callable[[str], object]

_INT = re.compile(r"[+-]?[0-9]+(_[0-9]+)*")
_FLOAT = re.compile(r"[+-]?([0-9]+(_[0-9]+)*\.?([0-9]+(_[0-9]+)*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ENDLESS = {"nan", "inf", "infinity"}
_SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_NOTHING = {"null", "none"}
_LOOKS_LIKE_A_VALUE = {"true", "false", "none", "yes", "no", "on", "off", "nan"}
_COLLECTIONS = (list, tuple, set, frozenset, dict)
_EXAMPLES = {
    bool: "true, false, yes, no, on, off, 1 or 0",
    int: "a whole number, such as 3",
    float: "a number, such as 0.5",
    Decimal: "a decimal number, such as 1.10",
    date: "a day, such as 2026-01-31",
    datetime: "a time, such as 2026-01-31T12:00:00+00:00",
    time: "a time of day, such as 12:30",
    timedelta: "a duration, such as 7d, 36h or 1d 12h",
    Secret: FORMS,
}


_ONLY_FROM_PYTHON = "it cannot be given as a text: give it from Python, as home.run(..., params=...)"
_LONGEST_SHOWN = 60


class _NotOne(Exception):
    """A text does not spell a value of some type; it says what would, where that helps."""


def value_of(text: str, annotation: Any, *, note: Note) -> object:  # noqa: ANN401 - see unwrapped
    """Return the value that a text spells for a parameter with that annotation; `object` for one without.

    `note` hears, in a sentence, how a text was taken that could be meant otherwise.

    Raises:
        Invalid: the text spells no such value.

    """
    try:
        return _read(text, annotation, note)
    except (_NotOne, msgspec.MsgspecError) as problem:
        wanted = _wanted(annotation)
        said = f": {problem}" if str(problem) else ""
        what = "this" if asks_for_secret(annotation) else _shown(text)
        raise Invalid(f"{what} is no {spelled(annotation)}{said}", hint=f"write {wanted}") from problem


def guessed(text: str, *, note: Note) -> object:
    """Return what a text means to a parameter that says nothing: a JSON value, else the text itself."""
    try:
        value: object = json.loads(text)
    except ValueError:
        if text.strip().lower() in _LOOKS_LIKE_A_VALUE:
            note(f"{text!r} is taken as a text; annotate the parameter to have it read as something else")
        return text
    if isinstance(value, float) and not math.isfinite(value) and text.strip().strip("-").lower() not in _ENDLESS:
        note(f"{text!r} is taken as a text: as a number it is too large; annotate the parameter, such as ': str'")
        return text
    if isinstance(value, int | float) and not isinstance(value, bool) and repr(value) != text.strip():
        note(f"{text!r} is taken as the number {value!r}; annotate the parameter, such as ': str', to keep it as typed")
    return value


def _read(text: str, annotation: Any, note: Note) -> object:  # noqa: ANN401 - see unwrapped
    members = members_of(annotation)
    if len(members) > 1:
        return _one_of(text, members, note)
    found = unwrapped(annotation)
    if found in (Any, object) or isinstance(found, TypeVar | str) or getattr(found, "_is_protocol", False):
        return guessed(text, note=note)
    if get_origin(found) is Literal:
        return _literal(text, get_args(found))
    if get_origin(found) is not None or is_typeddict(found) or found in _COLLECTIONS:
        return _json(text, found)
    if found is None or found is NoneType:
        return _nothing(text)
    return _of_class(text, found) if isinstance(found, type) else guessed(text, note=note)


def _of_class(text: str, kind: type[Any]) -> object:
    if kind in _READERS:
        return _READERS[kind](text)
    if hasattr(kind, "from_text"):  # a class that says itself what a text means, such as nr.Secret
        return kind.from_text(text)
    if issubclass(kind, Enum):
        return _member(text, kind)
    if issubclass(kind, PurePath):
        if not text:
            raise _NotOne("it is empty")
        return kind(text)
    for plain in (str, int, float):
        if issubclass(kind, plain):
            return cast("Any", kind)(_READERS[plain](text))
    return _json(text, kind)


def _one_of(text: str, members: tuple[Any, ...], note: Note) -> object:
    """Read a text as the member of a union that it spells exactly; where none does, as a text, else as the first that it can be."""
    found: list[object] = []
    for member in members:
        if member in (str, None, NoneType):
            continue
        try:
            found.append(_read(text, member, note))
        except (_NotOne, NoriaError, msgspec.MsgspecError):
            continue
    exact = [value for value in found if _spells(value, text)]
    if exact:
        return exact[0]
    may_be_none, is_nothing = bool({None, NoneType} & set(members)), text.lower() in _NOTHING
    if may_be_none and (text == "null" or (is_nothing and str not in members)):
        if str in members:
            note(f"{text!r} is taken as no value at all; give the text from Python if that is what you mean")
        return None
    if str in members:
        return text
    if found:
        return found[0]
    raise _NotOne


def _spells(value: object, text: str) -> bool:
    if isinstance(value, bool):
        return text.lower() in {"true", "false"}
    return not isinstance(value, int | float) or repr(value) == text.strip()


def _text(text: str) -> str:
    return text


def _bool(text: str) -> bool:
    found = _SWITCHES.get(text.strip().lower())
    if found is None:
        raise _NotOne
    return found


def _int(text: str) -> int:
    if not _INT.fullmatch(text.strip()):
        raise _NotOne
    try:
        return int(text)
    except ValueError as problem:  # more digits than Python reads
        raise _NotOne("it has too many digits") from problem


def _float(text: str) -> float:
    is_endless = text.strip().lower().lstrip("+-") in _ENDLESS
    if not (is_endless or _FLOAT.fullmatch(text.strip())):
        raise _NotOne
    value = float(text)
    if math.isinf(value) and not is_endless:
        raise _NotOne("it is too large")
    return value


def _complex(text: str) -> complex:
    return _made(complex, text.replace(" ", ""))


def _decimal(text: str) -> Decimal:
    return _made(Decimal, text.strip())


def _fraction(text: str) -> Fraction:
    return _made(Fraction, text.strip())


def _made(make: Callable[[str], Any], text: str) -> Any:  # noqa: ANN401 - what the constructor makes
    try:
        return make(text)
    except (ValueError, InvalidOperation, ZeroDivisionError) as problem:
        raise _NotOne from problem


def _timedelta(text: str) -> timedelta:
    try:
        return as_duration(text)
    except Invalid:
        return msgspec.convert(text, timedelta)


def _nothing(text: str) -> None:
    if text.strip().lower() not in _NOTHING:
        raise _NotOne


_READERS: Mapping[type[Any], Callable[[str], object]] = {
    str: _text,
    bool: _bool,
    int: _int,
    float: _float,
    complex: _complex,
    Decimal: _decimal,
    Fraction: _fraction,
    datetime: lambda text: _made(datetime.fromisoformat, text.strip()),
    date: lambda text: _made(date.fromisoformat, text.strip()),
    time: lambda text: _made(time.fromisoformat, text.strip()),
    timedelta: _timedelta,
    UUID: lambda text: _made(UUID, text.strip()),
    NoneType: _nothing,
}


def _literal(text: str, values: tuple[Any, ...]) -> object:
    if text in values:
        return text
    for value in values:
        if isinstance(value, Enum):
            if text in {value.name, str(value.value)}:
                return value
            continue
        try:
            if _READERS[type(value)](text) == value:
                return value
        except (KeyError, _NotOne):
            continue
    raise _NotOne


def _member(text: str, kind: type[Enum]) -> Enum:
    by_value = [member for member in kind if str(member.value) == text]
    by_name = [member for member in kind if member.name == text]
    if by_value and by_name and by_value != by_name:
        raise _NotOne(f"it is the value of {by_value[0].name} and the name of another member")
    if not (by_value or by_name):
        raise _NotOne("it is one of " + ", ".join(str(member.value) for member in kind))
    return (by_value or by_name)[0]


def _json(text: str, kind: Any) -> object:  # noqa: ANN401 - see unwrapped
    """Read a collection, or an object of a class with fields, from JSON."""
    reads_itself = getattr(kind, "model_validate_json", None)
    if reads_itself is not None:  # a pydantic model
        try:
            return reads_itself(text)
        except ValueError as problem:
            raise _NotOne("; ".join(str(problem).splitlines()[1:3])) from problem
    if isinstance(kind, type) and not _has_fields(kind) and kind not in _COLLECTIONS and not is_typeddict(kind):
        raise _NotOne(_ONLY_FROM_PYTHON)
    try:
        return cast("object", msgspec.json.decode(text.encode(), type=kind, dec_hook=_nested))
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as problem:
        raise _NotOne("it is no JSON") from problem
    except (TypeError, NotImplementedError, UnicodeEncodeError) as problem:
        raise _NotOne(_ONLY_FROM_PYTHON) from problem


def _has_fields(kind: type[Any]) -> bool:
    """Say whether a class is a dataclass, a named tuple, or one of msgspec or attrs."""
    return any(
        hasattr(kind, name) for name in ("__dataclass_fields__", "_fields", "__struct_fields__", "__attrs_attrs__")
    )


def _nested(kind: type[Any], found: Any) -> object:  # noqa: ANN401 - a JSON value
    """Make what stands inside a collection and JSON has no spelling for."""
    if hasattr(kind, "model_validate"):
        return cast("Any", kind).model_validate(found)
    if isinstance(found, str):
        try:
            return _of_class(found, kind)
        except _NotOne as problem:
            raise ValueError(f"{found!r} is no {spelled(kind)}") from problem
    raise NotImplementedError


def _wanted(annotation: Any) -> str:  # noqa: ANN401 - see unwrapped
    members = [_EXAMPLES.get(member, _wanted_of(member)) for member in members_of(annotation)]
    return "; or ".join(members)


def _wanted_of(member: Any) -> str:  # noqa: ANN401 - see unwrapped
    if member is None or member is NoneType:
        return "null"
    if get_origin(member) is Literal:
        return "one of " + ", ".join(str(value) for value in get_args(member))
    if isinstance(member, type) and issubclass(member, Enum):
        return "one of " + ", ".join(str(each.value) for each in member)
    if get_origin(member) is not None or is_typeddict(unwrapped(member)) or member in _COLLECTIONS:
        return f"JSON of {spelled(member)}, such as {'{}' if 'dict' in spelled(member).lower() else '[1, 2]'}"
    if isinstance(member, type) and _has_fields(cast("type[Any]", member)):
        return f'JSON of the fields of {spelled(member)}, such as {{"name": 1}}'
    return f"a {spelled(member)}"


def _shown(text: str) -> str:
    return repr(text) if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]!r}... ({len(text):,} characters)"
