"""What has ended in a run, and the commits of it: each one once, and only while the run's lease is held."""

import threading
from dataclasses import dataclass, field

from msgspec import Struct

from noria.runs import observed, queries
from noria.runs.model import Attempt, Hit, LogPart, Metric, Param, Run
from noria.runs.surroundings import Surroundings
from noria.store.database import Connection, Durability
from noria.store.leases import Lease

_MOST_TOGETHER = 256
_MOST_SECONDS_TOGETHER = 0.02
"""Items of a map are committed together up to so many, and never more work than this: a crash loses no more of it."""


class End(Struct, kw_only=True):
    """How one try of a step ended, with all that it told."""

    attempt: Attempt
    metrics: list[Metric]
    params: list[Param]
    logs: list[LogPart]
    cached: queries.Cacheable | None


@dataclass(slots=True)
class _Waiting:
    """What has ended and is not yet committed."""

    ends: list[End] = field(default_factory=list[End])
    hits: list[Hit] = field(default_factory=list[Hit])
    seconds: float = 0.0

    def is_due(self) -> bool:
        return len(self.ends) >= _MOST_TOGETHER or self.seconds >= _MOST_SECONDS_TOGETHER

    def lone_attempt(self) -> Attempt | None:
        """Return the attempt if there is nothing else to commit, which is so for most steps of a chain."""
        if len(self.ends) != 1 or self.hits:
            return None
        end = self.ends[0]
        return None if end.metrics or end.params or end.logs or end.cached else end.attempt

    def is_committed(self, connection: Connection) -> bool:
        """Say whether a commit that nobody heard the answer of had been made."""
        if self.ends:
            return queries.has_attempt(connection, self.ends[0].attempt)
        return queries.has_hit(connection, self.hits[0])

    def write(self, connection: Connection, project: str) -> None:
        queries.insert_attempts(connection, project, [end.attempt for end in self.ends])
        queries.insert_hits(connection, project, self.hits)
        observed.insert_metrics(connection, project, [metric for end in self.ends for metric in end.metrics])
        observed.insert_params(connection, project, [param for end in self.ends for param in end.params])
        observed.insert_logs(connection, project, [part for end in self.ends for part in end.logs])
        queries.put_cached(connection, project, [end.cached for end in self.ends if end.cached is not None])


class Ends:
    """Collects what ended and commits it, as long as the run's lease is held. Safe to share between threads."""

    def __init__(self, run: Run, lease: Lease, around: Surroundings) -> None:
        self._run = run
        self._lease = lease
        self._around = around
        self._waiting = _Waiting()
        self.lock = threading.RLock()

    def add_hit(self, hit: Hit) -> None:
        """Let a hit be committed with what ends next."""
        self._waiting.hits.append(hit)

    def add(self, end: End, *, may_wait: bool) -> None:
        """Commit a try's end, unless it may wait for more. Raises as `commit` does."""
        with self.lock:
            self._waiting.ends.append(end)
            self._waiting.seconds += end.attempt.wall_seconds
            if not may_wait or self._waiting.is_due():
                self.commit()

    def commit(self) -> None:
        """Commit what has ended.

        Raises:
            LeaseLost: the run is somebody else's now; nothing was committed.
            Unavailable: the database did not answer for longer than a run waits for it.

        """
        with self.lock:
            waiting, self._waiting = self._waiting, _Waiting()
            if waiting.ends or waiting.hits:
                self._around.patience.ask(lambda again: self._commit(waiting, again=again))

    def check(self, connection: Connection) -> None:
        """Raise `LeaseLost` unless the run's lease is held until this transaction ends."""
        self._around.holder.check(connection, self._lease, run=self._run.id)

    def flush(self, connection: Connection) -> None:
        """Commit, in the caller's transaction, what no other commit has taken along."""
        self._waiting.write(connection, self._run.project)

    def _commit(self, waiting: _Waiting, *, again: bool) -> None:
        database, project = self._around.database, self._run.project
        attempt = None if again else waiting.lone_attempt()
        if attempt is not None:
            asked = queries.commit_attempt(database, self._lease, project, attempt)
            self._around.holder.hear(self._run.id, asked)
            return

        def work(connection: Connection) -> None:
            self.check(connection)
            if not (again and waiting.is_committed(connection)):
                waiting.write(connection, project)

        database.write(work, durability=Durability.STEP)
