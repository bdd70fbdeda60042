"""Profiles: mergeable statistics of columns, so that the profile of ten years is a merge and never a second scan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from noria.stats import distances, distinct, heavy, moments, quantiles
from noria.stats.distinct import Distinct
from noria.stats.heavy import Heavy
from noria.stats.moments import Moments
from noria.stats.quantiles import Quantiles

_MOST_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """One column: how many values, how many missing; numbers have moments and quantiles, others frequent values."""

    name: str
    rows: int
    missing: int
    distinct: Distinct | None = None
    """None for lists, structures and bytes: of them only what is missing is counted."""
    moments: Moments | None = None
    quantiles: Quantiles | None = None
    heavy: Heavy | None = None

    def summary(self) -> dict[str, Any]:
        """Return what a person wants to know first."""
        told: dict[str, Any] = {"column": self.name, "rows": self.rows, "missing": self.missing}
        told |= {"distinct": None if self.distinct is None else round(self.distinct.count())}
        quartiles: list[float | None] = [None] * 5
        if self.quantiles is not None and self.quantiles.count:
            quartiles = [float(value) for value in self.quantiles.quantile(np.linspace(0, 1, 5))]
        names = ("min", "q25", "median", "q75", "max")
        told |= dict(zip(names, quartiles, strict=True))
        frequent = (
            [] if self.heavy is None else [f"{item} ({count:,})" for item, count in self.heavy.items[:_MOST_SHOWN]]
        )
        return told | {"most_frequent": ", ".join(frequent)}

    def plain(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "name": self.name,
            "rows": self.rows,
            "missing": self.missing,
            "distinct": None if self.distinct is None else self.distinct.plain(),
            "moments": None if self.moments is None else self.moments.plain(),
            "quantiles": None if self.quantiles is None else self.quantiles.plain(),
            "heavy": None if self.heavy is None else self.heavy.plain(),
        }

    @classmethod
    def from_plain(cls, told: Mapping[str, Any]) -> "ColumnProfile":
        """Read what `plain` wrote."""
        return cls(
            name=told["name"],
            rows=told["rows"],
            missing=told["missing"],
            distinct=None if told["distinct"] is None else Distinct.from_plain(told["distinct"]),
            moments=None if told["moments"] is None else Moments.from_plain(told["moments"]),
            quantiles=None if told["quantiles"] is None else Quantiles.from_plain(told["quantiles"]),
            heavy=None if told["heavy"] is None else Heavy.from_plain(told["heavy"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The columns of some rows."""

    columns: tuple[ColumnProfile, ...]

    def column(self, name: str) -> ColumnProfile | None:
        """Return one column's profile, if it is there."""
        return next((column for column in self.columns if column.name == name), None)

    def plain(self) -> list[dict[str, Any]]:
        """Return plain values, for JSON."""
        return [column.plain() for column in self.columns]

    @classmethod
    def from_plain(cls, told: Sequence[Mapping[str, Any]]) -> "Profile":
        """Read what `plain` wrote."""
        return cls(columns=tuple(ColumnProfile.from_plain(column) for column in told))


def of_frame(frame: pl.DataFrame) -> Profile:
    """Return the profile of a frame's columns."""
    return Profile(columns=tuple(_of_column(column) for column in frame.iter_columns()))


def merge(parts: Sequence[Profile]) -> Profile:
    """Return the profile of all rows together, merged at once: the stated error does not grow with the parts."""
    names = list(dict.fromkeys(column.name for part in parts for column in part.columns))
    return Profile(
        columns=tuple(_merged([found for part in parts if (found := part.column(name)) is not None]) for name in names)
    )


def drifted(before: Profile, after: Profile) -> dict[str, float]:
    """Return the columns of both by PSI less its mean under no change, largest first."""
    found: dict[str, float] = {}
    for column in after.columns:
        earlier = before.column(column.name)
        if earlier is not None:
            counts = _counts(earlier, column)
            if counts is not None and all(np.sum(side) > 0 for side in counts):
                found[column.name] = distances.psi_excess_of_counts(*counts)
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _of_column(column: pl.Series) -> ColumnProfile:
    numeric = column.dtype.is_numeric()
    values = column.drop_nulls()
    if numeric:
        numbers = values.cast(pl.Float64).to_numpy()
        numbers = numbers[np.isfinite(numbers)]
        exact = values.to_numpy() if values.dtype.is_integer() else numbers
        return ColumnProfile(
            name=column.name,
            rows=column.len(),
            missing=column.len() - len(numbers),
            distinct=distinct.summarise(distinct.hashes_of_numbers(exact)),
            moments=moments.summarise(numbers),
            quantiles=quantiles.summarise(numbers),
        )
    if column.dtype.is_temporal():
        ticks = values.to_physical().cast(pl.Int64).to_numpy()
        hashes = distinct.hashes_of_numbers(ticks)
        return ColumnProfile(
            name=column.name, rows=column.len(), missing=column.null_count(), distinct=distinct.summarise(hashes)
        )
    if column.dtype.is_nested() or isinstance(column.dtype, pl.Binary | pl.Null):
        return ColumnProfile(name=column.name, rows=column.len(), missing=column.null_count())
    counted = values.cast(pl.String).alias("value").value_counts().sort("count", "value", descending=[True, False])
    texts = counted["value"].to_list()
    return ColumnProfile(
        name=column.name,
        rows=column.len(),
        missing=column.null_count(),
        distinct=distinct.summarise(distinct.hashes_of_texts(texts)),
        heavy=heavy.summarise(texts, counted["count"].to_numpy()),
    )


def _merged(parts: Sequence[ColumnProfile]) -> ColumnProfile:
    number_parts = [part.moments for part in parts if part.moments is not None]
    quantile_parts = [part.quantiles for part in parts if part.quantiles is not None]
    heavy_parts = [part.heavy for part in parts if part.heavy is not None]
    distinct_parts = [part.distinct for part in parts if part.distinct is not None]
    return ColumnProfile(
        name=parts[0].name,
        rows=sum(part.rows for part in parts),
        missing=sum(part.missing for part in parts),
        distinct=distinct.merge(distinct_parts) if distinct_parts else None,
        moments=moments.merge(number_parts) if number_parts else None,
        quantiles=quantiles.merge(quantile_parts) if quantile_parts else None,
        heavy=heavy.merge(heavy_parts) if heavy_parts else None,
    )


def _counts(before: ColumnProfile, after: ColumnProfile) -> tuple[Any, Any] | None:
    if (
        before.quantiles is not None
        and after.quantiles is not None
        and before.quantiles.count
        and after.quantiles.count
    ):
        edges = np.unique(before.quantiles.quantile(np.linspace(0, 1, 11)[1:-1]))
        return (
            np.append(before.quantiles.depths(edges), before.missing),
            np.append(after.quantiles.depths(edges), after.missing),
        )
    if before.heavy is not None and after.heavy is not None:
        return distances.aligned(before.heavy.counted(), after.heavy.counted())
    return None
