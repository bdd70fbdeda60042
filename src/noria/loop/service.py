"""Verbs of the loop: start, pause, ask for a cycle, look at what it did."""

from noria.access.model import Permission
from noria.access.service import Access
from noria.core.context import Context
from noria.core.errors import NotFound
from noria.ledger.model import FactKind
from noria.loop import queries, telling
from noria.loop.model import Cycle, LoopRow, LoopState, Standing
from noria.loop.spec import Loop
from noria.loop.turn import Rooms
from noria.store.database import Connection


class Loops:
    """The loops of a platform; a `Worker` turns them."""

    def __init__(self, rooms: Rooms, *, access: Access) -> None:
        self._rooms = rooms
        self._access = access

    def start(self, context: Context, loop: Loop) -> LoopRow:
        """Declare a loop, or declare it anew; a known one goes on where it was, a new one hears of all data there is."""
        self._access.require(context, Permission.LOOP_WRITE)
        self._rooms.datasets.create(context, loop.dataset)
        now = self._rooms.clock.now()

        def work(connection: Connection) -> None:
            known = queries.loop(connection, context.project, loop.name)
            declared = LoopRow(
                name=loop.name,
                project=context.project,
                state=LoopState.RUNNING,
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
            )
            queries.put_loop(connection, declared)
            self._rooms.endpoints.create_in(connection, context, loop.name, model=loop.model, dataset=loop.dataset.name)
            self._rooms.rollouts.serve_champion_in(connection, context, loop.name, model=loop.model)
            if known is None or known.digest != declared.digest or known.state is not LoopState.RUNNING:
                told = {"loop": loop.name, "digest": declared.digest, "spec": declared.spec}
                self._rooms.ledger.record(connection, context, FactKind.LOOP_STARTED, subject=loop.name, payload=told)

        self._rooms.database.write(work)
        return self.get(context, loop.name)

    def pause(self, context: Context, name: str) -> LoopRow:
        """Let the loop answer nothing until it is started again; what comes meanwhile is answered then."""
        self._access.require(context, Permission.LOOP_WRITE)
        self.get(context, name)

        def work(connection: Connection) -> None:
            queries.set_state(connection, context.project, name, LoopState.PAUSED)
            self._rooms.ledger.record(connection, context, FactKind.LOOP_PAUSED, subject=name, payload={"loop": name})

        self._rooms.database.write(work)
        return self.get(context, name)

    def request(self, context: Context, name: str, *, reason: str) -> None:
        """Ask for a cycle by hand; it is opened when the open one has settled."""
        self._access.require(context, Permission.LOOP_WRITE)
        self.get(context, name)
        told = {"loop": name, "reason": reason}
        self._rooms.database.write(
            lambda c: self._rooms.ledger.record(c, context, FactKind.CYCLE_REQUESTED, subject=name, payload=told),
        )

    def get(self, context: Context, name: str) -> LoopRow:
        """Return a loop; raises `NotFound`."""
        self._access.require(context, Permission.LOOP_READ)
        row = self._rooms.database.read(lambda c: queries.loop(c, context.project, name))
        if row is None:
            raise NotFound("loop", name, known=[other.name for other in self.all(context)])
        return row

    def all(self, context: Context) -> list[LoopRow]:
        """Return all loops of the project, by name."""
        self._access.require(context, Permission.LOOP_READ)
        return self._rooms.database.read(lambda c: queries.all_loops(c, context.project))

    def cycles(self, context: Context, name: str | None = None) -> list[Cycle]:
        """Return the cycles of one loop, or of all, oldest first."""
        self._access.require(context, Permission.LOOP_READ)
        if name is not None:
            self.get(context, name)
        return self._rooms.database.read(lambda c: queries.all_cycles(c, context.project, name))

    def open_cycle(self, context: Context, name: str) -> Cycle | None:
        """Return the loop's open cycle, if there is one."""
        self._access.require(context, Permission.LOOP_READ)
        return self._rooms.database.read(lambda c: queries.open_cycle(c, context.project, name))

    def why(self, context: Context, model: str, number: int) -> list[tuple[str, str]]:
        """Tell in words why a version exists and who decided what about it, as headed lines; raises `NotFound`."""
        self._access.require(context, Permission.LOOP_READ)
        return telling.why(self._rooms, context, model, number)
