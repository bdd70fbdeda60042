"""The port through which values become bytes and come back; what cannot say how is refused, never pickled."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from noria.core.digests import Buffer
from noria.core.errors import Invalid, NoriaError, NotFound
from noria.core.payloads import Payload


class Codec(Protocol):
    """Turns one kind of value into bytes and back."""

    @property
    def name(self) -> str:
        """Return the stable name that is stored beside the bytes, for example `arrow`."""
        ...

    def carries(self, kind: type[Any]) -> bool:
        """Say whether this codec may carry values of exactly this type; what annotates a step is asked about by it."""
        ...

    def accepts(self, value: object) -> bool:
        """Say whether this codec can carry the value; cheap, and never raises."""
        ...

    def encode(self, value: object) -> Payload:
        """Return the bytes of an accepted value, which may lie in it still. Raises `Invalid` if a part cannot be carried."""
        ...

    def decode(self, payload: Payload) -> object:
        """Return the value: equal to what was encoded, types included, and the taker's own, whatever it does to it.

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

    def carries(self, kind: type[Any]) -> bool:
        """Say whether some codec may carry values of exactly this type."""
        return any(codec.carries(kind) for codec in self._codecs)

    def encode(self, value: object) -> Encoded:
        """Carry the value by the first codec that accepts it; raises `Invalid` when none does, or when that one fails."""
        name = ""
        try:
            for codec in self._codecs:
                name = codec.name
                if codec.accepts(value):
                    payload = codec.encode(value)
                    return Encoded(name, payload, partial(_digest, codec, value, payload))
        except BaseException as problem:
            if _is_of_the_value(problem):
                raise _unwritten(name, value, problem) from problem
            raise
        raise Invalid(
            f"no codec carries a {name_of(type(value))}",
            hint="return plain values, dataclasses, frames, NumPy arrays, scikit-learn models, paths of files, or"
            " lists and dictionaries of them",
        )

    def decode(self, name: str, payload: Payload | Buffer) -> object:
        """Read bytes that the codec of that name wrote; whatever goes wrong with bytes that it did not is `Invalid`."""
        for codec in self._codecs:
            if codec.name == name:
                return _decoded(codec, payload if isinstance(payload, Payload) else Payload(payload))
        raise NotFound("codec", name, known=[codec.name for codec in self._codecs])


def name_of(kind: type[Any]) -> str:
    """Return what a type is called in errors."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _decoded(codec: Codec, payload: Payload) -> object:
    try:
        return codec.decode(payload)
    except BaseException as problem:
        if not _is_of_the_value(problem):
            raise
        raise Invalid(
            f"these bytes are not what the codec {codec.name!r} writes: {_said(problem)}",
            hint="were they stored by another version of Noria, or by other hands?",
        ) from problem


def _digest(codec: Codec, value: object, payload: Payload) -> str:
    try:
        return codec.digest(value, payload)
    except BaseException as problem:
        if _is_of_the_value(problem):
            raise _unwritten(codec.name, value, problem) from problem
        raise


def too_deep() -> Invalid:
    """Return what is raised for a value that is inside itself, or as good as that."""
    return Invalid(TOO_DEEP, hint="is it inside itself?")


TOO_DEEP = "a value too deep to be stored"


def _unwritten(codec: str, value: object, problem: BaseException) -> Invalid:
    if isinstance(problem, RecursionError):
        return too_deep()
    return Invalid(
        f"the codec {codec!r} cannot carry this {name_of(type(value))}: {_said(problem)}",
        hint="return it in simpler parts: numbers, texts, lists, dictionaries, arrays or frames of one type a column",
    )


def _is_of_the_value(problem: BaseException) -> bool:
    """Say whether a library failed on a value or on bytes: neither Noria in words, nor for want of memory or disk.

    A panic of Polars is of the value, too; it is no `Exception`.
    """
    if isinstance(problem, NoriaError | MemoryError) or getattr(problem, "errno", None):
        return False
    return isinstance(problem, Exception) or type(problem).__name__ == "PanicException"


def _said(problem: BaseException) -> str:
    try:
        text = str(problem).strip()
    except Exception:  # noqa: BLE001 - an error of a user's own kind may do anything here
        text = ""
    return f"{type(problem).__name__}: {text.partition(chr(10))[0]}"
