"""All SQL of runs."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Row,
    Table,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.exc import IntegrityError

from noria.core.errors import Conflict
from noria.pipelines.model import Needs
from noria.runs.model import Artifact, Attempt, AttemptState, Hit, LogPart, Metric, Param, Progress, Run, RunState
from noria.runs.tables import attempts, cached_results, hits, logs, metrics, params, progress, runs
from noria.store.database import Database
from noria.store.leases import FencedInsert, Lease
from noria.store.statements import Statement
from noria.store.tables import UtcTime

_AT_ONCE = 500
_KEEPING = (runs, attempts, hits, cached_results, params)
_RUN_COLUMNS = [column.name for column in runs.columns if column.name not in {"codec", "digest", "blob", "inline"}]
_BECOMES = (
    *("state", "ended_at", "codec", "digest", "blob", "inline", "error", "failed_step", "needs"),
    *("cpu_seconds", "charged_cpu_seconds", "wall_seconds", "usd"),
)
"""What of a run changes while it is executed."""
_INSERT_ATTEMPT = FencedInsert(attempts)
_INSERT_HIT, _INSERT_PARAM, _INSERT_METRIC = (Statement(insert(table)) for table in (hits, params, metrics))

Cacheable = tuple[str, datetime, Attempt]
"""A key for the cache, the time before which a result under it is replaced, and the attempt that made the new one."""


def _upsert(table: Table, *, when: ColumnElement[bool] | None = None) -> Statement:
    """Return a statement that inserts a row, or replaces the one with its key where `when` holds."""
    key = [column.name for column in table.primary_key]
    others = [column.name for column in table.columns if column.name not in key]

    def build(insert: Any) -> Executable:  # noqa: ANN401 - see Statement
        new = insert(table)
        return new.on_conflict_do_update(
            index_elements=key, set_={name: new.excluded[name] for name in others}, where=when
        )

    return Statement(build)


_PUT_CACHED = _upsert(cached_results, when=cached_results.c.made_at < bindparam("stale", type_=UtcTime))
_PUT_PROGRESS = _upsert(progress)
_PUT_LOG = _upsert(logs)
_CACHED = Statement(
    select(
        *(
            cached_results.c[name]
            for name in ("run", "number", "cpu_seconds", "made_at", "codec", "digest", "blob", "inline")
        )
    ).where(cached_results.c.project == bindparam("project"), cached_results.c.key == bindparam("key"))
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
        connection.execute(insert(runs), _run_row(run))
        return True
    try:
        with connection.begin_nested():
            connection.execute(insert(runs), _run_row(run))
    except IntegrityError:
        return False
    return True


def update_run(connection: Connection, run: Run) -> None:
    """Store what a run has become."""
    row = _run_row(run)
    connection.execute(update(runs).where(runs.c.id == run.id), {name: row[name] for name in _BECOMES})


def run(connection: Connection, project: str, id_: str) -> Run | None:
    """Return a run of the project, if it is there."""
    row = connection.execute(select(runs).where(runs.c.id == id_, runs.c.project == project)).one_or_none()
    return None if row is None else _run(row)


def run_of_key(connection: Connection, project: str, key: str) -> Run | None:
    """Return the run that a key stands for, if there is one."""
    row = connection.execute(select(runs).where(runs.c.project == project, runs.c.key == key)).one_or_none()
    return None if row is None else _run(row)


def list_runs(
    connection: Connection, project: str, *, pipeline: str | None, state: RunState | None, limit: int
) -> list[Run]:
    """Return runs, the newest first."""
    query = select(runs).where(runs.c.project == project)
    if pipeline is not None:
        query = query.where(runs.c.pipeline == pipeline)
    if state is not None:
        query = query.where(runs.c.state == state.value)
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
        **_artifact_row(attempt.artifact),
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
            artifact=_artifact(row),
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
            **_artifact_row(hit.artifact),
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
            artifact=_some_artifact(row),
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
    """Let later runs find results by their keys; one that is there stays, unless it is from before the given time."""
    rows = [
        {
            "project": project,
            "key": key,
            "run": attempt.run,
            "number": attempt.number,
            "cpu_seconds": attempt.cpu_seconds,
            "made_at": attempt.started_at,
            "stale": stale,
            **_artifact_row(attempt.artifact),
        }
        for key, stale, attempt in made
    ]
    if rows:
        _PUT_CACHED.write_all(connection, rows)


def insert_logs(connection: Connection, project: str, parts: Sequence[LogPart]) -> None:
    """Store pieces of what attempts wrote; those of an attempt that a crash cut short are written over."""
    if parts:
        _PUT_LOG.write_all(connection, [{"project": project} | _fields(part) for part in parts])


def logs_of(
    connection: Connection, project: str, run_id: str, *, step: str | None, since: datetime | None = None
) -> list[LogPart]:
    """Return what a run's attempts, or those of a step and of what is part of it, wrote, in the order in which it came."""
    query = select(logs).where(logs.c.run == run_id, logs.c.project == project)
    if step is not None:
        parts = [logs.c.step.startswith(f"{step}{mark}", autoescape=True) for mark in "[/"]
        query = query.where(or_(logs.c.step == step, *parts))
    if since is not None:
        query = query.where(logs.c.at >= since)
    return [
        LogPart(run=row.run, step=row.step, attempt=row.attempt, part=row.part, at=row.at, text=row.text)
        for row in connection.execute(query.order_by(logs.c.at, logs.c.step, logs.c.attempt, logs.c.part))
    ]


