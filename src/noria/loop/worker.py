"""The worker follows the ledger and lets each loop answer its facts, one after the other, exactly once each."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from types import TracebackType

from noria.core.context import Context
from noria.core.errors import Conflict, LeaseLost, Stale, Unavailable
from noria.ledger.model import Fact
from noria.ledger.service import FACTS
from noria.loop import clock_steps, rolling, ticking
from noria.loop.collecting import Collector
from noria.loop.enduring import Enduring, Loud
from noria.loop.leasing import LoopLeases
from noria.loop.model import Duty, LoopState
from noria.loop.rescoring import Watcher
from noria.loop.spec import Loop
from noria.loop.table import concerns
from noria.loop.turn import Rooms, Turn

_log = logging.getLogger("noria.worker")
_LOOK_EVERY_SECONDS = 1.0
_SERVICE = "loop-worker"


class Worker(AbstractContextManager["Worker"]):
    """Turns the loops it is given. Several workers may share loops: each loop has one holder at a time.

    A worker that dies is replaced by the next one that asks: on the same machine at once, elsewhere when its lease
    has run out. Facts that were being answered are answered again; what was decided stays decided. What a verb raises
    ends the worker, unless it `endures`: then it is noted, tried again (unless told
    otherwise: then set aside at once), and the other loops go on.
    """

    def __init__(
        self,
        rooms: Rooms,
        context: Context,
        loops: Sequence[Loop],
        *,
        on_turn: Callable[[Turn], None] | None = None,
        endures: bool = False,
        tries_again: bool = True,
    ) -> None:
        self._rooms = rooms
        self._context = context.acting_as(_SERVICE)
        self._loops = {loop.name: loop for loop in loops}
        self._on_turn = on_turn
        self._leases = LoopLeases(rooms.database, context.project)
        self._read: dict[str, int] = {}
        self._latest = rooms.clock.now()
        self._collector = Collector(rooms, self._context)
        self._watcher = Watcher(rooms, self._context)
        self._stumbling = Enduring(rooms, self._context, tries_again=tries_again) if endures else Loud()
        self._overtaken: tuple[type[Conflict], ...] = (LeaseLost, Stale) if endures else ()
        self._told = threading.Event()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of all loops."""
        self.close()

    def close(self) -> None:
        """Stop and let go of all loops; calling it twice is fine."""
        self._leases.close()

    def run_until_told(self, told: threading.Event) -> None:
        """Answer facts as they come until `told` is set; waits without working, and looks at the clock every second.

        What is being answered then is finished, and the rest goes on at the next start.
        """
        self._told = told
        with self._rooms.database.listen(FACTS) as ear:
            while not told.is_set():
                self._turn_what_is_ours()
                ear.wait(_LOOK_EVERY_SECONDS)

    def _turn_what_is_ours(self) -> None:
        """Answer facts; what another worker has taken over is let go, and an unreachable database is asked again."""
        try:
            self.run_until_quiet()
        except (LeaseLost, Stale, Unavailable) as problem:
            _log.warning("%s", problem.sentence)
            self._leases.forget()
            self._read.clear()

    def run_until_quiet(self) -> int:
        """Answer facts until no loop has anything to do now; return how many were answered."""
        answered = 0
        while True:
            self._rooms.ledger.seal()
            if self._told.is_set():
                return answered
            self._stumbling.look()
            self._mind_the_clock()
            read = self._answer_all()
            if not read and not self._each(self._loops.values(), self._tick):
                return answered
            answered += read

    def next_due(self) -> datetime | None:
        """Return when a schedule, a deadline or a look at a rollout is due next."""
        times = [ticking.next_due(self._rooms, self._context, loop) for loop in self._loops.values()]
        return min((moment for moment in times if moment is not None), default=None)

    def _mind_the_clock(self) -> None:
        """Take the loops anew when the clock was set back: what is stored of them may lie ahead of it."""
        now = self._rooms.clock.now()
        if now < self._latest:
            self._read.clear()
        self._latest = now

    def _answer_all(self) -> int:
        """Let each loop that is ours answer the facts it has not heard; return how many were heard.

        Loops that stand at the same place share one reading; one that waits holds up nobody who is further.
        """
        ours = [loop for loop in self._loops.values() if self._may_turn(loop)]
        places = {self._read[loop.name] for loop in ours}
        facts = {place: self._rooms.ledger.after(place, project=self._context.project) for place in places}
        return self._each(ours, lambda loop: self._hear(loop, facts[self._read[loop.name]]))

    def _each(self, loops: Iterable[Loop], work: Callable[[Loop], int]) -> int:
        """Do something for each loop and add up what it returns; one that another worker has taken over is let go."""
        done = 0
        for loop in loops:
            try:
                done += work(loop)
            except self._overtaken as problem:
                _log.warning("%s", problem)
                self._leases.forget(loop.name)
                self._read.pop(loop.name, None)
        return done

    def _hear(self, loop: Loop, facts: Sequence[Fact]) -> int:
        """Let a loop answer the facts it has not heard, up to the first one that it may not answer now."""
        heard = 0
        for fact in facts:
            position = -1 if fact.position is None else fact.position
            if position <= self._read[loop.name]:
                continue
            if self._told.is_set() or (concerns(loop, fact) and not self._answer(loop, fact, position)):
                break
            self._read[loop.name] = position
            heard += 1
        return heard

    def _answer(self, loop: Loop, fact: Fact, position: int) -> bool:
        row, lease = ticking.row_of(self._rooms, self._context, loop), self._leases.get(loop.name)
        if row.state is LoopState.PAUSED or lease is None:
            return False
        turn = Turn(
            rooms=self._rooms, context=self._context, loop=loop, row=row, lease=lease, fact=fact, position=position
        )
        if not self._stumbling.answer(turn):
            return False
        if self._on_turn is not None:
            self._on_turn(turn)
        return True

    def _may_turn(self, loop: Loop) -> bool:
        """Say whether the loop is ours to turn; what it has answered is read once, when it becomes ours."""
        if self._leases.take(loop.name) is None:
            self._read.pop(loop.name, None)
            return False
        if loop.name not in self._read:
            lease = self._leases.get(loop.name)
            assert lease is not None
            clock_steps.set_right(self._rooms, self._context, loop, lease)
            self._read[loop.name] = ticking.row_of(self._rooms, self._context, loop).cursor
        return True

    def _tick(self, loop: Loop) -> bool:
        """Do what time brings about, also for a loop that waits with its facts; say whether there was anything."""
        lease = self._leases.get(loop.name)
        if lease is None:
            return False
        rooms, context, do = self._rooms, self._context, partial(self._stumbling.do, loop.name, lease)
        return (
            do(Duty.LANDING, lambda _: self._collector.collect(loop))
            or do(Duty.RESCORING, lambda _: self._watcher.look(loop, lease))
            or do(Duty.CLOCK, lambda _: ticking.tell(rooms, context, loop, lease))
            or do(Duty.LOOK, lambda stumble: rolling.look(rooms, context, loop.name, lease, stumble=stumble))
        )
