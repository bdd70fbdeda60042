"""`noria logs`: what the steps of a run wrote, also while they go on writing, and what they raised."""

from datetime import datetime, timedelta

import click

from noria.boot import Platform
from noria.cli.output import home_option, json_option, opened, show
from noria.core.errors import NotFound
from noria.runs.model import LogPart, Run, RunState
from noria.runs.rules import is_part_of

_SECONDS_BETWEEN = 1.0
_LATEST_COMES_AFTER = timedelta(seconds=30)
"""Of several attempts at a time the words of one may be committed so much later than those of another."""


@click.command()
@click.argument("run_id", metavar="RUN")
@click.argument("step", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the run ends or rests.")
@home_option
@json_option
def logs(run_id: str, step: str | None, follow: bool, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Print what the steps of RUN, or one STEP of it, wrote, and what they raised."""
    if follow and as_json:
        raise click.UsageError("--follow prints words as they come; leave --json away")
    with opened(home) as platform:
        if as_json:
            parts = platform.runs.logs(platform.context, run_id, step=step)
            rows = [{"step": p.step, "attempt": p.attempt, "at": p.at, "text": p.text} for p in parts]
            show(rows, as_json=True, empty="")
            return
        printed = _Printed(platform, run_id, step)
        with platform.database.listen(f"run/{run_id}") as ear:
            while goes_on(printed.words().state) and follow:
                ear.wait(_SECONDS_BETWEEN)
        printed.errors()
        if printed.heading is None:
            _must_have_step(platform, run_id, step)
            click.echo("nothing was written")


def goes_on(state: RunState) -> bool:
    """Say whether somebody executes such a run, or will."""
    return state.is_open and state is not RunState.INTERRUPTED


def _must_have_step(platform: Platform, run: str, step: str | None) -> None:
    rooms, context = platform.runs, platform.context
    known = {done.step for done in (*rooms.attempts(context, run), *rooms.hits(context, run))}
    if step is not None and known and not any(is_part_of(name, step) for name in known):
        raise NotFound("step", step, known=known)


class _Printed:
    """What was printed so far of a run's words."""

    def __init__(self, platform: Platform, run: str, step: str | None) -> None:
        self._platform = platform
        self._run = run
        self._step = step
        self._since: datetime | None = None
        self._seen: set[tuple[str, int, int]] = set()
        self.heading: tuple[str, int] | None = None

    def words(self) -> Run:
        """Print what is new, and return the run as it was before that was looked for."""
        rooms, context = self._platform.runs, self._platform.context
        run = rooms.get(context, self._run)
        parts = rooms.logs(context, self._run, step=self._step, since=self._since)
        for part in parts:
            self._print(part)
        if parts:
            self._since = parts[-1].at - _LATEST_COMES_AFTER
        return run

    def errors(self) -> None:
        """Print the tracebacks of the attempts that failed."""
        for attempt in self._platform.runs.attempts(self._platform.context, self._run):
            if attempt.error is not None and (self._step is None or is_part_of(attempt.step, self._step)):
                self._head(attempt.step, attempt.attempt)
                click.echo(attempt.error.rstrip())

    def _print(self, part: LogPart) -> None:
        key = part.step, part.attempt, part.part
        if key not in self._seen:
            self._seen.add(key)
            self._head(part.step, part.attempt)
            click.echo(part.text, nl=False)

    def _head(self, step: str, attempt: int) -> None:
        if self.heading != (step, attempt):
            self.heading = (step, attempt)
            click.secho(f"--- {step}, attempt {attempt}", dim=True)
