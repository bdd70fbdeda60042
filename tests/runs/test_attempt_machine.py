"""A machine that plays workers against each other over one run, on a simulated clock and either database.

Workers begin it, take it over, finish and fail its steps, and are frozen in the middle of a step for as long as it
pleases the machine; somebody cancels, pauses and resumes. Whatever happens: a step has one result, a fenced worker
commits nothing, what has succeeded never changes, and in the end the run ends.
"""

import queue
import shutil
import tempfile
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests_runs_house import ANN, START, house_on

import noria.pipelines as nr
from noria.core.clock import SimulatedClock
from noria.core.errors import LeaseLost
from noria.core.ids import TimedIds
from noria.runs.executors import Offers, Outcome, Problem
from noria.store.blobs import open_blobs
from noria.store.opening import open_database
from noria.store.tables import metadata

NAMES = ("a", "b", "c")
WORKERS = st.sampled_from(NAMES)
LEASE_SECONDS = 30.0


@nr.step(retries=1, backoff_seconds=0)
def work(x):
    raise AssertionError("the workers' executor says what comes of it")


@nr.pipeline
def three():
    return work(work(work(0)))


class Worker:
    """A thread that runs or resumes, and stands still in each step until it is told how that ends."""

    name = "gate"
    offers = Offers()

    def __init__(self, house, name):
        self.runs = house.runs(holder=name, executor=self, lease_seconds=LEASE_SECONDS)
        self.orders, self.news = queue.Queue(), queue.Queue()
        self.thread = None

    def execute(self, _call):
        self.news.put("in a step")
        return self.orders.get()

    def close(self):
        """Nothing is held."""

    @property
    def is_busy(self):
        return self.thread is not None

    def begin(self, verb):
        """Let the worker do it, until it stands in a step or has ended; return which, or what was raised."""

        def whole():
            try:
                self.news.put(verb(self.runs))
            except LeaseLost as problem:
                self.news.put(problem)

        self.thread = threading.Thread(target=whole)
        self.thread.start()
        return self.heard()

    def tell(self, outcome):
        self.orders.put(outcome)
        return self.heard()

    def heard(self):
        news = self.news.get(timeout=60)
        if news != "in a step":
            self.thread.join()
            self.thread = None
        return news


