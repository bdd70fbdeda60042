"""Single values held against the kind of their column: exactly as they are, or refused with the reason."""

import math
from datetime import UTC, datetime
from types import NoneType
from typing import Any

MOST_EXACT = 2**53
"""Up to here every whole number is a fraction of 64 bits, too."""
_FIRST, _LAST = -(2**63), 2**63 - 1
_HINT_OF_TIMES = "write times with their zone, like 2026-01-31T12:00:00Z or 2026-01-31T13:00:00+01:00"
_MICROSECOND_DIGITS = 6
_WHOLE = frozenset({int, NoneType})
SURE: dict[str, frozenset[type]] = {
    "float": frozenset({float, NoneType}),
    "bool": frozenset({bool, NoneType}),
    "text": frozenset({str, NoneType}),
}
"""The types of JSON whose values a column of a kind holds as they are; of other types each value is looked at."""
PLAIN = frozenset({"int", "float", "bool", "text", "time"})
"""The kinds of columns whose values are looked at before anything reads them."""
_WORDS = {
    "int": "numbers", "whole": "whole numbers", "float": "numbers", "bool": "true or false", "text": "texts", "time": "times with a zone",
}  # fmt: skip
_HINTS = {
    "int": "send a number without quotes, and null for a missing value",
    "float": "send a number without quotes, and null for a missing value",
    "bool": "send true or false, and null for a missing value",
    "text": "put it into quotes, and send null for a missing value",
    "time": f"{_HINT_OF_TIMES}; null for a missing value",
}


class Misfit(ValueError):
    """A value that a column cannot hold exactly; its text says why."""


def kind_of_value(value: object) -> str:
    """Return the kind of column that a plain value makes; raises `Misfit` for one that makes none."""
    for kind, of in (("bool", bool), ("int", int), ("float", float), ("text", str)):
        if isinstance(value, of):
            return kind
    raise Misfit(f"{_shown(value)} is neither true, false, a number nor a text")


def are_sure(kind: str, found: list[Any]) -> bool:
    """Say at once of the values of a row's columns of a kind that they are held as they are, if their types tell."""
    if kind == "int":
        return set(map(type, found)) <= _WHOLE and all(each is None or _FIRST <= each <= _LAST for each in found)
    return kind in SURE and SURE[kind].issuperset(map(type, found))


def exactly(value: object, kind: str) -> object:
    """Return a value of JSON as a column of a plain kind holds it, null as it is; raises `Misfit`.

    A fraction in a column of whole numbers stays a fraction: the column becomes one of fractions if all that it
    holds can stay what it is.
    """
    if value is None:
        return None
    match kind:
        case "int" | "float":
            return _number(value, kind)
        case "time":
            return moment(value)
        case "bool" | "text":
            if type(value) is not (bool if kind == "bool" else str):
                raise _strange(value, kind)
        case _:
            if isinstance(value, int):
                _must_fit_64_bits(value)
    return value


def exact_label(value: object, kind: str) -> object:
    """Return a label as a column of a kind holds it; raises `Misfit`.

    0 and 1 are labels of true and false. A fraction is none of whole numbers: those are most often classes.
    """
    if kind == "bool" and isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    found = exactly(value, kind)
    if kind == "int" and isinstance(found, float):
        raise _strange(value, "whole")
    if found is None:
        raise Misfit("a label is missing")
    return found


def moment(value: object) -> datetime:
    """Return a time as UTC; raises `Misfit` for one without a zone, or finer than microseconds."""
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            raise _strange(value, "time") from None
        if _digits_of_seconds(value).rstrip("0")[_MICROSECOND_DIGITS:]:
            raise Misfit(f"{_shown(value)} is finer than microseconds")
    elif isinstance(value, datetime):
        found = value
    else:
        raise _strange(value, "time")
    if found.tzinfo is None:
        raise Misfit(f"the time {_shown(value)} has no zone")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise Misfit(f"{_shown(value)} in UTC is outside of the years 1 to 9999") from None


def hint_for(kind: str) -> str:
    """Return how values of a kind are sent."""
    return _HINTS.get(kind, "send null for a missing value")


def _number(value: object, kind: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _strange(value, kind)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Misfit(f"{value} is no number")
        return int(value) if kind == "int" and value.is_integer() and _FIRST <= value <= _LAST else value
    if kind == "int":
        _must_fit_64_bits(value)
        return value
    return exact_float(value)


def exact_float(value: int) -> float:
    """Return a whole number as a fraction; raises `Misfit` for one that would become another number."""
    try:
        if float(value) == value:
            return float(value)
    except OverflowError:
        pass
    raise Misfit(f"{_shown(value)} would become another number among fractions")


def _must_fit_64_bits(value: int) -> None:
    if not _FIRST <= value <= _LAST:
        raise Misfit(f"{_shown(value)} has more than 64 bits with a sign")


def _digits_of_seconds(value: str) -> str:
    """Return the digits after the decimal point of a time's seconds; none if it has none."""
    _, point, rest = value.replace(",", ".").partition(".")
    return "" if not point else rest[: next((at for at, letter in enumerate(rest) if not letter.isdigit()), len(rest))]


def _strange(value: object, kind: str) -> Misfit:
    return Misfit(f"{_shown(value)} is not of its kind: {_WORDS[kind]}")


def _shown(value: object) -> str:
    """Return a value as JSON spells it, not all of a long one."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:  # noqa: PLR2004
        return f"a whole number of {value.bit_length()} bits"
    spelled = {True: "true", False: "false", None: "null"}.get(value) if isinstance(value, bool | None) else None
    text = spelled or repr(value)
    return text if len(text) <= 60 else text[:60] + "..."  # noqa: PLR2004 - of long texts the beginning
