"""A machine that plays holders against each other on a simulated clock: whatever they do, one at a time may commit."""

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from noria.core.clock import SimulatedClock
from noria.core.errors import LeaseLost
from noria.store import leases
from noria.store.opening import open_database
from noria.store.tables import metadata

HOLDERS = st.sampled_from(["a", "b", "c"])
SECONDS = st.integers(1, 40)


class Leases(RuleBasedStateMachine):
    """Holders take, renew, release and commit, and may sleep for any time and go on as if nothing was.

    What a holder is asked to do is asked of the next one too, until it is forgotten.
    """

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.database = open_database(f"sqlite:///{self.folder / 'noria.db'}", lease_clock=self.clock)
        metadata.create_all(self.database.engine)
        self.believed = {}
        self.owner = None
        self.ends = None
        self.asked = None
        self.tokens = []

    def teardown(self):
        self.database.close()
        shutil.rmtree(self.folder)

    def is_held_by(self, holder):
        return self.owner == holder and self.clock.now() < self.ends

    def commits(self, lease):
        return self.database.write(lambda c: leases.check(c, lease, self.database.lease_time(c)))

    @rule(seconds=SECONDS)
    def time_passes(self, seconds):
        self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))

    @rule(holder=HOLDERS, seconds=SECONDS)
    def takes(self, holder, seconds):
        lease = self.database.write(
            lambda c: leases.acquire(c, self.database.lease_time(c), name="work", holder=holder, seconds=seconds)
        )
        may = self.owner is None or self.is_held_by(holder) or self.clock.now() >= self.ends
        assert (lease is not None) == may
        if lease is not None:
            if not self.is_held_by(holder):
                assert not self.tokens or lease.token > self.tokens[-1]
                self.tokens.append(lease.token)
            self.believed[holder], self.owner = lease, holder
            self.ends = self.clock.now() + timedelta(seconds=seconds)

    @rule(holder=HOLDERS, seconds=SECONDS)
    def renews(self, holder, seconds):
        lease = self.believed.get(holder)
        if lease is None:
            return
        try:
            self.believed[holder] = self.database.write(
                lambda c: leases.renew(c, lease, self.database.lease_time(c), seconds=seconds)
            )
        except LeaseLost:
            assert not self.may_commit(holder)
        else:
            assert self.may_commit(holder)
            self.ends = self.clock.now() + timedelta(seconds=seconds)

    @rule(holder=HOLDERS)
    def releases(self, holder):
        lease = self.believed.get(holder)
        if lease is None:
            return
        self.database.write(lambda c: leases.release(c, lease))
        if self.owner == holder and lease.token == self.tokens[-1]:
            self.ends = self.clock.now()

    @rule(word=st.sampled_from(["pause", "cancel"]))
    def is_asked(self, word):
        if self.owner is not None:
            self.database.write(lambda c: leases.ask(c, "work", word=word))
            self.asked = word

    @rule(holder=HOLDERS)
    def forgets(self, holder):
        lease = self.believed.get(holder)
        if lease is not None and self.may_commit(holder):
            self.database.write(lambda c: leases.forget(c, lease))
            self.asked = None

    def may_commit(self, holder):
        lease = self.believed[holder]
        return self.is_held_by(holder) and lease.token == self.tokens[-1]

    @invariant()
    def only_the_last_holder_commits_and_only_in_its_time(self):
        for holder, lease in self.believed.items():
            try:
                asked = self.commits(lease)
            except LeaseLost:
                assert not self.may_commit(holder)
            else:
                assert self.may_commit(holder)
                assert asked == self.asked


TestLeases = Leases.TestCase
TestLeases.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
