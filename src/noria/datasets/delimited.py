"""Splits files of delimited text (CSV) into columns of texts: nothing is guessed in silence, nothing is converted."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from noria.core.errors import BadData, Invalid, NotInstalled

SUFFIXES = (".csv", ".tsv", ".tab", ".psv", ".txt")
PACKED = (".gz", ".bz2", ".xz", ".zip", ".zst")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 100
_CHUNK = 50_000
_SHOWN = 40
_NOTHING = "nothing was committed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """A file's columns as texts, the line on which each row begins, and what was taken for granted."""

    file: str
    columns: dict[str, pl.Series]
    lines: Sequence[int]
    notes: tuple[str, ...]


def read(file: Path, *, sep: str | None = None, encoding: str | None = None) -> Texts:
    """Return the file's columns as texts, an empty field as null.

    The separator is that of the header (or of Excel's first line `sep=;`), the encoding UTF-8 or that of the byte
    order mark, unless told. Raises `BadData` where lines have more or fewer fields than the header, where bytes are
    not of the encoding, and where the header does not name every column once.
    """
    if sep is not None and len(sep) != 1:
        raise Invalid(f"{sep!r} is no separator", hint="give one letter, such as ';' or a tab")
    text, notes = _decoded(file, _unpacked(file), encoding)
    first_line = 1
    told = re.match(r"sep=(.)\r?\n", text)
    if told:
        text, sep, first_line = text[told.end() :], sep or told[1], 2
    chosen = sep or _separator(file, text)
    if chosen != "," and sep is None:
        notes.append(f"fields are separated by {_SEPARATORS[chosen]}")
    records = _records(file, text, chosen, first_line)
    _, header = next(records, (0, list[str]()))
    return _columns(file, [name.strip() for name in header], records, notes)


def _unpacked(file: Path) -> bytes:
    suffix = file.suffix.lower()
    try:
        match suffix:
            case ".gz":
                return gzip.decompress(file.read_bytes())
            case ".bz2":
                return bz2.decompress(file.read_bytes())
            case ".xz":
                return lzma.decompress(file.read_bytes())
            case ".zip":
                return _unzipped(file)
            case ".zst":
                return _of_zstd(file)
            case _:
                return file.read_bytes()
    except (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile) as problem:
        raise BadData(f"{file.name} cannot be unpacked: {problem}", hint=f"{_NOTHING}; was it cut short?") from problem


def _unzipped(file: Path) -> bytes:
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
        if len(names) != 1:
            raise BadData(f"{file.name} holds {len(names)} files", hint=f"unpack it, and push one; {_NOTHING}")
        return archive.read(names[0])


def _of_zstd(file: Path) -> bytes:
    try:
        arrow: Any = import_module("pyarrow")
    except ImportError as problem:
        raise NotInstalled("PyArrow, which unpacks .zst,", "pandas") from problem
    with arrow.input_stream(str(file), compression="zstd") as stream:
        return bytes(stream.read())


def _decoded(file: Path, raw: bytes, encoding: str | None) -> tuple[str, list[str]]:
    """Return the text, and what was taken for granted; raises `BadData` for bytes that are not of the encoding."""
    marked = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
    chosen = _named_encoding(encoding) or marked or "utf-8"
    if marked is not None and not _agree(chosen, marked):
        raise BadData(
            f"{file.name} begins with the mark of {marked.removesuffix('-sig')}, and is to be read as {encoding}",
            hint=f"leave out --encoding; {_NOTHING}",
        )
    try:
        text = raw.decode("utf-8-sig" if marked == "utf-8-sig" else chosen)
    except UnicodeError as problem:
        raise _undecodable(file, raw, chosen, problem) from problem
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        raise BadData(
            f"{file.name} has NUL among its letters, in line {text[: text.index(chr(0))].count(chr(10)) + 1}",
            hint=f"is it UTF-16 (--encoding utf-16-le), or no text at all? {_NOTHING}",
        )
    notes = [] if chosen in ("utf-8", "utf-8-sig") or encoding else [f"the text is {chosen}, as its first bytes say"]
    lost = text.count("\ufffd")
    if lost:
        notes.append(f"{lost:,} letters were lost before the file was written (they are U+FFFD)")
    return text, notes


def _named_encoding(encoding: str | None) -> str | None:
    if encoding is None:
        return None
    try:
        return codecs.lookup(encoding).name
    except LookupError as problem:
        raise Invalid(f"there is no encoding {encoding!r}", hint="utf-8, utf-16, cp1252, latin-1 ...") from problem


