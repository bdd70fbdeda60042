"""How a gateway and its model processes talk: a length, then MessagePack, over a socket that both inherit."""

import socket
import struct
from typing import Any

import msgspec

from noria.core.clock import MachineStopwatch

_LENGTH = struct.Struct(">I")
_MOST_BYTES = 1 << 30
_encode = msgspec.msgpack.Encoder(enc_hook=str).encode
_decode = msgspec.msgpack.Decoder().decode
_wall = MachineStopwatch().wall


def encoded(message: object) -> bytes:
    """Return a message as it is sent; raises what says that it cannot be, such as a whole number of over 64 bits."""
    payload = _encode(message)
    return _LENGTH.pack(len(payload)) + payload


def send(link: socket.socket, message: object) -> None:
    """Send one message."""
    link.sendall(encoded(message))


def receive(link: socket.socket, *, seconds: float | None = None) -> Any:  # noqa: ANN401 - any message
    """Return the next message, all of which must have come within some seconds, if they are given.

    Raises:
        EOFError: the other end is gone, or what it sent is no message.
        TimeoutError: it took too long.

    """
    until = None if seconds is None else _wall() + seconds
    (length,) = _LENGTH.unpack(_exactly(link, _LENGTH.size, until))
    if length > _MOST_BYTES:
        raise EOFError("this is no message")
    payload = _exactly(link, length, until)
    try:
        return _decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise EOFError("this is no message") from problem


def _exactly(link: socket.socket, count: int, until: float | None) -> bytes:
    parts: list[bytes] = []
    while count:
        if until is not None:
            link.settimeout(max(until - _wall(), 0.001))
        part = link.recv(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
