"""Looks at runs, and at what they recorded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice

from noria.access.model import Permission
from noria.access.service import Access
from noria.core.context import Context
from noria.core.errors import Invalid, NotFound, nearest
from noria.runs import holding, observed, queries
from noria.runs.model import Attempt, Hit, LogPart, Metric, Param, Progress, Run, RunState
from noria.runs.values import Value, Values
from noria.store.database import Connection, Database

_AT_A_TIME = 200


class Records:
    """What can be seen of runs."""

    def __init__(self, database: Database, values: Values, access: Access) -> None:
        self._database = database
        self._values = values
        self._access = access

    def get(self, context: Context, run: str) -> Run:
        """Return a run; it is `interrupted` where it was running and nobody holds it now. Raises `NotFound`."""
        self._access.require(context, Permission.RUN_READ)
        found = self._database.read(lambda c: self._seen(c, queries.run(c, context.project, run)))
        if found is None:
            raise _unknown(run)
        return self._readable(found)

    def started_in(self, context: Context, run: str) -> tuple[Run, ...]:
        """Return the runs that a run's steps, or its pipeline, have started, in that order."""
        id_ = self.get(context, run).id
        found = self._database.read(lambda c: self._all_seen(c, queries.runs_started_in(c, context.project, id_)))
        return tuple(self._readable(inner) for inner in found)

    def attempts(self, context: Context, run: str, *, after: int = 0) -> tuple[Attempt, ...]:
        """Return a run's attempts, in the order in which they ended; those with a number above `after`."""
        id_, project = self.get(context, run).id, context.project
        return tuple(self._database.read(lambda connection: queries.attempts_of(connection, project, id_, after=after)))

    def hits(self, context: Context, run: str) -> tuple[Hit, ...]:
        """Return which of a run's results came from the cache."""
        id_ = self.get(context, run).id
        return tuple(self._database.read(lambda connection: queries.hits_of(connection, context.project, id_)))

    def params(self, context: Context, run: str) -> tuple[Param, ...]:
        """Return what a run was given, and what its steps logged."""
        id_ = self.get(context, run).id
        return tuple(self._database.read(lambda connection: observed.params_of(connection, context.project, id_)))

    def logs(
        self, context: Context, run: str, *, step: str | None = None, since: datetime | None = None
    ) -> tuple[LogPart, ...]:
        """Return what a run's attempts, or those of one step, wrote so far, in the order in which it came."""
        id_, project = self.get(context, run).id, context.project
        return tuple(
            self._database.read(lambda connection: observed.logs_of(connection, project, id_, step=step, since=since))
        )

    def progress(self, context: Context, run: str) -> tuple[Progress, ...]:
        """Return how far a run's steps say that they are."""
        id_ = self.get(context, run).id
        return tuple(self._database.read(lambda connection: observed.progress_of(connection, context.project, id_)))

    def metrics(self, context: Context, run: str) -> tuple[Metric, ...]:
        """Return a run's metrics, in the order of attempts, names and positions."""
        id_ = self.get(context, run).id
        return tuple(self._database.read(lambda connection: observed.metrics_of(connection, context.project, id_)))

    def list(
        self,
        context: Context,
        *,
        pipeline: str | None = None,
        state: RunState | str | None = None,
        limit: int = 50,
        after: str | None = None,
        with_retired: bool = False,
    ) -> tuple[Run, ...]:
        """Return runs, the newest first, of a pipeline or in a state if one is named; those after the run `after`.

        Those that are retired are left out but for `with_retired`. Raises `Invalid` for a state that there is not, and
        `NotFound` for a run `after` that there is not.
        """
        self._access.require(context, Permission.RUN_READ)
        wanted, before = _state(state), None if after is None else self._found(context, after).id

        def look(connection: Connection) -> Sequence[Run]:
            of_project = partial(
                queries.list_runs, connection, context.project, pipeline=pipeline, with_retired=with_retired
            )
            if wanted is None or not wanted.is_begun:
                return self._all_seen(connection, of_project(state=wanted, limit=limit, before=before))
            return list(islice(self._begun(connection, of_project, wanted, before), limit))

        return tuple(self._readable(run) for run in self._database.read(look))

    def _begun(
        self, connection: Connection, of_project: Callable[..., Sequence[Run]], wanted: object, before: str | None
    ) -> Iterator[Run]:
        """Yield the runs that are stored as running, of those that somebody holds or of the others."""
        while some := of_project(state=RunState.RUNNING, limit=_AT_A_TIME, before=before):
            yield from (run for run in self._all_seen(connection, some) if run.state is wanted)
            before = some[-1].id

    def _seen(self, connection: Connection, run: Run | None) -> Run | None:
        return None if run is None else self._all_seen(connection, [run])[0]

    def _all_seen(self, connection: Connection, found: Sequence[Run]) -> Sequence[Run]:
        """Return runs as they are: interrupted those that are stored as running and that nobody holds."""
        running = [run.id for run in found if run.state is RunState.RUNNING]
        if not running:
            return found
        held = holding.held(connection, self._database.lease_time(connection), running)
        lost = frozenset(running) - held
        return [replace(run, state=RunState.INTERRUPTED) if run.id in lost else run for run in found]

    def _found(self, context: Context, run: str) -> Run:
        found = self._database.read(lambda connection: queries.run(connection, context.project, run))
        if found is None:
            raise _unknown(run)
        return self._readable(found)

    def _params_of(self, context: Context, run: Run) -> Sequence[Param]:
        return self._database.read(lambda connection: observed.params_of(connection, context.project, run.id))

    def _readable(self, run: Run, made: Value | None = None) -> Run:
        """Return the run with a reader for its result: whoever asks for that gets one of his own."""
        if run.artifact is None:
            return run
        return replace(run, read=(made or self._values.stored(run.artifact)).take)


def _state(said: RunState | str | None) -> RunState | None:
    try:
        return None if said is None else RunState(said)
    except ValueError:
        raise Invalid(f"no run is ever {said!r}", hint=nearest(str(said), RunState)) from None


def _unknown(run: str) -> NotFound:
    return NotFound("run", run, hint="noria runs, or runs.list(context), shows the newest ones")
