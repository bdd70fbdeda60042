"""Decides what a version is served as: ONNX if it says the same as the model on every row tried, else as it was trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from noria.core.errors import Invalid, NoriaError, NotInstalled
from noria.datasets.columns import kind_of
from noria.pipelines.bundles import bundle_of
from noria.registry.model import Columns, Model
from noria.serving import golden, proving
from noria.serving.golden import Golden
from noria.serving.model import ServableKind
from noria.serving.running import Converter, OnnxOpener, Scorer
from noria.store.blobs import Blobs

if TYPE_CHECKING:
    import polars as pl

_MOST_ROWS = 5_000
_MOST_WITH_GAPS = 4_000
_ROWS_A_GAP = 200
"""How many judged rows are tried without a column, for each column that the model can do without."""
_MOST_BESIDE = 500
"""Among how many judged rows golden ones are scored, to see whether the rows beside a row make a difference."""
_UNTOLD = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a version shall be served as; `blob` is its ONNX, `bundle` the user's modules, `golden` its golden rows."""

    kind: ServableKind
    inputs: dict[str, str]
    words: str
    blob: str | None = None
    bundle: str | None = None
    golden: str | None = None


class Preparer:
    """Prepares versions for serving. Whoever registers a version does it, so that a gateway has nothing to convert."""

    def __init__(self, blobs: Blobs, *, convert: Converter | None, opener: OnnxOpener) -> None:
        self._blobs = blobs
        self._convert = convert
        self._opener = opener

    def prepare(
        self,
        model: Model,
        rows: "pl.DataFrame",
        *,
        features: Sequence[str],
        functions: Sequence[Callable[..., Any]],
        key: str | None = None,
    ) -> Prepared:
        """Store what a model is served as: ONNX that was held against it on these rows, or its modules.

        `features` are the rows' columns that a preprocess may read; `functions` are what trained it, whose modules
        are kept together with those of the preprocess; `key` is the column by which golden rows can be erased.

        Raises `Invalid` for a model whose scores change by chance, or with the rows beside a row.
        """
        choice = choose(model, rows, features=features, convert=self._convert, opener=self._opener, key=key)
        reached = functions if model.preprocess is None else [*functions, model.preprocess]
        archive = bundle_of(reached)
        return Prepared(
            kind=choice.kind,
            inputs=choice.inputs,
            words=choice.words,
            blob=None if choice.payload is None else self._blobs.put(choice.payload),
            bundle=None if archive is None else self._blobs.put(archive),
            golden=None if choice.golden is None else self._blobs.put(choice.golden.encoded()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How a model is best served, with the bytes of its ONNX, and its golden rows where some could be made."""

    kind: ServableKind
    inputs: dict[str, str]
    words: str
    payload: bytes | None = None
    golden: Golden | None = None


def choose(
    model: Model,
    rows: "pl.DataFrame",
    *,
    features: Sequence[str],
    convert: Converter | None,
    opener: OnnxOpener,
    key: str | None = None,
) -> Choice:
    """Make golden rows, convert a model, and hold it against itself on rows that it will be judged by.

    `features` are the rows' columns that it may read: what a preprocess that is a function is fed. Raises `Invalid`
    for a model whose scores change by chance, or with the rows beside a row.
    """
    preprocess = model.preprocess
    is_columns = isinstance(preprocess, Columns)
    names = preprocess.names if isinstance(preprocess, Columns) else [name for name in features if name in rows.columns]
    inputs = {name: kind_of(rows.schema[name]) if name in rows.columns else _UNTOLD for name in names}
    if is_columns:  # it reads numbers, whatever has been seen of them so far
        inputs = {name: "float" if kind == _UNTOLD else kind for name, kind in inputs.items()}
    found, doubt = _golden(model, rows.head(_MOST_ROWS), inputs, key=key)
    if not is_columns:
        words = "its preprocess is a function" if preprocess else "it has no preprocess that says what it reads"
        words = f"served as trained: {words}; nr.columns(...) lets it run in the gateway{doubt}"
        return Choice(kind=ServableKind.NATIVE, inputs=inputs, words=words, golden=found)
    try:
        if found is None:
            raise Invalid(doubt.removeprefix("; ") or "there are no rows to check its conversion on")
        return _converted(model, rows.head(_MOST_ROWS), found, convert=convert, opener=opener)
    except NoriaError as problem:
        words = f"served as trained: {problem.sentence}"
        return Choice(kind=ServableKind.NATIVE, inputs=inputs, words=words, golden=found)


def _golden(
    model: Model, rows: "pl.DataFrame", inputs: dict[str, str], *, key: str | None
) -> tuple[Golden | None, str]:
    """Return golden rows; or None, and why there are none. Raises `Invalid` for a model that may not be served at all."""
    whole = rows if rows.height == 0 else _without_nan(rows, list(inputs))
    if whole.height == 0:
        return None, "; there are no rows to check its conversion on, and none to make golden rows of"
    whole = whole.gather_every(1 + whole.height // _MOST_BESIDE)
    places = golden.places_of(whole.height)
    probes = golden.judged_probes(whole[places], inputs, key=key)
    ask = golden.asking_model(model, inputs)
    with golden.quiet():
        try:
            judged = _judged(model, whole, places)
            asked = ask([probe.row for probe in probes])
        except Exception as problem:  # noqa: BLE001 - users' code may raise anything
            reason = problem.sentence if isinstance(problem, NoriaError) else f"{type(problem).__name__}: {problem}"
            return None, f"; no golden rows: rows as a request sends them are refused: {reason[:200]}"
        _must_be_steady(ask, probes, judged=judged, asked=asked)
        is_code = not isinstance(model.preprocess, Columns)
        probes += golden.changed_probes(probes, inputs, is_code=is_code)
        scores = [*asked, *golden.said(ask, [probe.row for probe in probes[len(asked) :]])]
    made = [probe.scored(score) for probe, score in zip(probes, scores, strict=True)]
    return Golden(inputs=list(inputs.items()), rows=made), ""


def _judged(model: Model, rows: "pl.DataFrame", places: Sequence[int]) -> list[float | None]:
    """Return the scores that some rows have among all of them, as they were when the model was judged."""
    scores = np.asarray(model.predict(rows), dtype=np.float64)
    if scores.shape != (rows.height,):
        raise Invalid(f"it gives scores of shape {scores.shape} for {rows.height:,} rows")
    return [float(scores[place]) if np.isfinite(scores[place]) else None for place in places]


def _must_be_steady(
    ask: golden.Ask, probes: Sequence[golden.Probe], *, judged: Sequence[float | None], asked: Sequence[float | None]
) -> None:
    """Raise `Invalid` for a model that does not give a row the score that it was judged by, whenever and however asked."""
    rows = [probe.row for probe in probes]
    few = range(0, len(rows), max(1, len(rows) // golden.ALONE))
    tries = {
        "scores change from one asking to the next, with the same rows": (
            golden.said(ask, rows),
            asked,
            range(len(rows)),
        ),
        "score of a row depends on the rows beside it": (
            [golden.said(ask, [rows[place]])[0] for place in few],
            [asked[place] for place in few],
            few,
        ),
        "scores of rows as a request sends them are not those it was judged by": (asked, judged, range(len(rows))),
    }
    for words, (found, expected, places) in tries.items():
        distance = golden.apart(found, expected)
        wrong = int(np.sum(~(distance <= golden.EXACT)))
        if wrong:
            raise Invalid(
                f"the {words}: {wrong} of {len(places)} rows differ, by up to {float(np.max(distance)):.2g}",
                hint="let the preprocess depend on nothing but the row itself: no clock, no chance, no other rows",
            )


def _converted(
    model: Model, rows: "pl.DataFrame", made: Golden, *, convert: Converter | None, opener: OnnxOpener
) -> Choice:
    if convert is None:
        raise NotInstalled("the ONNX converter", "onnx")
    inputs = dict(made.inputs)
    payload = convert(model, tuple(inputs))
    scorer = opener(payload, tuple(inputs), "the conversion")
    try:
        worst, count = _compared(model, rows, made, scorer)
        proving.proved(scorer, made, within=golden.ROUNDED, who="its conversion")
    finally:
        scorer.close()
    words = f"ONNX, within {worst:.1g} of the model on {count:,} rows, and on {len(made.rows)} golden rows"
    return Choice(kind=ServableKind.ONNX, inputs=inputs, words=words, payload=payload, golden=made)


def _compared(model: Model, rows: "pl.DataFrame", made: Golden, scorer: Scorer) -> tuple[float, int]:
    """Return how far ONNX is from the model at the most, over how many rows; raises `Invalid` if it is too far.

    The rows are those that it will be judged by, and some of them without each of the columns.
    """
    names = [name for name, _ in made.inputs]
    missing = [name for name in names if name not in made.refused_without and name in rows.columns]
    each = min(_ROWS_A_GAP, _MOST_WITH_GAPS // max(1, len(missing)))
    tries = {"": rows} | {f" without {name!r}": rows.head(each).with_columns(_nothing(rows, name)) for name in missing}
    worst, count = 0.0, 0
    for words, tried in tries.items():
        with golden.quiet():
            native = [float(score) if np.isfinite(score) else None for score in model.predict(tried)]
        found = scorer.submit(tried[[n for n in names if n in tried.columns]].to_dicts()).result()
        distance = golden.apart(found, native)
        if not np.all(distance <= golden.ROUNDED):
            different = int(np.sum(~(distance <= golden.ROUNDED)))
            by = float(np.max(distance))
            raise Invalid(f"its conversion differs on {different:,} of {tried.height:,} rows{words}, by up to {by:.2g}")
        worst, count = max(worst, float(np.max(distance, initial=0.0))), count + tried.height
    return worst, count


def _nothing(rows: "pl.DataFrame", name: str) -> "pl.Expr":
    import polars as pl  # noqa: PLC0415 - a gateway without native models needs none

    return pl.lit(None, rows.schema[name]).alias(name)


def _without_nan(rows: "pl.DataFrame", names: Sequence[str]) -> "pl.DataFrame":
    """Return the rows that a request can send as they are: JSON has no NaN."""
    floats = [rows[name] for name in names if rows.schema[name].is_float()] if rows.height else []
    return rows.filter(*(one.is_finite().fill_null(value=True) for one in floats)) if floats else rows
