"""Decides what a version is served as: ONNX if it says the same as the model on real rows, else as it was trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from noria.core.errors import Invalid, NoriaError, NotInstalled
from noria.datasets.columns import kind_of
from noria.pipelines.bundles import bundle_of
from noria.registry.model import Columns, Model
from noria.serving.model import ServableKind
from noria.serving.running import Converter, OnnxOpener
from noria.store.blobs import Blobs

if TYPE_CHECKING:
    import polars as pl

_MOST_ROWS = 5_000
_TOLERANCE = 1e-4
"""How far two scores may lie apart, of probabilities absolutely and of larger numbers relatively; ONNX counts in 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a version shall be served as; `blob` is its ONNX, `bundle` the user's modules that it needs."""

    kind: ServableKind
    inputs: dict[str, str]
    words: str
    blob: str | None = None
    bundle: str | None = None


class Preparer:
    """Prepares versions for serving. Whoever registers a version does it, so that a gateway has nothing to convert."""

    def __init__(self, blobs: Blobs, *, convert: Converter | None, opener: OnnxOpener) -> None:
        self._blobs = blobs
        self._convert = convert
        self._opener = opener

    def prepare(
        self, model: Model, rows: "pl.DataFrame", *, features: Sequence[str], functions: Sequence[Callable[..., Any]]
    ) -> Prepared:
        """Store what a model is served as: ONNX that was held against it on these rows, or its modules.

        `features` are the rows' columns that a preprocess may read; `functions` are what trained it, whose modules
        are kept together with those of the preprocess.
        """
        choice = choose(model, rows, features=features, convert=self._convert, opener=self._opener)
        reached = functions if model.preprocess is None else [*functions, model.preprocess]
        archive = bundle_of(reached)
        return Prepared(
            kind=choice.kind,
            inputs=choice.inputs,
            words=choice.words,
            blob=None if choice.payload is None else self._blobs.put(choice.payload),
            bundle=None if archive is None else self._blobs.put(archive),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How a model is best served, with the bytes of its ONNX."""

    kind: ServableKind
    inputs: dict[str, str]
    words: str
    payload: bytes | None = None


def choose(
    model: Model, rows: "pl.DataFrame", *, features: Sequence[str], convert: Converter | None, opener: OnnxOpener
) -> Choice:
    """Convert a model, and hold it against itself on rows that it will be judged by.

    `features` are the rows' columns that it may read: what a preprocess that is a function is fed.
    """
    preprocess = model.preprocess
    if not isinstance(preprocess, Columns):
        words = "its preprocess is a function" if preprocess else "it has no preprocess that says what it reads"
        return _native(rows, features, f"{words}; nr.columns(...) lets it run in the gateway")
    inputs = {name: kind_of(rows.schema[name]) for name in preprocess.names if name in rows.columns}
    inputs = {name: inputs.get(name, "float") for name in preprocess.names}
    try:
        return _converted(model, rows.head(_MOST_ROWS), inputs, convert=convert, opener=opener)
    except NoriaError as problem:
        return Choice(kind=ServableKind.NATIVE, inputs=inputs, words=f"served as trained: {problem.sentence}")


def _converted(
    model: Model, rows: "pl.DataFrame", inputs: dict[str, str], *, convert: Converter | None, opener: OnnxOpener
) -> Choice:
    if convert is None:
        raise NotInstalled("the ONNX converter", "onnx")
    if rows.height == 0:
        raise Invalid("there are no rows to check its conversion on")
    payload = convert(model, tuple(inputs))
    scorer = opener(payload, tuple(inputs), "the conversion")
    try:
        found = scorer.submit(rows[list(inputs)].to_dicts()).result()
    finally:
        scorer.close()
    native = model.predict(rows)
    apart = np.abs(np.asarray(found, dtype=np.float64) - native) / np.maximum(1.0, np.abs(native))
    worst = float(np.max(apart))
    if not worst <= _TOLERANCE:
        different = int(np.sum(~(apart <= _TOLERANCE)))
        raise Invalid(f"its conversion differs on {different:,} of {rows.height:,} rows, by up to {worst:.2g}")
    words = f"ONNX, within {worst:.1g} of the model on {rows.height:,} rows"
    return Choice(kind=ServableKind.ONNX, inputs=inputs, words=words, payload=payload)


def _native(rows: "pl.DataFrame", features: Sequence[str], words: str) -> Choice:
    inputs = {name: kind_of(rows.schema[name]) for name in features if name in rows.columns}
    return Choice(kind=ServableKind.NATIVE, inputs=inputs, words=f"served as trained: {words}")
