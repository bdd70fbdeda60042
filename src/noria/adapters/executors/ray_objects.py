"""What lies in Ray's object store, so that a value goes from machine to machine without passing through the run's own."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from noria.adapters.executors.packing import Packed
from noria.core import digests
from noria.core.codecs import Encoded
from noria.runs.model import Artifact
from noria.runs.values import Values

INLINE_BYTES = 1 << 16
"""What is no larger goes along with a call or an outcome."""
_MOST_OBJECTS = 64

Reference = Any
"""A reference of Ray's, which has no types here."""


class Objects:
    """What lies in Ray's object store for later tries: bundles, arguments, and the results of the latest steps."""

    def __init__(self, values: Values, put: Callable[[bytes], Reference]) -> None:
        self._values = values
        self._put = put
        self._known: OrderedDict[tuple[str, str], Reference] = OrderedDict()
        self._lock = threading.Lock()

    def bundle(self, payload: bytes | None) -> Reference:
        """Return a reference to a bundle."""
        return None if payload is None else self.kept(("bundle", digests.of_bytes(payload)), lambda: payload)

    def payload(self, artifact: Artifact) -> bytes:
        """Return the bytes of a stored value."""
        return bytes(self._values.payload(artifact))

    def kept(self, name: tuple[str, str], fetch: Callable[[], bytes]) -> Reference:
        """Return a reference to what is known by a name; it is put there once."""
        with self._lock:
            known = self._known.get(name)
        if known is None:
            known = self._put(fetch())
        self.remember(name, known)
        return known

    def remember(self, name: tuple[str, str], reference: Reference) -> None:
        """Let an object stay, until many others have come after it."""
        with self._lock:
            self._known[name] = reference
            self._known.move_to_end(name)
            while len(self._known) > _MOST_OBJECTS:
                self._known.popitem(last=False)

    def forget(self) -> None:
        """Let all go; what is needed is put there again."""
        with self._lock:
            self._known.clear()


class Sent:
    """The arguments of one try: small ones beside the try itself, large ones as references that Ray resolves."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.references: list[Reference] = []

    def put(self, value: Encoded | Artifact) -> Packed:
        """Leave a value to be sent."""
        name = (value.codec, value.digest)
        if isinstance(value, Encoded):
            if value.payload.size <= INLINE_BYTES:
                return {"codec": value.codec, "payload": bytes(value.payload)}
            self.references.append(self._objects.kept(name, lambda: bytes(value.payload)))
        elif value.inline is not None:
            return {"codec": value.codec, "payload": value.inline.encode()}
        else:
            self.references.append(self._objects.kept(name, lambda: self._objects.payload(value)))
        return {"codec": value.codec, "object": len(self.references) - 1}
