"""The SQL of runs, of their attempts, and of results that were there before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, select, text, update
from sqlalchemy.exc import IntegrityError

from noria.core.errors import Conflict
from noria.pipelines.model import Needs
from noria.runs.model import Artifact, Attempt, AttemptState, Hit, Run, RunState
from noria.runs.tables import artifact_of, artifact_or_none, artifact_row, attempts, cached_results, hits, runs
from noria.store.database import Database
from noria.store.leases import FencedInsert, Lease
from noria.store.retirements import Kind, is_shown
from noria.store.statements import Statement, insertion, upsert
from noria.store.tables import UtcTime

_RUN_COLUMNS = [column.name for column in runs.columns if column.name not in {"codec", "digest", "blob", "inline"}]
_BECOMES = (
    *("state", "ended_at", "codec", "digest", "blob", "inline", "error", "failed_step", "needs"),
    *("cpu_seconds", "charged_cpu_seconds", "wall_seconds", "usd"),
)
"""What of a run changes while it is executed."""
_INSERT_ATTEMPT = FencedInsert(attempts)
_INSERT_RUN, _INSERT_HIT = insertion(runs), insertion(hits)
_UPDATE_RUN = Statement(
    update(runs).where(runs.c.id == bindparam("run")).values({name: bindparam(name) for name in _BECOMES})
)

Cacheable = tuple[str, datetime, Attempt]
"""A key for the cache, the time before which a result under it is replaced, and the attempt that made the new one."""


_MADE_AT = cached_results.c.made_at
_PUT_CACHED = upsert(
    cached_results,
    when=(bindparam("stale", type_=UtcTime) > _MADE_AT) | (bindparam("ahead", type_=UtcTime) < _MADE_AT),
)
_CACHED = Statement(
    select(
        *(
            cached_results.c[name]
            for name in ("run", "number", "cpu_seconds", "made_at", "codec", "digest", "blob", "inline")
        )
    ).where(cached_results.c.project == bindparam("project"), cached_results.c.key == bindparam("key"))
)
_SPENT = Statement(
    text(
        "SELECT sum(cpu_seconds), sum(wall_seconds), sum(usd), (SELECT sum(cpu_seconds) FROM hits WHERE run = :run)"
        " FROM attempts WHERE run = :run"
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A cached result: the run and the attempt that made it, when, at which cost, and the artifact."""

    run: str
    number: int
    cpu_seconds: float
    made_at: datetime | None
    artifact: Artifact


def insert_run(connection: Connection, run: Run) -> bool:
    """Store a new run; False when another one took its key first."""
    if run.key is None:
        _INSERT_RUN.write(connection, _run_row(run))
        return True
    try:
        with connection.begin_nested():
            _INSERT_RUN.write(connection, _run_row(run))
    except IntegrityError:
        return False
    return True


def update_run(connection: Connection, run: Run) -> None:
    """Store what a run has become."""
    _UPDATE_RUN.write(connection, _run_row(run) | {"run": run.id})


def run(connection: Connection, project: str, id_: str) -> Run | None:
    """Return a run of the project, if it is there."""
    row = connection.execute(select(runs).where(runs.c.id == id_, runs.c.project == project)).one_or_none()
    return None if row is None else _run(row)


def run_of_key(connection: Connection, project: str, key: str) -> Run | None:
    """Return the run that a key stands for, if there is one."""
    row = connection.execute(select(runs).where(runs.c.project == project, runs.c.key == key)).one_or_none()
    return None if row is None else _run(row)


def list_runs(
    connection: Connection,
    project: str,
    *,
    pipeline: str | None,
    state: RunState | None,
    limit: int,
    before: str | None = None,
    with_retired: bool = False,
) -> list[Run]:
    """Return runs by what is stored of them, the newest first; those that are older than the one `before`."""
    query = select(runs).where(runs.c.project == project)
    if not with_retired:
        query = query.where(is_shown(runs, "id", Kind.RUN))
    if pipeline is not None:
        query = query.where(runs.c.pipeline == pipeline)
    if state is not None:
        query = query.where(runs.c.state == state.value)
    if before is not None:
        query = query.where(runs.c.id < before)
    return [_run(row) for row in connection.execute(query.order_by(runs.c.id.desc()).limit(limit))]


def runs_started_in(connection: Connection, project: str, run_id: str) -> list[Run]:
    """Return the runs that a run has started."""
    query = select(runs).where(runs.c.project == project, runs.c.started_in == run_id).order_by(runs.c.id)
    return [_run(row) for row in connection.execute(query)]


def insert_attempts(connection: Connection, project: str, ended: Sequence[Attempt]) -> None:
    """Store how tries ended; raises `Conflict` if a step has a result already."""
    try:
        if ended:
            _INSERT_ATTEMPT.insert.write_all(connection, [_attempt_row(project, attempt) for attempt in ended])
    except IntegrityError as problem:
        raise _has_result(ended[0]) from problem


def commit_attempt(database: Database, lease: Lease, project: str, ended: Attempt) -> str | None:
    """Store how one try ended, in a transaction of its own; raises and returns as `Database.put` does."""
    try:
        return database.put(_INSERT_ATTEMPT, lease, _attempt_row(project, ended))
    except IntegrityError as problem:
        raise _has_result(ended) from problem


def has_attempt(connection: Connection, attempt: Attempt) -> bool:
    """Say whether a try's end is stored."""
    here = (attempts.c.run == attempt.run, attempts.c.number == attempt.number)
    return connection.execute(select(attempts.c.number).where(*here)).one_or_none() is not None


