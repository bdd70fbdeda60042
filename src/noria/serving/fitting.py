"""Makes records of the log into rows and labels as a dataset has them, and says of each that does not fit why not.

Each record is held against its columns by itself and in its order, so that what lands does not depend on which
records came together.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from noria.datasets import casting
from noria.datasets.columns import MOMENT, kind_of, type_of
from noria.datasets.model import KNOWN_AT, PREDICTION, Dataset
from noria.datasets.values import Misfit, exact_label, kind_of_value
from noria.serving.model import Aside, AsideKind, Feedback, Prediction

SHAPED = "noria_shaped"
"""The column of labels that says whether the model's own decision had a hand in them."""
_ROUND = "noria_round"
_decode = msgspec.json.decode
_encode = msgspec.json.encode
_Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """Rows or labels, and the records that do not fit."""

    frame: pl.DataFrame
    asides: tuple[Aside, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Feedback with the key of the row that it is about, and that row's prediction where it names one."""

    key: str
    prediction: str | None
    told: Feedback


@dataclass(slots=True, kw_only=True)
class _Cells:
    """Rows as cells of columns, with the reasons of those that do not fit by their places."""

    types: dict[str, pl.DataType]
    columns: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    reasons: dict[int, str] = field(default_factory=dict[int, str])

    def refuse(self, place: int, reason: str) -> None:
        """Keep why a row does not fit: the first reason counts."""
        self.reasons.setdefault(place, reason)

    def places(self) -> list[int]:
        """Return the places of the rows that fit."""
        count = len(next(iter(self.columns.values())))
        return [place for place in range(count) if place not in self.reasons]


def rows_of(
    asked: Sequence[tuple[str, Prediction]],
    dataset: Dataset,
    schema: Mapping[str, pl.DataType],
    *,
    at: datetime,
    holds_large: Callable[[str], bool],
) -> Fitting:
    """Return the rows that were asked about, each with the id of its prediction, as the dataset has them.

    The first row of a dataset without rows says which columns there are. `holds_large` says of a column of whole
    numbers whether it keeps some that are no fractions exactly.
    """
    rows = [_row(one, dataset) for _, one in asked]
    types = dict(schema) or dict.fromkeys([dataset.key, dataset.time, *rows[0]], pl.Null())
    left_out = (dataset.label, KNOWN_AT, PREDICTION)
    types = {name: of for name, of in types.items() if name not in left_out and "\0" not in name}
    cells = _Cells(types=types | {dataset.time: MOMENT})
    for name, of in cells.types.items():
        cells.columns[name], reasons = casting.cells([row.get(name) for row in rows], of)
        for place, reason in reasons.items():
            cells.refuse(place, casting.reason_for(name, reason))
    _widen(cells, holds_large)
    places = cells.places()
    columns = [
        casting.series(name, [cells.columns[name][place] for place in places], of) for name, of in cells.types.items()
    ]
    ids = pl.Series(PREDICTION, [asked[place][0] for place in places], pl.String)
    return Fitting(
        frame=pl.DataFrame([*columns, ids]),
        asides=tuple(aside_row(asked[place][1], cells.reasons[place], at=at) for place in sorted(cells.reasons)),
    )


def labels_of(named: Sequence[Named], dataset: Dataset, schema: Mapping[str, pl.DataType], *, at: datetime) -> Fitting:
    """Return labels with the rows that they name, in their order, as the dataset has them.

    The first label of a dataset without labels says what kind they are.
    """
    label, key = dataset.label or "", schema.get(dataset.key, pl.String())
    known = kind_of(schema.get(label, pl.Null()))
    asides: list[Aside] = []
    fitting: list[tuple[Named, object]] = []
    for one in named:
        try:
            kind = kind_of_value(one.told.label) if known == casting.UNKNOWN else known
            fitting.append((one, exact_label(one.told.label, kind)))
            known = kind
        except Misfit as misfit:
            asides.append(aside_feedback(one.told, f"its label does not fit: {misfit}", at=at))
    frame = pl.DataFrame(
        [
            pl.Series(dataset.key, [one.key for one, _ in fitting], pl.String).cast(key),
            casting.series(label, [value for _, value in fitting], type_of(known) or pl.Null()),
            pl.Series(KNOWN_AT, [one.told.at for one, _ in fitting], MOMENT),
            pl.Series(PREDICTION, [one.prediction for one, _ in fitting], pl.String),
            pl.Series(SHAPED, [one.told.shaped for one, _ in fitting], pl.Boolean),
        ]
    )
    return Fitting(frame=frame, asides=tuple(asides))


def rounds(labels: pl.DataFrame, *, key: str) -> Iterator[pl.DataFrame]:
    """Yield labels so that each row has one label a round, the first first: a correction lands after what it corrects."""
    place = pl.int_range(pl.len()).over(key, PREDICTION).alias(_ROUND)
    numbered = labels.with_columns(place)
    if labels.height:
        yield from numbered.partition_by(_ROUND, maintain_order=True, include_key=False)


def sifted(rows: pl.DataFrame, misfit: Callable[[pl.DataFrame], str | None]) -> Iterator[tuple[str, str]]:
    """Yield the predictions of rows that do not fit, each with the reason, found by halving; `misfit` says why."""
    reason = misfit(rows) if rows.height else None
    if reason is None:
        return
    if rows.height == 1:
        yield rows[0, PREDICTION], reason
        return
    half = rows.height // 2
    for part in (rows[:half], rows[half:]):
        yield from sifted(part, misfit)


def aside_row(asked: Prediction, reason: str, *, at: datetime) -> Aside:
    """Return the row of a prediction as put aside."""
    return _aside(AsideKind.ROW, asked.row_key, asked, reason, at)


def aside_feedback(told: Feedback, reason: str, *, at: datetime) -> Aside:
    """Return feedback as put aside."""
    return _aside(AsideKind.FEEDBACK, told.key, told, reason, at)


def _aside(kind: AsideKind, key: str | None, record: Prediction | Feedback, reason: str, at: datetime) -> Aside:
    line = _encode(record).decode()
    return Aside(
        kind=kind,
        key=_storable(key),
        prediction=_storable(record.prediction),
        record=line,
        reason=_storable(reason) or "",
        at=at,
    )


def _storable(text: str | None) -> str | None:
    """Return a text without the letter NUL, which databases refuse; the record itself spells it as JSON does."""
    return None if text is None else text.replace("\0", "\\0")


def _row(asked: Prediction, dataset: Dataset) -> _Row:
    """Return the row of a prediction; without a key it is known by its request, without a time it happened then."""
    row: _Row = _decode(asked.row) or {}
    for name, default in ((dataset.key, asked.request), (dataset.time, asked.at)):
        if row.get(name) is None:
            row[name] = default
    return row


def _widen(cells: _Cells, holds_large: Callable[[str], bool]) -> None:
    """Settle what columns are whose kind is not known or too narrow, row by row in their order."""
    places = cells.places()
    kinds: dict[str, str] = {}
    for name, of in cells.types.items():
        if not casting.is_settled((cells.columns[name][place] for place in places), kind_of(of)):
            kinds[name] = kind_of(of)
    if not kinds:
        return
    widening = casting.Widening(kinds, holds_large=holds_large)
    for place in places:
        reason = widening.take({name: cells.columns[name][place] for name in kinds})
        if reason is not None:
            cells.refuse(place, reason)
    cells.types |= {name: type_of(kind) or pl.Null() for name, kind in widening.kinds.items()}
