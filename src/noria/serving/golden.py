"""Golden rows: rows as requests send them, with the scores that the judged model gave.

Whatever loads a version must give the same scores again before it answers anybody. Some rows are judged ones; others
are judged rows with one column changed: missing, at its extremes, beyond them, of an unseen category.
"""

import threading
import warnings
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from noria.core.errors import CannotServe, Corrupt
from noria.registry.model import Model
from noria.serving import asking
from noria.serving.running import Row, Scores

if TYPE_CHECKING:
    import polars as pl

Ask = Callable[[Sequence[Row]], Scores]
"""Scores rows as requests send them; raises when it cannot."""

EXACT = 1e-7
"""How far a score may be from the judged model's, of probabilities absolutely and of larger numbers relatively."""
ROUNDED = 1e-4
"""The same for ONNX, which counts in 32 bits."""

_JUDGED = 48
_BASES = 2
_MOST_PROBES = 480
ALONE = 8
"""How many golden rows are asked one by one as well."""
_HUGE = 1e12
_UNSEEN = "\N{LATIN SMALL LETTER N WITH TILDE}ever seen \N{BLACK STAR}"
_QUIET = threading.RLock()


class GoldenRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row: what it tries, and the score; None where the model refused it, or gave no number.

    `lacks` is the column that was taken out of a judged row; `key` is that of the row it was made from.
    """

    about: str
    row: dict[str, Any]
    score: float | None
    lacks: str | None = None
    key: str | None = None


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """The golden rows of a version, and the columns that it reads, in their order, each with its kind."""

    inputs: list[tuple[str, str]]
    rows: list[GoldenRow]

    @property
    def refused_without(self) -> frozenset[str]:
        """Return the columns without which the model gave no row a score."""
        tried = [one for one in self.rows if one.lacks is not None]
        scored = {one.lacks for one in tried if one.score is not None}
        return frozenset(one.lacks for one in tried if one.lacks is not None) - scored

    def encoded(self) -> bytes:
        """Return them as they are stored."""
        return msgspec.json.encode(self)

    def without(self, keys: Collection[str]) -> "Golden":
        """Return them without the rows that were made from rows of these keys."""
        return Golden(inputs=self.inputs, rows=[one for one in self.rows if one.key not in keys])


def decoded(content: bytes) -> Golden:
    """Read stored golden rows; raises `Corrupt`."""
    try:
        return msgspec.json.decode(content, type=Golden)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Corrupt(f"these golden rows cannot be read: {problem}", hint="restore them from a backup") from problem


def as_requested(rows: "pl.DataFrame", inputs: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return rows of a dataset as a request would send them: what JSON has no word for is a text, or missing."""
    there = [name for name in inputs if name in rows.columns]
    return [{name: _plain(value) for name, value in row.items()} for row in rows.select(there).to_dicts()]


def asking_model(model: Model, inputs: Mapping[str, str]) -> Ask:
    """Return what scores rows with a model in this process, in the way in which requests are."""

    def ask(rows: Sequence[Row]) -> Scores:
        scores = np.asarray(model.predict(asking.frame_of(rows, inputs)), dtype=np.float64)
        if scores.shape != (len(rows),):
            raise CannotServe(f"it gives scores of shape {scores.shape} for {len(rows)} rows")
        return asking.finite(scores.tolist())

    return ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A row to try, not scored yet."""

    about: str
    row: dict[str, Any]
    lacks: str | None = None
    key: str | None = None

    def scored(self, score: float | None) -> GoldenRow:
        """Return it as a golden row."""
        return GoldenRow(about=self.about, row=self.row, score=score, lacks=self.lacks, key=self.key)


def places_of(count: int) -> list[int]:
    """Return which of so many judged rows become golden ones, evenly from first to last."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(_JUDGED, count))})


def judged_probes(rows: "pl.DataFrame", inputs: Mapping[str, str], *, key: str | None) -> list[Probe]:
    """Return judged rows as they are; `key` is the column that names them."""
    keys = rows[key].to_list() if key in rows.columns else [None] * rows.height
    return [
        Probe(about="judged", row=row, key=None if named is None else str(named))
        for row, named in zip(as_requested(rows, inputs), keys, strict=True)
    ]


