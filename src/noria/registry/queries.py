"""All SQL of the registry."""

import contextlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from noria.core.errors import Stale
from noria.registry.model import AliasState, ModelVersion, Move
from noria.registry.tables import alias_moves, aliases, environments, model_versions
from noria.runs.model import Artifact


def insert_version(connection: Connection, version: ModelVersion) -> None:
    """Store a new version; raises `Stale` if its number was taken meanwhile."""
    values = {
        "id": version.id,
        "project": version.project,
        "model": version.model,
        "number": version.number,
        "codec": version.artifact.codec,
        "blob": version.artifact.blob,
        "digest": version.artifact.digest,
        "run": version.run,
        "snapshot": version.snapshot,
        "trained_through": version.trained_through,
        "code": version.code,
        "environment": version.environment,
        "parent": version.parent,
        "params": dict(version.params),
        "created_at": version.created_at,
        "created_by": version.created_by,
        "bundle": version.bundle,
    }
    try:
        with connection.begin_nested():
            connection.execute(insert(model_versions), values)
    except IntegrityError as problem:
        raise Stale(f"{version} was registered by somebody else just now", hint="register again") from problem


def next_number(connection: Connection, project: str, model: str) -> int:
    """Return the number that the model's next version gets."""
    query = select(func.max(model_versions.c.number)).where(_of(project, model))
    return (connection.execute(query).scalar_one_or_none() or 0) + 1


def version(connection: Connection, project: str, model: str, number: int) -> ModelVersion | None:
    """Return a version, if it is there."""
    found = connection.execute(select(model_versions).where(_of(project, model), model_versions.c.number == number))
    row = found.one_or_none()
    return None if row is None else _version(row)


def version_of_run(connection: Connection, project: str, run: str) -> ModelVersion | None:
    """Return the version that a run made, if there is one."""
    here = (model_versions.c.project == project) & (model_versions.c.run == run)
    row = connection.execute(select(model_versions).where(here)).one_or_none()
    return None if row is None else _version(row)


def versions(connection: Connection, project: str, model: str) -> list[ModelVersion]:
    """Return a model's versions, oldest first."""
    rows = connection.execute(select(model_versions).where(_of(project, model)).order_by(model_versions.c.number))
    return [_version(row) for row in rows]


def models(connection: Connection, project: str) -> list[str]:
    """Return the names of all models, in order."""
    query = select(model_versions.c.model).where(model_versions.c.project == project).distinct()
    return sorted(connection.execute(query).scalars())


def alias(connection: Connection, project: str, model: str, name: str, *, lock: bool = False) -> AliasState:
    """Return where an alias points; with `lock`, nobody else moves it until the transaction ends."""
    here = (aliases.c.project == project) & (aliases.c.model == model) & (aliases.c.alias == name)
    query = select(aliases).where(here)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return AliasState(alias=name, version=row.version if row else None, epoch=row.epoch if row else 0)


def move_alias(connection: Connection, project: str, model: str, *, state: AliasState, move: Move) -> AliasState:
    """Move an alias on from the state in which it was read; raises `Stale` if somebody else has moved it."""
    named = {"project": project, "model": model, "alias": state.alias}
    try:
        with connection.begin_nested():
            if state.epoch == 0:
                connection.execute(insert(aliases), named | {"version": move.to, "epoch": move.epoch})
            else:
                here = (aliases.c.project == project) & (aliases.c.model == model) & (aliases.c.alias == state.alias)
                same = update(aliases).where(here, aliases.c.epoch == state.epoch)
                if connection.execute(same.values(version=move.to, epoch=move.epoch)).rowcount != 1:
                    raise _moved(model, state)
            connection.execute(insert(alias_moves), named | _plain(move))
    except IntegrityError as problem:
        raise _moved(model, state) from problem
    return AliasState(alias=state.alias, version=move.to, epoch=move.epoch)


def moves(connection: Connection, project: str, model: str, name: str) -> list[Move]:
    """Return an alias's moves, oldest first."""
    here = (alias_moves.c.project == project) & (alias_moves.c.model == model) & (alias_moves.c.alias == name)
    rows = connection.execute(select(alias_moves).where(here).order_by(alias_moves.c.epoch))
    return [
        Move(
            epoch=row.epoch,
            before=row.before,
            to=row.to,
            at=row.at,
            actor=row.actor,
            reason=row.reason,
            is_rollback=row.is_rollback,
        )
        for row in rows
    ]


def put_environment(connection: Connection, digest: str, content: Mapping[str, Any]) -> None:
    """Store an environment once."""
    known = connection.execute(select(environments.c.digest).where(environments.c.digest == digest)).first()
    if known is not None:
        return
    with contextlib.suppress(IntegrityError), connection.begin_nested():  # somebody else may be storing the same
        connection.execute(insert(environments), {"digest": digest, "content": dict(content)})


def environment(connection: Connection, digest: str) -> Mapping[str, Any]:
    """Return a stored environment."""
    return connection.execute(select(environments.c.content).where(environments.c.digest == digest)).scalar_one()


def _moved(model: str, state: AliasState) -> Stale:
    return Stale(
        f"the {state.alias} of {model!r} was moved by somebody else just now",
        hint=f"look at it again: noria models {model}",
    )


def _of(project: str, model: str) -> Any:  # noqa: ANN401 - SQLAlchemy's boolean clauses have no simple public type
    return (model_versions.c.project == project) & (model_versions.c.model == model)


def _plain(move: Move) -> dict[str, Any]:
    return {
        "epoch": move.epoch,
        "before": move.before,
        "to": move.to,
        "at": move.at,
        "actor": move.actor,
        "reason": move.reason,
        "is_rollback": move.is_rollback,
    }


def _version(row: Row[Any]) -> ModelVersion:
    return ModelVersion(
        id=row.id,
        project=row.project,
        model=row.model,
        number=row.number,
        artifact=Artifact(codec=row.codec, blob=row.blob, digest=row.digest),
        run=row.run,
        snapshot=row.snapshot,
        trained_through=row.trained_through,
        code=row.code,
        environment=row.environment,
        parent=row.parent,
        params=row.params,
        created_at=row.created_at,
        created_by=row.created_by,
        bundle=row.bundle,
    )
