"""Parses columns of text as numbers, truth values, days and moments: exactly; what is not of the kind is null."""

import re
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo, available_timezones

import polars as pl

from noria.core.errors import Invalid, nearest
from noria.datasets.kinds import LOCAL_TIME, MOMENT

WHOLE = r"^[+-]?\d+$"
FRACTION = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
_NOT_FINITE = r"^[+-]?(?i:inf|infinity)$"
_CLOCK = r"(?:[T ]+(\d{1,2}):([0-5]\d)(?::([0-5]\d)(?:[.,](\d{1,9}))?)?(?: ?([AaPp])\.?[Mm]\.?)?)?"
_ZONE = r" ?(Z|z|UTC|GMT|[+-]\d{2}(?::?[0-5]\d)?)?$"
_ISO = r"^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})" + _CLOCK + _ZONE
_SWAPPABLE = r"^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})" + _CLOCK + _ZONE
SHORT_YEAR = r"^\d{1,2}/\d{1,2}/\d{2}(?: .*)?$"
_ORDERS = {"ymd": (0, 1, 2), "dmy": (2, 1, 0), "mdy": (2, 0, 1)}
_EPOCHS = {"unix": 1_000_000, "unix_ms": 1_000, "unix_us": 1}
DATES = (*_ORDERS, *_EPOCHS)
_TOO_FINE = r":\d{2}\.\d{6}\d*[1-9]"
_FIRST_YEAR = 1000
"""A year before it is one of two digits that a format with four has read."""
_SURE_DIGITS, _MOST_DIGITS = 15, 17
"""Texts of up to 15 digits come back from 64 bits as they were; 17 are as many as a program needs to write a float."""
_BOOLS = {"true": True, "false": False}
_TOLD_BOOLS = {**_BOOLS, "1": True, "0": False, "yes": True, "no": False, "y": True, "n": False, "t": True, "f": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Times as they were read: without a zone as they stand there, with one in UTC; null where a text is no time."""

    there: pl.Series
    zoned: pl.Series
    has_clock: pl.Series


def whole(texts: pl.Series) -> pl.Series:
    """Return whole numbers of 64 bits."""
    return _only(texts, WHOLE).str.strip_prefix("+").cast(pl.Int64, strict=False)


def fractions(texts: pl.Series, *, also_nan: bool = False) -> pl.Series:
    """Return numbers that 64 bits hold as they are written; those of more than 17 digits are null."""
    allowed = f"{FRACTION}|{_NOT_FINITE}" + ("|^(?i:nan)$" if also_nan else "")
    given = _only(texts, allowed)
    found = given.str.strip_prefix("+").cast(pl.Float64, strict=False)
    digits = given.str.replace(r"[eE].*$", "").str.replace_all(r"\D", "").str.len_chars()
    unsure = (digits > _SURE_DIGITS) | given.str.contains(r"[eE]").fill_null(value=False)
    places = unsure.fill_null(value=False).arg_true().to_list()
    wrong = [place for place in places if not is_exact(str(given[place]))]
    return found.scatter(wrong, None) if wrong else found


def decimals(texts: pl.Series) -> pl.Series:
    """Return decimals with as many places as the longest has."""
    given = _only(texts, r"^[+-]?\d+(?:\.\d+)?$")
    places = given.str.extract(r"\.(\d+)$").str.len_chars().max()
    return given.str.strip_prefix("+").cast(pl.Decimal(38, places if isinstance(places, int) else 0), strict=False)


def truth(texts: pl.Series, *, is_told: bool = False) -> pl.Series:
    """Return truth values: true and false in any case; where the kind is told, 1 and 0, yes and no as well."""
    known = _TOLD_BOOLS if is_told else _BOOLS
    lower = texts.str.strip_chars().str.to_lowercase()
    return lower.replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.Boolean)


def times(texts: pl.Series, dates: str) -> Times:
    """Return times written in an order of `ymd`, `dmy` or `mdy`, as seconds since 1970 (`unix`), or in a format.

    A format is one of strptime, such as `%d.%m.%Y %H:%M`. Raises `Invalid` for one that cannot be meant.
    """
    if dates in _ORDERS:
        return _ordered(texts, _ORDERS[dates], _ISO if dates == "ymd" else _SWAPPABLE)
    if dates in _EPOCHS:
        micros = whole(texts) * _EPOCHS[dates]
        there = micros.cast(LOCAL_TIME)
        return Times(there=there, zoned=there.is_not_null(), has_clock=there.is_not_null())
    return _formatted(texts, dates)


def swappable(texts: pl.Series) -> tuple[pl.Series, pl.Series] | None:
    """Return the first two numbers of each date, if all texts are dates of two such numbers and a year."""
    parts = texts.str.strip_chars().str.extract_groups(_SWAPPABLE).struct.unnest()
    first, second = (parts.to_series(place).cast(pl.Int64, strict=False) for place in (0, 1))
    return (
        None if (first.is_null() & texts.is_not_null()).any() or texts.null_count() == texts.len() else (first, second)
    )


def in_zone(local: pl.Series, zone: str) -> pl.Series:
    """Return local times as moments; null where clocks that are put forward or back leave none, or two."""
    must_be_zone(zone)
    moments = local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    return moments.dt.convert_time_zone("UTC").cast(MOMENT)


def must_be_zone(zone: str) -> None:
    """Raise `Invalid` unless the zone is one of the IANA database."""
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as problem:
        offered = nearest(zone, available_timezones()) if zone else ""
        hint = offered if offered.startswith("did") else "a name such as UTC or Europe/Berlin"
        raise Invalid(f"there is no time zone {zone!r}", hint=hint) from problem


def _only(texts: pl.Series, pattern: str) -> pl.Series:
    stripped = texts.str.strip_chars()
    return stripped.set(~stripped.str.contains(pattern).fill_null(value=True), None)


def is_exact(text: str) -> bool:
    """Say whether a float that is read from a text is what the text says: no last digits lost, no overflow."""
    number = float(text)
    told = Decimal(text) if number == number and abs(number) != float("inf") else None  # noqa: PLR0124 - NaN
    if told is None:
        return re.search(r"\d", text) is None
    if told == Decimal(repr(number)):
        return True
    return bool(number) and len(told.normalize().as_tuple().digits) <= _MOST_DIGITS and told != told.to_integral_value()


def _ordered(texts: pl.Series, order: tuple[int, int, int], pattern: str) -> Times:
    parts = texts.str.strip_chars().str.extract_groups(pattern).struct.unnest()
    sides = [parts.to_series(place) for place in range(9)]
    year, month, day = (sides[place] for place in order)
    hour, minute, second, fraction, half, zone = sides[3:]
    table = pl.DataFrame(
        {
            "year": year, "month": month.str.zfill(2), "day": day.str.zfill(2),
            "hour": _hours(hour, half).fill_null("00"), "minute": minute.fill_null("00"),
            "second": second.fill_null("00"), "fraction": fraction.fill_null("0"), "zone": zone,
        }
    )  # fmt: skip
    spelled = table.select(
        pl.format("{}-{}-{}T{}:{}:{}", *(pl.col(n) for n in ("year", "month", "day", "hour", "minute", "second")))
    ).to_series()
    read = spelled.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    there = read + _micros(table["fraction"]) - _offset(zone)
    return Times(there=there, zoned=zone.is_not_null(), has_clock=hour.is_not_null())


def _hours(hour: pl.Series, half: pl.Series) -> pl.Series:
    """Return the hours of 24 of those of twice 12."""
    if half.null_count() == half.len():
        return hour.str.zfill(2)
    number = hour.cast(pl.Int64, strict=False)
    shifted = number % 12 + half.str.to_lowercase().eq("p").cast(pl.Int64) * 12
    shifted = shifted.set(~number.is_between(1, 12), None)
    whole_day = pl.Series(hour.name, number).zip_with(half.is_null(), shifted) if half.null_count() else shifted
    spelled = whole_day.cast(pl.String).str.zfill(2)
    return spelled.set(spelled.is_null() & hour.is_not_null(), "no hour")


def _micros(fraction: pl.Series) -> pl.Series:
    """Return the fraction of a second; null where it is finer than a microsecond."""
    kept = fraction.str.pad_end(9, "0").cast(pl.Int64, strict=False)
    return (kept // 1000).set(kept % 1000 != 0, None).cast(pl.Duration("us"))


def _offset(zone: pl.Series) -> pl.Series:
    parts = zone.str.extract_groups(r"^([+-])(\d{2}):?(\d{2})?$").struct.unnest()
    sign, hours, minutes = (parts.to_series(place) for place in range(3))
    total = hours.cast(pl.Int64) * 60 + minutes.cast(pl.Int64).fill_null(0)
    signed = total.zip_with(sign.eq("+").fill_null(value=True), -total).fill_null(0)
    return (signed * 60_000_000).cast(pl.Duration("us"))


def _formatted(texts: pl.Series, dates: str) -> Times:
    if "%" not in dates:
        raise Invalid(
            f"{dates!r} is no order and no format of dates",
            hint=f"one of {', '.join(DATES)}, or a format such as %d.%m.%Y or %m/%d/%Y %H:%M",
        )
    spelled = dates.replace(".%f", "%.f")
    has_zone, has_clock = ("%z" in spelled or "%Z" in spelled), re.search(r"%[-_0]?[HIMSTRXrcs]", spelled) is not None
    given = texts.str.strip_chars()
    try:
        if has_zone:
            found = given.str.to_datetime(spelled, time_unit="us", time_zone="UTC", strict=False)
            there = found.dt.replace_time_zone(None)
        elif has_clock:
            there = given.str.to_datetime(spelled, time_unit="us", strict=False)
        else:
            there = given.str.to_date(spelled, strict=False).cast(LOCAL_TIME)
    except pl.exceptions.PolarsError as problem:
        raise Invalid(f"{dates!r} is no format of dates: {problem}", hint="such as %d.%m.%Y %H:%M") from problem
    there = there.set((there.dt.year() < _FIRST_YEAR) | given.str.contains(_TOO_FINE), None)
    return Times(
        there=there,
        zoned=pl.repeat(has_zone, texts.len(), eager=True),
        has_clock=pl.repeat(has_clock, texts.len(), eager=True),
    )
