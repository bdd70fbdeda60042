"""Wakes who waits: for threads of this process at once, between processes by a datagram on the loopback interface.

A wake-up says "look again", never what there is to see, so that a lost or a foreign one does no harm: whoever waits
looks first, waits with a limit, and looks again. It is sent after the commit that it tells of.
"""

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection

from noria.store.holders import is_dead, this_process

_MOST_BYTES = 1024
_PAUSE_SECONDS = 1.0
_log = logging.getLogger("noria.store")
_HOST = "127.0.0.1"


_KEY = "noria_wakes"


def after_commit(connection: Connection, topic: str) -> None:
    """Let who listens on a topic be woken as soon as the transaction that this is said in has committed."""
    connection.info.setdefault(_KEY, set()).add(topic)


def said(connection: Connection) -> frozenset[str]:
    """Return what `after_commit` was told in this transaction, and forget it."""
    return frozenset(connection.info.pop(_KEY, ()))


class Ear(AbstractContextManager["Ear"]):
    """One who waits on a topic; what is said from its making on is never missed."""

    def __init__(self, leave: Callable[["Ear"], None]) -> None:
        self._heard = threading.Event()
        self._leave = leave

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Listen no more."""
        self._leave(self)

    def wait(self, seconds: float) -> bool:
        """Return at once if something was said since the last time, else when it is, or when `seconds` are over.

        Says whether something was said.
        """
        heard = self._heard.wait(seconds)
        self._heard.clear()
        return heard

    def hear(self) -> None:
        """Let the one who waits go on."""
        self._heard.set()


class Ears:
    """The ears of this process, by topic."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ears: dict[str, set[Ear]] = {}

    def open(self, topic: str) -> Ear:
        """Return a new ear for a topic."""
        ear = Ear(lambda closed: self._close(topic, closed))
        with self._lock:
            self._ears.setdefault(topic, set()).add(ear)
        return ear

    def hear(self, topic: str) -> None:
        """Wake all who wait on a topic here."""
        with self._lock:
            ears = tuple(self._ears.get(topic, ()))
        for ear in ears:
            ear.hear()

    def hear_all(self) -> None:
        """Wake all who wait here: something may have been missed."""
        with self._lock:
            topics = tuple(self._ears)
        for topic in topics:
            self.hear(topic)

    def _close(self, topic: str, ear: Ear) -> None:
        with self._lock:
            ears = self._ears.get(topic, set())
            ears.discard(ear)
            if not ears:
                self._ears.pop(topic, None)


class LoopbackWakes:
    """Wake-ups between the processes that share a folder: each that listens leaves its port there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ears = Ears()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._pause = threading.Event()
        self._thread: threading.Thread | None = None
        self._mine: Path | None = None

    def listen(self, topic: str) -> Ear:
        """Return an ear for a topic; from the first one on, this process hears others."""
        with self._lock:
            if self._socket is None:
                self._socket = self._begin()
        return self._ears.open(topic)

    def wake(self, topic: str) -> None:
        """Wake who waits on a topic, in this process and in others."""
        self._ears.hear(topic)
        try:
            others = [place for place in self._folder.iterdir() if place != self._mine]
        except FileNotFoundError:  # nobody has ever listened
            return
        if not others:
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)  # noqa: FBT003 - the socket's own signature
            for place in others:
                self._tell(sender, place, topic)

    def close(self) -> None:
        """Listen no more; calling it twice is fine."""
        with self._lock:
            heard, thread, self._socket, self._thread = self._socket, self._thread, None, None
        if heard is None or thread is None:
            return
        if self._mine is not None:
            self._mine.unlink(missing_ok=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", heard.getsockname())
        thread.join()
        heard.close()

    def _begin(self) -> socket.socket:
        heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        heard.bind((_HOST, 0))
        with contextlib.suppress(PermissionError):  # where one may only read, a look now and then has to do
            self._mine = self._tell_port(heard.getsockname()[1])
        self._thread = threading.Thread(target=self._hear, args=(heard,), name="noria-wakes", daemon=True)
        self._thread.start()
        return heard

    def _tell_port(self, port: int) -> Path:
        """Leave the port where others look for it, and return that file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        mine = self._folder / str(port)
        fresh = mine.with_suffix(".new")
        fresh.write_text(this_process())
        fresh.replace(mine)
        return mine

    def _hear(self, heard: socket.socket) -> None:
        """Hear until it is closed: neither an empty datagram of a stranger nor what is raised here ends it."""
        while self._thread is threading.current_thread():
            try:
                self._ears.hear(heard.recv(_MOST_BYTES).decode(errors="replace"))
            except Exception:  # noqa: BLE001 - whatever it is, this process must hear again
                _log.exception("what other processes say is not heard for a moment")
                self._pause.wait(_PAUSE_SECONDS)

    @staticmethod
    def _tell(sender: socket.socket, place: Path, topic: str) -> None:
        if not place.name.isdigit():
            return
        with contextlib.suppress(OSError):  # a lost wake-up is made up for by the next look
            if is_dead(place.read_text()):
                place.unlink(missing_ok=True)
                return
            sender.sendto(topic.encode()[:_MOST_BYTES], (_HOST, int(place.name)))
