"""Verbs of the loop: start, pause, ask for a cycle, look at what it did."""

from dataclasses import replace

from noria.access.model import Permission
from noria.access.service import Access
from noria.core import digests
from noria.core.context import Context
from noria.core.errors import Conflict, NotFound, Retired, Stale
from noria.ledger.model import Fact, FactKind
from noria.loop import leasing, queries, rules, streaks, telling
from noria.loop.model import Cycle, CycleState, CyclesWanted, Event, LoopRow, LoopState, Standing, Stumble
from noria.loop.spec import Loop
from noria.loop.streaks import Streak
from noria.loop.turn import Rooms
from noria.store import leases, retirements
from noria.store.database import Connection
from noria.store.retirements import Kind


class Loops:
    """The loops of a platform; a `Worker` turns them."""

    def __init__(self, rooms: Rooms, *, access: Access) -> None:
        self._rooms = rooms
        self._access = access

    def start(self, context: Context, loop: Loop) -> LoopRow:
        """Declare a loop, or declare it anew; a known one goes on where it was, a new one hears of all data there is."""
        return self._declare(context, loop, wakes=True)

    def declare(self, context: Context, loop: Loop) -> LoopRow:
        """Declare a loop as `start` does, but leave one that was paused as it is."""
        return self._declare(context, loop, wakes=False)

    def _declare(self, context: Context, loop: Loop, *, wakes: bool) -> LoopRow:
        self._access.require(context, Permission.LOOP_WRITE)
        if wakes:
            self._must_not_be_retired(context, loop.name)
        self._rooms.datasets.create(context, loop.dataset)
        now = self._rooms.clock.now()

        def work(connection: Connection) -> None:
            known = queries.loop(connection, context.project, loop.name)
            state = LoopState.RUNNING if known is None or wakes else known.state
            declared = LoopRow(
                name=loop.name,
                project=context.project,
                state=state,
                dataset=loop.dataset.name,
                spec=loop.to_plain(),
                digest=loop.digest(),
                started_at=now,
                started_by=str(context.actor),
                cursor=-1,
                scheduled_through=now,
                standing=Standing(),
                watch={},
                cycles=0,
                counts_from=rules.counts_from(loop, known, now=now),
            )
            queries.put_loop(connection, declared)
            if known is not None and known.state is not state:
                queries.wake(connection, context.project, loop.name, now=now)
            self._rooms.endpoints.create_in(connection, context, loop.name, model=loop.model, dataset=loop.dataset.name)
            self._rooms.rollouts.serve_champion_in(connection, context, loop.name, model=loop.model)
            if known is None or known.digest != declared.digest or known.state is not state:
                told = {"loop": loop.name, "digest": declared.digest, "spec": declared.spec}
                self._rooms.ledger.record(connection, context, FactKind.LOOP_STARTED, subject=loop.name, payload=told)

        try:
            self._rooms.database.write(work)
        except Stale:  # another worker was first with a new loop: now it is a known one
            self._rooms.database.write(work)
        return self.get(context, loop.name)

    def pause(self, context: Context, name: str) -> LoopRow:
        """Let the loop answer nothing until it is started again; what comes meanwhile is answered then.

        A candidate on its way in is still looked at, and taken back if it has to be.
        """
        self._access.require(context, Permission.LOOP_WRITE)
        self.get(context, name)

        def work(connection: Connection) -> None:
            queries.set_state(connection, context.project, name, LoopState.PAUSED)
            self._rooms.ledger.record(connection, context, FactKind.LOOP_PAUSED, subject=name, payload={"loop": name})

        self._rooms.database.write(work)
        return self.get(context, name)

    def resume(self, context: Context, name: str) -> LoopRow:
        """Let a paused loop answer again, beginning with what came meanwhile; schedules that were due are not made up."""
        self._access.require(context, Permission.LOOP_WRITE)
        row = self.get(context, name)
        self._must_not_be_retired(context, name)

        def work(connection: Connection) -> None:
            queries.wake(connection, context.project, name, now=self._rooms.clock.now())
            told = {"loop": name, "digest": row.digest, "spec": dict(row.spec)}
            self._rooms.ledger.record(connection, context, FactKind.LOOP_STARTED, subject=name, payload=told)

        if row.state is not LoopState.RUNNING:
            self._rooms.database.write(work)
        return self.get(context, name)

    def _must_not_be_retired(self, context: Context, name: str) -> None:
        if name in self._rooms.database.read(lambda c: retirements.hidden(c, context.project, Kind.LOOP)):
            raise Retired(Kind.LOOP.value, name)

    def request(self, context: Context, name: str, *, reason: str) -> None:
        """Ask for a cycle by hand; it is opened when the open one has settled."""
        self._access.require(context, Permission.LOOP_WRITE)
        self.get(context, name)
        self._must_not_be_retired(context, name)
        told = {"loop": name, "reason": reason}
        self._rooms.database.write(
            lambda c: self._rooms.ledger.record(c, context, FactKind.CYCLE_REQUESTED, subject=name, payload=told),
        )

    def is_turned(self, context: Context, name: str) -> bool:
        """Say whether a worker turns the loop now."""
        self._access.require(context, Permission.LOOP_READ)
        lease, database = leasing.name_of(context.project, name), self._rooms.database
        return database.read(lambda c: leases.is_held(c, database.lease_time(c), name=lease, holder=""))

    def streak(self, context: Context, name: str) -> Streak | None:
        """Return what the loop's newest cycles came to nothing with, None if nobody needs to look."""
        self._access.require(context, Permission.LOOP_READ)
        ended = self._rooms.database.read(lambda c: queries.newest_ended(c, context.project, name))
        return streaks.streak(name, ended)

    def set_back(self, context: Context, row: LoopRow) -> Fact | None:
        """Return what was told when the clock was last found set back, None if it never was."""
        self._access.require(context, Permission.LOOP_READ)
        if row.set_back_at is None:
            return None
        told = self._rooms.ledger.about(context, row.name)
        return next((fact for fact in reversed(told) if fact.kind is FactKind.CLOCK_SET_BACK), None)

    def stumbles(self, context: Context, name: str | None = None) -> list[Stumble]:
        """Return what the loops, or one of them, have stumbled over and not got over, oldest first."""
        self._access.require(context, Permission.LOOP_READ)
        return self._rooms.database.read(lambda c: queries.all_stumbles(c, context.project, name))

    def retry(self, context: Context, name: str, *, reason: str) -> list[Stumble]:
        """Have everything that the loop has stumbled over tried again, and return what that is.

        What waits for its next try is tried at once. A fact that was set aside is answered again; where that has
        ended a cycle, another cycle is asked for. Raises `Conflict` if there is nothing to try again.
        """
        self._access.require(context, Permission.LOOP_WRITE)
        self.get(context, name)

        def work(connection: Connection) -> list[Stumble]:
            found = queries.all_stumbles(connection, context.project, name)
            if not found:
                raise Conflict(f"loop {name!r} has stumbled over nothing", hint="noria doctor shows what is wrong")
            for each in found:
                self._retry(connection, context, each, reason=reason)
            return found

        return self._rooms.database.write(work)

    def _retry(self, connection: Connection, context: Context, found: Stumble, *, reason: str) -> None:
        told = {"loop": found.loop, "fact": found.over, "kind": found.what, "reason": reason}
        told |= {"again": found.is_set_aside and found.cycle is None, "words": found.words()}
        self._rooms.ledger.record(connection, context, FactKind.FACT_RETRIED, subject=found.loop, payload=told)
        if not found.is_set_aside:
            return queries.put_stumble(connection, replace(found, tries=0, retry_at=self._rooms.clock.now()))
        queries.end_stumble(connection, found)
        if found.cycle is not None:
            told = {"loop": found.loop, "reason": f"{reason}; the cycle before failed: {found.words()}"}
            self._rooms.ledger.record(connection, context, FactKind.CYCLE_REQUESTED, subject=found.loop, payload=told)
        return None

    def receive(self, context: Context, event: Event) -> bool:
        """Take note of an event from outside; False if it was known: one source and id are one event.

        The loops that wait for its type are asked. Raises `Invalid` for words that are too long to keep.
        """
        self._access.require(context, Permission.LOOP_WRITE)
        rules.must_fit(event)
        told = {
            "event": event.id,
            "source": event.source,
            "type": event.type,
            "subject": event.subject,
            "time": None if event.time is None else event.time.isoformat(),
            "data": digests.of_json(event.data),
        }

        def work(connection: Connection) -> bool:
            now = self._rooms.clock.now()
            is_new = queries.insert_event(connection, context.project, event, received_at=now)
            if is_new:
                self._rooms.ledger.record(
                    connection, context, FactKind.EVENT_RECEIVED, subject=event.source, payload=told
                )
            return is_new

        return self._rooms.database.write(work)

    def get(self, context: Context, name: str) -> LoopRow:
        """Return a loop; raises `NotFound`."""
        self._access.require(context, Permission.LOOP_READ)
        row = self._rooms.database.read(lambda c: queries.loop(c, context.project, name))
        if row is None:
            raise NotFound("loop", name, known=[other.name for other in self.all(context)])
        return row

    def all(self, context: Context, *, with_retired: bool = False) -> list[LoopRow]:
        """Return the loops of the project, by name; those that are retired only `with_retired`."""
        self._access.require(context, Permission.LOOP_READ)

        def look(connection: Connection) -> list[LoopRow]:
            left_out = set[str]() if with_retired else retirements.hidden(connection, context.project, Kind.LOOP)
            return [row for row in queries.all_loops(connection, context.project) if row.name not in left_out]

        return self._rooms.database.read(look)

    def cycles(self, context: Context, name: str | None = None) -> list[Cycle]:
        """Return the cycles of one loop, or of all, oldest first."""
        self._access.require(context, Permission.LOOP_READ)
        if name is not None:
            self.get(context, name)
        return self._rooms.database.read(lambda c: queries.all_cycles(c, context.project, name))

    def cycle(self, context: Context, cycle_id: str) -> Cycle:
        """Return a cycle with its evidence and verdict; raises `NotFound`."""
        self._access.require(context, Permission.LOOP_READ)
        found = self._rooms.database.read(lambda c: queries.find_cycle(c, context.project, cycle_id))
        if found is None:
            raise NotFound("cycle", cycle_id, hint="list them: noria cycles")
        return found

    def page(self, context: Context, wanted: CyclesWanted, *, after: str | None = None) -> list[Cycle]:
        """Return cycles newest first, those that come after the cycle `after` in that order; raises `NotFound`."""
        self._access.require(context, Permission.LOOP_READ)
        if wanted.loop is not None:
            self.get(context, wanted.loop)
        last = None if after is None else self.cycle(context, after)
        return self._rooms.database.read(lambda c: queries.page_of_cycles(c, context.project, wanted, after=last))

    def open_cycle(self, context: Context, name: str) -> Cycle | None:
        """Return the loop's open cycle, if there is one."""
        self._access.require(context, Permission.LOOP_READ)
        return self._rooms.database.read(lambda c: queries.open_cycle(c, context.project, name))

    def reviews(self, context: Context) -> list[Cycle]:
        """Return the cycles whose candidates wait for a review, the most urgent first."""
        self._access.require(context, Permission.LOOP_READ)
        waiting = self._rooms.database.read(lambda c: queries.waiting_cycles(c, context.project, CycleState.REVIEWING))
        return sorted(waiting, key=lambda cycle: (cycle.deadline, cycle.loop))

    def approve(self, context: Context, name: str, *, reason: str) -> Cycle:
        """Approve the loop's candidate that waits for a review; raises `Conflict` if none waits."""
        return self._review(context, name, FactKind.REVIEW_APPROVED, reason=reason)

    def refuse(self, context: Context, name: str, *, reason: str) -> Cycle:
        """Refuse the loop's candidate that waits for a review; raises `Conflict` if none waits."""
        return self._review(context, name, FactKind.REVIEW_REFUSED, reason=reason)

    def _review(self, context: Context, name: str, kind: FactKind, *, reason: str) -> Cycle:
        self._access.require(context, Permission.REVIEW)
        self.get(context, name)
        said = f"{context.actor} {'approved' if kind is FactKind.REVIEW_APPROVED else 'refused'}: {reason}"

        def work(connection: Connection) -> Cycle:
            cycle = queries.open_cycle(connection, context.project, name)
            if cycle is None or cycle.state is not CycleState.REVIEWING or not queries.end_wait(connection, cycle):
                raise Conflict(f"no candidate of loop {name!r} waits for a review", hint="look at: noria review ls")
            verdict = {**cycle.verdict, "review": said}
            moved = queries.move_cycle(connection, cycle, state=cycle.state, verdict=verdict, words=said)
            told = {"loop": name, "cycle": cycle.id, "number": cycle.number, "version": cycle.candidate, "words": said}
            self._rooms.ledger.record(connection, context, kind, subject=cycle.id, payload=told)
            return moved

        return self._rooms.database.write(work)

    def why(self, context: Context, model: str, number: int) -> list[tuple[str, str]]:
        """Tell in words why a version exists and who decided what about it, as headed lines; raises `NotFound`."""
        self._access.require(context, Permission.LOOP_READ)
        return telling.why(self._rooms, context, model, number)
