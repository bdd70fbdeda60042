"""Digests of logical content: the same meaning has the same digest, whatever bytes a library happened to write."""

import hashlib
import json
from collections.abc import Iterable

from noria.core.errors import Invalid


def of_bytes(payload: bytes | memoryview) -> str:
    """Return the SHA-256 of the bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(payload).hexdigest()


def of_parts(parts: Iterable[bytes | memoryview]) -> str:
    """Return the SHA-256 of a sequence of parts, each told apart from its neighbours by its length.

    >>> of_parts([b"ab", b"c"]) == of_parts([b"a", b"bc"])
    False
    """
    whole = hashlib.sha256()
    for part in parts:
        size = len(part) if type(part) is bytes else memoryview(part).nbytes
        whole.update(size.to_bytes(8, "big"))
        whole.update(part)
    return whole.hexdigest()


def of_json(value: object) -> str:
    """Return the digest of a plain value: the order of keys and the spacing do not matter."""
    return of_bytes(canonical_json(value))


def canonical_json(value: object) -> bytes:
    """Return the one JSON spelling of a plain value (sorted keys, no spaces, no NaN); anything else raises `Invalid`."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as problem:
        raise Invalid(f"not a plain value: {problem}", hint="use numbers, strings, lists and dictionaries") from problem
