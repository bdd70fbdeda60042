"""Gateways that answer on this machine, as told by files that are locked while they do."""

import logging
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from noria.serving.disk import Disk, is_in_use

_FOLDER = ".gateways"
_SUFFIX = ".json"
_log = logging.getLogger("noria.gateway")


class Present(msgspec.Struct, frozen=True):
    """Where a gateway answers: the machine's name, and the address there."""

    machine: str
    address: str


@contextmanager
def announced(folder: Path, address: str, *, disk: Disk) -> Generator[None]:
    """Tell others where a gateway answers, while it does; a disk that refuses the file keeps it from nothing else."""
    path = folder / _FOLDER / f"{socket.gethostname()}-{os.getpid()}{_SUFFIX}"
    file = None
    try:
        path.unlink(missing_ok=True)  # of one that died, and had our number
        file = disk.create(path)
        disk.write(file, msgspec.json.encode(Present(machine=socket.gethostname(), address=address)))
    except OSError as problem:
        _log.warning("noria doctor will not know of this gateway: %s", problem)
    try:
        yield
    finally:
        if file is not None:
            disk.close(file)
        with suppress(OSError):
            path.unlink(missing_ok=True)


def present(folder: Path) -> list[str]:
    """Return the addresses of the gateways that answer on this machine; files of those that died are taken away."""
    found: list[str] = []
    for path in sorted((folder / _FOLDER).glob(f"*{_SUFFIX}")):
        with suppress(OSError, msgspec.MsgspecError):
            told = msgspec.json.decode(path.read_bytes(), type=Present)
            if told.machine != socket.gethostname():
                continue
            if is_in_use(path):
                found.append(told.address)
            else:
                path.unlink(missing_ok=True)
    return found
