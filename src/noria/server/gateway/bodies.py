"""What a request says: read as JSON into rows, each value held against what the version reads."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from noria.core.errors import BadData, NoriaError, nearest
from noria.datasets import values
from noria.datasets.model import KEY_LETTERS, Dataset
from noria.serving.asking import Asked
from noria.serving.model import Feedback

Value = None | bool | int | float | str
Row = dict[str, Value]
Body = TypeVar("Body")

_MOST_ROWS = 10_000
_NUL = b"\\u0000"
"""How JSON spells the letter NUL; a body that has no such spelling has no such letter."""
_encode = msgspec.json.Encoder().encode


class TooLarge(NoriaError):
    """The body is larger than this gateway takes."""

    code = "too-large"
    status = 413


class NotJson(NoriaError):
    """The body is no JSON."""

    code = "not-json"
    status = 400


class Asking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a predict request: one row with its key, or several with theirs."""

    row: Row | None = None
    rows: list[Row] | None = None
    key: str | int | None = None
    keys: list[str | int] | None = None


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One piece of feedback: about a prediction, or about the row of a key at an endpoint."""

    label: bool | int | float | str
    prediction: str | None = None
    endpoint: str | None = None
    key: str | int | None = None
    shaped: bool = False


class Telling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a feedback request: one piece, or `feedback` with many."""

    feedback: list[Told] | None = None
    label: bool | int | float | str | None = None
    prediction: str | None = None
    endpoint: str | None = None
    key: str | int | None = None
    shaped: bool = False


_asking = msgspec.json.Decoder(Asking)
_telling = msgspec.json.Decoder(Telling)


class Checker:
    """Holds rows against the kinds of columns: what a row says is held exactly as it is, or refused in words."""

    def __init__(self, kinds: Mapping[str, str]) -> None:
        plain = sorted(set(kinds.values()) & values.PLAIN)
        self._groups = [(kind, tuple(name for name in kinds if kinds[name] == kind)) for kind in plain]

    def check(self, rows: Sequence[Row]) -> None:
        """Raise `BadData` with the row, the column and the value that its column cannot hold exactly."""
        for place, row in enumerate(rows):
            for kind, names in self._groups:
                if not values.are_sure(kind, list(map(row.get, names))):
                    _look_at(place, row, names, kind)


class Door(Checker):
    """What an endpoint's dataset lets in: rows with their keys and times.

    Columns may have become wider since, from whole numbers to fractions; what is let in is looked at again when it
    lands.
    """

    def __init__(self, dataset: Dataset, kinds: Mapping[str, str]) -> None:
        label = dataset.label or ""
        super().__init__({name: kind for name, kind in kinds.items() if name not in (dataset.time, label)})
        self.dataset = dataset

    def enter(self, rows: Sequence[Row], at: datetime) -> list[datetime]:
        """Return the rows' event times, and fill in that of a row that says none: it happened now.

        Raises:
            BadData: a value that its column cannot hold exactly, a time without a zone.

        """
        self.check(rows)
        name, now = self.dataset.time, at.isoformat()
        times: list[datetime] = []
        for place, row in enumerate(rows):
            said = row.get(name)
            if said is None:
                row[name] = now
                times.append(at)
                continue
            try:
                times.append(values.moment(said))
            except values.Misfit as misfit:
                raise _refusal(place, name, "time", misfit) from None
        return times