def put_progress(connection: Connection, project: str, told: Progress) -> None:
    """Store how far a step is, in place of what it said before."""
    _PUT_PROGRESS.write(connection, {"project": project} | _fields(told))


def progress_of(connection: Connection, project: str, run_id: str) -> list[Progress]:
    """Return how far a run's steps are."""
    query = select(progress).where(progress.c.run == run_id, progress.c.project == project).order_by(progress.c.at)
    return [
        Progress(run=row.run, step=row.step, done=row.done, total=row.total, words=row.words, at=row.at)
        for row in connection.execute(query)
    ]


def insert_params(connection: Connection, project: str, found: Iterable[Param]) -> None:
    """Store params; one that a step logs again replaces what it logged before."""
    for param in found:
        here = (params.c.run == param.run) & (params.c.step == param.step) & (params.c.name == param.name)
        if param.step:
            connection.execute(delete(params).where(here))
        row = {"run": param.run, "step": param.step, "name": param.name, "project": project, "words": param.words}
        _INSERT_PARAM.write(connection, row | _artifact_row(param.artifact))


def params_of(connection: Connection, project: str, run_id: str) -> list[Param]:
    """Return what a run was given (no step), and what its steps logged."""
    query = select(params).where(params.c.run == run_id, params.c.project == project)
    return [
        Param(run=row.run, step=row.step, name=row.name, words=row.words, artifact=_some_artifact(row))
        for row in connection.execute(query.order_by(params.c.step, params.c.name))
    ]


def insert_metrics(connection: Connection, project: str, found: Iterable[Metric]) -> None:
    """Store metrics."""
    rows = [
        {
            "run": metric.run,
            "attempt": metric.attempt,
            "name": metric.name,
            "position": metric.position,
            "project": project,
            "step": metric.step,
            "value": None if math.isnan(metric.value) else metric.value,
            "at": metric.at,
        }
        for metric in found
    ]
    if rows:
        _INSERT_METRIC.write_all(connection, rows)


def drop_metrics(connection: Connection, run_id: str, *, attempt: int) -> None:
    """Take away what an attempt recorded; what a pipeline itself records is written anew each time it runs."""
    connection.execute(delete(metrics).where(metrics.c.run == run_id, metrics.c.attempt == attempt))


