"""Threads that a step starts tell and write as the step does: they inherit its attempt.

Python gives a new thread none of its starter's context (before 3.14, and there only when asked to). So while runs are
executed, `Thread.start` and the submission to a pool of threads take along which attempt they belong to, and nothing
else. `asyncio.to_thread` and the threads of `multiprocessing` and joblib come by one of the two.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from typing import Any

from noria.runs.logs import log
from noria.runs.recorder import recorder

_OURS = "noria-"

Start = Callable[[Thread], None]
Submit = Callable[..., "Future[Any]"]


def install() -> Callable[[], None]:
    """Have new threads inherit the attempt of the one that starts them, and return what ends that."""
    before: tuple[Start, Submit] = Thread.start, ThreadPoolExecutor.submit

    def start(self: Thread) -> None:
        if recorder.get() is not None and not self.name.startswith(_OURS):
            self.run = _carried(self.run)
        before[0](self)

    def submit(self: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":  # noqa: ANN401 - the pool's own signature
        return before[1](self, function if recorder.get() is None else _carried(function), *args, **kwargs)

    Thread.start, ThreadPoolExecutor.submit = start, submit

    def undo() -> None:
        if Thread.start is start:
            Thread.start = before[0]
        if ThreadPoolExecutor.submit is submit:
            ThreadPoolExecutor.submit = before[1]

    return undo


def _carried(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that belongs to the attempt of the thread which hands it over."""
    told, words = recorder.get(), log.get()

    def carried(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever it takes
        tokens = recorder.set(told), log.set(words)
        try:
            return function(*args, **kwargs)
        finally:
            recorder.reset(tokens[0])
            log.reset(tokens[1])

    return carried
