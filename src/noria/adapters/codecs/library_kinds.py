"""How single values of NumPy and pandas are spelled: numbers, texts and moments with their types and units."""

import base64
from collections.abc import Mapping
from datetime import timedelta, timezone
from importlib import import_module
from typing import Any, cast
from zoneinfo import ZoneInfo

from noria.adapters.codecs.python_kinds import zone_of
from noria.adapters.codecs.spelling import Fields, Kind, Reader, Spelled, Speller, nothing
from noria.core.errors import Invalid

_PLAIN_NUMBERS = "biuf"
_TEXTS = "US"


def _pandas() -> Any:  # noqa: ANN401 - an optional module, loaded where one of its values is
    return import_module("pandas")


def _numpy() -> Any:  # noqa: ANN401 - most values need no NumPy
    return import_module("numpy")


def _spell_numpy(speller: Speller, value: Any, place: str) -> dict[str, Spelled]:  # noqa: ANN401 - see _numpy
    kind = value.dtype
    if value.dtype.char == "g":
        return {"dtype": "longdouble", "text": str(value)}
    if kind.kind in _PLAIN_NUMBERS:
        return {"dtype": str(kind), "v": speller.spell(value.item(), place)}
    if kind.kind in _TEXTS:
        return {"dtype": kind.kind, "v": speller.spell("".join(value) if kind.kind == "U" else bytes(value), place)}
    if kind.char in "FDmM":
        return {"dtype": kind.str, "bytes": base64.b64encode(value.tobytes()).decode()}
    raise Invalid(
        f"a NumPy number of type {kind}{' at ' + place if place else ''}",
        hint="return it as a plain number, or as an array: np.asarray(value)",
    )


def _read_numpy(reader: Reader, fields: Fields) -> object:
    np = _numpy()
    if "text" in fields:
        return np.longdouble(fields["text"])
    if "bytes" not in fields:
        return np.dtype(fields["dtype"]).type(reader.read(fields["v"]))
    dtype = np.dtype(fields["dtype"])
    if dtype.kind not in "cmM":
        raise Invalid(f"these bytes are no number of NumPy: their type is {dtype}")
    return np.frombuffer(base64.b64decode(fields["bytes"]), dtype)[0]


NUMPY = Kind(mark="numpy", spell=_spell_numpy, read=_read_numpy)
"""Scalars of NumPy; records are refused, for they lie in an array that they may change."""


def _spell_timestamp(_: Speller, value: Any, place: str) -> dict[str, Spelled]:  # noqa: ANN401 - one of pandas'
    spelled = {"v": int(value.asm8.view("i8")), "unit": value.unit} | _spell_zone(value.tzinfo, place)
    if value.fold and _read_timestamp(spelled).fold != value.fold:
        raise Invalid(f"a pandas Timestamp with fold=1{' at ' + place if place else ''}", hint="give it a time zone")
    return spelled


def _spell_zone(zone: Any, place: str) -> dict[str, Spelled]:  # noqa: ANN401 - a time zone
    """Return a time zone, told in full."""
    if zone is None:
        return {}
    told = zone_of(zone, place)
    return told if "zone" in told else told | {"offset": zone.utcoffset(None).total_seconds()}


def _read_zone(fields: Fields) -> Any:  # noqa: ANN401 - a time zone
    if "zone" in fields:
        return ZoneInfo(fields["zone"])
    if "offset" not in fields:
        return None
    return timezone(timedelta(seconds=fields["offset"]), *([fields["named"]] if "named" in fields else []))


def _read_timestamp(fields: Fields) -> Any:  # noqa: ANN401 - one of pandas'
    moment = _pandas().Timestamp(_numpy().datetime64(fields["v"], fields["unit"]))
    zone = _read_zone(fields)
    return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)


def _spell_interval(speller: Speller, value: Any, place: str) -> dict[str, Spelled]:  # noqa: ANN401 - one of pandas'
    return {"v": speller.items((value.left, value.right), place), "closed": value.closed}


PANDAS: Mapping[str, Kind] = {
    "Timestamp": Kind(mark="pandas timestamp", spell=_spell_timestamp, read=lambda _, fields: _read_timestamp(fields)),
    "Timedelta": Kind(
        mark="pandas timedelta",
        spell=lambda _, value, __: {"v": int(value.asm8.view("i8")), "unit": value.unit},
        read=lambda _, fields: _pandas().Timedelta(_numpy().timedelta64(fields["v"], fields["unit"])),
    ),
    "Period": Kind(
        mark="pandas period",
        spell=lambda _, value, __: {"v": value.ordinal, "freq": value.freqstr},
        read=lambda _, fields: _pandas().Period(ordinal=fields["v"], freq=fields["freq"]),
    ),
    "NaTType": Kind(mark="pandas nat", spell=nothing, read=lambda _, __: _pandas().NaT),
    "NAType": Kind(mark="pandas na", spell=nothing, read=lambda _, __: _pandas().NA),
    "Interval": Kind(
        mark="pandas interval",
        spell=_spell_interval,
        read=lambda reader, fields: _pandas().Interval(*reader.items(fields["v"]), closed=fields["closed"]),
        contents=lambda value: cast("list[object]", [value.left, value.right]),
    ),
}
"""Single values of pandas, by the names of their types."""
