"""What is in values of well-known kinds, spelled the same in every process."""

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from types import FunctionType
from typing import Any, cast
from uuid import UUID

from noria.core import digests
from noria.pipelines.secrets import Secret

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
_TOLD_BY_REPR = (date, time, timedelta, timezone, Decimal, Fraction, PurePath, UUID, range, slice, bytearray, Secret)
"""Values whose spelling tells all of them; a `datetime` is a `date`."""


def content_of(thing: Any) -> str | None:  # noqa: ANN401 - anything
    """Return what is in a value of a well-known kind; None for what cannot be looked into."""
    if isinstance(thing, _TOLD_BY_REPR):
        return repr(cast("object", thing))
    if isinstance(thing, re.Pattern):
        return f"{cast('Any', thing).pattern!r}{cast('Any', thing).flags}"
    if type(thing).__module__ == "numpy" and hasattr(thing, "tobytes") and not thing.dtype.hasobject:
        return f"{thing.dtype.descr}{thing.shape}{digests.of_bytes(thing.tobytes())}"
    return None


def attributes_of(thing: object) -> dict[str, object]:
    """Return an object's attributes by name, those in slots too."""
    slots = {name for kind in type(thing).__mro__ for name in _names_of(vars(kind).get("__slots__", ()))}
    found = {name: getattr(thing, name) for name in slots if hasattr(thing, name) and name != "__weakref__"}
    return found | getattr(thing, "__dict__", {})


def _names_of(slots: str | Iterable[str]) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def is_flat(things: tuple[object, ...] | list[object] | dict[object, object]) -> bool:
    """Say whether a collection holds nothing but plain values, so that its spelling tells all of it."""
    if isinstance(things, defaultdict) and isinstance(things.default_factory, FunctionType):
        return False
    values = (*things, *things.values()) if isinstance(things, dict) else things
    return all(type(thing) in PLAIN for thing in values)
