"""Plain values as JSON: Python's own types, users' own classes of fields, and collections of these."""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

from noria.adapters.codecs import classes, library_kinds, python_kinds
from noria.adapters.codecs.spelling import AS_JSON, Kind, Other, Reader, Speller, nothing, text_of
from noria.core.errors import Invalid
from noria.core.payloads import Payload

COLLECTIONS = frozenset({list, dict})


@lru_cache(maxsize=4096)
def kind_of(kind: type[Any]) -> Kind | None:
    """Return how values of exactly this type are spelled; None for a type that plain values do not have."""
    known = python_kinds.KINDS.get(kind)
    if known is not None:
        return known
    module, name = kind.__module__, kind.__qualname__
    if module.partition(".")[0] == "pandas" and name in library_kinds.PANDAS:
        return library_kinds.PANDAS[name]
    if module == "numpy":
        return library_kinds.NUMPY if any(base.__name__ == "generic" for base in kind.__mro__) else None
    return python_kinds.NAMED.get(f"{module}.{name}") or classes.kind_of_class(kind)


def contents_of(value: object) -> Iterable[object]:
    """Return the values inside a collection, or inside an object of a user's class; nothing for a single value."""
    if type(value) is list:
        return cast("list[object]", value)
    if type(value) is dict:
        return cast("dict[object, object]", value).values()
    kind = kind_of(type(value))
    return () if kind is None else kind.contents(value)


def spelled(value: object, other: Other | None = None) -> str:
    """Return a value as the JSON text that it has. What is not plain goes to `other`, or is refused as `Invalid`."""
    return text_of(Speller(kind_of, other=other).spell(value))


def read(text: str | bytes, parts: list[object] | None = None) -> object:
    """Return the value that was spelled; `parts` are what had gone to `other`."""
    return Reader(_MARKS, kind_of, parts or ()).read(json.loads(text))


class Plain:
    """What JSON can say, once it is spelled: numbers, texts, bytes, times, collections, and objects of users' classes.

    The digest is of the spelling: 1, 1.0 and True are three values, and so are dictionaries in another order.
    """

    name = "plain"

    def carries(self, kind: type[Any]) -> bool:
        """Say whether it is a type of plain values, or of collections."""
        return kind in _SIMPLE or kind_of(kind) is not None

    def accepts(self, value: object) -> bool:
        """Say whether it is a plain value, or a collection that may be one."""
        return self.carries(type(value))

    def encode(self, value: object) -> Payload:
        """Return the value's JSON; raises `Invalid` with the place of whatever is not plain."""
        try:
            return Payload(spelled(value).encode())
        except UnicodeEncodeError as problem:
            raise Invalid(f"a text that is no Unicode: {problem}", hint="return it as bytes") from None

    def decode(self, payload: Payload) -> object:
        """Read the value."""
        return read(bytes(payload))

    def digest(self, value: object, payload: Payload) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of the spelling, which is the only one the value has."""
        return payload.digest


_SIMPLE = AS_JSON | COLLECTIONS
_MARKS: Mapping[str, Kind] = {
    kind.mark: kind
    for kind in (
        *python_kinds.KINDS.values(),
        *python_kinds.NAMED.values(),
        *library_kinds.PANDAS.values(),
        library_kinds.NUMPY,
        *classes.KINDS,
        Kind(mark="pairs", spell=nothing, read=lambda reader, fields: reader.pairs(fields["v"])),
    )
}
