"""All SQL of rollouts."""

from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, tuple_, update

from noria.core.errors import Stale
from noria.rollouts.model import Rollout, RolloutState, RolloutsWanted
from noria.rollouts.tables import rollouts

_COLUMNS = tuple(entry.name for entry in fields(Rollout))


def insert_rollout(connection: Connection, begun: Rollout) -> None:
    """Store a new rollout."""
    connection.execute(insert(rollouts), _plain({name: getattr(begun, name) for name in _COLUMNS}))


def move(connection: Connection, held: Rollout, **changes: Any) -> Rollout:  # noqa: ANN401 - columns of several types
    """Change an open rollout as it was read; raises `Stale` if somebody else has looked at it or ended it."""
    same = (rollouts.c.id == held.id) & (rollouts.c.state == RolloutState.OPEN.value) & (rollouts.c.looks == held.looks)
    if connection.execute(update(rollouts).where(same).values(**_plain(changes))).rowcount != 1:
        raise Stale(
            f"the rollout of {held.model}@{held.candidate} is no longer where it was", hint="look again: noria rollouts"
        )
    return _rollout(connection.execute(select(rollouts).where(rollouts.c.id == held.id)).mappings().one())


def open_of(connection: Connection, project: str, model: str, *, lock: bool = False) -> Rollout | None:
    """Return a model's open rollout; with `lock`, nobody else changes it until the transaction ends."""
    here = (rollouts.c.project == project) & (rollouts.c.model == model)
    query = select(rollouts).where(here, rollouts.c.state == RolloutState.OPEN.value)
    found = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if found is None else _rollout(found)


def find(connection: Connection, project: str, rollout_id: str) -> Rollout | None:
    """Return a rollout by its id, if it is there."""
    here = (rollouts.c.project == project) & (rollouts.c.id == rollout_id)
    found = connection.execute(select(rollouts).where(here)).mappings().one_or_none()
    return None if found is None else _rollout(found)


def all_rollouts(connection: Connection, project: str, model: str | None = None) -> list[Rollout]:
    """Return the project's rollouts, or those of one model, oldest first."""
    query = select(rollouts).where(rollouts.c.project == project).order_by(rollouts.c.began_at, rollouts.c.id)
    if model is not None:
        query = query.where(rollouts.c.model == model)
    return [_rollout(row) for row in connection.execute(query).mappings()]


def page_of_rollouts(
    connection: Connection, project: str, wanted: RolloutsWanted, *, after: Rollout | None
) -> list[Rollout]:
    """Return the rollouts that are wanted and older than `after`, newest first."""
    query = select(rollouts).where(rollouts.c.project == project)
    if wanted.model is not None:
        query = query.where(rollouts.c.model == wanted.model)
    if wanted.state is not None:
        query = query.where(rollouts.c.state == wanted.state.value)
    order = (rollouts.c.began_at, rollouts.c.id)
    if after is not None:
        query = query.where(tuple_(*order) < tuple_(after.began_at, after.id))
    query = query.order_by(*(column.desc() for column in order)).limit(wanted.limit)
    return [_rollout(row) for row in connection.execute(query).mappings()]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    lists = {name: list(values[name]) for name in ("shown", "passed") if name in values}
    mappings = {name: dict(values[name]) for name in ("spec", "look", "told") if name in values}
    state = {"state": values["state"].value} if "state" in values else {}
    return {**values, **lists, **mappings, **state}


def _rollout(row: RowMapping) -> Rollout:
    values: dict[str, Any] = {name: row[name] for name in _COLUMNS}
    values["state"] = RolloutState(row["state"])
    values |= {"shown": tuple(row["shown"]), "passed": tuple(row["passed"])}
    return Rollout(**values)
