"""The port through which values become bytes and come back; what cannot say how is refused, never pickled."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from noria.core.digests import Buffer
from noria.core.errors import Invalid, NoriaError, NotFound
from noria.core.payloads import Payload


class Codec(Protocol):
    """Turns one kind of value into bytes and back."""

    @property
    def name(self) -> str:
        """Return the stable name that is stored beside the bytes, for example `arrow`."""
        ...

    def accepts(self, value: object) -> bool:
        """Say whether this codec can carry the value; cheap, and never raises."""
        ...

    def encode(self, value: object) -> Payload:
        """Return the bytes of an accepted value, which may lie in it still. Raises `Invalid` if a part cannot be carried."""
        ...

    def decode(self, payload: Payload) -> object:
        """Return the value; equal in meaning to what was encoded, and the taker's own, whatever it does to it.

        It may lie where the payload lies, which is never changed. Raises `Invalid` on bytes it will not trust.
        """
        ...

    def digest(self, value: object, payload: Payload) -> str:
        """Return the digest of the value's logical content; `payload` is its encoding, for codecs whose bytes are canonical."""
        ...


class Encoded:
    """A value as bytes, with what is needed to find and read it again; its digest may be taken when it is asked for."""

    __slots__ = ("_digest", "codec", "payload")

    def __init__(self, codec: str, payload: Payload, digest: str | Callable[[], str]) -> None:
        self.codec = codec
        self.payload = payload
        self._digest = digest

    @property
    def digest(self) -> str:
        """Return the digest of the value. What stores the payload first takes that one's on the way, which may be it."""
        if not isinstance(self._digest, str):
            self._digest = self._digest()
        return self._digest


class Codecs:
    """The codecs of a platform, asked in order: the first that accepts a value carries it."""

    def __init__(self, codecs: Sequence[Codec]) -> None:
        self._codecs = tuple(codecs)

    def encode(self, value: object) -> Encoded:
        """Carry the value by the first codec that accepts it; raises `Invalid` when none does."""
        for codec in self._codecs:
            if codec.accepts(value):
                payload = codec.encode(value)
                return Encoded(codec.name, payload, partial(codec.digest, value, payload))
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise Invalid(
            f"no codec carries a {kind}",
            hint="return plain values, frames, NumPy arrays, scikit-learn models, paths of files, or lists and dictionaries of them",
        )

    def decode(self, name: str, payload: Payload | Buffer) -> object:
        """Read bytes that the codec of that name wrote; whatever goes wrong with bytes that it did not is `Invalid`."""
        for codec in self._codecs:
            if codec.name == name:
                return _decoded(codec, payload if isinstance(payload, Payload) else Payload(payload))
        raise NotFound("codec", name, known=[codec.name for codec in self._codecs])


def _decoded(codec: Codec, payload: Payload) -> object:
    try:
        return codec.decode(payload)
    except NoriaError:
        raise
    except Exception as problem:
        if isinstance(problem, MemoryError) or getattr(problem, "errno", None):  # of the machine, not of the bytes
            raise
        raise Invalid(
            f"these bytes are not what the codec {codec.name!r} writes: {type(problem).__name__}: {problem}",
            hint="were they stored by another version of Noria, or by other hands?",
        ) from problem
