"""Verbs of access: require a permission, grant a role, take it away."""

from datetime import datetime, timedelta

from noria.access import queries
from noria.access.model import Grant, Permission, Role
from noria.core.clock import Clock
from noria.core.context import Actor, ActorKind, Context
from noria.core.errors import Conflict, Denied, ReadOnly
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.store.database import Connection, Database

_WRITER = "open it as a user who may write the folder and the files in it, or copy it to where you may"
_REMEMBERED = timedelta(seconds=5)
"""How long a role that was read is gone by: what is taken away in another process ends here within this time."""


class Access:
    """Says who may do what; asked by every verb first.

    A project's first actor becomes its owner. Noria's own services (the loop's worker, the clock) act as operators of
    the project whose loop somebody with the right to do so has started.

    Where the home is `read_only` nobody may do more than read, and everybody whom its files let in may do that.
    """

    def __init__(self, database: Database, ledger: Ledger, *, clock: Clock, read_only: bool = False) -> None:
        self._is_read_only = read_only
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._roles: dict[tuple[str, Actor], tuple[Role, datetime]] = {}

    def require(self, context: Context, permission: Permission) -> None:
        """Raise `Denied` unless the actor has a role in the project that allows it, `ReadOnly` where nobody may."""
        if self._is_read_only:
            if permission in Role.VIEWER.permissions:
                return
            raise ReadOnly(f"the home can only be read by this user, who cannot {permission.value}", hint=_WRITER)
        role = self._role_of(context)
        if role is None or permission not in role.permissions:
            raise Denied(str(context.actor), permission.value, context.project)

    def grant(self, context: Context, actor: Actor, role: Role) -> None:
        """Give the actor this role in the project, in place of the one it had."""
        self.require(context, Permission.ADMIN)
        given = Grant(actor=actor, role=role, granted_by=str(context.actor), granted_at=self._clock.now())

        def work(connection: Connection) -> None:
            queries.put(connection, context.project, given)
            self._must_have_owner(connection, context)
            payload = {"actor": str(actor), "role": role.value}
            self._ledger.record(connection, context, FactKind.ACCESS_GRANTED, subject=str(actor), payload=payload)

        self._database.write(work)
        self._roles.clear()

    def revoke(self, context: Context, actor: Actor) -> None:
        """Take the actor's role in the project away; the last owner stays."""
        self.require(context, Permission.ADMIN)

        def work(connection: Connection) -> None:
            queries.remove(connection, context.project, actor)
            self._must_have_owner(connection, context)
            payload = {"actor": str(actor)}
            self._ledger.record(connection, context, FactKind.ACCESS_REVOKED, subject=str(actor), payload=payload)

        self._database.write(work)
        self._roles.clear()

    def grants(self, context: Context) -> list[Grant]:
        """Return all roles granted in the project."""
        self.require(context, Permission.ADMIN)
        return self._database.read(lambda connection: queries.all_of(connection, context.project))

    def found(self, context: Context) -> None:
        """Make the actor the owner of a project that has none yet; of any other nothing changes."""

        def work(connection: Connection) -> None:
            queries.one_at_a_time(connection)
            if queries.has_owner(connection, context.project):
                return
            owner = Grant(
                actor=context.actor,
                role=Role.OWNER,
                granted_by=str(context.actor),
                granted_at=self._clock.now(),
            )
            queries.put(connection, context.project, owner)
            payload = {"actor": str(context.actor), "role": Role.OWNER.value}
            subject = str(context.actor)
            self._ledger.record(connection, context, FactKind.ACCESS_GRANTED, subject=subject, payload=payload)

        if self._is_read_only:
            return
        if not self._database.read(lambda connection: queries.has_owner(connection, context.project)):
            self._database.write(work)

    def _role_of(self, context: Context) -> Role | None:
        if context.actor.kind is ActorKind.SERVICE:
            return Role.OPERATOR
        known = self._roles.get((context.project, context.actor))
        if known is not None and abs(self._clock.now() - known[1]) < _REMEMBERED:  # a clock may be set back
            return known[0]
        role = self._database.read(lambda connection: queries.role_of(connection, context.project, context.actor))
        if role is not None:
            self._roles[context.project, context.actor] = (role, self._clock.now())
        return role

    @staticmethod
    def _must_have_owner(connection: Connection, context: Context) -> None:
        if not queries.has_owner(connection, context.project):
            raise Conflict("a project keeps at least one owner", hint="grant somebody else the role of owner first")
