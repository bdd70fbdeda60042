"""Erases keys from what runs keep: results that hold one are dropped, and texts that name one are blotted out.

A result is dropped whole and not written anew: it is known by the digest of what its step returned, and a cache that
answered with less would say what no step has ever said. Dropped, it is made again by whoever needs it.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, cast

from noria.core.context import Context
from noria.core.errors import NotFound
from noria.runs import forgetting
from noria.runs.model import Artifact
from noria.runs.values import Values
from noria.store.database import Connection, Database

_BLOT = "[erased]"
_READ = frozenset({"plain", "collection", "arrow", "arrow-series", "pandas", "npy"})
"""The codecs whose values are looked into; a model is no list of rows, and a file may be anything."""


class RunEraser:
    """Finds and drops the results of a project's runs that hold keys."""

    def __init__(self, database: Database, values: Values) -> None:
        self._database = database
        self._values = values

    def find(self, context: Context, keys: Collection[str], *, column: str) -> list[Artifact]:
        """Return the kept values that hold one of the keys: in the dataset's key `column`, or in any text."""
        kept = self._database.read(lambda c: forgetting.artifacts(c, context.project))
        return [artifact for artifact in kept if self._holds(artifact, frozenset(keys), column)]

    def erase(self, context: Context, keys: Collection[str], *, column: str) -> int:
        """Drop what `find` finds, bytes first, so that an erasure that a crash cut short is done again.

        Attempts that lose their result are marked as erased, and a run that goes on makes it again; the cache misses.
        """
        found = self.find(context, keys, column=column)
        for blob in {artifact.blob for artifact in found if artifact.blob}:
            if not self._database.read(lambda c, blob=blob: forgetting.is_of_others(c, context.project, blob)):
                self._values.blobs.drop(blob)

        def work(connection: Connection) -> None:
            forgetting.forget_artifacts(connection, context.project, [artifact.digest for artifact in found])
            for key in keys:
                if not key.isdigit():  # a number stands in texts for many things
                    forgetting.rewrite_texts(
                        connection, context.project, key, lambda text, key=key: _blotted(text, key)
                    )

        self._database.write(work)
        return len(found)

    def _holds(self, artifact: Artifact, keys: frozenset[str], column: str) -> bool:
        if artifact.codec not in _READ:
            return False
        try:
            return any(_holds(part, keys) for part in _texts_of(self._values.read(artifact), column))
        except NotFound:  # its bytes were dropped by an erasure that was cut short
            return True


def _holds(texts: Iterable[object], keys: frozenset[str]) -> bool:
    return any(str(text) in keys for text in texts)


def _texts_of(value: object, column: str) -> Iterator[Iterable[object]]:
    """Yield the texts of a value, and what its key column holds."""
    match value:
        case str():
            yield [value]
        case dict():
            entries = cast("dict[object, object]", value)
            yield (name for name in entries if isinstance(name, str))
            yield from (texts for each in entries.values() for texts in _texts_of(each, column))
        case list() | tuple():
            yield from (texts for each in cast("Collection[object]", value) for texts in _texts_of(each, column))
        case _ if hasattr(value, "iter_columns"):
            yield from _columns_of(value, column)
        case _ if hasattr(value, "to_frame") and not hasattr(value, "columns"):  # one column, or an index
            yield from _texts_of(cast("Any", value).to_frame(), column)
        case _ if hasattr(value, "reset_index"):  # a frame of pandas, whose index may be the key
            flat = cast("Any", value).reset_index()
            names = [name for name in flat.columns if name == column or flat[name].dtype.kind not in "biufcmM"]
            yield from (flat[name].astype(str).unique() for name in names)
        case _ if getattr(getattr(value, "dtype", None), "kind", "") in {"U", "S"}:
            yield cast("Any", value).ravel().tolist()
        case _:
            return


def _columns_of(frame: Any, column: str) -> Iterator[Iterable[object]]:  # noqa: ANN401 - a Polars frame, which is not loaded to name it
    import polars as pl  # noqa: PLC0415 - a program without frames does not pay for it

    for each in cast("pl.DataFrame", frame).iter_columns():
        if each.name == column or isinstance(each.dtype, pl.String | pl.Categorical | pl.Enum):
            yield each.cast(pl.String).unique()


def _blotted(text: str, key: str) -> str:
    """Return a text without a key where it stands as a word of its own."""
    return re.sub(rf"(?<!\w){re.escape(key)}(?!\w)", _BLOT, text)
