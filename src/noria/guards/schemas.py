"""The schema check: what columns may hold, inferred, reviewed, enforced row by row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import polars as pl

from noria.core.errors import Invalid
from noria.datasets.columns import kind_of
from noria.datasets.model import KNOWN_AT, LABEL_SOURCE, ROW_SOURCE, Dataset, FragmentKind
from noria.guards.model import Action, ColumnRule, Finding, Schema, SchemaState
from noria.guards.spec import Batch, Guard

_MOST_CATEGORIES = 50
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaCheck(Guard):
    """Holds rows against the dataset's schema, and against what is told here; see `check_schema`."""

    name: ClassVar[str] = "schema"
    ranges: Mapping[str, tuple[float | None, float | None]] = field(
        default_factory=dict[str, tuple[float | None, float | None]]
    )
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    most: float = 0.5

    def findings(self, batch: Batch) -> Sequence[Finding]:
        """Return the columns that hold what they may not."""
        told = [ColumnRule(name=name, kind="", low=low, high=high) for name, (low, high) in self.ranges.items()]
        told += [ColumnRule(name=name, kind="", categories=tuple(few)) for name, few in self.categories.items()]
        found = [self._judged(batch, rule, is_enforced=True) for rule in told]
        if batch.schema is not None:
            is_enforced = batch.schema.state is SchemaState.APPROVED
            found += [self._judged(batch, rule, is_enforced=is_enforced) for rule in batch.schema.columns]
        return [finding for finding in found if finding is not None]

    def _judged(self, batch: Batch, rule: ColumnRule, *, is_enforced: bool) -> Finding | None:
        if rule.name not in batch.rows.columns:
            return self._graver(rule, f"column {rule.name!r} is missing", is_enforced=is_enforced)
        column = batch.rows[rule.name]
        kind = kind_of(column.dtype)
        if rule.kind not in ("", "unknown", kind) and kind != "unknown":
            words = f"column {rule.name!r} is {kind}, the schema says {rule.kind}"
            return self._graver(rule, words, is_enforced=is_enforced)
        wrong, why = _violations(column, rule)
        count = int(wrong.sum())
        if not count:
            return None
        share = count / batch.rows.height
        words = f"{count:,} of {batch.rows.height:,} rows have {rule.name!r} {why}"
        numbers = {"rows": float(count), "share": share}
        if not is_enforced:
            words += "; the schema is not approved, so they are only told of"
            return Finding(guard=self.name, action=Action.WARN, words=words, numbers=numbers, column=rule.name)
        if share > self.most:
            words += f", more than {self.most:.0%}"
            return Finding(guard=self.name, action=Action.STOP, words=words, numbers=numbers, column=rule.name)
        holds = batch.holds(wrong, FragmentKind.ROWS)
        return Finding(
            guard=self.name, action=Action.QUARANTINE, words=words, numbers=numbers, column=rule.name, holds=holds
        )

    def _graver(self, rule: ColumnRule, words: str, *, is_enforced: bool) -> Finding:
        action = Action.STOP if is_enforced else Action.WARN
        return Finding(guard=self.name, action=action, words=words, column=rule.name)


def check_schema(
    *,
    ranges: Mapping[str, tuple[float | None, float | None]] | None = None,
    categories: Mapping[str, Iterable[str]] | None = None,
    most: float = 0.5,
) -> SchemaCheck:
    """Check new rows against the dataset's schema: kinds, missing values, ranges and categories where told.

    The first cycle proposes a schema of what it sees; until somebody approves it (`noria schema approve`), what breaks
    it is only told of. What breaks an approved one, or the `ranges` and `categories` told here, goes into quarantine;
    if that is more than a share of `most`, or a column has another kind, the cycle stops.
    """
    if not 0 < most <= 1:
        raise Invalid(f"a share of {most} cannot be meant", hint="between 0 and 1; 0.5 is usual")
    few = {name: tuple(values) for name, values in (categories or {}).items()}
    return SchemaCheck(ranges=dict(ranges or {}), categories=few, most=most)


def infer(
    dataset: Dataset, rows: pl.DataFrame, *, with_ranges: bool = False, with_categories: bool = False
) -> tuple[ColumnRule, ...]:
    """Return the rules that these rows keep: kinds and missing values, and, if asked, ranges and categories."""
    left_out = (dataset.label, KNOWN_AT, ROW_SOURCE, LABEL_SOURCE)
    rules = [_inferred(rows[name]) for name in rows.columns if name not in left_out]
    return tuple(_narrowed(rule, rows, ranges=with_ranges, categories=with_categories) for rule in rules)


def same_rules(schema: Schema | None, columns: Sequence[ColumnRule]) -> bool:
    """Say whether a schema has these rules already."""
    return schema is not None and tuple(schema.columns) == tuple(columns)


def _inferred(column: pl.Series) -> ColumnRule:
    return ColumnRule(name=column.name, kind=kind_of(column.dtype), nullable=_missing(column).any())


def _narrowed(rule: ColumnRule, rows: pl.DataFrame, *, ranges: bool, categories: bool) -> ColumnRule:
    column = rows[rule.name].drop_nulls()
    if ranges and rule.kind in ("int", "float") and column.len():
        numbers = column.cast(pl.Float64).drop_nans()
        low, high = numbers.min(), numbers.max()
        if isinstance(low, float) and isinstance(high, float):
            return replace(rule, low=low, high=high)
    if categories and rule.kind == "text":
        values = sorted(column.cast(pl.String).unique().to_list())
        if len(values) <= _MOST_CATEGORIES:
            return replace(rule, categories=tuple(values))
    return rule


def _violations(column: pl.Series, rule: ColumnRule) -> tuple[pl.Series, str]:
    """Say of each row whether it breaks the rule, and what is wrong with those that do."""
    missing = _missing(column)
    wrong, why = pl.repeat(value=False, n=column.len(), eager=True), list[str]()
    if not rule.nullable and missing.any():
        wrong, why = wrong | missing, ["missing"]
    if rule.low is not None or rule.high is not None:
        outside = _outside(column, rule)
        if outside.any():
            wrong, why = wrong | outside, [*why, f"outside {_spelled(rule.low)} to {_spelled(rule.high)}"]
    if rule.categories is not None:
        texts = column.cast(pl.String)
        unknown = ~texts.is_in(list(rule.categories)) & ~missing
        if unknown.any():
            few = sorted(set(texts.filter(unknown).to_list()))[:_SHOWN]
            wrong, why = wrong | unknown, [*why, f"of no known category ({', '.join(few)})"]
    return wrong, " or ".join(why)


def _outside(column: pl.Series, rule: ColumnRule) -> pl.Series:
    if not column.dtype.is_numeric():
        return pl.repeat(value=False, n=column.len(), eager=True)
    numbers = column.cast(pl.Float64)
    outside = pl.repeat(value=False, n=column.len(), eager=True)
    if rule.low is not None:
        outside = outside | (numbers < rule.low)
    if rule.high is not None:
        outside = outside | (numbers > rule.high)
    return outside.fill_null(value=False)


def _missing(column: pl.Series) -> pl.Series:
    missing = column.is_null()
    return missing | column.is_nan().fill_null(value=False) if column.dtype.is_float() else missing


def _spelled(bound: float | None) -> str:
    return "anything" if bound is None else f"{bound:g}"
