"""Values as artifacts: encoded, stored inline when small and else as blobs, and read back for each taker."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from reprlib import Repr
from typing import Any, cast

from noria.core import digests
from noria.core.codecs import Codecs, Encoded
from noria.core.errors import Invalid
from noria.core.masking import masked
from noria.core.payloads import Payload
from noria.pipelines.model import Input
from noria.runs.files import read_own
from noria.runs.model import Artifact
from noria.store.blobs import Blobs

_PLAIN = "plain"
_INPUT = "input"
_INLINE_BYTES = 4096
_LONGEST_WORDS = 200
_GONE = object()
_ELSEWHERE = frozenset({"file", "collection"})
"""Values that may lead to files, which their step may have deleted: each is read back."""
_UNCHANGING = frozenset({type(None), bool, int, float, str, bytes})
_SHARED = frozenset({"arrow", "arrow-series"})
"""Frames and columns of Polars: clones share what is in them, and who writes to one writes to memory of its own."""


class Value:
    """A value of a run, known by its digest: each time it is taken, the taker gets one of its own."""

    __slots__ = ("_held", "_source", "_values", "artifact")

    def __init__(
        self, values: "Values", artifact: Artifact, *, held: object = _GONE, source: Input | None = None
    ) -> None:
        self._values = values
        self.artifact = artifact
        self._held = held
        self._source = source

    @property
    def digest(self) -> str:
        """Return the digest of the value."""
        return self.artifact.digest

    @property
    def is_plain(self) -> bool:
        """Say whether the value is a plain one, which a pipeline is handed as it is."""
        return self.artifact.codec == _PLAIN

    @property
    def is_stored(self) -> bool:
        """Say whether its bytes are kept, so that others can read them; of an `Input` only the digest is."""
        return self.artifact.codec != _INPUT

    def leave(self) -> Path | None:
        """Let go of a large value and return the folder that any process of this machine can map it from; None for others."""
        if not self.artifact.blob or self.artifact.codec in _ELSEWHERE:
            return None
        folder = self._values.blobs.folder_of_large(self.artifact.blob)
        if folder is not None:
            self._held = _GONE
        return folder

    def take(self) -> object:
        """Return the value, one of the taker's own: what was stored, read anew, unless nobody can change it.

        So neither what a taker does to it, nor what is done later to the object that it was made of, is seen by another.
        """
        held = self._held
        if held is _GONE:
            return self._source.load() if self._source is not None else self._values.read(self.artifact)
        if type(held) in _UNCHANGING:
            return held
        self._held = _GONE  # so that no frame is held longer than needed
        return cast("Any", held).clone()


class Item:
    """One item of a list that is kept as a whole: what was read with it to its first try, and read anew to each later one."""

    __slots__ = ("_held", "_place", "_whole", "digest")

    def __init__(self, whole: Value, place: int, *, held: object, digest: str) -> None:
        self._whole = whole
        self._place = place
        self._held = held
        self.digest = digest

    def take(self) -> object:
        """Return the item, one of the taker's own."""
        held, self._held = self._held, _GONE
        return cast("list[object]", self._whole.take())[self._place] if held is _GONE else held


@dataclass(frozen=True, slots=True)
class Several:
    """The values that a map has made, each kept by itself; as a whole they are the list of them."""

    values: list[Value]

    @property
    def digest(self) -> str:
        """Return the digest, which is that of a list of such results."""
        return of_structure([value.digest for value in self.values], "list")

    def take(self) -> object:
        """Return a list of values of its own."""
        return [value.take() for value in self.values]


Taking = Callable[[Value | Several], object]
"""What an executor wants of the values that a step is given: themselves, or whatever leads another machine to them."""


def take(made: Value | Several) -> object:
    """Return what an argument is made of, for a step that is called in this process."""
    return made.take()


@dataclass(frozen=True, slots=True)
class Values:
    """The codecs and the blobs together."""

    codecs: Codecs
    blobs: Blobs

    def keep(self, value: object) -> Value:
        """Encode and store a value; one that an executor has stored is as it is. Raises `Invalid` when no codec carries it."""
        if isinstance(value, Value):
            return value
        encoded = self.codecs.encode(value)
        return Value(self, self.put(encoded), held=_held(value, encoded.codec))

    def put(self, encoded: Encoded) -> Artifact:
        """Store an encoded value."""
        if encoded.codec == _PLAIN and encoded.payload.size <= _INLINE_BYTES:
            return Artifact(codec=encoded.codec, digest=encoded.digest, inline=bytes(encoded.payload).decode())
        blob = self.blobs.put(encoded.payload)
        return Artifact(codec=encoded.codec, digest=encoded.digest, blob=blob)

    def given(self, value: object) -> Value:
        """Keep a parameter of a run: an `Input` by its digest alone, anything else with its content."""
        if isinstance(value, Input) and not isinstance(value, type):
            return Value(self, Artifact(codec=_INPUT, digest=value.digest), source=value)
        return self.keep(value)

    def digest(self, value: object) -> str:
        """Return the digest of a value that need not be stored."""
        return self.codecs.encode(value).digest

    def stored(self, artifact: Artifact) -> Value:
        """Return a value that was stored before. Raises `Invalid` for an `Input`, of which only the digest was."""
        return Value(self, artifact)

    def read(self, artifact: Artifact) -> object:
        """Read a stored value."""
        if artifact.codec == _INPUT:
            raise Invalid(
                f"the value with the digest {artifact.digest[:12]} was given by reference and not stored",
                hint='hand it in again: runs.resume(context, id, params={"name": ...})',
            )
        payload = self.payload(artifact)
        if artifact.codec == _PLAIN:
            return self.codecs.decode(artifact.codec, payload)
        return read_own(lambda: self.codecs.decode(artifact.codec, payload), size=payload.size)

    def payload(self, artifact: Artifact) -> Payload:
        """Return the bytes of a stored value, large ones where they lie."""
        if artifact.inline is not None:
            return Payload(artifact.inline.encode())
        return self.blobs.payload(artifact.blob)


def is_unchanging(value: object) -> bool:
    """Say whether nobody can change a value, so that all may have the same one."""
    return type(value) in _UNCHANGING


def _held(value: object, codec: str) -> object:
    """Return what the first taker may be given without reading: what nobody can change; nothing for all else."""
    if type(value) in _UNCHANGING:
        return value
    return cast("Any", value).clone() if codec in _SHARED else _GONE


def words(value: object) -> str:
    """Return a short spelling of a value for people."""
    if isinstance(value, Input):
        return _short(f"{value}")
    if hasattr(value, "shape"):
        return f"{type(value).__name__} of shape {cast('Any', value).shape}"
    return _short(_speller.repr(value))


def _short(text: str) -> str:
    text = masked(text)
    return text if len(text) <= _LONGEST_WORDS else f"{text[:_LONGEST_WORDS]}..."


_speller = Repr()
_speller.maxstring = _speller.maxother = _LONGEST_WORDS
_speller.maxlist = _speller.maxtuple = _speller.maxdict = 20


def of_structure(parts: list[str], kind: str) -> str:
    """Return the digest of a list, a tuple or a dictionary from those of its items."""
    return digests.of_parts([kind.encode(), *(part.encode() for part in parts)])