def changed_probes(bases: Sequence[Probe], inputs: Mapping[str, str], *, is_code: bool) -> list[Probe]:
    """Return judged rows with one column changed each, and one that lacks them all.

    `is_code` spares a preprocess that is users' code numbers of an order that it may take for a size.
    """
    turns: Iterator[Probe] = cycle(bases)
    first = bases[0]
    found = [Probe(about="without any column", row=dict.fromkeys(inputs), key=first.key)]
    found += [
        Probe(about=f"without {name!r}", row={**base.row, name: None}, lacks=name, key=base.key)
        for name in inputs
        for base in islice(turns, _BASES)
    ]
    seen = {name: [base.row.get(name) for base in bases] for name in inputs}
    for name, kind in inputs.items():
        for words, value in _extremes(kind, seen[name], is_code=is_code):
            base = next(turns)
            found.append(Probe(about=f"{name!r} {words}", row={**base.row, name: value}, key=base.key))
            if len(found) >= _MOST_PROBES:
                return found
    return found


def said(ask: Ask, rows: Sequence[Row]) -> Scores:
    """Return the score of each row, None for one that is refused; what cannot be asked together is asked in halves."""
    if not rows:
        return []
    try:
        return ask(rows)
    except Exception:  # noqa: BLE001 - users' code, and runtimes, raise kinds of their own
        if len(rows) == 1:
            return [None]
    half = len(rows) // 2
    return [*said(ask, rows[:half]), *said(ask, rows[half:])]


def apart(found: Sequence[float | None], expected: Sequence[float | None]) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Return how far scores are from the expected ones; infinitely, where only one of both is a number."""
    left, right = (
        np.array([np.nan if one is None else one for one in side], dtype=np.float64) for side in (found, expected)
    )
    distance = np.abs(left - right) / np.maximum(1.0, np.abs(np.nan_to_num(right)))
    distance[np.isnan(left) != np.isnan(right)] = np.inf
    distance[np.isnan(left) & np.isnan(right)] = 0.0
    return distance


def check(golden: Golden, ask: Ask, *, within: float, who: str) -> None:
    """Raise `CannotServe` unless the scores of all golden rows come again, together and one by one."""
    rows, expected = [one.row for one in golden.rows], [one.score for one in golden.rows]
    alone = range(0, len(rows), max(1, len(rows) // ALONE))
    with quiet():
        together = said(ask, rows)
        single = [said(ask, [rows[place]])[0] for place in alone]
    distance = apart(together, expected)
    distance[list(alone)] = np.maximum(distance[list(alone)], apart(single, [expected[place] for place in alone]))
    wrong = np.flatnonzero(~(distance <= within))
    if wrong.size:
        worst = golden.rows[int(wrong[np.argmax(distance[wrong])])]
        by = float(np.max(distance[wrong]))
        far = f"by up to {by:.2g}" if np.isfinite(by) else "where one gives a score and the other none"
        raise CannotServe(
            f"{who} gives other scores than the model that was judged: on {wrong.size:,} of {len(rows):,} golden rows, {far} ({worst.about})",
            hint="is a library here of another version than where it was trained?",
        )


@contextmanager
def quiet() -> Generator[None]:
    """Keep what libraries warn of strange numbers from being printed, or raised."""
    with _QUIET, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _extremes(kind: str, seen: Sequence[Any], *, is_code: bool) -> list[tuple[str, Any]]:
    """Return values to try of a column, each with what it is."""
    match kind:
        case "bool":
            return [("true", True), ("false", False)]
        case "text":
            return [("of an unseen category", _UNSEEN), ("empty", "")]
        case "int" | "float":
            return _numbers(
                [value for value in seen if isinstance(value, int | float)], is_whole=kind == "int", is_code=is_code
            )
        case _:
            return []


def _numbers(seen: Sequence[float], *, is_whole: bool, is_code: bool) -> list[tuple[str, Any]]:
    least, most = min(seen, default=0), max(seen, default=1)
    step = max(1, most - least)
    found: list[tuple[str, Any]] = [
        ("at its least", least), ("at its most", most), ("at zero", 0),
        ("below its range", least - step), ("above its range", most + step),
    ]  # fmt: skip
    if not is_code:
        found += [("huge", _HUGE), ("hugely negative", -_HUGE)]
    if not is_whole:
        found.append(("tiny", 1e-9))
    return [(words, int(value) if is_whole else float(value)) for words, value in found if abs(value) < 2**53]


def _plain(value: Any) -> Any:  # noqa: ANN401 - a cell of any type
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return value.isoformat() if isinstance(value, datetime) else str(value)