class Reader(Checker):
    """Holds rows against the columns that a version reads, before it sees them.

    `checked` are the columns that the door holds against the same kinds already.
    """

    def __init__(self, inputs: Mapping[str, str], *, others: Iterable[str], checked: Mapping[str, str]) -> None:
        super().__init__({name: kind for name, kind in inputs.items() if checked.get(name) != kind})
        self._inputs = tuple(inputs)
        self._known = frozenset([*inputs, *others])

    def missing(self, rows: Sequence[Row]) -> list[int]:
        """Return how many inputs each row lacks or has as null.

        Raises:
            BadData: a value of the wrong type, or a column that is unknown while one that is read is not there.

        """
        self.check(rows)
        return [self._missing(place, row) for place, row in enumerate(rows)]

    def _missing(self, place: int, row: Row) -> int:
        missing = list(map(row.get, self._inputs)).count(None)
        if missing and not self._known.issuperset(row):
            self._refuse_unknown(place, row)
        return missing

    def _refuse_unknown(self, place: int, row: Row) -> None:
        """Say which column is meant when one is unknown and another one is lacking."""
        lacking = [name for name in self._inputs if name not in row]
        for name in row:
            if lacking and name not in self._known:
                raise BadData(f"row {place} has an unknown column {name!r}", hint=nearest(name, lacking))


def _look_at(place: int, row: Row, names: Iterable[str], kind: str) -> None:
    """Look at values one by one, and write times in the one way in which all that comes after reads them."""
    for name in names:
        try:
            found = values.exactly(row.get(name), kind)
        except values.Misfit as misfit:
            raise _refusal(place, name, kind, misfit) from None
        if isinstance(found, datetime):
            row[name] = found.isoformat()


def _refusal(place: int, name: str, kind: str, misfit: values.Misfit) -> BadData:
    return BadData(f"column {name!r} of row {place}: {misfit}", hint=values.hint_for(kind))


def asking_of(body: bytes) -> tuple[list[Row], list[str | int | None], bool]:
    """Return the rows of a predict request, the keys that came with them, and whether it was a single row.

    Raises:
        NotJson: the body is no JSON.
        BadData: it is JSON, and not what this route takes.

    """
    asked = _decoded(_asking, body)
    if _NUL in body:
        _must_have_no_nul(asked)
    if asked.row is not None and asked.rows is None and asked.keys is None:
        rows, keys, is_single = [asked.row], [asked.key], True
    elif asked.rows is not None and asked.row is None and asked.key is None:
        rows, is_single = asked.rows, False
        keys = list[str | int | None](asked.keys if asked.keys is not None else [None] * len(rows))
    else:
        hint = '{"row": {...}, "key": "..."}, or {"rows": [{...}, ...], "keys": ["...", ...]}'
        raise BadData("the body has neither one row nor rows, or mixes both ways", hint=hint)
    if not rows or not all(rows):
        raise BadData("there are no rows, or one is empty", hint='send at least one row: {"row": {"column": 1.5}}')
    if len(keys) != len(rows):
        raise BadData(f"{len(rows)} rows came with {len(keys)} keys", hint="give each row its key, or none at all")
    if len(rows) > _MOST_ROWS:
        raise BadData(f"{len(rows):,} rows are too many at once", hint=f"send at most {_MOST_ROWS:,}")
    return rows, keys, is_single


def telling_of(body: bytes, *, at: datetime) -> list[tuple[str | None, Feedback]]:
    """Return the pieces of feedback of a request, each with the endpoint that it names; see `asking_of` for errors."""
    found = _decoded(_telling, body)
    if _NUL in body:
        _must_have_no_nul(found)
    told = _pieces(found)
    if not told:
        raise BadData("there is no feedback", hint='send {"prediction": "...", "label": true}')
    for place, one in enumerate(told):
        if (one.prediction is None) == (one.key is None) or (one.key is not None and one.endpoint is None):
            hint = '{"prediction": "...", "label": true}, or {"endpoint": "...", "key": "...", "label": true}'
            raise BadData(f"feedback {place} names neither a prediction nor a row of an endpoint", hint=hint)
        if one.key is not None:
            _must_be_key(str(one.key), f"the key of feedback {place}")
    return [
        (
            one.endpoint,
            Feedback(
                label=one.label,
                at=at,
                prediction=one.prediction,
                key=None if one.key is None else str(one.key),
                shaped=one.shaped,
            ),
        )
        for one in told
    ]


