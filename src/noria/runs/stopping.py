"""How a run is stopped while it is executed: heard between its steps, and within one by whoever can cut it short."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from weakref import WeakSet

from noria.pipelines.model import Needs
from noria.runs.model import Asked


class Stopped(BaseException):
    """Ends a run where it is, because somebody asked for it; like Ctrl-C it passes by what catches every `Exception`."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked.value)
        self.asked = asked


class BeyondHere(BaseException):
    """Ends a submitted run where it is: a step needs what this worker does not have, and another one may."""

    def __init__(self, needs: Needs) -> None:
        super().__init__("a step needs what this worker does not have")
        self.needs = needs


class Stop:
    """What is asked of one run, for those who execute it, and of the run `around` it. Safe to share between threads."""

    def __init__(self, around: "Stop | None" = None) -> None:
        self._asked: Asked | None = None
        self._heard = threading.Event()
        self._cuts: set[Callable[[], None]] = set()
        self._inside: WeakSet[Stop] = WeakSet()
        self._lock = threading.RLock()
        if around is not None:
            around.hand_on_to(self)

    def ask(self, asked: Asked) -> None:
        """Let the run stop; what can be cut short is, at once."""
        with self._lock:
            if self._asked is not Asked.CANCEL:  # which nothing takes back
                self._asked = asked
            self._heard.set()
            for cut in tuple(self._cuts) if asked.cuts else ():
                with suppress(Exception):  # whatever an executor raises: others are to hear, too
                    cut()
            for inner in tuple(self._inside):
                inner.ask(asked)

    def hand_on_to(self, inner: "Stop") -> None:
        """Let a run that a step of this one has started hear what is asked of this one."""
        with self._lock:
            self._inside.add(inner)
            if self._asked is not None:
                inner.ask(self._asked)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until something is asked."""
        self._heard.wait(seconds)

    def between_steps(self) -> None:
        """Raise `Stopped` when anything was asked."""
        if self._asked is not None:
            raise Stopped(self._asked)

    def within_a_step(self) -> None:
        """Raise `Stopped` when what was asked does not wait for the step's end."""
        if self._asked is not None and self._asked.cuts:
            raise Stopped(self._asked)

    @contextmanager
    def cutting(self, cut: Callable[[], None]) -> Generator[None]:
        """Call `cut` if the run is to end meanwhile; raises `Stopped` then, whatever came of what was cut short."""
        with self._lock:
            self.within_a_step()
            self._cuts.add(cut)
        try:
            yield
        finally:
            with self._lock:
                self._cuts.discard(cut)
            self.within_a_step()
