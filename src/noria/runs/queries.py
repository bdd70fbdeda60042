"""All SQL of runs."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from noria.core.errors import Conflict
from noria.runs.model import Artifact, Attempt, AttemptState, Hit, Metric, Param, Run, RunState
from noria.runs.tables import attempts, cached_results, hits, metrics, params, runs
from noria.store.statements import Statement

Kind = TypeVar("Kind")

_RUN_COLUMNS = [column.name for column in runs.columns if column.name not in {"codec", "digest", "blob", "inline"}]
_INSERT_ATTEMPT, _INSERT_HIT, _INSERT_PARAM, _INSERT_METRIC, _INSERT_CACHED = (
    Statement(insert(table)) for table in (attempts, hits, params, metrics, cached_results)
)
_CACHED = Statement(
    select(
        *(cached_results.c[name] for name in ("run", "number", "cpu_seconds", "codec", "digest", "blob", "inline"))
    ).where(cached_results.c.project == bindparam("project"), cached_results.c.key == bindparam("key"))
)


def insert_run(connection: Connection, run: Run) -> bool:
    """Store a new run; False when another one took its key first."""
    try:
        with connection.begin_nested():
            connection.execute(insert(runs), _run_row(run))
    except IntegrityError:
        return False
    return True


def update_run(connection: Connection, run: Run) -> None:
    """Store what a run has become."""
    connection.execute(update(runs).where(runs.c.id == run.id), _run_row(run))


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


def insert_attempt(connection: Connection, project: str, attempt: Attempt) -> None:
    """Store how a try ended; raises `Conflict` if the step has a result already."""
    try:
        _INSERT_ATTEMPT.write(
            connection,
            {
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
                "error": attempt.error,
                **_artifact_row(attempt.artifact),
            },
        )
    except IntegrityError as problem:
        raise Conflict(f"step {attempt.step!r} of run {attempt.run} has a result already") from problem


def attempts_of(connection: Connection, project: str, run_id: str) -> list[Attempt]:
    """Return a run's attempts in order."""
    query = select(attempts).where(attempts.c.run == run_id, attempts.c.project == project).order_by(attempts.c.number)
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


def cached(connection: Connection, project: str, key: str) -> tuple[str, int, float, Artifact] | None:
    """Return a cached result: the run and the attempt that made it, their CPU seconds, and the artifact."""
    rows = _CACHED.rows(connection, {"project": project, "key": key})
    if not rows:
        return None
    run_id, number, cpu_seconds, codec, digest, blob, inline = rows[0]
    return run_id, number, cpu_seconds, Artifact(codec=codec, digest=digest, blob=blob, inline=inline)


def put_cached(connection: Connection, project: str, key: str, attempt: Attempt) -> None:
    """Let later runs find this result; the first one stays."""
    if cached(connection, project, key) is not None or attempt.artifact is None:
        return
    row = {
        "project": project,
        "key": key,
        "run": attempt.run,
        "number": attempt.number,
        "cpu_seconds": attempt.cpu_seconds,
        **_artifact_row(attempt.artifact),
    }
    _first_only(connection, row)


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


def spent(connection: Connection, run_id: str) -> tuple[float, float, float]:
    """Return a run's CPU seconds, those of the results it took from the cache, and its attempts' wall seconds."""
    columns = (
        func.coalesce(func.sum(attempts.c.cpu_seconds), 0.0),
        func.coalesce(func.sum(attempts.c.wall_seconds), 0.0),
    )
    cpu, wall = connection.execute(select(*columns).where(attempts.c.run == run_id)).one()
    taken = select(func.coalesce(func.sum(hits.c.cpu_seconds), 0.0)).where(hits.c.run == run_id)
    return float(cpu), float(connection.execute(taken).scalar_one()), float(wall)


def _first_only(connection: Connection, row: dict[str, Any]) -> None:
    try:
        with connection.begin_nested():
            _INSERT_CACHED.write(connection, row)
    except IntegrityError:  # another run was first, with the same content
        return


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
    return plain | {"state": run.state.value} | _artifact_row(run.artifact)


def _run(row: Row[Any]) -> Run:
    fields: dict[str, Any] = {name: getattr(row, name) for name in _RUN_COLUMNS}
    fields |= {"state": RunState(row.state), "artifact": _artifact(row)}
    return Run(**fields)
