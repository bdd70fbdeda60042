"""What happens in a world, as data: rows, labels and requests by the day, the same ones however often they are asked for."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from worlds import BEGIN, DAY, Column, World

Row = dict[str, Any]
_WORDS = ("late", "blue", "Ω", "n/a", "NULL", "7", "007", "a;b", 'q"q', "tab\t", "", "true", "-0")


@dataclass(frozen=True)
class Label:
    """A label of a row and when it became known."""

    key: Any
    value: Any
    known_at: datetime


@dataclass(frozen=True)
class Batch:
    """What one source sends at once."""

    source: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Stream:
    """A world's data. Rows carry plain Python values; a missing one is None."""

    world: World
    asked_keys: set[Any] = field(default_factory=set)

    @cached_property
    def rows(self) -> list[list[Row]]:
        """All rows by the day on which they happened; numbers 0 to `days`."""
        return [self._day(day, self.world.rows_a_day) for day in range(self.world.days)]

    def asked(self, day: int) -> list[Row]:
        """Rows that clients ask about on a day, under keys of their own."""
        return self._day(day, self.world.asked_a_day, number=10_000_000)

    def batches(self, day: int) -> list[Batch]:
        """What is sent on the evening of a day: its rows, but for the late ones, and late ones of two days before."""
        chance = random.Random(f"{self.world.seed}/{day}/batches")
        sent = [row for row in self.rows[day] if not self._is_late(row)]
        if day >= 2:
            sent += [row for row in self.rows[day - 2] if self._is_late(row)]
        by_source: dict[str, list[Row]] = {}
        for row in sent:
            by_source.setdefault(chance.choice(self.world.sources), []).append(row)
        return [Batch(source=source, rows=tuple(rows)) for source, rows in by_source.items()]

    def labels(self, day: int) -> list[Label]:
        """Labels that became known on a day (until its evening), of rows that had been sent before."""
        return self._labels.get(day, [])

    def label_of(self, row: Row) -> Any:
        """The label that a row has in truth."""
        return row["\0label"]

    def delay_of(self, row: Row) -> timedelta:
        """How long after its time the label of a row becomes known."""
        positive = row["\0latent"] > 0
        return self.world.delay_of_positives if positive else self.world.delay

    # --- inside

    @cached_property
    def _labels(self) -> dict[int, list[Label]]:
        """All labels by the day on which they become known."""
        known: dict[int, list[Label]] = {}
        for happened, rows in enumerate(self.rows):
            for row in rows:
                told = self._told(row, happened)
                known.setdefault((told[-1].known_at - BEGIN) // DAY, []).extend(told)
        return known

    def _told(self, row: Row, happened: int) -> list[Label]:
        known_at = max(row[self.world.time] + self.delay_of(row), BEGIN + self._sent_on(row, happened) * DAY)
        first = Label(key=row[self.world.key], value=self.label_of(row), known_at=known_at)
        if self._roll(row, "corrected") >= self.world.corrected:
            return [first]
        wrong = Label(key=first.key, value=_other(self.world, first.value), known_at=known_at - timedelta(seconds=1))
        return [wrong, first]

    def _is_late(self, row: Row) -> bool:
        return self._roll(row, "late") < self.world.late

    def _sent_on(self, row: Row, happened: int) -> int:
        return happened + 2 if self._is_late(row) else happened

    def _roll(self, row: Row, what: str) -> float:
        return random.Random(f"{self.world.seed}/{row[self.world.key]!r}/{what}").random()

    def _day(self, day: int, count: int, *, number: int = 0) -> list[Row]:
        chance = np.random.default_rng([self.world.seed, day, number])
        zone = ZoneInfo(self.world.zone)
        rows = []
        for place in range(count):
            latent = float(chance.normal())
            at = (BEGIN + day * DAY + DAY * (place + 1) / (count + 2)).astimezone(zone)
            index = number + day * max(count, 1) + place
            row = {self.world.key: _key(self.world.key_kind, index), self.world.time: at}
            for column in self.world.columns:
                row[column.name] = self._cell(column, chance, day=day, index=index, latent=latent)
            noise = float(chance.normal())
            row |= {"\0latent": latent, "\0label": _label(self.world.label_kind, latent + 0.4 * noise)}
            rows.append(row)
        return rows

    def _cell(self, column: Column, chance: np.random.Generator, *, day: int, index: int, latent: float) -> Any:
        drawn, gap = float(chance.normal()), float(chance.random())
        if day < column.empty_days or gap < column.gaps:
            return None
        return _CELLS[column.kind](Moment(value=latent + 0.5 * drawn, drawn=drawn, day=day, index=index))


@dataclass(frozen=True)
class Moment:
    """What a cell is made of: a value that the label follows, chance of its own, and where in time it stands."""

    value: float
    drawn: float
    day: int
    index: int

    @property
    def date(self) -> datetime:
        return BEGIN + self.day * DAY


_CELLS: dict[str, Callable[[Moment], Any]] = {
    "normal": lambda now: now.value,
    "huge": lambda now: now.value * 1e15,
    "tiny": lambda now: now.value * 1e-15,
    "count": lambda now: max(0, round(3 + 2 * now.value)),
    "counter": lambda now: now.index,
    "month": lambda now: now.date.month,
    "weekday": lambda now: now.date.weekday(),
    "flag": lambda now: now.value > 0,
    "constant": lambda _: 4,
    "widening": lambda now: round(now.value) if now.day < 4 else now.value,
    "big_id": lambda now: 2**53 + 1 + now.index,
    "category": lambda now: ("lo", "mid", "hi")[int(np.digitize(now.value, [-0.5, 0.5]))],
    "rotating": lambda now: f"campaign {now.day // 4}",
    "words": lambda now: _WORDS[int(abs(now.drawn * 7)) % len(_WORDS)],
}


def _key(kind: str, index: int) -> Any:
    match kind:
        case "text":
            return f"row-{index}"
        case "padded":
            return f"{index:012d}"
        case "int":
            return index + 1
        case "big":
            return 2**62 + index
        case _:
            return f"é {index}/?%#&\n'\"{index}"


def _label(kind: str, value: float) -> Any:
    match kind:
        case "bool":
            return value > 0
        case "int":
            return int(value > 0)
        case "float":
            return math.exp(value)
        case "text":
            return "yes" if value > 0 else "no"
        case _:
            return ("low", "middle", "high")[int(np.digitize(value, [-0.5, 0.5]))]


def _other(world: World, value: Any) -> Any:
    """Another label than this one, as it stood before it was corrected."""
    match world.label_kind:
        case "bool":
            return not value
        case "int":
            return 1 - value
        case "float":
            return value + 1.0
        case "text":
            return "no" if value == "yes" else "yes"
        case _:
            return "middle" if value == "low" else "low"
