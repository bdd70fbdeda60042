"""A header in JSON and what it tells of behind it, each at an aligned place."""

import json
import struct
from typing import Any

from noria.core.errors import Invalid
from noria.core.payloads import Chain, Payload, aligned

_LENGTH = struct.Struct(">I")


def framed(header: dict[str, Any], parts: list[Payload]) -> Payload:
    """Return a header, padded with spaces, and the parts behind it."""
    spelled = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    spelled = spelled.ljust(aligned(_LENGTH.size + len(spelled)) - _LENGTH.size)
    return Chain([Payload(_LENGTH.pack(len(spelled)), spelled), *parts])


def header_of(payload: Payload, what: str) -> tuple[Any, int]:
    """Return the header and where it ends. Raises `Invalid` for bytes that have none: they are no such thing."""
    try:
        (size,) = _LENGTH.unpack(payload.part(0, _LENGTH.size).view())
        return json.loads(bytes(payload.part(_LENGTH.size, size))), _LENGTH.size + size
    except (struct.error, ValueError) as problem:
        raise Invalid(f"these bytes are no {what}: {problem}") from problem


def split(payload: Payload, what: str) -> tuple[Any, Payload]:
    """Return the header and all that comes behind it. Raises `Invalid` as `header_of` does."""
    header, end = header_of(payload, what)
    return header, payload.part(end, payload.size - end)
