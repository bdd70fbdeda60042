"""Secrets that were revealed in this process, and the three stars that stand in their place in whatever is kept or shown."""

import json
import re
import threading
from typing import cast
from urllib.parse import quote, quote_plus

MASK = "***"
_LEAST_LETTERS = 4
"""A shorter text stands in too many words that have nothing to do with it."""
_LEAST_LETTERS_OF_A_LINE = 8

_lock = threading.Lock()
_hidden = frozenset[str]()
_pattern: re.Pattern[str] | None = None
"""Finds what is hidden, the longest first; None while nothing is."""


def hide(secret: str) -> None:
    """Mask a text from now on, for as long as this process runs; one of fewer than four letters stays as it is."""
    hide_all(frozenset(text for text in _spellings(secret) if len(text) >= _LEAST_LETTERS))


def hidden() -> frozenset[str]:
    """Return what is masked, for another process of this machine that is to mask it, too."""
    return _hidden


def hide_all(texts: frozenset[str]) -> None:
    """Mask what another process masks."""
    global _hidden, _pattern
    with _lock:
        found = _hidden | texts
        if found != _hidden:
            longest_first = sorted(found, key=len, reverse=True)
            _hidden, _pattern = found, re.compile("|".join(map(re.escape, longest_first)))


def masked(text: str) -> str:
    """Return a text with three stars in the place of every secret."""
    return text if _pattern is None else _pattern.sub(MASK, text)


def masked_bytes(content: bytes) -> bytes:
    """Return text in UTF-8 with three stars in the place of every secret; other bytes stay as they are."""
    if _pattern is None:
        return content
    return masked(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def masked_so_far(text: str) -> tuple[str, str]:
    """Return a text that may go on, masked, and beside it its end, where that may be the beginning of a secret."""
    shown = masked(text)
    longest = min(max(map(len, _hidden), default=1) - 1, len(shown))
    held = next((size for size in range(longest, 0, -1) if _begins_a_secret(shown[-size:])), 0)
    return shown[: len(shown) - held], shown[len(shown) - held :]


def without_secrets(value: object) -> object:
    """Return a value with its texts masked; of what is no collection what it says of itself, if a secret stands in that."""
    if _pattern is None:
        return value
    said = value if isinstance(value, str) else repr(value)
    shown = masked(said)
    if shown == said:
        return value
    if type(value) is dict:
        pairs = cast("dict[object, object]", value).items()
        return {without_secrets(key): without_secrets(item) for key, item in pairs}
    if type(value) is list:
        return [without_secrets(item) for item in cast("list[object]", value)]
    if type(value) is tuple:
        return tuple(without_secrets(item) for item in cast("tuple[object, ...]", value))
    return shown


def _begins_a_secret(text: str) -> bool:
    return any(secret.startswith(text) for secret in _hidden)


def _spellings(secret: str) -> set[str]:
    """Return a secret as it may be written: by itself, in Python, in JSON, in a URL; and each of its lines."""
    written = {
        secret,
        secret.strip(),
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(secret.encode())[2:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
    }
    lines = {line.strip() for line in secret.splitlines()}
    return written | {line for line in lines if len(line) >= _LEAST_LETTERS_OF_A_LINE}
