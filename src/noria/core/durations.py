"""Durations as people write them: `7d`, `36h`, `1d 12h`."""

import re
from datetime import timedelta

from noria.core.errors import Invalid

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([wdhms])")


def as_duration(spelled: str | timedelta) -> timedelta:
    """Read `7d`, `36h`, `1d 12h`, `90m`, `30s`, `2w`; a timedelta is returned as it is.

    >>> as_duration("1d 12h")
    datetime.timedelta(days=1, seconds=43200)
    """
    if isinstance(spelled, timedelta):
        return spelled
    seconds, end = 0.0, 0
    while match := _PART.match(spelled, end):
        seconds += float(match[1]) * _UNITS[match[2]]
        end = match.end()
    if not end or spelled[end:].strip():
        raise Invalid(f"{spelled!r} is no duration", hint="write it like 7d, 36h, 90m or 1d 12h")
    return timedelta(seconds=seconds)


def spell_duration(duration: timedelta) -> str:
    """Write a duration so that `as_duration` reads it back.

    >>> spell_duration(timedelta(days=1, hours=12))
    '1d 12h'
    """
    left = duration.total_seconds()
    parts: list[str] = []
    for unit, size in list(_UNITS.items())[1:]:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count:g}{unit}")
    return " ".join(parts) or "0s"
