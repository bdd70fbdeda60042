"""Replays the flights day by day: rows arrive at their departure, labels when they are known, loops turn each night."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from noria.boot import Platform
from noria.cli.demo import results
from noria.cli.demo.recipe import FLIGHTS, TICK_HOUR
from noria.cli.demo.view import Screen
from noria.core.clock import SimulatedClock
from noria.core.errors import Invalid
from noria.loop.spec import Loop

_DAY = timedelta(days=1)
_TIME, _KNOWN, _LABEL, _KEY = "scheduled_at", "known_at", "late", "id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which days are replayed, when the loops start, and from when on policies are scored."""

    begins: datetime = datetime(2013, 1, 1, TICK_HOUR, tzinfo=UTC)
    starts: datetime = datetime(2013, 3, 1, TICK_HOUR, tzinfo=UTC)
    scored_from: datetime = datetime(2013, 5, 1, TICK_HOUR, tzinfo=UTC)
    ends: datetime = datetime(2014, 1, 1, TICK_HOUR, tzinfo=UTC)

    def ticks(self) -> Iterator[datetime]:
        """Yield the moment of each night, the last one included."""
        moment = self.begins + _DAY
        while moment <= self.ends:
            yield moment
            moment += _DAY


def replay(platform: Platform, flights: pl.DataFrame, loops: Sequence[Loop], *, plan: Plan, screen: Screen) -> None:
    """Let every day arrive, and every loop answer it.

    A replay that was killed goes on at the day on which the last fact was told: days before are over, and what was
    committed on that day is recognised by its key.
    """
    clock = platform.clock
    if not isinstance(clock, SimulatedClock):
        raise Invalid("a replay needs a simulated clock", hint="open the home with clock=nr.SimulatedClock(start)")
    known = flights.sort(_KNOWN).filter(pl.col(_KNOWN) >= plan.begins)
    with platform.worker(*loops, on_turn=screen.turned) as worker:
        told = platform.ledger.newest(platform.context)
        for moment in plan.ticks():
            if told is not None and moment < told.at:
                continue
            clock.advance_to(moment)
            deliver(platform, flights, known, until=moment)
            if moment == plan.starts:
                _start(platform, loops)
            if moment >= plan.starts:
                worker.run_until_quiet()
                _watch(platform, loops, plan, moment, screen)
            screen.day(moment)


def deliver(platform: Platform, flights: pl.DataFrame, known: pl.DataFrame, *, until: datetime) -> None:
    """Commit the rows of the day that ends now, and land the labels that became known in it."""
    since = until - _DAY
    day = f"{since:%Y-%m-%d}"
    rows = flights.filter((pl.col(_TIME) >= since) & (pl.col(_TIME) < until)).drop(_LABEL, _KNOWN)
    if rows.height:
        platform.push(FLIGHTS, rows, source="departures", arrived_at=until, key=f"departures/{day}")
    landed = known.filter((pl.col(_KNOWN) > since) & (pl.col(_KNOWN) <= until)).select(_KEY, _LABEL, _KNOWN)
    if landed.height:
        platform.land_labels(FLIGHTS, landed, source="arrivals", key=f"arrivals/{day}")


def _start(platform: Platform, loops: Sequence[Loop]) -> None:
    started = {row.name for row in platform.loops.all(platform.context, with_retired=True)}
    for loop in loops:
        if loop.name not in started:
            platform.start(loop)
            platform.loops.request(platform.context, loop.name, reason="the first model")


def _watch(platform: Platform, loops: Sequence[Loop], plan: Plan, now: datetime, screen: Screen) -> None:
    """Show each policy's quality in the last week that is labelled, every four weeks."""
    if (now - plan.starts).days % 28 or now == plan.starts:
        return
    for loop in loops:
        for week in results.weekly(platform, loop, since=now - 8 * _DAY, until=now - _DAY, as_of=now):
            screen.quality(loop.name, auc=week.auc, log_loss=week.log_loss)
