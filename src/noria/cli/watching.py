"""Shows a run while it goes on: steps as they end, results that are reused, and how far steps say that they are.

What they write goes to this terminal by itself, for the run is executed here.
"""

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta

import click

from noria.boot import Platform
from noria.runs.model import Attempt, Progress

_SECONDS_BETWEEN = 0.5


class Watch:
    """Hears which run has begun, and then prints what comes of it."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._has_begun = threading.Event()
        self._ended = threading.Event()
        self._attempts = 0
        self._hits: set[tuple[str, str]] = set()
        self._progress: dict[str, Progress] = {}
        self.run: str | None = None

    def begin(self, run: str) -> None:
        """Take in which run it is."""
        self.run = run
        self._has_begun.set()

    @contextmanager
    def showing(self) -> Generator[None]:
        """Show the run as long as this lasts; a thread of its own does, for Ctrl-C is for the run."""
        with ThreadPoolExecutor(1, thread_name_prefix="noria-watch") as pool:
            following = pool.submit(self._follow)
            try:
                yield
            finally:
                self._ended.set()
                self._has_begun.set()
            following.result()

    def _follow(self) -> None:
        self._has_begun.wait()
        if self.run is None:
            return
        with self._platform.database.listen(f"run/{self.run}") as ear:
            while not self._ended.is_set():
                self._show(self.run)
                ear.wait(_SECONDS_BETWEEN)
        self._show(self.run)

    def _show(self, run: str) -> None:
        """Show what is new."""
        rooms, context = self._platform.runs, self._platform.context
        for told in rooms.progress(context, run):
            if self._progress.get(told.step) != told:
                self._progress[told.step] = told
                click.echo(_spelled(told))
        for hit in rooms.hits(context, run):
            if (hit.step, hit.inputs) not in self._hits:
                self._hits.add((hit.step, hit.inputs))
                click.echo(_words(None, "reused", hit.step, f"of {hit.source_run}"))
        for attempt in rooms.attempts(context, run, after=self._attempts):
            click.echo(_line(attempt))
            self._attempts = attempt.number


def _line(attempt: Attempt) -> str:
    at = attempt.started_at + timedelta(seconds=attempt.wall_seconds)
    words = _words(at, attempt.state.value, attempt.step, f"{attempt.wall_seconds:.3f} s")
    return words if attempt.error is None else f"{words}  {attempt.error.strip().splitlines()[-1]}"


def _spelled(told: Progress) -> str:
    whole = f"{told.done:g}" if told.total is None else f"{told.done:g} of {told.total:g}"
    return _words(told.at, "at", told.step, f"{whole} {told.words}").rstrip()


def _words(at: datetime | None, what: str, step: str, more: str) -> str:
    return f"{at:%H:%M:%S}  {what:<9}  {step}  {more}" if at else f"{'':8}  {what:<9}  {step}  {more}"
