"""Puts fragments together into what a read shows: rows in order, each with its label as it was known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TypedDict

import polars as pl

from noria.datasets import rules
from noria.datasets.fragments import FragmentReader
from noria.datasets.holding import Held
from noria.datasets.model import KNOWN_AT, LABEL_SOURCE, PREDICTION, ROW_SOURCE, Dataset, Fragment, FragmentKind


class Reading(TypedDict, total=False):
    """What a read is of, and what it shows; see `Datasets.read`."""

    snapshot: str | None
    as_of: datetime | None
    since: datetime | None
    until: datetime | None
    labelled: bool
    without: Held | None
    with_sources: bool
    with_predictions: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Rows with event times in [since, until), none after `as_of`; labels known by `as_of`; nothing that is held.

    With `sources`, by snapshot numbers, a read says of each row and label through which source it came; with
    `predictions`, under which prediction's id a row was scored.
    """

    as_of: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None
    without: Held = field(default_factory=Held)
    sources: Mapping[int, str] | None = None
    predictions: bool = False

    def holds(self, part: Fragment) -> bool:
        """Say whether all rows of a fragment lie inside."""
        return (
            (self.since is None or part.first_time >= self.since)
            and (self.until is None or part.last_time < self.until)
            and (self.as_of is None or part.last_time <= self.as_of)
        )

    def seen(self, part: Fragment, frame: pl.DataFrame, *, key: str) -> pl.DataFrame:
        """Return a fragment's rows or labels without those that are held, with their source where it is asked for."""
        left = self.without.left_in(part, frame, key=key)
        if self.sources is None:
            return left
        column = ROW_SOURCE if part.kind is FragmentKind.ROWS else LABEL_SOURCE
        return left.with_columns(pl.lit(self.sources[part.added_in]).alias(column))


def shown(
    reader: FragmentReader, dataset: Dataset, parts: Sequence[Fragment], window: Window, *, schema: Fragment
) -> pl.DataFrame:
    """Return what a window shows of a snapshot's fragments, in order of time and key.

    Only fragments that have a row or a label to show have a say in the columns' types, so that what came later cannot
    change them either. A window without rows has the columns of `schema`, the dataset's first rows.
    """
    rows = _rows(reader, dataset, [part for part in parts if part.kind is FragmentKind.ROWS], window)
    if rows is None:
        rows = window.seen(schema, reader.frame(schema), key=dataset.key).clear()
    whole = _labelled(reader, dataset, parts, window, rows=rows)
    if window.predictions:
        return rules.identified(whole)
    return whole.drop(PREDICTION, strict=False)


def _labelled(
    reader: FragmentReader, dataset: Dataset, parts: Sequence[Fragment], window: Window, *, rows: pl.DataFrame
) -> pl.DataFrame:
    """Return rows with their labels, and when those became known; without, if the dataset has no label."""
    if dataset.label is None:
        return rows
    labels = _labels(reader, dataset, [part for part in parts if part.kind is FragmentKind.LABELS], window, rows=rows)
    if labels is not None:
        whole = _joined(rows, labels, key=dataset.key)
        if whole[KNOWN_AT].null_count() < whole.height:
            return whole
    unknown = [pl.lit(None).alias(dataset.label), pl.lit(None, pl.Datetime("us", "UTC")).alias(KNOWN_AT)]
    if window.sources is not None:
        unknown.append(pl.lit(None, pl.String).alias(LABEL_SOURCE))
    return rows.with_columns(unknown)


def _joined(rows: pl.DataFrame, labels: pl.DataFrame, *, key: str) -> pl.DataFrame:
    """Return rows with their labels: a row is known by its key, and by its prediction where it has one."""
    if PREDICTION not in rows.columns:
        if PREDICTION in labels.columns:
            labels = labels.filter(pl.col(PREDICTION).is_null()).drop(PREDICTION)
        return rows.join(labels, on=key, how="left", maintain_order="left")
    row = [key, PREDICTION]
    return rows.join(rules.identified(labels), on=row, how="left", maintain_order="left", nulls_equal=True)


def differences(window: Window, parts: Sequence[Fragment]) -> dict[str, object]:
    """Return what makes a read another one than the plain read of its window: what it leaves out, what it adds."""
    more: dict[str, object] = {"without": window.without.digest()} if window.without else {}
    if window.sources is not None:
        more["sources"] = [window.sources[part.added_in] for part in parts]
    if window.predictions:
        more["predictions"] = True
    return more


def together(frames: Sequence[pl.DataFrame]) -> pl.DataFrame | None:
    """Return frames as one, in their order; None for none. Numbers of two widths become the wider."""
    if not frames:
        return None
    if len({PREDICTION in frame.columns for frame in frames}) > 1:
        frames = [_in_order(rules.identified(frame)) for frame in frames]
    alike = all(frame.schema == frames[0].schema for frame in frames)
    return pl.concat(frames, how="vertical" if alike else "vertical_relaxed")


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.exclude(PREDICTION), PREDICTION)


def _rows(reader: FragmentReader, dataset: Dataset, parts: Sequence[Fragment], window: Window) -> pl.DataFrame | None:
    parts = sorted(parts, key=lambda part: (part.first_time, part.last_time, part.id))
    seen = [window.seen(part, reader.frame(part), key=dataset.key) for part in parts]
    frames = [
        _inside(frame, dataset, window, whole=window.holds(part)) for part, frame in zip(parts, seen, strict=True)
    ]
    rows = together([frame for frame in frames if frame.height])
    if rows is None or all(first.last_time < second.first_time for first, second in pairwise(parts)):
        return rows
    return rows.sort(dataset.time, dataset.key)


def _inside(frame: pl.DataFrame, dataset: Dataset, window: Window, *, whole: bool) -> pl.DataFrame:
    if whole:
        return frame
    return rules.inside(frame, time=dataset.time, as_of=window.as_of, since=window.since, until=window.until)


def _labels(
    reader: FragmentReader, dataset: Dataset, parts: Sequence[Fragment], window: Window, *, rows: pl.DataFrame
) -> pl.DataFrame | None:
    seen = [window.seen(part, reader.frame(part), key=dataset.key) for part in parts]
    known = [_known(frame, part, as_of=window.as_of) for part, frame in zip(parts, seen, strict=True)]
    if len({frame.schema[dataset.label or ""] for frame in known}) > 1:
        known = [frame.join(rows, on=dataset.key, how="semi", maintain_order="left") for frame in known]
    labels = together([frame for frame in known if frame.height])
    if labels is None or _apart(parts):
        return labels
    return rules.known_by(labels, key=dataset.key)


def _known(frame: pl.DataFrame, part: Fragment, *, as_of: datetime | None) -> pl.DataFrame:
    if as_of is None or (part.known_through is not None and part.known_through <= as_of):
        return frame
    return frame.filter(pl.col(KNOWN_AT) <= as_of)


def _apart(parts: Sequence[Fragment]) -> bool:
    """Say whether no key can be in two of the fragments."""
    ranges = sorted((part.first_key, part.last_key) for part in parts)
    return all(first[1] < second[0] for first, second in pairwise(ranges))
