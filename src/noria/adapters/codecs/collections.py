"""Collections and objects that hold frames, arrays, models or files: their shape as a plain value, then the parts."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

from noria.adapters.codecs.framing import framed, header_of, split
from noria.adapters.codecs.plain import COLLECTIONS, Plain, contents_of, read, spelled
from noria.core import digests
from noria.core.codecs import TOO_DEEP, Codecs, Encoded
from noria.core.errors import Invalid
from noria.core.payloads import Payload, places
from noria.pipelines.model import Ref

_SINGLE = frozenset({type(None), bool, int, float, str, bytes})


class Collections:
    """Collections of which some part is not plain; each such part is carried by its own codec."""

    name = "collection"

    def __init__(self, plain: Plain, others: Callable[[], Codecs]) -> None:
        self._plain = plain
        self._others = others

    def carries(self, kind: type[Any]) -> bool:
        """Say whether it is a type of collections."""
        return kind in COLLECTIONS

    def accepts(self, value: object) -> bool:
        """Say whether it is a collection with something in it that is not plain."""
        if type(value) in _SINGLE or not self._plain.accepts(value):
            return False
        seen, waiting = {id(value)}, [value]
        while waiting:
            for item in contents_of(waiting.pop()):
                if type(item) in _SINGLE:
                    continue
                if not self._plain.accepts(item):
                    return True
                if id(item) not in seen:
                    seen.add(id(item))
                    waiting.append(item)
        return False

    def encode(self, value: object) -> Payload:
        """Return an index and the parts' bytes; raises `Invalid` with the place of a part that nothing carries."""
        parts: list[Encoded] = []
        shape = spelled(value, lambda part, place: self._carry(part, place, parts))
        told = [[part.codec, part.digest, part.payload.size] for part in parts]
        return framed({"shape": shape, "parts": told, "aligned": True}, [part.payload for part in parts])

    def decode(self, payload: Payload) -> object:
        """Read the parts and put them into their places."""
        index, rest = split(payload, "collection")
        sizes = [size for _, _, size in index["parts"]]
        begins = places(sizes) if "aligned" in index else [*accumulate(sizes, initial=0)]
        parts = [
            self._others().decode(codec, rest.part(begin, size))
            for (codec, _, size), begin in zip(index["parts"], begins, strict=False)
        ]
        return read(index["shape"], parts)

    def digest(self, value: object, payload: Payload) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of the shape and of the parts' digests."""
        index, _ = header_of(payload, "collection")
        return digests.of_json([index["shape"], *([codec, digest] for codec, digest, _ in index["parts"])])

    def _carry(self, part: object, place: str, parts: list[Encoded]) -> int:
        """Carry what is not plain, and return its number."""
        if isinstance(part, Ref):
            raise Invalid(
                f"{part.label} is not known yet, and stands inside a value, at {place}",
                hint="hand it to the step by itself, or in a list, a tuple or a dictionary",
            )
        try:
            parts.append(self._others().encode(part))
        except Invalid as problem:
            if problem.sentence == TOO_DEEP:
                raise
            raise Invalid(f"{problem.sentence} at {place} inside a collection", hint=problem.hint) from problem
        return len(parts) - 1
