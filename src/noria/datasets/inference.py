"""Decides what the columns of a text file hold: what is sure is converted exactly, what is not is asked about."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from noria.core.errors import BadData, Invalid, nearest
from noria.datasets import kinds, parsing
from noria.datasets.delimited import Texts
from noria.datasets.kinds import LOCAL_TIME, MOMENT
from noria.datasets.parsing import Times

TYPES = ("int", "float", "decimal", "text", "bool", "time", "date", "skip")
_BLANKS = r"^\s*(?i:na|n/a|n\.a\.|#n/a|nan|null|none|nil|missing|\\n|-+|\?+|\.)?\s*$"
"""What people write where a value is missing; only an empty field is taken for that without asking."""
_ODD_NUMBERS = {
    r"^[+-]?0\d": "leading zeros, as in",
    r"^\+\d": "a plus, as in",
    r"^\d+[eE]\d+$": "what may be a name or a number with an exponent, as in",
}
_GROUPED = r"^[+-]?\d{1,3}([,.' \x{00a0}\x{202f}])\d{3}(?:[,.' \x{00a0}\x{202f}]\d{3})*(?:[.,]\d+)?$"
_WITH_COMMA = r"^[+-]?\d+,\d+$"
_INDEX = re.compile(r"^(?:|Unnamed: \d+|__index_level_\d+__)$")
_NOTHING = "nothing was committed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is said about a text file: types and dates by column, the zone of times without one, missing values."""

    types: Mapping[str, str] = field(default_factory=dict[str, str])
    dates: Mapping[str, str] = field(default_factory=dict[str, str])
    """How dates are written, by column; under an empty name for all others."""
    zone: str | None = None
    null: frozenset[str] = frozenset()
    decimal: str = "."


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """What a column was taken for, and why; `column` is what it holds then."""

    name: str
    kind: str
    why: str
    example: str | None
    missing: int
    column: pl.Series = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the columns of one file; `times` are those that have to hold moments, `known` the kinds there are."""

    texts: Texts
    told: Told
    times: Sequence[str]
    known: Mapping[str, str]

    def columns(self) -> tuple[list[Understood], list[str]]:
        """Return the columns, and what was taken for granted; raises `BadData` where somebody has to be asked."""
        self._must_be_meant()
        found, notes = list[Understood](), list(self.texts.notes)
        for name, texts in self.texts.columns.items():
            if self.told.types.get(name) == "skip":
                notes.append(f"column {name!r} is left out, as told")
            elif self._is_index(name, texts):
                notes.append(f"column {name!r} only counts the rows, as pandas does: it is left out")
            else:
                found.append(self.understood(name, self._present(texts)))
        return found, notes

    def _must_be_meant(self) -> None:
        for name, kind in self.told.types.items():
            if name not in self.texts.columns:
                hint = nearest(name, self.texts.columns)
                raise BadData(f"{self.texts.file} has no column {name!r} to give a type", hint=hint)
            if kind not in TYPES:
                raise Invalid(f"{kind!r} is no type of a column", hint=f"one of {', '.join(TYPES)}")
        for name in self.told.dates:
            if name and name not in self.texts.columns:
                hint = nearest(name, self.texts.columns)
                raise BadData(f"{self.texts.file} has no column {name!r} with dates", hint=hint)
        if self.told.zone is not None:
            parsing.must_be_zone(self.told.zone)

    def _is_index(self, name: str, texts: pl.Series) -> bool:
        if name in self.known or name in self.told.types or not looks_like_index(name):
            return False
        return only_counts_rows(self.texts.file, name, parsing.whole(texts))

    def _present(self, texts: pl.Series) -> pl.Series:
        return texts.set(texts.is_in(list(self.told.null)), None) if self.told.null else texts

    # --- one column

    def understood(self, name: str, texts: pl.Series) -> Understood:
        """Return what one column of texts holds; see `columns`."""
        column, why = self._read(name, texts)
        there = column.drop_nulls()
        return Understood(
            name=name,
            kind=kinds.kind_of_stored(kinds.stored_type(column.dtype)),
            why=why,
            example=str(there[0]) if there.len() else None,
            missing=column.null_count(),
            column=column.alias(name),
        )

    def _read(self, name: str, texts: pl.Series) -> tuple[pl.Series, str]:
        if texts.null_count() == texts.len():
            return pl.Series(
                name, [None] * texts.len(), pl.Null
            ), "it is empty: its first values will say what it holds"
        told = self.told.types.get(name)
        if told is not None and name not in self.times:
            return self._as(told, name, texts), "told"
        if name in self.times:
            return self._dated(name, texts, is_moment=True)
        known = self.known.get(name, kinds.UNKNOWN)
        if known != kinds.UNKNOWN:
            return self._as_known(known, name, texts), "as the dataset has it"
        return self._inferred(name, texts)

    def _as(self, kind: str, name: str, texts: pl.Series) -> pl.Series:
        """Return a column as what it is told to be; raises `BadData` at the first value that is not."""
        if kind == "text":
            return texts
        if kind in ("time", "date"):
            return self._dated(name, texts, is_moment=kind == "time")[0]
        readers: dict[str, Callable[[pl.Series], pl.Series]] = {
            "int": parsing.whole,
            "float": lambda given: parsing.fractions(given, also_nan=True),
            "decimal": parsing.decimals,
            "bool": lambda given: parsing.truth(given, is_told=True),
        }
        return self._all(name, texts, readers[kind](self._with_points(texts)), kind)

    def _as_known(self, known: str, name: str, texts: pl.Series) -> pl.Series:
        """Return a column as the dataset has it; whole numbers may have become fractions."""
        wanted = kinds.type_of_kind(known)
        if known == "int" and self._holds(texts, parsing.fractions) and not self._holds(texts, parsing.whole):
            return self._as("float", name, texts)
        if known == "bool":
            return self._all(name, texts, parsing.truth(texts), known)
        if known in ("int", "float", "text"):
            return self._as(known, name, texts)
        if isinstance(wanted, pl.Decimal):
            return self._as("decimal", name, texts)
        if known == "time" or wanted in (pl.Date(), LOCAL_TIME):
            column, _ = self._dated(name, texts, is_moment=known == "time", is_local=wanted == LOCAL_TIME)
            return column.cast(LOCAL_TIME) if wanted == LOCAL_TIME and column.dtype == pl.Date else column
        return self._all(name, texts, texts.cast(wanted, strict=False), known)

    def _inferred(self, name: str, texts: pl.Series) -> tuple[pl.Series, str]:
        blanks = texts.str.contains(_BLANKS)
        values = texts.filter(~blanks.fill_null(value=False)).drop_nulls()
        if values.len() == texts.len() - texts.null_count():
            return self._of_values(name, texts)
        sample = str(texts.filter(blanks)[0])
        sure = values.len() == 0 or self._of_values(name, values)[0].dtype != pl.String
        if sure:
            raise self._problem(
                name, texts, blanks, "which may mean that the value is missing",
                f"--null {sample!r} if it does, --types '{name}=text' if not",
            )  # fmt: skip
        return texts, f"text; {sample!r} in it stays as it is (--null {sample!r} makes it missing)"

    def _of_values(self, name: str, texts: pl.Series) -> tuple[pl.Series, str]:
        if self._holds(texts, parsing.truth):
            return parsing.truth(texts), "true or false"
        number = self._number(texts)
        if number is not None:
            return number
        dated = self._date(name, texts)
        return dated or (texts, self._why_text(texts))

    def _number(self, texts: pl.Series) -> tuple[pl.Series, str] | None:
        """Return a column of numbers, or of texts where digits are no sure number; None where they are none at all."""
        given = self._with_points(texts).str.strip_chars()
        if not given.drop_nulls().str.contains(parsing.FRACTION + r"|^[+-]?(?i:inf|infinity)$").all():
            return None
        for pattern, words in _ODD_NUMBERS.items():
            odd = given.filter(given.str.contains(pattern).fill_null(value=False))
            if odd.len():
                return texts, f"{words} {odd[0]!r}"
        is_whole = given.drop_nulls().str.contains(parsing.WHOLE).all()
        if is_whole and not given.is_in(["-0"]).any():
            found = parsing.whole(given)
            large = given.filter(found.is_null() & given.is_not_null())
            return (
                (texts, f"whole numbers beyond 64 bits, as in {large[0]!r}")
                if large.len()
                else (found, "whole numbers")
            )
        found = parsing.fractions(given)
        long = given.filter(found.is_null() & given.is_not_null())
        if long.len():
            return texts, f"more digits than a float of 64 bits keeps, as in {long[0]!r} (--types: decimal or float)"
        return found, "numbers"

    def _date(self, name: str, texts: pl.Series) -> tuple[pl.Series, str] | None:
        """Return a column of dates or times; None where it holds none."""
        stripped = texts.drop_nulls().str.strip_chars()
        dates = self._written(name, texts)
        if dates is None and stripped.str.contains(parsing.SHORT_YEAR).all():
            raise self._problem(
                name, texts, texts.is_not_null(), "whose year has two digits",
                f"--dates '{name}=%d/%m/%y' or the like, or --types '{name}=text'",
            )  # fmt: skip
        is_date = self._holds(texts, lambda given: parsing.times(given, dates or "ymd").there)
        if not is_date and name not in self.told.dates and parsing.swappable(texts) is None:
            return None
        return self._dated(name, texts, is_moment=False)

    def _why_text(self, texts: pl.Series) -> str:
        """Say why a column is text where one may have expected numbers."""
        given = texts.str.strip_chars()
        if given.drop_nulls().str.contains(_WITH_COMMA).all():
            return "numbers with a comma (--decimal , if it is that of fractions)"
        if given.drop_nulls().str.contains(rf"{_GROUPED}|{parsing.WHOLE}").all():
            return "numbers in groups of digits"
        numbers = given.str.contains(parsing.FRACTION).fill_null(value=False)
        if not numbers.any():
            return "text"
        place = int((~numbers & given.is_not_null()).arg_max() or 0)
        return f"text, such as {texts[place]!r} in line {self.texts.lines[place]:,}, though it has numbers as well"

    # --- times

    def _written(self, name: str, texts: pl.Series) -> str | None:
        """Return how a column's dates are told to be written; None where nothing is told that is about them.

        What is told of no column by name is about event times, and about columns that it fits; dates that begin with
        the year are sure without it.
        """
        default = self.told.dates.get("")
        if name in self.told.dates or default is None:
            return self.told.dates.get(name)
        if default in parsing.DATES and self._holds(texts, lambda given: parsing.times(given, "ymd").there):
            return None
        fits = name in self.times or self._holds(texts, lambda given: parsing.times(given, default).there)
        return default if fits else None

    def _dated(self, name: str, texts: pl.Series, *, is_moment: bool, is_local: bool = False) -> tuple[pl.Series, str]:
        """Return days, times without a zone, or moments; raises `BadData` where the order or the zone is not known."""
        dates, why = self._order(name, texts)
        found = parsing.times(texts, dates)
        wrong = found.there.is_null() & texts.is_not_null()
        if wrong.any():
            raise self._problem(
                name, texts, wrong, f"which is no time (as {dates})" if dates != "ymd" else "which is no time",
                "write times like 2026-01-31T12:00:00Z, or say how they are written: --dates dmy, mdy, unix or a "
                "format such as '%d.%m.%Y %H:%M'; times are kept to the microsecond",
            )  # fmt: skip
        there = texts.is_not_null()
        if not (found.has_clock & there).any() and not (found.zoned & there).any():
            return self._days(name, texts, found, why, is_moment=is_moment)
        if not (found.zoned & there).all() and self.told.zone is None and not (there & ~found.zoned).equals(there):
            raise self._problem(name, texts, there & ~found.zoned, "without a zone, and others have one", _ZONE_HINT)
        if (found.zoned | texts.is_null()).all():
            return found.there.cast(LOCAL_TIME).dt.replace_time_zone("UTC"), f"moments{why}"
        if self.told.zone is None or is_local:
            if is_moment:
                raise self._problem(name, texts, there, "without a time zone", _ZONE_HINT)
            return found.there, f"times without a zone{why}"
        return self._zoned(name, texts, found), f"moments; those without a zone are of {self.told.zone}{why}"

    def _days(self, name: str, texts: pl.Series, found: Times, why: str, *, is_moment: bool) -> tuple[pl.Series, str]:
        if not is_moment:
            return found.there.cast(pl.Date), f"days{why}"
        if self.told.zone is not None:
            return self._zoned(name, texts, found), f"days, from midnight in {self.told.zone}{why}"
        return found.there.dt.replace_time_zone("UTC"), f"days, from midnight in UTC (--zone says another){why}"

    def _zoned(self, name: str, texts: pl.Series, found: Times) -> pl.Series:
        zone = self.told.zone or "UTC"
        moments = parsing.in_zone(found.there, zone)
        whole = found.there.dt.replace_time_zone("UTC").cast(MOMENT).zip_with(found.zoned, moments)
        lost = whole.is_null() & texts.is_not_null()
        if lost.any():
            raise self._problem(
                name, texts, lost, f"which the clocks of {zone} showed twice or not at all",
                "write its offset, as in 2026-10-25T02:30:00+01:00",
            )  # fmt: skip
        return whole

    def _order(self, name: str, texts: pl.Series) -> tuple[str, str]:
        """Return how dates are written, and in words why; raises `BadData` where day and month may be swapped."""
        told = self._written(name, texts)
        if told is not None:
            return told, f", written as {told}"
        numbers = parsing.swappable(texts)
        if numbers is None:
            return "ymd", ""
        days, months = ((side > 12).fill_null(value=False) for side in numbers)  # noqa: PLR2004 - months
        if days.any() == months.any():
            both = "the day comes first in some, the month in others" if days.any() else "day and month may be swapped"
            raise self._problem(
                name, texts, texts.is_not_null(), f"and {both}",
                f"say which comes first: --dates dmy or --dates mdy, or of it alone: --dates '{name}=dmy'",
            )  # fmt: skip
        order, place = ("dmy", days.arg_max()) if days.any() else ("mdy", months.arg_max())
        line = self.texts.lines[int(place or 0)]
        words = "the day comes first" if order == "dmy" else "the month comes first"
        return order, f"; {words}, as line {line:,} shows: {texts[int(place or 0)]!r}"

    # --- inside

    def _with_points(self, texts: pl.Series) -> pl.Series:
        if self.told.decimal == ".":
            return texts
        swapped = texts.str.replace(self.told.decimal, ".", literal=True)
        return swapped.set(texts.str.contains(".", literal=True).fill_null(value=False), "with a point")

    @staticmethod
    def _holds(texts: pl.Series, read: Callable[[pl.Series], pl.Series]) -> bool:
        """Say whether all texts can be read so."""
        return read(texts).null_count() == texts.null_count()

    def _all(self, name: str, texts: pl.Series, found: pl.Series, kind: str) -> pl.Series:
        """Return what was read if all of it could be; raises `BadData` for the first text that could not."""
        wrong = found.is_null() & texts.is_not_null()
        if not wrong.any():
            return found
        value = str(texts.filter(wrong)[0])
        blank = re.match(_BLANKS, value) is not None
        raise self._problem(
            name, texts, wrong, f"which is no {kind} that can be kept exactly",
            f"--null {value!r} if it means that the value is missing" if blank else "mend it, or leave the line out",
        )  # fmt: skip

    def _problem(self, name: str, texts: pl.Series, wrong: pl.Series, words: str, hint: str) -> BadData:
        place = int(wrong.fill_null(value=False).arg_max() or 0)
        return BadData(
            f"{self.texts.file}, line {self.texts.lines[place]:,}: {name!r} holds {texts[place]!r}, {words}",
            hint=f"{hint}; {_NOTHING}",
        )


def looks_like_index(name: str) -> bool:
    """Say whether a column is named as pandas names an index without a name."""
    return _INDEX.match(name) is not None


def only_counts_rows(file: str, name: str, numbers: pl.Series) -> bool:
    """Say that an index without a name only counts the rows; raises `BadData` if it says something else."""
    if numbers.equals(pl.Series(range(numbers.len()), dtype=pl.Int64)):
        return True
    raise BadData(
        f"column {name!r} of {file} has no name of its own: is it the index of a table?",
        hint=f"leave it out: --types '{name}=skip'; or name it in the file; {_NOTHING}",
    )


_ZONE_HINT = "say it: --zone Europe/Berlin (or UTC), or write times like 2026-01-31T12:00:00Z"
