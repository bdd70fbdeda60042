"""The quality check: each measure of new rows held against the trusted past by effect size, with its reason in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import polars as pl

from noria.core.errors import Invalid
from noria.datasets.model import KNOWN_AT, LABEL_SOURCE, ROW_SOURCE
from noria.guards.model import Action, Finding
from noria.guards.spec import Batch, Guard

_DAY = timedelta(days=1)
_MOST_CATEGORIES = 200
_WIDENED = 0.5
_FEW_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityCheck(Guard):
    """Holds new rows against the trusted past; see `check_quality`."""

    name: ClassVar[str] = "quality"
    warn: float = 0.1
    stop: float | None = 0.5
    volume: float = 3.0
    min_rows: int = 200

    def findings(self, batch: Batch) -> Sequence[Finding]:
        """Return the measures that moved far enough to matter."""
        trusted = batch.trusted
        if trusted is None or trusted.height < self.min_rows:
            words = "quality was not judged: there is no trusted past to hold the rows against yet"
            return [Finding(guard=self.name, action=Action.WARN, words=words)]
        found = [*self._freshness(batch, trusted)]
        if batch.rows.height >= self.min_rows:
            for name in _columns(batch):
                found += self._column(name, trusted[name], batch.rows[name])
            found += self._duplicates(batch, trusted)
            found += self._volume(batch, trusted)
        return found

    def _column(self, name: str, before: pl.Series, now: pl.Series) -> Iterator[Finding]:
        was, is_now = _missing(before), _missing(now)
        if (rise := is_now - was) >= self.warn:
            yield self._leveled(rise, f"{name!r} is missing in {is_now:.0%} of rows, {was:.0%} before", column=name)
        if now.dtype.is_numeric():
            outside, low, high = _outside(before, now)
            if outside >= self.warn:
                words = f"{outside:.0%} of rows have {name!r} far outside its past range, {low:g} to {high:g}"
                yield self._leveled(outside, words, column=name)
        elif now.dtype == pl.String:
            share, few = _unknown(before, now)
            if share >= self.warn:
                words = f"{share:.0%} of rows have a {name!r} that was never seen before ({', '.join(few)})"
                yield self._leveled(share, words, column=name)

    def _duplicates(self, batch: Batch, trusted: pl.DataFrame) -> Iterator[Finding]:
        columns = [*_columns(batch), batch.dataset.time]
        was, now = (_repeated(pl.DataFrame([rows[name] for name in columns])) for rows in (trusted, batch.rows))
        if now - was >= self.warn:
            yield self._leveled(now - was, f"{now:.0%} of rows repeat another in all but the key, {was:.0%} before")

    def _volume(self, batch: Batch, trusted: pl.DataFrame) -> Iterator[Finding]:
        """Compare the middle day, so that one holiday or one storm says nothing; a change of volume never stops."""
        was, now = (_per_day(rows, batch.dataset.time) for rows in (trusted, batch.rows))
        if was.len() < _FEW_DAYS or now.len() < _FEW_DAYS:
            return
        before, after = float(was.median() or 0), float(now.median() or 0)  # type: ignore[arg-type]
        if before and (after < before / self.volume or after > before * self.volume):
            words = f"the middle day has {after:,.0f} rows, {before:,.0f} before"
            numbers = {"rows_a_day": after, "before": before}
            yield Finding(guard=self.name, action=Action.WARN, words=words, numbers=numbers)

    def _freshness(self, batch: Batch, trusted: pl.DataFrame) -> Iterator[Finding]:
        """Compare the age of the newest row with the longest silence of the past."""
        times = pl.concat([trusted[batch.dataset.time], batch.rows[batch.dataset.time]])
        newest, longest = times.max(), trusted[batch.dataset.time].sort().diff().max()
        if not isinstance(longest, timedelta) or not isinstance(newest, datetime):
            return
        age = batch.until - newest
        if age > max(_DAY, self.volume * longest):
            words = f"the newest row is {_spelled(age)} old; the longest silence before was {_spelled(longest)}"
            numbers = {"age_seconds": age.total_seconds(), "before": longest.total_seconds()}
            yield Finding(guard=self.name, action=Action.WARN, words=words, numbers=numbers)

    def _leveled(self, effect: float, words: str, *, column: str | None = None) -> Finding:
        action = Action.STOP if self.stop is not None and effect >= self.stop else Action.WARN
        return Finding(guard=self.name, action=action, words=words, numbers={"effect": effect}, column=column)


def check_quality(
    *, warn: float = 0.1, stop: float | None = 0.5, volume: float = 3.0, min_rows: int = 200
) -> QualityCheck:
    """Check new rows against the trusted past: missing values, ranges, new categories, duplicates, volume, freshness.

    Effects are shares of rows: from `warn` on a finding is told, from `stop` on the cycle stops (None: never). One
    outlier is one row, so it moves nothing. Volume is that of the middle day and warns from a factor of `volume` on,
    freshness from so many times the longest silence; neither ever stops a cycle. Fewer than `min_rows` new rows are
    judged by their freshness alone.
    """
    if not 0 < warn <= 1 or (stop is not None and not warn <= stop <= 1):
        raise Invalid("warn and stop are shares of rows, the first the smaller", hint="for example warn=0.1, stop=0.5")
    if volume <= 1:
        raise Invalid(f"a factor of {volume} cannot be meant", hint="3 warns below a third and above three times")
    return QualityCheck(warn=warn, stop=stop, volume=volume, min_rows=min_rows)


def _columns(batch: Batch) -> list[str]:
    dataset = batch.dataset
    others = (dataset.key, dataset.time, dataset.label, KNOWN_AT, ROW_SOURCE, LABEL_SOURCE)
    known = () if batch.trusted is None else batch.trusted.columns
    return [name for name in batch.rows.columns if name not in others and name in known]


def _missing(column: pl.Series) -> float:
    nan = int(column.is_nan().sum()) if column.dtype.is_float() else 0
    return (column.null_count() + nan) / column.len()


def _outside(before: pl.Series, now: pl.Series) -> tuple[float, float, float]:
    """Return the share of numbers outside the past range, widened by half on each side, and that range."""
    past = before.cast(pl.Float64).drop_nulls().drop_nans()
    if not past.len():
        return 0.0, 0.0, 0.0
    low, high = float(past.min() or 0.0), float(past.max() or 0.0)  # type: ignore[arg-type]
    room = max((high - low) * _WIDENED, abs(high) * 1e-9)
    numbers = now.cast(pl.Float64).drop_nulls().drop_nans()
    outside = int(((numbers < low - room) | (numbers > high + room)).sum())
    return outside / now.len(), low, high


def _unknown(before: pl.Series, now: pl.Series) -> tuple[float, list[str]]:
    """Return the share of rows with a value that was never seen, and a few such; columns of many values have none."""
    known = before.cast(pl.String).drop_nulls().unique()
    if known.len() > _MOST_CATEGORIES:
        return 0.0, []
    unknown = now.filter(~now.is_in(known.implode()) & now.is_not_null())
    return unknown.len() / now.len(), sorted(set(unknown.to_list()))[:3]


def _repeated(rows: pl.DataFrame) -> float:
    return 1 - rows.n_unique() / rows.height


def _per_day(rows: pl.DataFrame, time: str) -> pl.Series:
    return pl.DataFrame({"day": rows[time].dt.date()}).group_by("day").len()["len"]


def _spelled(duration: timedelta) -> str:
    hours = duration.total_seconds() / 3600
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"  # noqa: PLR2004 - two days
