"""Retires, restores and removes loops, datasets, models, endpoints and runs: one way for all of them."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

from noria.access.model import Permission
from noria.access.service import Access
from noria.core import digests
from noria.core.context import Context
from noria.core.errors import Conflict, NotFound, Stale
from noria.datasets import queries as data_queries
from noria.datasets.model import Erasure
from noria.ledger.model import FactKind
from noria.loop import belongings, leasing, queries
from noria.loop.model import LoopState
from noria.loop.removal_model import Kind, Removal, Retirement, Thing
from noria.loop.turn import Rooms
from noria.rollouts import queries as rollout_queries
from noria.runs.model import RunState
from noria.store import leases
from noria.store.database import Connection

_RIGHTS = {
    Kind.LOOP: Permission.LOOP_WRITE,
    Kind.DATASET: Permission.DATA_WRITE,
    Kind.MODEL: Permission.MODEL_PROMOTE,
    Kind.ENDPOINT: Permission.MODEL_PROMOTE,
    Kind.RUN: Permission.RUN_START,
}


class Removals:
    """What is no longer wanted is retired (hidden, and back at a word) or removed (gone but for the ledger's facts).

    Bytes that only a removed thing named are garbage afterwards, for `noria gc`.
    """

    def __init__(self, rooms: Rooms, *, access: Access) -> None:
        self._rooms = rooms
        self._access = access

    def retired(self, context: Context, kind: Kind | None = None) -> list[Retirement]:
        """Return what is retired, by kind and name."""
        self._access.require(context, Permission.LOOP_READ)
        return self._rooms.database.read(lambda c: belongings.retirements(c, context.project, kind))

    def hidden(self, context: Context, kind: Kind) -> set[str]:
        """Return the names of a kind that lists leave out."""
        return {each.thing.name for each in self.retired(context, kind)}

    def retire(self, context: Context, thing: Thing, *, reason: str) -> None:
        """Hide a thing from lists; a loop is paused, too. Retiring it twice changes nothing.

        Raises:
            NotFound: there is no such thing.
            Conflict: something under way has to end first, or something that is not retired needs it.

        """
        self._access.require(context, _RIGHTS[thing.kind])

        def work(connection: Connection) -> None:
            self._must_be_there(connection, context, thing)
            done = {each.thing for each in belongings.retirements(connection, context.project)}
            if thing in done:
                return
            users = [user for user in belongings.users(connection, context.project, thing) if user not in done]
            _refuse_used(thing, users if thing.kind is not Kind.RUN else (), verb="retire")
            _refuse_busy(thing, self._busy(connection, context, thing, is_removed=False))
            if thing.kind is Kind.LOOP:
                queries.set_state(connection, context.project, thing.name, LoopState.PAUSED)
            now, by = self._rooms.clock.now(), str(context.actor)
            belongings.put_retirement(
                connection, context.project, Retirement(thing=thing, at=now, by=by, reason=reason)
            )
            self._tell(connection, context, FactKind.OBJECT_RETIRED, thing, reason=reason)

        self._rooms.database.write(work)

    def restore(self, context: Context, thing: Thing, *, reason: str) -> None:
        """Show a retired thing again; a loop stays paused until it is resumed. Raises `Conflict` if it is not retired."""
        self._access.require(context, _RIGHTS[thing.kind])

        def work(connection: Connection) -> None:
            self._must_be_there(connection, context, thing)
            if thing not in {each.thing for each in belongings.retirements(connection, context.project, thing.kind)}:
                raise Conflict(f"{thing} is not retired", hint="noria retired lists what is")
            belongings.restore(connection, context.project, thing)
            self._tell(connection, context, FactKind.OBJECT_RESTORED, thing, reason=reason)

        self._rooms.database.write(work)

    def remove(
        self, context: Context, thing: Thing, *, reason: str, with_users: bool = False, dry_run: bool = False
    ) -> Removal:
        """Delete a thing and all that is kept of it, in one transaction with the fact of it; it cannot be undone.

        `with_users` takes along what needs it. With `dry_run`, only say what would go and what stands in the way. What
        was removed before stays so: removing it again removes nothing. The ledger's facts stay.

        Raises:
            NotFound: there never was such a thing.
            Conflict: something under way has to end first, or something needs it.

        """
        self._access.require(context, _RIGHTS[thing.kind])
        database = self._rooms.database
        planned = database.read(lambda c: self._planned(c, context, thing))
        if dry_run:
            return planned
        logs = {each.name for each in (*planned.used_by, thing) if each.kind is Kind.ENDPOINT}

        def work(connection: Connection) -> Removal:
            found = self._planned(connection, context, thing)
            _refuse_used(thing, () if with_users else found.used_by, verb="remove")
            _refuse_busy(thing, found.busy)
            for each in (*found.used_by, thing):
                if each.kind is Kind.ENDPOINT and each.name not in logs:
                    raise Stale(f"{each} was made just now", hint="look at what would go, and try again")
                self._access.require(context, _RIGHTS[each.kind])
                self._remove(connection, context, each, reason=reason)
            return found

        with ExitStack() as locks:
            for name in sorted(logs):
                locks.enter_context(self._rooms.landings.removing(context, name))
            return database.write(work)

    # --- inside

    def _planned(self, connection: Connection, context: Context, thing: Thing) -> Removal:
        if not belongings.is_there(connection, context.project, thing):
            if self._rooms.ledger.last_time(connection, context, thing.subject, FactKind.OBJECT_REMOVED) is None:
                raise self._missing(connection, context, thing)
            return Removal(thing=thing, rows=self._logged(context, thing))
        used_by = self._all_users(connection, context, thing)
        rows: Counter[str] = Counter()
        busy: list[str] = []
        for each in (thing, *used_by):
            rows.update(self._rows(connection, context, each))
            busy += self._busy(connection, context, each, is_removed=True)
        return Removal(thing=thing, used_by=used_by, busy=tuple(dict.fromkeys(busy)), rows=dict(rows))

    def _rows(self, connection: Connection, context: Context, thing: Thing) -> dict[str, int]:
        return belongings.count(connection, context.project, thing) | self._logged(context, thing)

    def _logged(self, context: Context, thing: Thing) -> dict[str, int]:
        """Return how much an endpoint's log holds: of one that was removed, what a gateway or a crash left there."""
        if thing.kind is not Kind.ENDPOINT:
            return {}
        found = self._rooms.landings.logged(context, thing.name)
        counted = {"logged_predictions": found.predictions, "logged_feedback": found.feedback}
        return {name: count for name, count in counted.items() if count}

    def _all_users(self, connection: Connection, context: Context, thing: Thing) -> tuple[Thing, ...]:
        """Return what needs the thing, and what needs that, loops first."""
        found: dict[Thing, None] = {}
        left = [thing]
        while left:
            for user in belongings.users(connection, context.project, left.pop()):
                if user != thing and user not in found:
                    found[user] = None
                    left.append(user)
        return tuple(sorted(found, key=lambda user: user.place))

    def _busy(self, connection: Connection, context: Context, thing: Thing, *, is_removed: bool) -> list[str]:
        """Say what of the thing is under way, each with the way to end it."""
        project, said = context.project, list[str]()
        if thing.kind is Kind.LOOP:
            cycle = queries.open_cycle(connection, project, thing.name)
            if cycle is not None and cycle.rollout is not None:
                said.append(f"its candidate is on its way in: noria rollout abort {thing.name} --reason TEXT")
            now, lease = self._rooms.database.lease_time(connection), leasing.name_of(project, thing.name)
            if is_removed and leases.is_held(connection, now, name=lease, holder=""):
                said.append(f"a worker turns loop {thing.name}: end that worker")
        if thing.kind is Kind.MODEL and rollout_queries.open_of(connection, project, thing.name) is not None:
            said.append(f"a candidate of {thing.name} is on its way in: noria rollout abort ENDPOINT --reason TEXT")
        if thing.kind is Kind.ENDPOINT and belongings.has_open_rollout(connection, project, thing.name):
            said.append(f"a candidate is on its way in at {thing.name}: noria rollout abort {thing.name} --reason TEXT")
        if thing.kind is Kind.RUN:
            state = belongings.state_of_run(connection, project, thing.name)
            if state is not None and RunState(state).is_open:
                said.append(f"it is {state}: noria cancel {thing.name}")
        return said

    def _remove(self, connection: Connection, context: Context, thing: Thing, *, reason: str) -> None:
        rows = self._rows(connection, context, thing)
        if not any(rows.values()):
            return
        if thing.kind is Kind.DATASET:
            data_queries.lock(connection, context.project, thing.name)
            self._note_erasure(connection, context, thing, rows, reason=reason)
        belongings.remove(connection, context.project, thing)
        self._tell(connection, context, FactKind.OBJECT_REMOVED, thing, reason=reason, rows=rows)

    def _note_erasure(
        self, connection: Connection, context: Context, thing: Thing, rows: dict[str, int], *, reason: str
    ) -> None:
        """Keep that a dataset's fragments are gone: whoever has them in memory looks anew."""
        told = Erasure(
            id=self._rooms.ids.new("erasure"), dataset=thing.name, rows=0, labels=0, snapshots=rows["snapshots"],
            commitment=digests.of_json([thing.subject, rows]), reason=reason, by=str(context.actor),
            at=self._rooms.clock.now(),
        )  # fmt: skip
        data_queries.insert_erasure(connection, context.project, told, key="", leftover=())

    def _tell(
        self, connection: Connection, context: Context, kind: FactKind, thing: Thing, *, reason: str,
        rows: dict[str, int] | None = None,
    ) -> None:  # fmt: skip
        told: dict[str, object] = {"kind": thing.kind.value, "name": thing.name, "reason": reason}
        told |= {} if rows is None else {"rows": rows}
        self._rooms.ledger.record(connection, context, kind, subject=thing.subject, payload=told)

    def _must_be_there(self, connection: Connection, context: Context, thing: Thing) -> None:
        if not belongings.is_there(connection, context.project, thing):
            raise self._missing(connection, context, thing)

    @staticmethod
    def _missing(connection: Connection, context: Context, thing: Thing) -> NotFound:
        known = belongings.names(connection, context.project, thing.kind)
        return NotFound(thing.kind.value, thing.name, known=known)


def _refuse_used(thing: Thing, users: Sequence[Thing], *, verb: str) -> None:
    if users:
        hint = f"{verb} them first" + (", or: --with-users" if verb == "remove" else "")
        raise Conflict(f"{thing} is needed by {', '.join(map(str, users))}", hint=hint)


def _refuse_busy(thing: Thing, busy: Sequence[str]) -> None:
    if busy:
        raise Conflict(f"{thing} cannot go now: {'; '.join(busy)}", hint="try again when that has ended")
