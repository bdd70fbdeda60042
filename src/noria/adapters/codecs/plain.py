"""Plain values as JSON: what JSON cannot say (a tuple, NaN, a date) is spelled in a dictionary with the key `$`."""

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

from noria.core.errors import Invalid
from noria.core.payloads import Payload
from noria.pipelines.model import Failure

_MARK = "$"
_MAX_BYTES = 1 << 20
_AS_JSON = frozenset({type(None), bool, int, str})
COLLECTIONS = frozenset({list, tuple, dict})
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Part:
    """Where a collection holds a part that another codec carries, by its number."""

    number: int


_CARRIED = _AS_JSON | COLLECTIONS | {float, bytes, datetime, date, timedelta, Failure, Part}


class Plain:
    """None, bool, int, float, str, bytes, dates, durations, NumPy's single numbers, and lists, tuples and
    dictionaries of these.

    The digest is of the spelling: 1, 1.0 and True are three values, and so are dictionaries in another order.
    """  # noqa: D205 - one sentence over two lines

    name = "plain"

    def accepts(self, value: object) -> bool:
        """Say whether it is a plain value, or a collection that may be one."""
        return type(value) in _CARRIED or _is_numpy_number(value)

    def encode(self, value: object) -> Payload:
        """Return the value's JSON; raises `Invalid` with the place of whatever is not plain."""
        try:
            return Payload(_ENCODER.encode(_spell(value, "")).encode())
        except RecursionError:
            raise too_deep() from None
        except UnicodeEncodeError as problem:
            raise Invalid(f"a text that is no Unicode: {problem}", hint="return it as bytes") from None

    def decode(self, payload: Payload) -> object:
        """Read the value."""
        return _read(json.loads(bytes(payload)))

    def digest(self, value: object, payload: Payload) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of the spelling, which is the only one the value has."""
        return payload.digest


def too_deep() -> Invalid:
    """Return what is raised for a collection that is inside itself, or as good as that."""
    return Invalid("a value too deep to be stored", hint="is it inside itself?")


def _is_numpy_number(value: object) -> bool:
    return (
        type(value).__module__ == "numpy"
        and hasattr(value, "dtype")
        and hasattr(value, "item")
        and not hasattr(value, "__len__")
    )


def _spell(value: Any, place: str) -> Any:  # noqa: ANN401 - any plain value
    kind = cast("type[Any]", type(value))
    if kind in _AS_JSON or (kind is float and math.isfinite(value)):
        return value
    spell = _SPELLERS.get(kind)
    if spell is not None:
        return spell(value, place)
    if _is_numpy_number(value):
        return _spell_number(value, place)
    where = f" at {place}" if place else ""
    raise Invalid(
        f"no codec carries a {kind.__module__}.{kind.__qualname__}{where} inside a collection",
        hint="return plain values in it, or the value by itself",
    )


def _spell_list(value: list[object], place: str) -> Any:  # noqa: ANN401 - JSON
    return [_spell(item, f"{place}[{index}]") for index, item in enumerate(value)]


def _spell_dict(value: dict[object, object], place: str) -> Any:  # noqa: ANN401 - JSON
    for key in value:
        if type(key) is not str:
            raise Invalid(
                f"a dictionary with the key {key!r}{' at ' + place if place else ''}",
                hint="use text for keys, or a list of pairs",
            )
    spelled = {cast("str", key): _spell(item, f"{place}[{key!r}]") for key, item in value.items()}
    return {_MARK: "dict", "v": spelled} if _MARK in spelled else spelled


def _spell_bytes(value: bytes, place: str) -> Any:  # noqa: ANN401 - JSON
    if len(value) > _MAX_BYTES:
        raise Invalid(
            f"{len(value):,} bytes{' at ' + place if place else ''} are too many for a plain value",
            hint="return a NumPy array: np.frombuffer(value, dtype='uint8')",
        )
    return {_MARK: "bytes", "v": base64.b64encode(value).decode()}


def _spell_moment(value: datetime, place: str) -> Any:  # noqa: ANN401, ARG001 - JSON; the spellers share a signature
    zone, fold = value.tzinfo, {"fold": 1} if value.fold else {}
    if isinstance(zone, ZoneInfo) and zone.key:
        return {_MARK: "datetime", "v": value.replace(tzinfo=None).isoformat(), "zone": zone.key} | fold
    return {_MARK: "datetime", "v": value.isoformat()} | fold


def _spell_number(value: Any, place: str) -> Any:  # noqa: ANN401 - NumPy is not loaded here
    kind = str(value.dtype)
    if value.dtype.kind not in "biuf" or kind in {"float128", "longdouble"}:
        raise Invalid(
            f"a NumPy number of type {kind}{' at ' + place if place else ''}", hint="return it as a plain number"
        )
    return {_MARK: "numpy", "dtype": kind, "v": _spell(value.item(), place)}


_SPELLERS: Mapping[type, Callable[[Any, str], Any]] = {
    float: lambda value, _: {_MARK: "float", "v": repr(value)},
    list: _spell_list,
    tuple: lambda value, place: {_MARK: "tuple", "v": _spell_list(value, place)},
    dict: _spell_dict,
    bytes: _spell_bytes,
    datetime: _spell_moment,
    date: lambda value, _: {_MARK: "date", "v": value.isoformat()},
    Part: lambda value, _: {_MARK: "part", "v": value.number},
    Failure: lambda value, _: {_MARK: "failure", "step": value.step, "reason": value.reason},
    timedelta: lambda value, _: {_MARK: "timedelta", "v": [value.days, value.seconds, value.microseconds]},
}


def _read(spelled: Any) -> Any:  # noqa: ANN401 - JSON to plain values
    if isinstance(spelled, list):
        return [_read(item) for item in cast("list[Any]", spelled)]
    if not isinstance(spelled, dict):
        return spelled
    fields = cast("dict[str, Any]", spelled)
    if _MARK not in fields:
        return {key: _read(item) for key, item in fields.items()}
    reader = _READERS.get(fields[_MARK])
    if reader is None:
        raise Invalid(f"a plain value of an unknown kind {fields[_MARK]!r}", hint="a newer Noria wrote it")
    return reader(fields)


def _read_moment(fields: Mapping[str, Any]) -> datetime:
    moment = datetime.fromisoformat(fields["v"]).replace(fold=fields.get("fold", 0))
    if "zone" in fields:
        return moment.replace(tzinfo=ZoneInfo(fields["zone"]))
    if moment.tzinfo is not None and not moment.utcoffset():
        return moment.replace(tzinfo=UTC)
    return moment


def _read_number(fields: Mapping[str, Any]) -> object:
    import numpy as np  # noqa: PLC0415 - most values need no NumPy

    return np.dtype(fields["dtype"]).type(_read(fields["v"]))


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "float": lambda fields: float(fields["v"]),
    "tuple": lambda fields: tuple(_read(fields["v"])),
    "dict": lambda fields: {key: _read(item) for key, item in fields["v"].items()},
    "bytes": lambda fields: base64.b64decode(fields["v"]),
    "datetime": _read_moment,
    "date": lambda fields: date.fromisoformat(fields["v"]),
    "failure": lambda fields: Failure(step=fields["step"], reason=fields["reason"]),
    "part": lambda fields: Part(fields["v"]),
    "timedelta": lambda fields: timedelta(*fields["v"]),
    "numpy": _read_number,
}