def has_hit(connection: Connection, hit: Hit) -> bool:
    """Say whether it is stored that a result came from the cache."""
    here = (hits.c.run == hit.run, hits.c.step == hit.step, hits.c.inputs == hit.inputs)
    return connection.execute(select(hits.c.step).where(*here)).one_or_none() is not None


def _has_result(attempt: Attempt) -> Conflict:
    return Conflict(f"a step of run {attempt.run} has a result already: {attempt.step!r}")


def _attempt_row(project: str, attempt: Attempt) -> dict[str, Any]:
    return {
        "run": attempt.run,
        "number": attempt.number,
        "project": project,
        "step": attempt.step,
        "attempt": attempt.attempt,
        "state": attempt.state.value,
        "inputs": attempt.inputs,
        "code": attempt.code,
        "started_at": attempt.started_at,
        "wall_seconds": attempt.wall_seconds,
        "cpu_seconds": attempt.cpu_seconds,
        "peak_bytes": attempt.peak_bytes,
        "usd": attempt.usd,
        "error": attempt.error,
        **artifact_row(attempt.artifact),
    }


def attempts_of(connection: Connection, project: str, run_id: str, *, after: int = 0) -> list[Attempt]:
    """Return a run's attempts in order, those with a number above `after`."""
    ended = attempts.c.run == run_id, attempts.c.project == project, attempts.c.number > after
    query = select(attempts).where(*ended).order_by(attempts.c.number)
    return [
        Attempt(
            run=row.run,
            number=row.number,
            step=row.step,
            attempt=row.attempt,
            state=AttemptState(row.state),
            inputs=row.inputs,
            code=row.code,
            started_at=row.started_at,
            wall_seconds=row.wall_seconds,
            cpu_seconds=row.cpu_seconds,
            peak_bytes=row.peak_bytes,
            usd=row.usd,
            artifact=artifact_or_none(row),
            error=row.error,
        )
        for row in connection.execute(query)
    ]


def insert_hits(connection: Connection, project: str, found: Sequence[Hit]) -> None:
    """Store which results came from the cache."""
    rows = [
        {
            "run": hit.run,
            "step": hit.step,
            "inputs": hit.inputs,
            "project": project,
            "code": hit.code,
            "source_run": hit.source_run,
            "source_number": hit.source_number,
            "cpu_seconds": hit.cpu_seconds,
            **artifact_row(hit.artifact),
        }
        for hit in found
    ]
    if rows:
        _INSERT_HIT.write_all(connection, rows)


def hits_of(connection: Connection, project: str, run_id: str) -> list[Hit]:
    """Return which of a run's results came from the cache."""
    return [
        Hit(
            run=row.run,
            step=row.step,
            inputs=row.inputs,
            code=row.code,
            source_run=row.source_run,
            source_number=row.source_number,
            cpu_seconds=row.cpu_seconds,
            artifact=artifact_of(row),
        )
        for row in connection.execute(select(hits).where(hits.c.run == run_id, hits.c.project == project))
    ]


def cached(connection: Connection, project: str, key: str) -> Kept | None:
    """Return a cached result."""
    rows = _CACHED.rows(connection, {"project": project, "key": key})
    if not rows:
        return None
    run_id, number, cpu_seconds, made_at, codec, digest, blob, inline = rows[0]
    artifact = Artifact(codec=codec, digest=digest, blob=blob, inline=inline)
    return Kept(run=run_id, number=number, cpu_seconds=cpu_seconds, made_at=made_at, artifact=artifact)


def put_cached(connection: Connection, project: str, made: Sequence[Cacheable]) -> None:
    """Let later runs find results by their keys; one that is there stays, unless it is from before the given time.

    What is as far ahead of the new one is replaced, too: it was made while the clock was ahead.
    """
    rows = [
        {
            "project": project,
            "key": key,
            "run": attempt.run,
            "number": attempt.number,
            "cpu_seconds": attempt.cpu_seconds,
            "made_at": attempt.started_at,
            "stale": stale,
            "ahead": attempt.started_at + (attempt.started_at - stale),
            **artifact_row(attempt.artifact),
        }
        for key, stale, attempt in sorted(made, key=itemgetter(0))  # in one order, lest two runs wait for each other
    ]
    if rows:
        _PUT_CACHED.write_all(connection, rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a run's attempts have used, and what the results that it took from the cache had used."""

    cpu_seconds: float
    taken_cpu_seconds: float
    wall_seconds: float
    usd: float | None


def spent(connection: Connection, run_id: str) -> Spent:
    """Add up what a run has used so far."""
    cpu, wall, usd, taken_cpu = _SPENT.rows(connection, {"run": run_id})[0]
    return Spent(cpu_seconds=cpu or 0.0, taken_cpu_seconds=taken_cpu or 0.0, wall_seconds=wall or 0.0, usd=usd)


def _run_row(run: Run) -> dict[str, Any]:
    plain = {name: getattr(run, name) for name in _RUN_COLUMNS}
    needs = None if run.needs is None else msgspec.to_builtins(run.needs)
    return plain | {"state": run.state.value, "needs": needs} | artifact_row(run.artifact)


def _run(row: Row[Any]) -> Run:
    told: dict[str, Any] = {name: getattr(row, name) for name in _RUN_COLUMNS}
    needs = None if row.needs is None else msgspec.convert(row.needs, Needs)
    told |= {"state": RunState(row.state), "artifact": artifact_or_none(row), "needs": needs}
    return Run(**told)
