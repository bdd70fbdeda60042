"""Runs with all that they stand on, for tests in this process and in others."""

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select

from noria.access import tables as access_tables
from noria.access.service import Access
from noria.adapters.codecs import standard
from noria.core.clock import RealClock, SimulatedClock
from noria.core.context import Actor, Context
from noria.core.ids import TimedIds
from noria.ledger.notes import Signer, load_or_make_key
from noria.ledger.service import Ledger
from noria.runs import tables as runs_tables
from noria.runs.service import Runs
from noria.store.blobs import open_blobs
from noria.store.opening import open_database
from noria.store.tables import leases, metadata

START = datetime(2026, 1, 1, tzinfo=UTC)
ANN = Context(actor=Actor(name="ann"))


class Watch:
    """A stopwatch of which every look costs a second of wall and half a second of CPU."""

    def __init__(self):
        self.looks = 0

    def wall(self):
        self.looks += 1
        return float(self.looks)

    def cpu(self):
        return self.looks / 2

    thread_cpu = cpu


@dataclass
class House:
    database: object
    blobs: object
    clock: SimulatedClock
    ids: object
    ledger: Ledger
    access: Access

    def runs(self, **options):
        options = {"sleep": lambda _: None, "chance": random.Random(3)} | options
        return Runs(
            self.database,
            self.blobs,
            standard(),
            ledger=self.ledger,
            access=self.access,
            clock=self.clock,
            ids=self.ids,
            **options,
        )

    def wait_for_renewals(self, count=2, patience_seconds=60):
        """Wait until the lease of the only run under way has been renewed `count` times."""
        ends, expiries, expiry = time.monotonic() + patience_seconds, set(), select(leases.c.expires_at)
        while len(expiries) <= count:
            assert time.monotonic() < ends, f"the lease was not renewed in {patience_seconds} s"
            expiries |= set(self.database.read(lambda connection: connection.execute(expiry).scalars().all()))
            time.sleep(0.02)

    def facts(self):
        self.ledger.seal()
        return [(fact.kind.value, fact.payload) for fact in self.ledger.after(-1) if fact.kind.value.startswith("run.")]


def house_on(database, blobs, clock, ids, ann, tmp_path: Path):
    assert access_tables, runs_tables
    metadata.create_all(database.engine)
    ledger = Ledger(database, Signer(load_or_make_key(tmp_path / "key")), clock=clock, ids=ids)
    access = Access(database, ledger, clock=clock)
    access.found(ann)
    return House(database, blobs, clock, ids, ledger, access)


def open_house(folder: Path):
    """Open the house of a folder on the machine's clock, as a program does."""
    clock = RealClock()
    database = open_database(f"sqlite:///{folder / 'noria.db'}")
    return house_on(database, open_blobs(str(folder / "blobs")), clock, TimedIds(clock), ANN, folder)