def _agree(chosen: str, marked: str) -> bool:
    return chosen.replace("-", "").startswith(marked.removesuffix("-sig").replace("-", ""))


def _undecodable(file: Path, raw: bytes, encoding: str, problem: UnicodeError) -> BadData:
    place = problem.start if isinstance(problem, UnicodeDecodeError) else 0
    line = raw[:place].count(b"\n") + 1
    letter = f" (0x{raw[place]:02x})" if place < len(raw) else ""
    return BadData(
        f"{file.name}, line {line}: byte {place + 1:,}{letter} is not {encoding}",
        hint=f"say how it was written: --encoding cp1252 (Windows), latin-1, utf-16 ...; {_NOTHING}",
    )


def _separator(file: Path, text: str) -> str:
    """Return the separator under which the header and the lines after it have the same number of fields."""
    widths = {sep: _widths(text, sep) for sep in _SEPARATORS}
    fits = [sep for sep, found in widths.items() if found and found[0] > 1 and set(found) == {found[0]}]
    fits = fits or [sep for sep, found in widths.items() if found and found[0] > 1]
    if len(fits) > 1:
        most = max(widths[sep][0] for sep in fits)
        fits = [sep for sep in fits if widths[sep][0] == most]
    if len(fits) > 1:
        names = " or ".join(_SEPARATORS[sep] for sep in fits)
        raise BadData(f"the fields of {file.name} may be separated by {names}", hint=f"say it: --sep; {_NOTHING}")
    return fits[0] if fits else ","


def _widths(text: str, sep: str) -> list[int]:
    """Return the number of fields of the first records under a separator; none where quotes do not fit it."""
    found: list[int] = []
    try:
        for record in csv.reader(io.StringIO(text, newline=""), delimiter=sep, strict=True):
            if record:
                found.append(len(record))
            if len(found) == _SAMPLE:
                break
    except csv.Error:
        return found[:1]
    return found


def _records(file: Path, text: str, sep: str, first_line: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the records that are not blank, each with the line on which it begins."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sep, strict=True)
    begins = first_line
    try:
        for record in reader:
            if record:
                yield begins, record
            begins = reader.line_num + first_line
    except csv.Error as problem:
        raise BadData(
            f"{file.name}, line {begins}: {problem}", hint=f"is a quote not closed, or not doubled? {_NOTHING}"
        ) from problem


def _columns(file: Path, names: list[str], records: Iterator[tuple[int, list[str]]], notes: list[str]) -> Texts:
    _must_be_a_header(file, names)
    lines, rows, chunks = list[int](), list[list[str]](), list[pl.DataFrame]()
    for line, record in records:
        if len(record) != len(names):
            raise _ragged(file, line, record, names)
        lines.append(line)
        rows.append(record)
        if len(rows) == _CHUNK:
            chunks.append(_framed(rows, len(names)))
            rows = []
    chunks.append(_framed(rows, len(names)))
    whole = pl.concat(chunks)
    columns = {name: column.alias(name) for name, column in zip(names, whole.iter_columns(), strict=True)}
    if names and not names[-1] and columns[""].null_count() == len(lines):
        notes.append("each line ends with a separator, and nothing comes after it")
        del columns[""]
    return Texts(file=file.name, columns=columns, lines=lines, notes=tuple(notes))


def _framed(rows: list[list[str]], width: int) -> pl.DataFrame:
    sides: list[Sequence[str]] = list(zip(*rows, strict=True)) if rows else [() for _ in range(width)]
    columns = (pl.Series(str(place), side, pl.String) for place, side in enumerate(sides))
    return pl.DataFrame([column.set(column == "", None) for column in columns])


def _must_be_a_header(file: Path, names: Sequence[str]) -> None:
    if not names:
        raise BadData(f"{file.name} has no lines", hint=f"{_NOTHING}; was its writer cut short?")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadData(f"{file.name} has two columns named {twice[0]!r}", hint=f"name every column once; {_NOTHING}")


def _ragged(file: Path, line: int, record: Sequence[str], names: Sequence[str]) -> BadData:
    shown = ", ".join(record)[:_SHOWN]
    return BadData(
        f"{file.name}, line {line}: {len(record)} fields, and the header has {len(names)} ({shown})",
        hint=f"is a field with a separator not quoted, a line cut short, or a remark above the header? {_NOTHING}",
    )
