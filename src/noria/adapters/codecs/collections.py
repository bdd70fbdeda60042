"""Lists, tuples and dictionaries that hold frames, arrays, models or files: their shape as a plain value, then the parts."""

from collections.abc import Iterable
from itertools import accumulate
from typing import cast

from noria.adapters.codecs.framing import framed, header_of, split
from noria.adapters.codecs.plain import COLLECTIONS, Part, Plain, too_deep
from noria.core import digests
from noria.core.codecs import Codecs, Encoded
from noria.core.errors import Invalid
from noria.core.payloads import Payload, places


class Collections:
    """Collections of which some part is not plain; each such part is carried by its own codec."""

    name = "collection"

    def __init__(self, plain: Plain, others: Codecs) -> None:
        self._plain = plain
        self._others = others

    def accepts(self, value: object) -> bool:
        """Say whether it is a collection with something in it that is not plain."""
        if type(value) not in COLLECTIONS:
            return False
        seen, waiting = {id(value)}, [value]
        while waiting:
            for item in _items(waiting.pop()):
                if type(item) not in COLLECTIONS:
                    if not self._plain.accepts(item):
                        return True
                elif id(item) not in seen:
                    seen.add(id(item))
                    waiting.append(item)
        return False

    def encode(self, value: object) -> Payload:
        """Return an index and the parts' bytes; raises `Invalid` with the place of a part that nothing carries."""
        parts: list[Encoded] = []
        try:
            shape = self._plain.encode(self._shape(value, "", parts))
        except RecursionError:
            raise too_deep() from None
        told = [[part.codec, part.digest, part.payload.size] for part in parts]
        return framed(
            {"shape": bytes(shape).decode(), "parts": told, "aligned": True}, [part.payload for part in parts]
        )

    def decode(self, payload: Payload) -> object:
        """Read the parts and put them into their places."""
        index, rest = split(payload, "collection")
        sizes = [size for _, _, size in index["parts"]]
        begins = places(sizes) if "aligned" in index else [*accumulate(sizes, initial=0)]
        parts = [
            self._others.decode(codec, rest.part(begin, size))
            for (codec, _, size), begin in zip(index["parts"], begins, strict=False)
        ]
        return _filled(self._plain.decode(Payload(index["shape"].encode())), parts)

    def digest(self, value: object, payload: Payload) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of the shape and of the parts' digests."""
        index, _ = header_of(payload, "collection")
        return digests.of_json([index["shape"], *([codec, digest] for codec, digest, _ in index["parts"])])

    def _shape(self, value: object, place: str, parts: list[Encoded]) -> object:
        """Return the collection with a number in place of each part that is not plain."""
        if type(value) is list or type(value) is tuple:
            items = enumerate(_items(cast("object", value)))
            return _alike(
                cast("object", value), [self._shape(item, f"{place}[{number}]", parts) for number, item in items]
            )
        if type(value) is dict:
            pairs = cast("dict[object, object]", value).items()
            return {key: self._shape(item, f"{place}[{key!r}]", parts) for key, item in pairs}
        if self._plain.accepts(value):
            return value
        try:
            parts.append(self._others.encode(value))
        except Invalid as problem:
            raise Invalid(f"{problem.sentence} at {place} inside a collection", hint=problem.hint) from problem
        return Part(len(parts) - 1)


def _items(value: object) -> Iterable[object]:
    return cast("dict[object, object]", value).values() if type(value) is dict else cast("list[object]", value)


def _alike(collection: object, items: list[object]) -> object:
    return tuple(items) if isinstance(collection, tuple) else items


def _filled(shape: object, parts: list[object]) -> object:
    if isinstance(shape, Part):
        return parts[shape.number]
    if isinstance(shape, list | tuple):
        return _alike(cast("object", shape), [_filled(item, parts) for item in cast("list[object]", shape)])
    if isinstance(shape, dict):
        return {key: _filled(item, parts) for key, item in cast("dict[str, object]", shape).items()}
    return shape
