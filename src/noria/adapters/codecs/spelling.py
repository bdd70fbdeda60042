"""How a value is spelled as JSON and read again: what JSON cannot say is a dictionary with the key `$`, its mark."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from noria.core.codecs import name_of, too_deep
from noria.core.errors import Invalid

MARK = "$"
AS_JSON = frozenset({type(None), bool, int, str})
_DEEPEST = 150
"""Levels of a value: so many are read again however deep the calls are in which they are read."""
_LARGEST = 1 << 10_000
"""Integers from here on are spelled in hexadecimal: Python refuses to read so many decimal digits."""
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False)

Spelled = Any
"""What JSON can say."""
Fields = Mapping[str, Any]
"""A spelled value with a mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How values of some types are spelled, under a mark of their own, and made again."""

    mark: str
    spell: Callable[["Speller", Any, str], dict[str, Spelled]]
    """Return the fields beside the mark; the text is the place of the value, for errors."""
    read: Callable[["Reader", Fields], object]
    contents: Callable[[Any], Iterable[object]] = lambda _: ()
    """Return the values inside, which may be of any type."""


def nothing(*_: object) -> dict[str, Spelled]:
    """Return the fields of a value of which the mark says all."""
    return {}


Find = Callable[[type[Any]], Kind | None]
"""Returns how a type is spelled; None for one that is not."""
Other = Callable[[object, str], int]
"""Carries a value that is not spelled, and returns its number among those."""


class Speller:
    """Spells one value. What is inside it and is not spelled goes to `other`, or is refused with its place."""

    def __init__(self, find: Find, *, other: Other | None = None) -> None:
        self._find = find
        self._other = other
        self._depth = 0

    def spell(self, value: Any, place: str = "") -> Spelled:  # noqa: ANN401 - any value
        """Return a value as JSON. Raises `Invalid` with the place of what cannot be carried."""
        kind = cast("type[Any]", type(value))
        if kind in AS_JSON or (kind is float and math.isfinite(value)):
            return value
        self._depth += 1
        if self._depth > _DEEPEST:
            raise too_deep()
        if kind is list:
            spelled = self.items(value, place)
        elif kind is dict:
            spelled = self._dictionary(value, place)
        else:
            spelled = self._marked(kind, value, place)
        self._depth -= 1
        return spelled

    def items(self, values: Iterable[Any], place: str) -> list[Spelled]:
        """Return each of several values as JSON."""
        spelled = list[Spelled]()
        for number, item in enumerate(values):
            spelled.append(item if type(item) in AS_JSON else self.spell(item, f"{place}[{number}]"))
        return spelled

    def named(self, values: Mapping[str, Any], place: str) -> dict[str, Spelled]:
        """Return values by name, such as an object's attributes, as JSON."""
        return {name: self.spell(item, f"{place}.{name}") for name, item in values.items()}

    def key(self, value: object, place: str) -> Spelled:
        """Return what is a key, or in a set, as JSON: it is spelled, or refused."""
        other, self._other = self._other, None
        try:
            return self.spell(value, place)
        finally:
            self._other = other

    def pairs(self, values: Mapping[Any, Any], place: str) -> list[Spelled]:
        """Return a mapping as JSON, whatever its keys are."""
        return [
            [self.key(key, f"{place}[{key!r}]"), self.spell(item, f"{place}[{key!r}]")] for key, item in values.items()
        ]

    def unordered(self, values: Iterable[object], place: str) -> list[Spelled]:
        """Return what is in a set as JSON, in the order of the spellings, for its own order is chance."""
        return sorted((self.key(item, f"{place}[{item!r}]") for item in values), key=text_of)

    def _dictionary(self, value: dict[Any, Any], place: str) -> Spelled:
        if any(type(key) is not str for key in value):
            return {MARK: "pairs", "v": self.pairs(value, place)}
        spelled: dict[str, Spelled] = {}
        for key, item in value.items():
            spelled[key] = item if type(item) in AS_JSON else self.spell(item, f"{place}[{key!r}]")
        return {MARK: "dict", "v": spelled} if MARK in spelled else spelled

    def _marked(self, kind: type[Any], value: object, place: str) -> Spelled:
        if kind is float:
            return {MARK: "float", "v": repr(value)}
        how = self._find(kind)
        if how is not None:
            return {MARK: how.mark} | how.spell(self, value, place)
        if self._other is not None:
            return {MARK: "part", "v": self._other(value, place)}
        raise Invalid(
            f"no codec carries a {name_of(kind)} at {place} inside a collection",
            hint="return plain values in it, or the value by itself",
        )


class Reader:
    """Reads what a `Speller` has spelled; `parts` are the values that it left to others, by their numbers."""

    def __init__(self, kinds: Mapping[str, Kind], find: Find, parts: Sequence[object] = ()) -> None:
        self._kinds = kinds
        self.find = find
        self._parts = parts

    def read(self, spelled: Spelled) -> Any:  # noqa: ANN401 - any value
        """Return the value. Raises `Invalid` for a mark that is not known."""
        if type(spelled) is list:
            return self.items(cast("list[Spelled]", spelled))
        if type(spelled) is not dict:
            return spelled
        fields = cast("dict[str, Spelled]", spelled)
        mark = fields.get(MARK)
        if mark is None:
            return self.named(fields)
        if mark == "part":
            return self._parts[fields["v"]]
        if mark == "dict":
            return self.named(fields["v"])
        kind = self._kinds.get(mark)
        if kind is None:
            raise Invalid(f"a plain value of an unknown kind {mark!r}", hint="a newer Noria wrote it")
        return kind.read(self, fields)

    def items(self, spelled: Iterable[Spelled]) -> list[Any]:
        """Return several values."""
        found = list[Any]()
        for item in spelled:
            found.append(self.read(item) if type(item) in _NESTED else item)
        return found

    def named(self, spelled: Mapping[str, Spelled]) -> dict[str, Any]:
        """Return values by name."""
        found = dict[str, Any]()
        for name, item in spelled.items():
            found[name] = self.read(item) if type(item) in _NESTED else item
        return found

    def pairs(self, spelled: Iterable[Spelled]) -> dict[Any, Any]:
        """Return a mapping."""
        return {self.read(key): self.read(item) for key, item in spelled}


_NESTED = frozenset({list, dict})


def text_of(spelled: Spelled) -> str:
    """Return JSON as text, the one way of writing it."""
    try:
        return _ENCODER.encode(spelled)
    except ValueError:  # an integer of more digits than Python converts
        return _ENCODER.encode(_with_large(spelled))


def _with_large(spelled: Spelled) -> Spelled:
    """Return JSON with its largest integers in hexadecimal."""
    if type(spelled) is int and not -_LARGEST < spelled < _LARGEST:
        return {MARK: "int", "v": hex(spelled)}
    if type(spelled) is list:
        return [_with_large(item) for item in cast("list[Spelled]", spelled)]
    if type(spelled) is dict:
        return {name: _with_large(item) for name, item in cast("dict[str, Spelled]", spelled).items()}
    return spelled
