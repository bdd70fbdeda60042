"""Who holds which work, for how long, and with which fencing token.

A lease is held until the database's own time passes its end. Each new holder gets a higher token, and every decision
checks its lease in the transaction that makes it: a holder that was frozen and comes back can commit nothing.
(The recipe: Kleppmann, "How to do distributed locking", 2016.)
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Dialect, Table, TextClause, bindparam, or_, select, update
from sqlalchemy.exc import IntegrityError

from noria.core.errors import LeaseLost
from noria.store.holders import is_dead
from noria.store.statements import Statement, insertion, spelled
from noria.store.tables import UtcTime, leases

_HELD = Statement(
    select(leases.c.token, leases.c.holder, leases.c.expires_at, leases.c.asked)
    .where(leases.c.name == bindparam("name"))
    .with_for_update()
)
_INSERT = insertion(leases, "name", "holder", "token", "expires_at")
_RELEASE = Statement(
    update(leases)
    .where(leases.c.name == bindparam("lease"), leases.c.token == bindparam("lease_token"))
    .values(expires_at=bindparam("expires_at"))
)
_ENDED = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = timedelta(hours=1)
"""A lease that ends later than this was taken while the clock was ahead, and is free."""
_Row = tuple[int, str, datetime, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to do one piece of work until it ends; `token` grows with each new holder."""

    name: str
    holder: str
    token: int
    expires_at: datetime


def acquire(connection: Connection, now: datetime, *, name: str, holder: str, seconds: float) -> Lease | None:
    """Take the lease if it is free, run out, already ours, or its holder is dead; None while somebody else holds it.

    Taking our own lease again renews it and keeps its token. What was asked of the former holder is asked of the new
    one, until `forget`. `now` is the database's `lease_time`.
    """
    row = connection.execute(select(leases).where(leases.c.name == name).with_for_update()).one_or_none()
    if row is None:
        try:
            with connection.begin_nested():
                return acquire_new(connection, now, name=name, holder=holder, seconds=seconds)
        except IntegrityError:  # another one was first
            return None
    if (
        row.holder != holder
        and _runs(row.expires_at, now, longest=max(LONGEST, 2 * timedelta(seconds=seconds)))
        and not is_dead(row.holder)
    ):
        return None
    ours = row.holder == holder and row.expires_at > now
    expires_at = now + timedelta(seconds=seconds)
    lease = Lease(name=name, holder=holder, token=row.token if ours else row.token + 1, expires_at=expires_at)
    connection.execute(
        update(leases).where(leases.c.name == name).values(holder=holder, token=lease.token, expires_at=expires_at),
    )
    return lease


def acquire_new(connection: Connection, now: datetime, *, name: str, holder: str, seconds: float) -> Lease:
    """Take the first lease under a name that nobody else knows yet."""
    lease = Lease(name=name, holder=holder, token=1, expires_at=now + timedelta(seconds=seconds))
    _INSERT.write(connection, {"name": name, "holder": holder, "token": 1, "expires_at": lease.expires_at})
    return lease


def offer(connection: Connection, name: str) -> None:
    """Make a lease under a new name that nobody holds yet: who is to take it can look for it, and lock it."""
    _INSERT.write(connection, {"name": name, "holder": "", "token": 0, "expires_at": _ENDED})


def is_held(connection: Connection, now: datetime, *, name: str, holder: str) -> bool:
    """Say whether somebody else holds the lease now, without locking it: those who stand by ask this first."""
    row = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
    return row is not None and row.holder != holder and _runs(row.expires_at, now) and not is_dead(row.holder)


def _runs(expires_at: datetime, now: datetime, *, longest: timedelta = LONGEST) -> bool:
    return now < expires_at <= now + longest


def held(connection: Connection, now: datetime, names: Collection[str]) -> frozenset[str]:
    """Return which of the leases somebody holds now, without locking them; a lease that has run out cannot come back."""
    rows = connection.execute(select(leases).where(leases.c.name.in_(names), leases.c.expires_at > now))
    return frozenset(row.name for row in rows if not is_dead(row.holder))


