"""How a gateway and its model processes talk: a length, then MessagePack, over a socket that both inherit."""

import socket
import struct
from typing import Any

import msgspec

_LENGTH = struct.Struct(">I")
_encode = msgspec.msgpack.Encoder(enc_hook=str).encode
_decode = msgspec.msgpack.Decoder().decode


def send(link: socket.socket, message: object) -> None:
    """Send one message."""
    payload = _encode(message)
    link.sendall(_LENGTH.pack(len(payload)) + payload)


def receive(link: socket.socket) -> Any:  # noqa: ANN401 - any message
    """Return the next message; raises `EOFError` when the other end is gone."""
    (length,) = _LENGTH.unpack(_exactly(link, _LENGTH.size))
    return _decode(_exactly(link, length))


def _exactly(link: socket.socket, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = link.recv(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
