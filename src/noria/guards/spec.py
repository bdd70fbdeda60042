"""What a guard is: a check with its bars, given to a loop, that judges a batch of new data and says what it found."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from noria.datasets.holding import Held, spelled
from noria.datasets.model import LABEL_SOURCE, Dataset, FragmentKind, Hold
from noria.guards.model import Finding, Schema

Floats = NDArray[np.float64]
Predictor = Callable[[pl.DataFrame], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The rows and labels that nobody has judged yet, and what they are held against.

    `rows` have their sources; `trusted` is the past that the champion learned from, None before the first champion.
    `scores` are the champion's, one for each row, shape (n,), None where there are none; `unread` says why the
    champion could not give any. `through` is the number of the newest snapshot, `number` counts the loop's cycles.
    `retrain` trains the loop's recipe without what is held besides, on rows before `tail_from`.
    """

    dataset: Dataset
    rows: pl.DataFrame
    until: datetime
    through: int
    number: int
    trusted: pl.DataFrame | None = None
    scores: Floats | None = None
    unread: str = ""
    schema: Schema | None = None
    retrain: Callable[[str, Held], Predictor] | None = field(default=None, repr=False)
    tail_from: datetime | None = None

    def labelled(self) -> pl.Series:
        """Say of each row whether its label is known."""
        if self.dataset.label is None:
            return pl.repeat(value=False, n=self.rows.height, eager=True)
        return self.rows[self.dataset.label].is_not_null()

    def sources(self, by: str | None = None) -> pl.Series:
        """Return each row's source: a column, or where its label came from."""
        name = by or LABEL_SOURCE
        if name not in self.rows.columns:
            return pl.repeat(None, self.rows.height, dtype=pl.String, eager=True)
        return self.rows[name].cast(pl.String)

    def holds(self, chosen: pl.Series, kind: FragmentKind) -> tuple[Hold, ...]:
        """Return holds on the chosen rows, or on their labels as they have landed so far."""
        rows = self.rows.filter(chosen)
        keys, times = spelled(rows[self.dataset.key]).to_list(), rows[self.dataset.time].to_list()
        return tuple(
            Hold(kind=kind, key=key, time=time, through=self.through) for key, time in zip(keys, times, strict=True)
        )


class Guard(ABC):
    """A check of a batch; its fields are its bars."""

    __slots__ = ()
    name: ClassVar[str]
    needs_scores: ClassVar[bool] = False

    @abstractmethod
    def findings(self, batch: Batch) -> Sequence[Finding]:
        """Return what was found; nothing for a clean batch. What cannot be read is a finding, never a pass."""

    def to_plain(self) -> dict[str, Any]:
        """Return the guard as plain values, for the record."""
        told: Mapping[str, Any] = asdict(self)  # type: ignore[call-overload]  # every guard is a dataclass
        return {"guard": self.name, **{key: _plain(value) for key, value in told.items()}}


def _plain(value: Any) -> Any:  # noqa: ANN401 - fields of several types
    match value:
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}  # type: ignore[misc]
        case list() | tuple():
            return [_plain(inner) for inner in value]  # type: ignore[misc]
        case _:
            return value if value is None or isinstance(value, bool | int | float | str) else str(value)
