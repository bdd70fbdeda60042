"""What a request says: read as JSON into rows, each value held against what the version reads."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import NoneType
from typing import Any, TypeVar

import msgspec

from noria.core.errors import BadData, NoriaError, nearest
from noria.datasets.model import KEY_LETTERS, Dataset
from noria.serving.asking import Asked
from noria.serving.model import Feedback

Value = None | bool | int | float | str
Row = dict[str, Value]
Body = TypeVar("Body")

_MOST_ROWS = 10_000
_NUL = b"\\u0000"
"""How JSON spells the letter NUL; a body that has no such spelling has no such letter."""
_NUMBER, _TEXT = frozenset({int, float, bool, NoneType}), frozenset({str, NoneType})
_KINDS = {"int": _NUMBER, "float": _NUMBER, "bool": _NUMBER, "text": _TEXT, "time": _TEXT}
_WORDS = {"int": "a number", "float": "a number", "bool": "true or false", "text": "a text", "time": "a moment as text"}
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


class Reader:
    """Holds rows against the columns that a version reads, before it sees them."""

    def __init__(self, inputs: Mapping[str, str], *, others: Iterable[str]) -> None:
        kinds = sorted(set(inputs.values()))
        self._groups = [(kind, tuple(name for name in inputs if inputs[name] == kind)) for kind in kinds]
        self._inputs = tuple(inputs)
        self._known = frozenset([*inputs, *others])

    def missing(self, rows: Sequence[Row]) -> list[int]:
        """Return how many inputs each row lacks or has as null.

        Raises:
            BadData: a value of the wrong type, or a column that is unknown while one that is read is not there.

        """
        return [self._missing(place, row) for place, row in enumerate(rows)]

    def _missing(self, place: int, row: Row) -> int:
        missing = 0
        for kind, names in self._groups:
            values = list(map(row.get, names))
            missing += values.count(None)
            types = _KINDS.get(kind)
            if types is not None and not types.issuperset(map(type, values)):
                _refuse_type(place, row, names, kind)
        if missing and not self._known.issuperset(row):
            self._refuse_unknown(place, row)
        return missing

    def _refuse_unknown(self, place: int, row: Row) -> None:
        """Say which column is meant when one is unknown and another one is lacking."""
        lacking = [name for name in self._inputs if name not in row]
        for name in row:
            if lacking and name not in self._known:
                raise BadData(f"row {place} has an unknown column {name!r}", hint=nearest(name, lacking))


def _refuse_type(place: int, row: Row, names: Iterable[str], kind: str) -> None:
    """Say which value is of the wrong type."""
    for name in names:
        if type(row.get(name)) not in _KINDS[kind]:
            raise BadData(
                f"column {name!r} is {_WORDS[kind]}, and row {place} has {row[name]!r}",
                hint="send null for a missing value",
            )


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
    rows: Sequence[Row], keys: Sequence[str | int | None], *, dataset: Dataset, at: datetime, requests: Iterable[str]
) -> list[Asked]:
    """Return the rows as asked about, and complete them: one that says no time happened now.

    A row that came without a key is routed by its dataset's key, or by chance.
    """
    for row in rows:
        row.setdefault(dataset.time, at.isoformat())
    return [
        _asked(row, key, dataset=dataset, at=at, request=request)
        for row, key, request in zip(rows, keys, requests, strict=False)
    ]


def _asked(row: Row, key: str | int | None, *, dataset: Dataset, at: datetime, request: str) -> Asked:
    named = row.get(dataset.key)
    row_key = request if named is None else str(named)
    route_key = row_key if key is None else str(key)
    if len(row_key) > KEY_LETTERS or len(route_key) > KEY_LETTERS:
        _must_be_key(row_key, f"column {dataset.key!r}")
        _must_be_key(route_key, "the key of a row")
    return Asked(
        request=request,
        key=route_key,
        row_key=row_key,
        at=at,
        time=_moment(row.get(dataset.time)),
        row=msgspec.Raw(_encode(row)),
    )


def _moment(value: Value) -> datetime | None:
    """Return a row's event time; what is no moment with a zone is none, and the time of the request counts."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # no moment, or one whose UTC has no date: 0001-01-01T00:00:00+01:00
        return None


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
