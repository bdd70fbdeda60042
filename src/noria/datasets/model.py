"""Nouns of data: datasets, snapshots, the fragments that snapshots share, and reads that are known by their digest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from noria.core.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

KNOWN_AT = "known_at"
"""The column that says when a label became known."""
ROW_SOURCE, LABEL_SOURCE = "noria_row_source", "noria_label_source"
"""The columns that say through which source a row and its label came, where a read is asked for them."""
PREDICTION = "noria_prediction"
"""The column that names the prediction a row was scored under, or a label belongs to; null for rows from elsewhere.

Rows of different predictions may share a key, so a row is known by both. Reads leave it out unless asked for it.
"""
PUSHED = ""
"""In that column of labels that are to land: the row that has no prediction, whatever others share its key."""
MOVED = 0.1
"""From how much PSI on a column is said to have moved; by custom 0.1 is some change and 0.2 much."""
MOST_LETTERS = 255
"""How long names, sources and keys of commits may be."""
KEY_LETTERS = 1000
"""How long the key of a row may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Rows about one kind of thing: `key` names a row, `time` is when it happened, `label` is to be predicted.

    Labels may come later than their rows, each with the time it became known. Raises `Invalid` for names that cannot
    be meant.
    """

    name: str = field(kw_only=False)
    key: str
    time: str
    label: str | None = None

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise Invalid(f"{self.name!r} is no name for a dataset", hint="use letters, digits, '-', '_' and '.'")
        named = [name for name in (self.key, self.time, self.label) if name is not None]
        for name in (self.name, *named):
            if not 0 < len(name) <= MOST_LETTERS or "\0" in name:
                hint = f"names have 1 to {MOST_LETTERS} letters, none of them NUL"
                raise Invalid(f"{name[:40]!r} is no name", hint=hint)
        if len(set(named)) < len(named) or KNOWN_AT in named:
            raise Invalid(
                f"key, time and label of {self.name!r} are not three columns of their own",
                hint=f"three different columns, none of them {KNOWN_AT!r}",
            )


class FragmentKind(StrEnum):
    """What a fragment holds."""

    ROWS = "rows"
    LABELS = "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A part of a snapshot as it was committed: a Parquet blob, with what is needed to pass it by unread.

    `first_time` to `last_time` are the event times of its rows, or of the rows that its labels belong to.
    """

    id: str
    kind: FragmentKind
    blob: str
    digest: str
    rows: int
    added_in: int
    first_time: datetime
    last_time: datetime
    first_key: str
    last_key: str
    known_from: datetime | None
    known_through: datetime | None
    profile: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An immutable, numbered version of a dataset; `rows` and `labels` are how many it added to the one before."""

    id: str
    dataset: str
    number: int
    parent: str | None
    digest: str
    content: str
    rows: int
    labels: int
    source: str
    arrived_at: datetime
    committed_at: datetime
    committed_by: str
    key: str | None
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What the push took for granted, in words; only its own answer has them."""

    def __str__(self) -> str:
        return f"{self.dataset}@{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One row, or one label, that reads leave out: of a label, whatever had landed through a snapshot's number.

    So a label that lands later, a correction, is seen again without a word.
    """

    kind: FragmentKind
    key: str
    time: datetime
    through: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What is left of what was erased: counts, why, and a keyed commitment to the keys (HMAC-SHA-256), never they.

    Whoever holds the commitment's key can prove that a row was among them; once that key is destroyed, nobody can.
    """

    id: str
    dataset: str
    rows: int
    labels: int
    snapshots: int
    commitment: str
    reason: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A read that is known by its digest before anything is read: which rows, with labels as known when.

    Equal digests mean equal content, from whichever snapshots: commits that cannot touch the window do not change it.
    """

    dataset: str
    snapshot: str
    as_of: datetime | None
    since: datetime | None
    until: datetime | None
    digest: str
    reader: "Callable[[], pl.DataFrame]" = field(repr=False, compare=False)

    def load(self) -> "pl.DataFrame":
        """Return the rows, in order of time and key."""
        return self.reader()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsAhead:
    """Labels that landed while the clock was ahead: by what they say, they are known only at a time that is to come."""

    dataset: str
    labels: int
    until: datetime

    def words(self) -> str:
        """Return it as a person would say it."""
        moment = f"{self.until:%Y-%m-%d %H:%M}"
        return f"up to {self.labels:,} labels landed while the clock was ahead: nothing sees them before {moment}"

    def hint(self) -> str:
        """Return the way out."""
        return f"noria data push {self.dataset} FILE --labels lands them again, with known_at as it was"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What changed between two snapshots of one dataset."""

    before: str
    after: str
    rows_added: int
    labels_added: int
    labels_changed: int
    columns_changed: Mapping[str, str]
    """Columns whose type became another, and how: `int to float`."""
    drifted: Mapping[str, float]
    """Columns by how far the rows that were added differ from those before: PSI, largest first."""

    def words(self) -> str:
        """Return it in a sentence."""
        told = [
            f"{count:,} {what}"
            for count, what in (
                (self.rows_added, "rows added"),
                (self.labels_added, "labels landed"),
                (self.labels_changed, "labels corrected"),
            )
            if count
        ]
        told += [f"{name} went from {how}" for name, how in self.columns_changed.items()]
        told += [f"{name} moved by {value:.2f} PSI" for name, value in self.drifted.items() if value >= MOVED]
        return f"from {self.before} to {self.after}: " + (", ".join(told) or "nothing changed")

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "before": self.before,
            "after": self.after,
            "rows_added": self.rows_added,
            "labels_added": self.labels_added,
            "labels_changed": self.labels_changed,
            "columns_changed": dict(self.columns_changed),
            "drifted": {name: round(value, 4) for name, value in self.drifted.items()},
            "words": self.words(),
        }