class Attempts(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = SimulatedClock(START)
        self.database = self.opened()
        blobs = open_blobs(str(self.folder / "blobs"))
        self.house = house_on(self.database, blobs, self.clock, TimedIds(self.clock), ANN, self.folder)
        self.workers = {name: Worker(self.house, name) for name in NAMES}
        self.looker = self.house.runs(holder="looker")
        self.run = None
        self.owner, self.ends = None, self.clock.now()
        self.asked = False
        self.made = 0
        self.results, self.last = {}, None

    def opened(self):
        return open_database(f"sqlite:///{self.folder / 'noria.db'}", lease_clock=self.clock)

    def teardown(self):
        if self.run is not None:
            self.everything_ends()
        self.database.close()
        shutil.rmtree(self.folder)

    def everything_ends(self):
        """Frozen workers wake up and are fenced, and whoever comes next finishes the run."""
        self.time_passes(1000)
        for name, worker in self.workers.items():
            if worker.is_busy:
                self.told(name, self.finished())
        worker = self.workers["a"]
        news = worker.begin(lambda runs: runs.resume(ANN, self.run, pipeline=three))
        while news == "in a step":
            news = worker.tell(self.finished())
        assert news.state == "succeeded"
        self.step_results_stay()
        assert Counter(kind for kind, _ in self.house.facts())["run.succeeded"] == 1
        assert self.house.ledger.audit().holds

    def finished(self):
        self.made += 1
        return Outcome(returned=self.made)

    def may_commit(self, name):
        return self.owner == name and self.clock.now() < self.ends

    def is_free(self):
        return self.owner is None or self.clock.now() >= self.ends

    def state(self):
        """Return the state as it is stored: a run that nobody holds is seen as interrupted, and stands there as running."""
        seen = self.looker.get(ANN, self.run).state
        return "running" if seen == "interrupted" else seen

    def attempts(self):
        return self.looker.attempts(ANN, self.run)

    def came(self, name, news):
        """Take in where a worker stands after it did something."""
        if news == "in a step":
            return
        assert not isinstance(news, LeaseLost)
        self.run = news.id
        if self.owner == name:
            self.owner, self.asked = None, False

    def took(self, name):
        self.owner, self.ends = name, self.clock.now() + timedelta(seconds=LEASE_SECONDS)

    def told(self, name, outcome):
        """Let a worker's step end: its end is committed if the lease is still the worker's, and else nothing is."""
        before, may = len(self.attempts()), self.may_commit(name)
        news = self.workers[name].tell(outcome)
        assert isinstance(news, LeaseLost) == (not may)
        assert len(self.attempts()) - before == int(may)
        if may:
            self.came(name, news)
            assert not self.asked or news != "in a step"
        elif self.owner == name:
            self.owner = None

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds):
        self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))

    @rule(name=WORKERS)
    def begins_or_takes_over(self, name):
        worker = self.workers[name]
        if worker.is_busy or not self.is_free():
            return
        is_open = self.run is None or self.state() == "running"
        goes_on = is_open and not self.asked  # what was asked of the one who has lost it still stands
        if is_open:
            self.took(name)
        news = worker.begin(lambda runs: runs.run(ANN, three, key="once"))
        assert (news == "in a step") == goes_on
        self.run = self.run or self.looker.list(ANN)[0].id
        self.came(name, news)

    @precondition(lambda self: self.run is not None)
    @rule(name=WORKERS)
    def resumes(self, name):
        if self.workers[name].is_busy or not self.is_free():
            return
        if self.state() != "succeeded":
            self.took(name)
            self.asked = False  # to resume is the last word
        self.came(name, self.workers[name].begin(lambda runs: runs.resume(ANN, self.run, pipeline=three)))

    @rule(name=WORKERS)
    def step_finishes(self, name):
        if self.workers[name].is_busy:
            self.told(name, self.finished())

    @rule(name=WORKERS, may_pass=st.booleans())
    def step_fails(self, name, may_pass):
        if self.workers[name].is_busy:
            self.told(name, Outcome(problem=Problem(words="broke", cause=OSError("no"), may_pass=may_pass)))

    @precondition(lambda self: self.run is not None)
    @rule(verb=st.sampled_from(["cancel", "pause"]))
    def is_stopped(self, verb):
        was, is_free = self.state(), self.is_free()
        found = getattr(self.looker, verb)(ANN, self.run)
        if was != "running" and not (verb == "cancel" and was == "paused"):
            assert found.state == was
        elif is_free:
            assert found.state == {"cancel": "cancelled", "pause": "paused"}[verb]
            self.owner = None
        else:
            assert found.state == was
            self.asked = True

    @precondition(lambda self: self.run is not None)
    @invariant()
    def step_results_stay(self):
        attempts = self.attempts()
        assert [attempt.number for attempt in attempts] == list(range(1, len(attempts) + 1))
        ended = [(a.step, a.artifact.digest) for a in attempts if a.state == "succeeded"]
        assert len(dict(ended)) == len(ended), "a step has two results"
        assert self.results.items() <= dict(ended).items(), "a result is another one now"
        self.results = dict(ended)

    @precondition(lambda self: self.run is not None)
    @invariant()
    def what_has_succeeded_never_changes(self):
        found = self.looker.get(ANN, self.run)
        if self.last is not None and self.last.state == "succeeded":
            assert found == self.last
        self.last = found


TestAttempts = Attempts.TestCase
TestAttempts.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_attempts_on_postgresql(postgresql_address):
    class AttemptsOnPostgresql(Attempts):
        def opened(self):
            database = open_database(postgresql_address, lease_clock=self.clock)
            metadata.drop_all(database.engine)
            return database

    run_state_machine_as_test(AttemptsOnPostgresql, settings=settings(TestAttempts.settings, max_examples=6))
