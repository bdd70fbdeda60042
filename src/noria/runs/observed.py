"""The SQL of what is seen of attempts: their words, how far they are, params and metrics."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, or_, select

from noria.runs.model import LogPart, Metric, Param, Progress
from noria.runs.tables import artifact_of, artifact_row, logs, metrics, params, progress
from noria.store.statements import insertion, upsert

_PUT_LOG, _PUT_PROGRESS = upsert(logs), upsert(progress)
_INSERT_PARAM, _INSERT_METRIC = insertion(params), insertion(metrics)


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
        _INSERT_PARAM.write(connection, row | artifact_row(param.artifact))


def params_of(connection: Connection, project: str, run_id: str) -> list[Param]:
    """Return what a run was given (no step), and what its steps logged."""
    query = select(params).where(params.c.run == run_id, params.c.project == project)
    return [
        Param(run=row.run, step=row.step, name=row.name, words=row.words, artifact=artifact_of(row))
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


def _fields(thing: LogPart | Progress) -> dict[str, Any]:
    return {entry.name: getattr(thing, entry.name) for entry in fields(thing)}
