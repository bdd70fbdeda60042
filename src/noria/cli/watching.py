"""Shows a run while it goes on: steps as they end, and how far they say that they are.

What they write goes to this terminal by itself, for the run is executed here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from noria.boot import Platform
from noria.runs.model import Attempt, Progress, Run

if TYPE_CHECKING:
    from concurrent.futures import Future

_SECONDS_BETWEEN = 0.5


def follow(platform: Platform, future: "Future[Run]", find: Callable[[], str | None]) -> None:
    """Print what comes of a run until it has ended; `find` says which one it is, once it is there."""
    shown = _Shown(platform)
    run = None
    while not future.done():
        run = run or find()
        if run is None:
            _wait(future)
            continue
        with platform.database.listen(f"run/{run}") as ear:
            shown.show(run)
            ear.wait(_SECONDS_BETWEEN)
    run = run or find()
    if run is not None:
        shown.show(run)


def _wait(future: "Future[Run]") -> None:
    try:
        future.exception(timeout=_SECONDS_BETWEEN / 10)
    except TimeoutError:
        return


class _Shown:
    """What was shown so far."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._attempts = 0
        self._progress: dict[str, Progress] = {}

    def show(self, run: str) -> None:
        """Show what is new."""
        rooms, context = self._platform.runs, self._platform.context
        attempts = rooms.attempts(context, run)
        for told in rooms.progress(context, run):
            if self._progress.get(told.step) != told:
                self._progress[told.step] = told
                click.echo(_spelled(told))
        for attempt in attempts[self._attempts :]:
            click.echo(_line(attempt))
        self._attempts = len(attempts)


def _line(attempt: Attempt) -> str:
    words = f"{attempt.started_at:%H:%M:%S}  {attempt.state.value:<9}  {attempt.step}  {attempt.wall_seconds:.3f} s"
    return words if attempt.error is None else f"{words}  {attempt.error.strip().splitlines()[-1]}"


def _spelled(told: Progress) -> str:
    whole = f"{told.done:g}" if told.total is None else f"{told.done:g} of {told.total:g}"
    return f"{told.at:%H:%M:%S}  {'at':<9}  {told.step}  {whole} {told.words}".rstrip()
