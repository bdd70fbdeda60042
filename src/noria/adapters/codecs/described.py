"""Values carried by a description of them: a dictionary of plain values, arrays and frames, from which they are made again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from noria.adapters.codecs.collections import Collections
from noria.core import digests
from noria.core.codecs import TOO_DEEP
from noria.core.errors import Invalid
from noria.core.payloads import Payload

Description = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """The codec of one kind of value that is described: its bytes are those of the description, and its digest is made of it."""

    name: str
    what: str
    """What a value of the kind is called in errors."""
    collections: Collections
    is_kind: Callable[[type[Any]], bool]
    describe: Callable[[Any], Description]
    make: Callable[[Description], object]
    is_needed: Callable[[Any], bool] = lambda _: True
    """Whether a value has to be described, because no codec after this one carries it exactly."""

    def carries(self, kind: type[Any]) -> bool:
        """Say whether it is a type of this kind."""
        return self.is_kind(kind)

    def accepts(self, value: object) -> bool:
        """Say whether a value is of this kind, and has to be described."""
        return self.is_kind(type(value)) and self.is_needed(value)

    def encode(self, value: object) -> Payload:
        """Return the bytes of the description. Raises `Invalid` when a part of it cannot be carried."""
        try:
            return self.collections.encode(self.describe(value))
        except Invalid as problem:
            if problem.sentence == TOO_DEEP:
                raise
            raise Invalid(f"this {self.what} cannot be kept: {problem.sentence}", hint=problem.hint) from problem

    def decode(self, payload: Payload) -> object:
        """Make the value again."""
        description = self.collections.decode(payload)
        if type(description) is not dict:
            raise Invalid(f"these bytes are no {self.what}")
        return self.make(cast("Description", description))

    def digest(self, value: object, payload: Payload) -> str:
        """Return the digest of the description, which is not that of a dictionary of the same content."""
        return digests.of_parts([self.name.encode(), self.collections.digest(value, payload).encode()])
