"""Large values on their way to another process of this machine: it is told in which folder they lie, and maps them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from noria.adapters.codecs import standard
from noria.runs.model import Artifact
from noria.runs.values import Several, Value, Values
from noria.store.blobs import open_blobs


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value lies; in the process in which it is unpickled it becomes the value."""

    folder: Path
    artifact: Artifact

    def __reduce__(self) -> tuple[object, ...]:
        return _read, (self.folder, self.artifact)


def sent(made: Value | Several) -> object:
    """Return what to send of a value: where it lies, if it is large, else the value itself."""
    if isinstance(made, Several):
        return [sent(value) for value in made.values]
    folder = made.leave()
    return made.take() if folder is None else Place(folder, made.artifact)


def _read(folder: Path, artifact: Artifact) -> object:
    return _values(folder).read(artifact)


@cache
def _values(folder: Path) -> Values:
    return Values(standard(), open_blobs(str(folder)))
