"""Large values on their way between processes of this machine: one is told where the other has left them, and maps them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from noria.adapters.codecs import standard
from noria.core.payloads import LARGE_BYTES
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


@dataclass(frozen=True, slots=True)
class Left:
    """A result that its process has stored itself."""

    artifact: Artifact


def left(value: object, folder: Path | None) -> object:
    """Store a large array or frame where whoever started this process will find it; anything else is sent as it is."""
    if folder is None or _bytes_of(value) < LARGE_BYTES:
        return value
    try:
        return Left(_values(folder).keep(value).artifact)
    except Exception:  # noqa: BLE001 - the run's own process meets it too, and says what it is
        return value


def _bytes_of(value: object) -> int:
    """Return how much memory an array or a frame takes; 0 for what does not say."""
    size: object = getattr(value, "estimated_size" if type(value).__module__.startswith("polars.") else "nbytes", 0)
    told = size() if callable(size) else size
    return told if isinstance(told, int) else 0


def _read(folder: Path, artifact: Artifact) -> object:
    return _values(folder).read(artifact)


@cache
def _values(folder: Path) -> Values:
    return Values(standard(), open_blobs(str(folder)))