def metrics_of(connection: Connection, project: str, run_id: str) -> list[Metric]:
    """Return a run's metrics, in the order of attempts, names and positions."""
    query = select(metrics).where(metrics.c.run == run_id, metrics.c.project == project)
    return [
        Metric(
            run=row.run,
            attempt=row.attempt,
            step=row.step,
            name=row.name,
            position=row.position,
            value=math.nan if row.value is None else row.value,
            at=row.at,
        )
        for row in connection.execute(query.order_by(metrics.c.attempt, metrics.c.name, metrics.c.position))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a run's attempts have used, and what the results that it took from the cache had used."""

    cpu_seconds: float
    taken_cpu_seconds: float
    wall_seconds: float
    usd: float | None


def spent(connection: Connection, run_id: str) -> Spent:
    """Add up what a run has used so far."""
    used = (attempts.c.cpu_seconds, attempts.c.wall_seconds, attempts.c.usd)
    taken = select(func.sum(hits.c.cpu_seconds)).where(hits.c.run == run_id).scalar_subquery()
    query = select(*(func.sum(column) for column in used), taken).where(attempts.c.run == run_id)
    found: tuple[float | None, ...] = tuple(connection.execute(query).one())
    cpu, wall, usd, taken_cpu = found
    return Spent(cpu_seconds=cpu or 0.0, taken_cpu_seconds=taken_cpu or 0.0, wall_seconds=wall or 0.0, usd=usd)


def _fields(thing: LogPart | Progress) -> dict[str, Any]:
    return {entry.name: getattr(thing, entry.name) for entry in fields(thing)}


def artifacts(connection: Connection, project: str) -> list[Artifact]:
    """Return every value that a project's runs keep, each once."""
    columns = ("codec", "digest", "blob", "inline")
    parts = [
        select(*(table.c[name] for name in columns)).where(table.c.project == project, table.c.codec.is_not(None))
        for table in _KEEPING
    ]
    rows: Sequence[Row[Any]] = connection.execute(union(*parts)).all()
    return [_some_artifact(row) for row in rows]


def is_of_others(connection: Connection, project: str, blob: str) -> bool:
    """Say whether runs of another project keep the same bytes."""
    queries = (select(table.c.blob).where(table.c.blob == blob, table.c.project != project) for table in _KEEPING)
    return any(connection.execute(query.limit(1)).first() is not None for query in queries)


def forget_artifacts(connection: Connection, project: str, digests: Sequence[str]) -> None:
    """Take values out of the cache and away from attempts, runs and params that have them."""
    nothing = dict.fromkeys(("codec", "digest", "blob", "inline"))
    for begin in range(0, len(digests), _AT_ONCE):
        some = digests[begin : begin + _AT_ONCE]
        for table in (cached_results, hits, params):
            connection.execute(delete(table).where(table.c.project == project, table.c.digest.in_(some)))
        theirs = (attempts.c.project == project) & attempts.c.digest.in_(some)
        connection.execute(update(attempts).where(theirs).values(**nothing, state=AttemptState.ERASED.value))
        connection.execute(update(runs).where(runs.c.project == project, runs.c.digest.in_(some)).values(**nothing))


def rewrite_texts(connection: Connection, project: str, word: str, rewritten: Callable[[str], str]) -> None:
    """Rewrite what was logged, told and raised in a project's runs wherever it has a word."""
    for column in (logs.c.text, progress.c.words, params.c.words, attempts.c.error, runs.c.error):
        table = column.table
        assert isinstance(table, Table)
        here = (table.c.project == project) & column.contains(word, autoescape=True)
        for row in connection.execute(select(*table.primary_key.columns, column.label("said")).where(here)).mappings():
            same = [key == row[key.name] for key in table.primary_key.columns]
            connection.execute(update(table).where(*same).values({column: rewritten(row["said"])}))


def _artifact_row(artifact: Artifact | None) -> dict[str, str | None]:
    if artifact is None:
        return {"codec": None, "digest": None, "blob": None, "inline": None}
    return {"codec": artifact.codec, "digest": artifact.digest, "blob": artifact.blob, "inline": artifact.inline}


def _artifact(row: Row[Any]) -> Artifact | None:
    return None if row.codec is None else _some_artifact(row)


def _some_artifact(row: Row[Any]) -> Artifact:
    return Artifact(codec=row.codec, digest=row.digest, blob=row.blob, inline=row.inline)


def _run_row(run: Run) -> dict[str, Any]:
    plain = {name: getattr(run, name) for name in _RUN_COLUMNS}
    needs = None if run.needs is None else msgspec.to_builtins(run.needs)
    return plain | {"state": run.state.value, "needs": needs} | _artifact_row(run.artifact)


def _run(row: Row[Any]) -> Run:
    told: dict[str, Any] = {name: getattr(row, name) for name in _RUN_COLUMNS}
    needs = None if row.needs is None else msgspec.convert(row.needs, Needs)
    told |= {"state": RunState(row.state), "artifact": _artifact(row), "needs": needs}
    return Run(**told)