def check(connection: Connection, lease: Lease, now: datetime) -> str | None:
    """Raise `LeaseLost` unless the lease is still ours; until the transaction ends nobody else can take it.

    Returns what the holder was asked to do meanwhile, such as to stop.
    """
    return _judged(lease, _HELD.rows(connection, {"name": lease.name}), now)


def settle(connection: Connection, name: str) -> None:
    """Wait for whoever decides under a lease at this moment, and keep others from it until the transaction ends."""
    _HELD.rows(connection, {"name": name})


def renew(connection: Connection, lease: Lease, now: datetime, *, seconds: float) -> Lease:
    """Keep a held lease for `seconds` from now; raises `LeaseLost` if it is ours no more."""
    check(connection, lease, now)
    expires_at = now + timedelta(seconds=seconds)
    connection.execute(update(leases).where(leases.c.name == lease.name).values(expires_at=expires_at))
    return Lease(name=lease.name, holder=lease.holder, token=lease.token, expires_at=expires_at)


def ask(connection: Connection, name: str, *, word: str, keep: str | None = None) -> None:
    """Ask whoever holds the lease to do something; the holder hears of it at its next check.

    Where it was asked to do what `keep` says, that stands.
    """
    here = (leases.c.name == name, or_(leases.c.asked.is_(None), leases.c.asked != (keep or "")))
    connection.execute(update(leases).where(*here).values(asked=word))


def forget(connection: Connection, lease: Lease) -> None:
    """Forget what was asked: it has been done."""
    connection.execute(update(leases).where(leases.c.name == lease.name).values(asked=None))


def asked(connection: Connection, lease: Lease) -> str | None:
    """Return what the holder of a lease was asked to do, without locking it."""
    here = (leases.c.name == lease.name, leases.c.token == lease.token)
    return connection.execute(select(leases.c.asked).where(*here)).scalar_one_or_none()


def release(connection: Connection, lease: Lease) -> None:
    """Let go, so that the next one need not wait; the token is kept, and a lease that is not ours is left alone."""
    _RELEASE.write(connection, {"lease": lease.name, "lease_token": lease.token, "expires_at": _ENDED})


class FencedInsert:
    """Puts a row into a table where a lease is held: a transaction of one statement, for what happens most often."""

    def __init__(self, table: Table) -> None:
        self.insert = insertion(table)
        self._alone = Statement(partial(_fenced, table))

    def put(self, connection: Connection, lease: Lease, row: Mapping[str, Any], now: datetime) -> str | None:
        """Put the row, in the caller's transaction; raises and returns as `check` does."""
        asked = check(connection, lease, now)
        self.insert.write(connection, row)
        return asked

    def put_alone(self, connection: Connection, lease: Lease, row: Mapping[str, Any], now: datetime | None) -> bool:
        """Put the row by one statement, by PostgreSQL's own time unless one is given.

        False when nothing was put, because the lease is not ours or its holder was asked something: `put` tells which.
        """
        held = {"lease": lease.name, "lease_token": lease.token, "lease_holder": lease.holder, "lease_now": now}
        return self._alone.write(connection, {**row, **held}) == 1


def _fenced(table: Table, dialect: Dialect) -> TextClause:
    held = (
        "FROM leases WHERE name = :lease AND token = :lease_token AND holder = :lease_holder"
        " AND expires_at > coalesce(:lease_now, CURRENT_TIMESTAMP) AND asked IS NULL"
    )
    lock = " FOR UPDATE" if dialect.name == "postgresql" else ""  # SQLite has one writer at a time
    words = f"INSERT INTO {{table}} ({{columns}}) SELECT {{values}} {held}{lock}"
    return spelled(table, words, more=[bindparam("lease_now", type_=UtcTime)])


def _judged(lease: Lease, rows: list[tuple[Any, ...]], now: datetime) -> str | None:
    """Raise `LeaseLost` unless the row says that the lease is ours; return what its holder is asked."""
    nobody: _Row = (0, "nobody", now, None)
    token, holder, expires_at, asked = rows[0] if rows else nobody
    if token != lease.token or holder != lease.holder or expires_at <= now:
        raise LeaseLost(
            f"the lease on {lease.name!r} was lost to {holder}",
            hint="another worker goes on with it; nothing of this one was committed",
        )
    return asked
