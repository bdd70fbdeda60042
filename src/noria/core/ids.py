"""Ids as an argument: sortable by birth, unguessable in the rest, or drawn from a seed so that a replay repeats them."""

import random
import secrets
import threading
from datetime import UTC, datetime
from typing import Protocol

from noria.core.clock import Clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_TIME_DIGITS = 9  # milliseconds since 1970, enough until the year 3084
_CHANCE_BITS = 60
_LAST_PAIR = 1023
_SET_BACK_MILLISECONDS = 60_000  # what is more is no trembling of the clock: it was set back


class Ids(Protocol):
    """Makes ids that never repeat."""

    def new(self, prefix: str) -> str:
        """Return a fresh id such as `run_0dk3v5w2m-1x8...`; ids made later by one source sort later, unless the clock was set back."""
        ...


class TimedIds:
    """Ids of a millisecond and sixty bits of chance; within one millisecond they count up, so order is kept.

    A clock that was set back by more than a minute is followed: an id says when it was made.
    """

    def __init__(self, clock: Clock, chance: random.Random | None = None) -> None:
        self._clock = clock
        self._bits = secrets.randbits if chance is None else chance.getrandbits
        self._lock = threading.Lock()
        self._begin(0, 0)

    def new(self, prefix: str) -> str:
        """Return a fresh id with this prefix."""
        with self._lock:
            moment = int(self._clock.now().timestamp() * 1000)
            if moment > self._moment or moment < self._moment - _SET_BACK_MILLISECONDS:
                self._begin(moment, self._bits(_CHANCE_BITS - 1))
            else:
                self._tail += 1
                if not self._tail & _LAST_PAIR:
                    self._begin(self._moment, self._tail)
            return f"{prefix}_{self._spelled}{_PAIRS[self._tail & _LAST_PAIR]}"

    def _begin(self, moment: int, tail: int) -> None:
        self._moment, self._tail = moment, tail
        # Within a millisecond mostly the last two digits change: the others are spelled once.
        self._spelled = _spell(moment, _TIME_DIGITS) + _spell(tail >> 10, _CHANCE_BITS // 5 - 2)


def moment_of(made: str) -> datetime:
    """Return when an id was made, to the millisecond; raises `ValueError` for what is no id of ours."""
    spelled = made.rpartition("_")[2][:_TIME_DIGITS]
    number = 0
    for letter in spelled:
        number = number * 32 + _ALPHABET.index(letter)
    return datetime.fromtimestamp(number / 1000, UTC)


def _spell(number: int, digits: int) -> str:
    odd = digits % 2
    pairs = [_PAIRS[(number >> shift) & 1023] for shift in range(5 * (digits + odd) - 10, -1, -10)]
    return "".join(pairs)[odd:]