def _pieces(body: Telling) -> list[Told]:
    if body.feedback is not None:
        return body.feedback
    if body.label is None:
        raise BadData("the feedback has no label", hint="leave it out until it is known")
    one = Told(label=body.label, prediction=body.prediction, endpoint=body.endpoint, key=body.key, shaped=body.shaped)
    return [one]


def asked_of(
    rows: Sequence[Row], keys: Sequence[str | int | None], *, door: Door, at: datetime, requests: Iterable[str]
) -> list[Asked]:
    """Return the rows as asked about, and complete them: one that says no time happened now.

    A row that came without a key is routed by its dataset's key, or by chance. Raises `BadData` for a value that the
    dataset cannot hold exactly.
    """
    times = door.enter(rows, at)
    return [
        _asked(row, key, named=row.get(door.dataset.key), at=at, time=time, request=request)
        for row, key, time, request in zip(rows, keys, times, requests, strict=False)
    ]


def _asked(row: Row, key: str | int | None, *, named: Value, at: datetime, time: datetime, request: str) -> Asked:
    row_key = request if named is None else str(named)
    route_key = row_key if key is None else str(key)
    if len(row_key) > KEY_LETTERS or len(route_key) > KEY_LETTERS:
        _must_be_key(row_key, "the key of a row")
        _must_be_key(route_key, "the key of a row")
    return Asked(
        request=request,
        key=route_key,
        row_key=row_key,
        at=at,
        time=time,
        row=msgspec.Raw(_encode(row)),
    )


def _decoded(decoder: "msgspec.json.Decoder[Body]", body: bytes) -> Body:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as problem:
        raise BadData(f"the body is not what this route takes: {problem}", hint=_hint(str(problem))) from problem
    except RecursionError as problem:
        raise BadData("the body is nested too deeply", hint="a row has plain values") from problem
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        hint = "send JSON; it has no NaN or Infinity: send null for a missing value"
        raise NotJson(f"the body is no JSON: {problem}", hint=hint) from problem


def _must_have_no_nul(body: "Asking | Telling") -> None:
    """Raise `BadData` for the letter NUL in any text, and say where: not every store can hold it."""
    hint = "take it out: databases refuse it"
    for place, name, value in _texts(body):
        if "\0" in name:
            raise BadData(f"{place} has a column {name!r}, whose name has the letter NUL", hint=hint)
        if "\0" in value:
            raise BadData(f"column {name!r} of {place} has the letter NUL: {value[:100]!r}", hint=hint)


def _texts(body: "Asking | Telling") -> Iterator[tuple[str, str, str]]:
    """Yield every text of a body, with where it stands."""
    if isinstance(body, Asking):
        rows = body.rows or ([] if body.row is None else [body.row])
        for place, row in enumerate(rows):
            yield from ((f"row {place}", name, value if isinstance(value, str) else "") for name, value in row.items())
        keys = [body.key, *(body.keys or ())]
        yield from ((f"row {place}", "key", key) for place, key in enumerate(keys) if isinstance(key, str))
        return
    for place, one in enumerate([body, *(body.feedback or ())]):
        told = {"label": one.label, "prediction": one.prediction, "endpoint": one.endpoint, "key": one.key}
        yield from ((f"feedback {place}", name, value) for name, value in told.items() if isinstance(value, str))


def _must_be_key(key: str, what: str) -> None:
    """Raise `BadData` for a key that no dataset takes."""
    if len(key) > KEY_LETTERS:
        raise BadData(
            f"{what} is longer than {KEY_LETTERS:,} letters: {key[:50]!r}...", hint="use a digest of it as the key"
        )


def _hint(problem: str) -> str:
    is_value = ".row" in problem
    return "a value is null, true, false, a number or a text" if is_value else "the README shows what to send"


def plain(value: Any) -> bytes:  # noqa: ANN401 - anything that JSON has
    """Return a value as JSON."""
    return _encode(value)
