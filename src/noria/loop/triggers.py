"""When a loop turns: each trigger looks at what has come since the last cycle and answers with reasons, or none."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from noria.core.durations import as_duration
from noria.core.errors import Invalid, nearest
from noria.evaluation import metrics
from noria.loop.model import Reason, Standing
from noria.monitors.measures import MEASURES


class Trigger(ABC):
    """Asks for a cycle; the kinds of trigger say when."""

    __slots__ = ()

    @abstractmethod
    def reasons(self, standing: Standing) -> tuple[Reason, ...]:
        """Return why a cycle is due, or nothing."""

    @abstractmethod
    def words(self) -> str:
        """Return the trigger as a person would say it."""

    def leaves(self) -> tuple["Trigger", ...]:
        """Return the simple triggers that this one is made of."""
        return (self,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(Trigger):
    """Due at the times of a cron line, in a time zone; correct across daylight saving."""

    cron: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            CronSim(self.cron, datetime(2000, 1, 1, tzinfo=UTC))
            ZoneInfo(self.zone)
        except CronSimError as problem:
            raise Invalid(
                f"{self.cron!r} is no cron line: {problem}", hint="for example '0 3 * * *': every night at three"
            ) from problem
        except (KeyError, ValueError) as problem:
            raise Invalid(f"no time zone {self.zone!r}", hint="for example 'UTC' or 'America/New_York'") from problem

    def next_after(self, moment: datetime) -> datetime:
        """Return the first time that is due after the moment, in UTC."""
        return next(CronSim(self.cron, moment.astimezone(ZoneInfo(self.zone)))).astimezone(UTC)

    def reasons(self, standing: Standing) -> tuple[Reason, ...]:
        """Answer when one of this schedule's times has come."""
        return (Reason(trigger="schedule", words=f"{self.words()} was due"),) if self.words() in standing.due else ()

    def words(self) -> str:
        """Return the cron line and its zone."""
        return f"schedule {self.cron!r}" + ("" if self.zone == "UTC" else f" in {self.zone}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRows(Trigger):
    """Due when so many rows have arrived since the last cycle."""

    count: int

    def reasons(self, standing: Standing) -> tuple[Reason, ...]:
        """Answer when enough rows have come."""
        return _counted("new_rows", standing.rows, self.count, "new rows")

    def words(self) -> str:
        """Return how many rows it waits for."""
        return f"{self.count:,} new rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLabels(Trigger):
    """Due when so many labels have landed since the last cycle."""

    count: int

    def reasons(self, standing: Standing) -> tuple[Reason, ...]:
        """Answer when enough labels have come."""
        return _counted("new_labels", standing.labels, self.count, "new labels")

    def words(self) -> str:
        """Return how many labels it waits for."""
        return f"{self.count:,} new labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataArrival(Trigger):
    """Due whenever data is committed."""

    def reasons(self, standing: Standing) -> tuple[Reason, ...]:
        """Answer when anything was committed."""
        return _counted("data_arrival", standing.commits, 1, "commits of data")

    def words(self) -> str:
        """Return what it waits for."""
        return "new data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift(Trigger):
    """Due when recent rows have drifted from those that the champion learned from.

    It goes by the most drifted column; `over` is how far back recent rows reach, `measure` one of `monitors.measures`.
    """

    measure: str = "psi"
    by: float = 0.2
    over: timedelta = timedelta(days=7)
    columns: tuple[str, ...] = ()

    def reasons(self, standing: Standing) -> tuple[Reason, ...]:
        """Answer when a signal of drift was raised."""
        return _signalled(f"drift:{self.measure}", standing, self.by)

    def words(self) -> str:
        """Return its bar."""
        return f"drift over {self.by:g} {MEASURES[self.measure].words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDrop(Trigger):
    """Due when the champion's measured quality has fallen by so much since it was judged."""

    metric: str
    by: float
    over: timedelta = timedelta(days=7)

    def reasons(self, standing: Standing) -> tuple[Reason, ...]:
        """Answer when a signal of lost quality was raised."""
        return _signalled(f"metric:{self.metric}", standing, self.by)

    def words(self) -> str:
        """Return its bar."""
        return f"{self.metric} worse by {self.by:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream(Trigger):
    """Due when the champion of another model has moved, such as one whose scores are a feature here."""

    model: str

    def reasons(self, standing: Standing) -> tuple[Reason, ...]:
        """Answer when that model has a new champion."""
        moved = [version for version in standing.upstream if version.rpartition("@")[0] == self.model]
        return tuple(
            Reason(trigger="upstream", words=f"{version} is the new champion upstream") for version in moved[-1:]
        )

    def words(self) -> str:
        """Return whose champion it waits for."""
        return f"a new champion of {self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrigger(Trigger):
    """Due when an event of this type was received, from this source if one is named."""

    type: str
    source: str | None = None

    def hears(self, *, type: str, source: str) -> bool:  # noqa: A002 - CloudEvents' own word
        """Say whether an event is one of those it waits for."""
        return type == self.type and self.source in {None, source}

    def reasons(self, standing: Standing) -> tuple[Reason, ...]:
        """Answer with the newest such event."""
        heard = [event for event in standing.events if self.hears(type=event["type"], source=event["source"])]
        return tuple(Reason(trigger="event", words=_event_words(event)) for event in heard[-1:])

    def words(self) -> str:
        """Return what it waits for."""
        return f"event {self.type!r}" + ("" if self.source is None else f" from {self.source}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf(Trigger):
    """Due when any of its triggers is."""

    triggers: tuple[Trigger, ...]

    def reasons(self, standing: Standing) -> tuple[Reason, ...]:
        """Answer with the reasons of all that are due."""
        return tuple(reason for trigger in self.triggers for reason in trigger.reasons(standing))

    def leaves(self) -> tuple[Trigger, ...]:
        """Return the simple triggers inside."""
        return tuple(leaf for trigger in self.triggers for leaf in trigger.leaves())

    def words(self) -> str:
        """Return all of them."""
        return " or ".join(trigger.words() for trigger in self.triggers)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf(AnyOf):
    """Due when all of its triggers are."""

    def reasons(self, standing: Standing) -> tuple[Reason, ...]:
        """Answer with all reasons once each trigger has one."""
        asked = [trigger.reasons(standing) for trigger in self.triggers]
        return tuple(reason for answer in asked for reason in answer) if all(asked) else ()

    def words(self) -> str:
        """Return all of them."""
        return " and ".join(trigger.words() for trigger in self.triggers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manual(Trigger):
    """Due only when somebody asks; every loop has it anyway."""

    def reasons(self, standing: Standing) -> tuple[Reason, ...]:  # noqa: ARG002 - requests are answered by every loop
        """Answer nothing: what is asked for by hand is always answered."""
        return ()

    def words(self) -> str:
        """Return what it waits for."""
        return "a request"


def schedule(cron: str, *, zone: str = "UTC") -> Schedule:
    """Turn at the times of a five-field cron line.

    >>> schedule("0 3 * * 1").words()
    "schedule '0 3 * * 1'"
    """
    return Schedule(cron=cron, zone=zone)


def new_rows(count: int) -> NewRows:
    """Turn once `count` rows have arrived since the last cycle."""
    return NewRows(count=_positive(count))


def new_labels(count: int) -> NewLabels:
    """Turn once `count` labels have landed since the last cycle."""
    return NewLabels(count=_positive(count))


def data_arrival() -> DataArrival:
    """Turn whenever data is committed."""
    return DataArrival()


def drift(*, over: str | timedelta = "7d", columns: tuple[str, ...] | list[str] = (), **measure: float) -> Drift:
    """Turn when the rows of the last `over` have drifted so far from those the champion was trained on.

    One measure and its bar, of the most drifted column; `psi=0.2` without a word:

    - `psi`: population stability index over quantile bins, less its mean under no drift; 0.1 is some, 0.2 much;
    - `jensen_shannon`: distance of the same bins, from 0 to 1; `wasserstein`: exact, of numbers, in standard
      deviations. Neither is 0 between two samples of the same: small ones need a higher bar;
    - `missing`: how much larger the share of missing values is; `new_categories`: the share of rows with a category
      that the champion has never met.

    Raises:
        Invalid: two measures, an unknown one, or a bar that is not above 0.

    """
    unknown = [name for name in measure if name not in MEASURES]
    if unknown:
        raise Invalid(f"there is no measure of drift {unknown[0]!r}", hint=nearest(unknown[0], MEASURES))
    if len(measure) > 1:
        raise Invalid("a trigger has one measure of drift", hint="nr.any_of(nr.drift(psi=0.2), nr.drift(missing=0.1))")
    ((name, bar),) = measure.items() or [("psi", 0.2)]
    if not bar > 0:
        raise Invalid(f"{name}={bar!r} is no bar for drift", hint="use a number above 0")
    return Drift(measure=name, by=bar, over=as_duration(over), columns=tuple(columns))


def metric_drop(metric: str, *, by: float, over: str | timedelta = "7d") -> MetricDrop:
    """Turn when the champion's metric, measured over the last `over`, is worse by `by` than when it was judged.

    The metric must be one that the loop's gate or evaluation measures. Raises `NotFound` for no metric, and `Invalid`
    for a drop that is not above 0.
    """
    metrics.named(metric)
    if isinstance(by, bool) or not isinstance(by, int | float) or not 0 < by < math.inf:  # pyright: ignore[reportUnnecessaryIsInstance] - what people write
        raise Invalid(f"by={by!r} is no drop of {metric}", hint="give a number above 0, such as by=0.05")
    return MetricDrop(metric=metric, by=by, over=as_duration(over))


def upstream(model: str) -> Upstream:
    """Turn when another model's champion has moved: promoted, or rolled back."""
    return Upstream(model=model)


def event(*, type: str, source: str | None = None) -> EventTrigger:  # noqa: A002 - CloudEvents' own word
    """Turn when an event (CloudEvents 1.0) of this type, and from this source if one is given, was received."""
    if not type:
        raise Invalid("an event trigger needs the type of its events", hint="for example type='com.example.refreshed'")
    return EventTrigger(type=type, source=source)


def manual() -> Manual:
    """Turn only when somebody asks for it."""
    return Manual()


def any_of(*triggers: Trigger) -> AnyOf:
    """Turn when any of the triggers is due."""
    return AnyOf(triggers=triggers)


def all_of(*triggers: Trigger) -> AllOf:
    """Turn when all of the triggers are due since the last cycle."""
    return AllOf(triggers=triggers)


def to_plain(trigger: Trigger) -> dict[str, Any]:
    """Return the trigger as plain values, for the record."""
    return {"kind": type(trigger).__name__, "words": trigger.words()}


def _counted(trigger: str, seen: int, wanted: int, what: str) -> tuple[Reason, ...]:
    return (
        (Reason(trigger=trigger, words=f"{seen:,} {what} since the last cycle, {wanted:,} wanted"),)
        if seen >= wanted
        else ()
    )


def _event_words(event: Mapping[str, Any]) -> str:
    about = f" about {event['subject']}" if event["subject"] else ""
    return f"event {event['type']!r}{about} came from {event['source']}"


def _signalled(kind: str, standing: Standing, bar: float) -> tuple[Reason, ...]:
    heard = [signal for signal in standing.signals if signal["kind"] == kind and signal["value"] >= bar]
    return tuple(Reason(trigger=kind.partition(":")[0], words=str(signal["words"])) for signal in heard[-1:])


def _positive(count: int) -> int:
    if count < 1:
        raise Invalid(f"a trigger cannot wait for {count}", hint="give a number of at least 1")
    return count
