"""How the types of Python's own library are spelled: each value comes back of exactly its type, and equal."""

import base64
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from pathlib import PurePosixPath, PureWindowsPath
from types import EllipsisType, SimpleNamespace
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from noria.adapters.codecs.spelling import Fields, Kind, Reader, Spelled, Speller, nothing
from noria.core.codecs import name_of
from noria.core.errors import Invalid
from noria.pipelines.model import Failure
from noria.pipelines.secrets import Secret

_MAX_BYTES = 1 << 20
_FACTORIES: Mapping[str, Callable[[], object]] = {
    kind.__name__: kind
    for kind in (bool, bytes, complex, dict, float, frozenset, int, list, set, str, tuple, Counter, OrderedDict, deque)
}
"""What makes the missing values of a `defaultdict`; any other function could only be found by running its module."""


def _as_text(mark: str, kind: Callable[[str], object], text: Callable[[Any], str] = str) -> Kind:
    """Return the kind of what its type makes again of a text."""
    return Kind(
        mark=mark, spell=lambda _, value, __: {"v": text(value)}, read=lambda _, fields: kind(cast("str", fields["v"]))
    )


def _as_items(mark: str, kind: Callable[[list[Any]], object], *, is_ordered: bool = True) -> Kind:
    """Return the kind of a collection that its type makes again of a list."""

    def spell(speller: Speller, value: Any, place: str) -> dict[str, Spelled]:  # noqa: ANN401 - any collection
        return {"v": speller.items(value, place) if is_ordered else speller.unordered(value, place)}

    return Kind(mark=mark, spell=spell, read=lambda reader, fields: kind(reader.items(fields["v"])), contents=iter)


def _as_pairs(mark: str, kind: Callable[[dict[Any, Any]], object]) -> Kind:
    """Return the kind of a dictionary that its type makes again of another one."""
    return Kind(
        mark=mark,
        spell=lambda speller, value, place: {"v": speller.pairs(value, place)},
        read=lambda reader, fields: kind(reader.pairs(fields["v"])),
        contents=lambda value: value.values(),
    )


def _spell_bytes(value: bytes | bytearray, place: str) -> dict[str, Spelled]:
    if len(value) > _MAX_BYTES:
        raise Invalid(
            f"{len(value):,} bytes{' at ' + place if place else ''} are too many for a plain value",
            hint="return a NumPy array: np.frombuffer(value, dtype='uint8')",
        )
    return {"v": base64.b64encode(value).decode()}


def _of_bytes(mark: str, kind: Callable[[bytes], object]) -> Kind:
    return Kind(
        mark=mark,
        spell=lambda _, value, place: _spell_bytes(value, place),
        read=lambda _, fields: kind(base64.b64decode(fields["v"])),
    )


def zone_of(zone: tzinfo | None, place: str) -> dict[str, Spelled]:
    """Return how a time zone is told beside an ISO time, which says the offset itself. Raises `Invalid` for one by a stranger."""
    if zone is None or zone is UTC:
        return {}
    if type(zone) is ZoneInfo and zone.key:
        return {"zone": zone.key}
    if type(zone) is timezone:
        _, *named = cast("Any", zone).__getinitargs__()
        return {"named": named[0]} if named else {}
    raise Invalid(
        f"a time zone of type {name_of(type(zone))}{' at ' + place if place else ''} cannot be carried",
        hint='use zoneinfo.ZoneInfo("Europe/Berlin"), or datetime.timezone',
    )


def _zoned(moment: Any, fields: Fields) -> Any:  # noqa: ANN401 - a time or a datetime
    """Return a moment that was read as ISO with its own fold and zone."""
    zone = moment.tzinfo
    if "zone" in fields:
        zone = ZoneInfo(fields["zone"])
    elif "named" in fields:
        zone = timezone(moment.utcoffset(), fields["named"])
    elif zone is not None and not moment.utcoffset():
        zone = UTC
    return moment.replace(tzinfo=zone, fold=fields.get("fold", 0))


def _spell_moment(value: datetime | time, place: str) -> dict[str, Spelled]:
    told = zone_of(value.tzinfo, place)
    bare = value.replace(tzinfo=None) if "zone" in told else value
    return {"v": bare.isoformat()} | told | ({"fold": 1} if value.fold else {})


def _moments(mark: str, kind: type[datetime] | type[time]) -> Kind:
    return Kind(
        mark=mark,
        spell=lambda _, value, place: _spell_moment(value, place),
        read=lambda _, fields: _zoned(kind.fromisoformat(fields["v"]), fields),
    )


