"""Erases keys from what runs keep: results that hold one are dropped, and texts that name one are blotted out.

A result is dropped whole and not written anew: it is known by the digest of what its step returned, and a cache that
answered with less would say what no step has ever said. Dropped, it is made again by whoever needs it.
"""

import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from types import MemberDescriptorType
from typing import Any, cast
from uuid import UUID

from noria.core.context import Context
from noria.core.errors import CodeChanged, Invalid, NotFound
from noria.runs import forgetting
from noria.runs.model import Artifact
from noria.runs.values import Values
from noria.store.database import Connection, Database

_BLOT = "[erased]"
_READ = frozenset(
    {
        *("plain", "collection", "arrow", "arrow-series", "pandas", "npy"),
        *("polars-parts", "pandas-parts", "numpy-parts", "pyarrow"),
    }
)
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
        except (Invalid, CodeChanged):  # a value of a class that is not there any more, or not as it was
            content = bytes(self._values.payload(artifact))
            return any(key.encode() in content for key in keys)


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
            others = [name for name in entries if not isinstance(name, str)]
            yield from (texts for each in (*others, *entries.values()) for texts in _texts_of(each, column))
        case UUID():
            yield [value]
        case Enum():
            yield from _texts_of(value.value, column)
        case list() | tuple() | set() | frozenset() | deque():
            yield from (texts for each in cast("Collection[object]", value) for texts in _texts_of(each, column))
        case _:
            yield from _texts_of_table(value, column)


def _texts_of_table(value: object, column: str) -> Iterator[Iterable[object]]:
    """Yield the texts of a frame, an array or a table, and of an object of a user's class."""
    match value:
        case _ if hasattr(value, "iter_columns"):
            yield from _columns_of(value, column)
        case _ if hasattr(value, "nlevels") or hasattr(value, "iloc"):
            yield from _texts_of_pandas(value, column)
        case _ if hasattr(value, "to_frame") and not hasattr(value, "columns"):  # a column of Polars
            yield from _texts_of(cast("Any", value).to_frame(), column)
        case _ if hasattr(value, "to_pylist"):  # a table or a column of Arrow
            yield from _texts_of(cast("Any", value).to_pylist(), column)
        case _ if getattr(getattr(value, "dtype", None), "kind", "") in {"U", "S"}:
            yield cast("Any", value).ravel().tolist()
        case _ if getattr(getattr(value, "dtype", None), "kind", "") == "O":
            yield from _texts_of(cast("Any", value).ravel().tolist(), column)
        case _:
            yield from _texts_of(list(_attributes(value)), column)


def _attributes(value: object) -> Iterator[object]:
    """Yield what an object of a user's class holds: in its `__dict__`, and in its slots."""
    yield from getattr(value, "__dict__", {}).values()
    for base in type(value).__mro__:
        for slot in vars(base).values():
            if type(slot) is MemberDescriptorType and hasattr(value, slot.__name__):
                yield slot.__get__(value)


def _texts_of_pandas(value: Any, column: str) -> Iterator[Iterable[object]]:  # noqa: ANN401 - a frame, a series or an index
    """Yield the texts of each column and of each level of the index, which may be the key."""
    index = value if hasattr(value, "nlevels") else value.index
    named = [(name, index.get_level_values(level)) for level, name in enumerate(index.names)]
    if hasattr(value, "columns"):
        named += [(name, value.iloc[:, place]) for place, name in enumerate(value.columns)]
    elif value is not index:
        named.append((value.name, value))
    for name, part in named:
        if part.dtype == object:
            yield from _texts_of(part.tolist(), column)
        if name == column or part.dtype.kind not in "biufcmM":
            yield part.astype(str).unique()


def _columns_of(frame: Any, column: str) -> Iterator[Iterable[object]]:  # noqa: ANN401 - a Polars frame, which is not loaded to name it
    import polars as pl  # noqa: PLC0415 - a program without frames does not pay for it

    for each in cast("pl.DataFrame", frame).iter_columns():
        if each.dtype == pl.Object:
            yield from _texts_of(each.to_list(), column)
        elif each.name == column or isinstance(each.dtype, pl.String | pl.Categorical | pl.Enum):
            yield each.cast(pl.String).unique()


def _blotted(text: str, key: str) -> str:
    """Return a text without a key where it stands as a word of its own."""
    return re.sub(rf"(?<!\w){re.escape(key)}(?!\w)", _BLOT, text)
