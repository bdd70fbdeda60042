"""All SQL of access."""

from sqlalchemy import Connection, bindparam, delete, func, insert, select, text

from noria.access.model import Grant, Role
from noria.access.tables import grants
from noria.core.context import Actor, ActorKind
from noria.store.statements import Statement

_ROLE = Statement(
    select(grants.c.role).where(grants.c.project == bindparam("project"), grants.c.actor == bindparam("actor"))
)


def has_owner(connection: Connection, project: str) -> bool:
    """Say whether anybody owns the project."""
    query = select(func.count()).where(grants.c.project == project, grants.c.role == Role.OWNER.value)
    return connection.execute(query).scalar_one() > 0


def one_at_a_time(connection: Connection) -> None:
    """Let nobody else decide about a project's first owner until the transaction ends (SQLite has one writer anyway)."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7879)"))


def role_of(connection: Connection, project: str, actor: Actor) -> Role | None:
    """Return the actor's role in the project, if it has one."""
    rows = _ROLE.rows(connection, {"project": project, "actor": str(actor)})
    return Role(rows[0][0]) if rows else None


def put(connection: Connection, project: str, grant: Grant) -> None:
    """Store the actor's role in place of the one it had."""
    remove(connection, project, grant.actor)
    connection.execute(
        insert(grants).values(
            project=project,
            actor=str(grant.actor),
            role=grant.role.value,
            granted_by=grant.granted_by,
            granted_at=grant.granted_at,
        ),
    )


def remove(connection: Connection, project: str, actor: Actor) -> None:
    """Take the actor's role away, if it has one."""
    connection.execute(delete(grants).where(grants.c.project == project, grants.c.actor == str(actor)))


def all_of(connection: Connection, project: str) -> list[Grant]:
    """Return all roles granted in the project."""
    rows = connection.execute(select(grants).where(grants.c.project == project).order_by(grants.c.actor))
    return [
        Grant(actor=_actor(row.actor), role=Role(row.role), granted_by=row.granted_by, granted_at=row.granted_at)
        for row in rows
    ]


def _actor(spelled: str) -> Actor:
    kind, _, name = spelled.partition(":")
    return Actor(name=name, kind=ActorKind(kind))
