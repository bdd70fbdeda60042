"""Looks at runs, and at what they recorded."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from noria.access.model import Permission
from noria.access.service import Access
from noria.core.context import Context
from noria.core.errors import NotFound
from noria.runs import observed, queries
from noria.runs.model import Attempt, Hit, LogPart, Metric, Param, Progress, Run, RunState
from noria.runs.values import Value, Values
from noria.store.database import Database


class Records:
    """What can be seen of runs."""

    def __init__(self, database: Database, values: Values, access: Access) -> None:
        self._database = database
        self._values = values
        self._access = access

    def get(self, context: Context, run: str) -> Run:
        """Return a run. Raises `NotFound`."""
        self._access.require(context, Permission.RUN_READ)
        return self._found(context, run)

    def started_in(self, context: Context, run: str) -> tuple[Run, ...]:
        """Return the runs that a run's steps, or its pipeline, have started, in that order."""
        id_ = self.get(context, run).id
        found = self._database.read(lambda connection: queries.runs_started_in(connection, context.project, id_))
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
        self, context: Context, *, pipeline: str | None = None, state: RunState | str | None = None, limit: int = 50
    ) -> tuple[Run, ...]:
        """Return runs, the newest first."""
        self._access.require(context, Permission.RUN_READ)
        wanted = None if state is None else RunState(state)
        found = self._database.read(
            lambda connection: queries.list_runs(
                connection, context.project, pipeline=pipeline, state=wanted, limit=limit
            )
        )
        return tuple(self._readable(run) for run in found)

    def _found(self, context: Context, run: str) -> Run:
        found = self._database.read(lambda connection: queries.run(connection, context.project, run))
        if found is None:
            raise NotFound("run", run, hint="noria runs, or runs.list(context), shows the newest ones")
        return self._readable(found)

    def _params_of(self, context: Context, run: Run) -> Sequence[Param]:
        return self._database.read(lambda connection: observed.params_of(connection, context.project, run.id))

    def _readable(self, run: Run, made: Value | None = None) -> Run:
        """Return the run with a reader for its result: whoever asks for that gets one of his own."""
        if run.artifact is None:
            return run
        return replace(run, read=(made or self._values.stored(run.artifact)).take)
