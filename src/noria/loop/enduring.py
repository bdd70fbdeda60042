"""Lets a worker go on when one of its loops stumbles: what raised is tried again later, and set aside in the end.

One bad loop (a guard with a bug, a corrupted artifact, a module that is gone) must stop neither the others nor the
worker. What the database itself raises reaches the worker all the same, for it concerns all loops.
"""

import logging
import traceback
from collections.abc import Callable
from dataclasses import replace

from noria.core.context import Context
from noria.core.errors import LeaseLost, NoriaError, Stale
from noria.core.masking import masked
from noria.core.raised import RAISED, in_words
from noria.ledger.model import FactKind
from noria.loop import queries, rules
from noria.loop.model import Duty, Outcome, Stumble
from noria.loop.table import STARTS, moves_a_cycle
from noria.loop.turn import Rooms, Turn
from noria.store import leases
from noria.store.database import Connection
from noria.store.leases import Lease

Work = Callable[[Stumble | None], bool]
"""A duty: it is told what earlier tries have left behind, and says whether it brought anything about."""

_log = logging.getLogger("noria.worker")
_MOST_LETTERS = 20_000
"""How much of a traceback is kept, from its end."""
_OVERTAKEN = (LeaseLost, Stale)


class Loud:
    """Raises at once whatever a verb raises: in tests, and where history is replayed."""

    def look(self) -> None:
        """Read what the loops have stumbled over: nothing that anybody kept."""

    def answer(self, turn: Turn) -> bool:
        """Answer a fact by its verb; False if it has to wait."""
        STARTS[turn.fact.kind](turn)
        return True

    def do(self, loop: str, lease: Lease, duty: Duty, work: Work) -> bool:  # noqa: ARG002 - for those who endure
        """Do a duty; say whether it brought anything about."""
        return work(None)


class Enduring(Loud):
    """Notes what a verb raises, and lets it be tried again after growing waits, a bounded number of times.

    A fact that raised on its last try is set aside: the loop goes on with the next one, and the cycle that had waited
    for the answer settles as failed. An error whose kind says that trying again helps is tried for ever, and so is a
    duty. A worker that ends with what there is to do now has no later try (`tries_again`). Only the holder of the loop's lease notes anything.
    """

    def __init__(self, rooms: Rooms, context: Context, *, tries_again: bool = True) -> None:
        self._tries_again = tries_again
        self._rooms = rooms
        self._context = context
        self._standing: dict[tuple[str, str], Stumble] = {}

    def look(self) -> None:
        """Read what the loops have stumbled over: a person may have asked to have it tried again."""
        found = self._rooms.database.read(lambda c: queries.all_stumbles(c, self._context.project))
        self._standing = {(each.loop, each.over): each for each in found}

    def answer(self, turn: Turn) -> bool:
        """Answer a fact by its verb, or set it aside; False if it has to be tried again later."""
        before = self._standing.get((turn.loop.name, turn.fact.id))
        if self._rests(before):
            return False
        turn = replace(turn, stumble=before)
        try:
            return super().answer(turn)
        except _OVERTAKEN:
            raise
        except RAISED as raised:
            is_bounded = not (isinstance(raised, NoriaError) and raised.retriable)
            over, what = turn.fact.id, turn.fact.kind
            found = self._stumble(turn.loop.name, over, what, raised, before=before, is_bounded=is_bounded)
        if found.is_set_aside:
            self._set_aside(turn, found)
        else:
            self._keep(turn.lease, found)
        return found.is_set_aside

    def do(self, loop: str, lease: Lease, duty: Duty, work: Work) -> bool:
        """Do a duty, or note that it could not be done."""
        before = self._standing.get((loop, duty))
        if self._rests(before):
            return False
        try:
            done = work(before)
        except _OVERTAKEN:
            raise
        except RAISED as raised:
            self._keep(lease, self._stumble(loop, duty, duty, raised, before=before, is_bounded=False))
            return False
        if before is not None:
            self._forget(lease, before)
        return done

    def _rests(self, before: Stumble | None) -> bool:
        """Say whether it is too early to try again."""
        return before is not None and before.retry_at is not None and before.retry_at > self._rooms.clock.now()

    def _stumble(
        self, loop: str, over: str, what: str, raised: BaseException, *, before: Stumble | None, is_bounded: bool
    ) -> Stumble:
        now, tries = self._rooms.clock.now(), 1 if before is None else before.tries + 1
        wait = rules.wait_after(tries, is_bounded=is_bounded)
        if is_bounded and not self._tries_again:
            wait = None
        found = Stumble(
            project=self._context.project,
            loop=loop,
            over=str(over),
            what=str(what),
            tries=tries,
            error=in_words(raised),
            trace=masked("".join(traceback.format_exception(raised)))[-_MOST_LETTERS:],
            began_at=now if before is None else before.began_at,
            at=now,
            retry_at=None if wait is None else now + wait,
        )
        then = "set aside" if wait is None else f"tried again in {wait.total_seconds():g} s"
        _log.error("loop %s: %s; %s; noria doctor --trace shows where", loop, found.words(), then)
        return found

    def _keep(self, lease: Lease, found: Stumble) -> None:
        self._write(lease, lambda connection: queries.put_stumble(connection, found))
        self._standing[found.loop, found.over] = found

    def _forget(self, lease: Lease, before: Stumble) -> None:
        self._write(lease, lambda connection: queries.end_stumble(connection, before))
        self._standing.pop((before.loop, before.over))

    def _write(self, lease: Lease, work: Callable[[Connection], None]) -> None:
        def whole(connection: Connection) -> None:
            leases.check(connection, lease, self._rooms.database.lease_time(connection))
            work(connection)

        self._rooms.database.write(whole)

    def _set_aside(self, turn: Turn, found: Stumble) -> None:
        """Let the loop go on without an answer, and end the cycle that had waited for it, in one transaction."""
        cycle = turn.cycle() if moves_a_cycle(turn.fact) else None
        found = replace(found, cycle=None if cycle is None else cycle.id)
        told = {
            "loop": found.loop,
            "fact": found.over,
            "kind": found.what,
            "tries": found.tries,
            "words": found.words(),
        }

        def work(connection: Connection) -> None:
            queries.put_stumble(connection, found)
            self._rooms.ledger.record(
                connection, turn.context, FactKind.FACT_SET_ASIDE, subject=found.loop, payload=told
            )
            if cycle is not None:
                turn.settle(connection, cycle, Outcome.FAILED, words=found.words())

        turn.decide(work)
