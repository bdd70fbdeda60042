"""Signed checkpoints in the C2SP signed-note format, which tools for transparency logs read.

Source: https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint.
"""

import base64
import contextlib
import hashlib
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from noria.core.errors import ReadOnly

_ED25519 = b"\x01"
_DASH = "\u2014"


class Signer:
    """Signs and checks notes under one name with one Ed25519 key, or one that is fetched when it is first needed."""

    def __init__(self, key: Ed25519PrivateKey | Callable[[], Ed25519PrivateKey], *, name: str = "noria") -> None:
        self._given = key
        self._name = name

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        return self._given if isinstance(self._given, Ed25519PrivateKey) else self._given()

    @cached_property
    def _public(self) -> bytes:
        return self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    @cached_property
    def _key_id(self) -> bytes:
        return hashlib.sha256(self._name.encode() + b"\n" + _ED25519 + self._public).digest()[:4]

    def sign(self, *, size: int, root: bytes) -> str:
        """Return a signed note that says how many leaves the tree has and what its root is."""
        body = f"{self._name}\n{size}\n{base64.b64encode(root).decode()}\n"
        signature = base64.b64encode(self._key_id + self._key.sign(body.encode())).decode()
        return f"{body}\n{_DASH} {self._name} {signature}\n"

    def holds(self, note: str) -> bool:
        """Say whether the note was signed with this key and not changed since."""
        body, _, signature_line = note.partition("\n\n")
        words = signature_line.strip().split(" ")
        if len(words) != 3 or words[0] != _DASH:  # noqa: PLR2004 - dash, name, signature
            return False
        signed = base64.b64decode(words[2])
        try:
            Ed25519PublicKey.from_public_bytes(self._public).verify(signed[4:], (body + "\n").encode())
        except InvalidSignature:
            return False
        return signed[:4] == self._key_id


def contents(note: str) -> tuple[int, bytes]:
    """Return the size and the root that a note states."""
    _, size, root, *_ = note.split("\n")
    return int(size), base64.b64decode(root)


def load_or_make_key(path: Path) -> Ed25519PrivateKey:
    """Read the key from a file, or make one that only its owner may read."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Ed25519PrivateKey.generate().private_bytes_raw()
        fresh = path.with_suffix(f".{os.getpid()}.new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(made)
        with contextlib.suppress(FileExistsError):  # another process was first, and its key is the one
            path.hardlink_to(fresh)
        fresh.unlink()
    return load_key(path)


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read the key from a file. Raises `ReadOnly` where this user may not: the ledger can then be read, not checked."""
    try:
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except PermissionError as problem:
        raise ReadOnly(
            f"the key that signs the ledger is in {path}, which this user may not read",
            hint="ask its owner to check the ledger: noria audit verify",
        ) from problem