def _spell_zone(value: tzinfo, place: str) -> dict[str, Spelled]:
    offset = {} if type(value) is ZoneInfo else {"v": cast("timedelta", value.utcoffset(None)) // timedelta.resolution}
    return zone_of(value, place) | offset


def _read_zone(fields: Fields) -> tzinfo:
    if "zone" in fields:
        return ZoneInfo(fields["zone"])
    offset = timedelta(microseconds=fields["v"])
    return timezone(offset, fields["named"]) if "named" in fields else timezone(offset)


def _spell_default(speller: Speller, value: defaultdict[Any, Any], place: str) -> dict[str, Spelled]:
    factory = value.default_factory
    name = getattr(factory, "__name__", "")
    if factory is not None and _FACTORIES.get(name) is not factory:
        raise Invalid(
            f"a defaultdict whose values are made by {name or factory!r}{' at ' + place if place else ''}",
            hint="return dict(value), or make its values by list, int, set or another type of Python",
        )
    return {"factory": name or None, "v": speller.pairs(value, place)}


def _read_default(reader: Reader, fields: Fields) -> object:
    factory = None if fields["factory"] is None else _FACTORIES[fields["factory"]]
    return defaultdict(factory, reader.pairs(fields["v"]))


def _attributes(value: SimpleNamespace) -> dict[str, object]:
    return cast("dict[str, object]", vars(value))


def _range(kind: Callable[..., object], mark: str) -> Kind:
    return Kind(
        mark=mark,
        spell=lambda speller, value, place: {"v": speller.items((value.start, value.stop, value.step), place)},
        read=lambda reader, fields: kind(*reader.items(fields["v"])),
    )


def _address(kind: str) -> Kind:
    def make(text: str) -> object:
        return getattr(import_module("ipaddress"), kind)(text)

    return _as_text(f"ipaddress.{kind}", make)


KINDS: Mapping[type, Kind] = {
    int: Kind(mark="int", spell=nothing, read=lambda _, fields: int(fields["v"], 16)),
    float: _as_text("float", float, repr),
    complex: _as_text("complex", complex, repr),
    tuple: _as_items("tuple", tuple),
    set: _as_items("set", set, is_ordered=False),
    frozenset: _as_items("frozenset", frozenset, is_ordered=False),
    deque: Kind(
        mark="deque",
        spell=lambda speller, value, place: {"v": speller.items(value, place), "most": value.maxlen},
        read=lambda reader, fields: deque(reader.items(fields["v"]), fields["most"]),
        contents=iter,
    ),
    OrderedDict: _as_pairs("ordered", OrderedDict),
    Counter: _as_pairs("counter", Counter),
    defaultdict: Kind(
        mark="defaultdict", spell=_spell_default, read=_read_default, contents=lambda value: value.values()
    ),
    SimpleNamespace: Kind(
        mark="namespace",
        spell=lambda speller, value, place: {"v": speller.named(_attributes(value), place)},
        read=lambda reader, fields: SimpleNamespace(**reader.named(fields["v"])),
        contents=lambda value: _attributes(value).values(),
    ),
    bytes: _of_bytes("bytes", bytes),
    bytearray: _of_bytes("bytearray", bytearray),
    datetime: _moments("datetime", datetime),
    time: _moments("time", time),
    date: _as_text("date", date.fromisoformat, date.isoformat),
    timedelta: Kind(
        mark="timedelta",
        spell=lambda _, value, __: {"v": [value.days, value.seconds, value.microseconds]},
        read=lambda _, fields: timedelta(*fields["v"]),
    ),
    timezone: Kind(
        mark="timezone",
        spell=lambda _, value, place: _spell_zone(value, place),
        read=lambda _, fields: _read_zone(fields),
    ),
    ZoneInfo: Kind(
        mark="zone", spell=lambda _, value, place: _spell_zone(value, place), read=lambda _, fields: _read_zone(fields)
    ),
    Decimal: _as_text("decimal", Decimal),
    Fraction: _as_text("fraction", Fraction),
    UUID: _as_text("uuid", UUID),
    PurePosixPath: _as_text("posix path", PurePosixPath),
    PureWindowsPath: _as_text("windows path", PureWindowsPath),
    EllipsisType: Kind(mark="ellipsis", spell=nothing, read=lambda _, __: ...),
    range: _range(range, "range"),
    slice: _range(slice, "slice"),
    Failure: Kind(
        mark="failure",
        spell=lambda _, value, __: {"step": value.step, "reason": value.reason},
        read=lambda _, fields: Failure(step=fields["step"], reason=fields["reason"]),
    ),
    Secret: _as_text("secret", Secret, lambda value: value.reference),
}
NAMED: Mapping[str, Kind] = {
    f"ipaddress.{kind}": _address(kind)
    for kind in ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network", "IPv4Interface", "IPv6Interface")
}
"""Kinds of types whose modules are not loaded to name them."""
