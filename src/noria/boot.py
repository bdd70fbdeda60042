"""Picks the adapters, wires the rooms, and hands back a `Platform`."""

import getpass
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from noria.access.service import Access
from noria.adapters.codecs import standard
from noria.adapters.model_process import open_process
from noria.adapters.onnx import OnnxScorer, convert
from noria.core.clock import Clock, MachineStopwatch, RealClock
from noria.core.context import Actor, Context
from noria.core.ids import TimedIds
from noria.datasets.model import Dataset, Snapshot
from noria.datasets.reading import Reading
from noria.datasets.service import Datasets
from noria.guards.service import Guards
from noria.ledger.notes import Signer, load_or_make_key
from noria.ledger.service import Ledger
from noria.loop.service import Loops
from noria.loop.spec import Loop
from noria.loop.turn import Rooms
from noria.loop.worker import Worker
from noria.monitors.service import Monitors
from noria.pipelines import Pipeline
from noria.registry.loading import Loader
from noria.registry.service import Registry
from noria.rollouts.service import Rollouts
from noria.runs.model import Run
from noria.runs.service import Runs
from noria.serving.landing import Landings
from noria.serving.loading import Runtime
from noria.serving.log import Log
from noria.serving.preparing import Preparer
from noria.serving.service import Endpoints
from noria.settings import Settings, read_settings
from noria.store.blobs import open_blobs
from noria.store.migrating import upgrade
from noria.store.opening import open_database

if TYPE_CHECKING:
    import polars as pl

_DATABASE_FILE = "noria.db"


class Platform(AbstractContextManager["Platform"]):
    """An open home: every room, and the few verbs that people say most, with the actor filled in.

    Rooms (`datasets`, `guards`, `runs`, `registry`, `loops`, `ledger`, `access`, `monitors`,
    `endpoints`, `rollouts`) take a `Context` first; the
    shorthands here pass `context`. Safe to share between threads; close it, or use it in a `with`.
    """

    def __init__(self, settings: Settings, *, clock: Clock) -> None:
        database_address, folder = _places(settings)
        self.settings = settings
        self.clock = clock
        self.ids = TimedIds(clock)
        self.database = open_database(database_address)
        upgrade(self.database)
        self.blobs = open_blobs(settings.blobs or str(folder / "blobs"))
        codecs = self.codecs = standard()
        key = load_or_make_key(Path(settings.key_file or folder / "ledger.key"))
        self.ledger = Ledger(self.database, Signer(key), clock=clock, ids=self.ids)
        self.access = Access(self.database, self.ledger, clock=clock)
        self.context = Context(actor=Actor(name=settings.actor or getpass.getuser()), project=settings.project)
        self.access.found(self.context)
        shared: dict[str, Any] = {"ledger": self.ledger, "access": self.access, "clock": clock, "ids": self.ids}
        self.datasets = Datasets(self.database, self.blobs, cache_bytes=settings.fragment_cache_bytes, **shared)
        timed: dict[str, Any] = {"stopwatch": MachineStopwatch(), "lease_seconds": settings.lease_seconds}
        self.runs = Runs(self.database, self.blobs, codecs, **timed, **shared)
        self.registry = Registry(self.database, **shared)
        self.guards = Guards(self.database, self.datasets, ledger=self.ledger, access=self.access, clock=clock)
        self.monitors = Monitors(self.database, **shared)
        self.loader = Loader(self.blobs, codecs)
        self.log = Log(Path(settings.log_folder or folder / "log"), clock=clock, ids=self.ids)
        self.endpoints = self._endpoints(shared)
        self.rollouts = Rollouts(self.database, registry=self.registry, endpoints=self.endpoints, **shared)
        self.landings = Landings(self.database, self.datasets, self.log, clock=clock)
        self.preparer = Preparer(self.blobs, convert=convert, opener=OnnxScorer)
        self.runtime = Runtime(self.blobs, folder / "bundles", onnx=OnnxScorer, process=open_process)
        self.rooms = self._rooms()
        self.loops = Loops(self.rooms, access=self.access)

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the home."""
        self.close()

    def close(self) -> None:
        """Seal and sign what was told, and let go of the database; calling it twice is fine."""
        self.log.close()
        self.ledger.checkpoint()
        self.database.close()

    def _endpoints(self, shared: Mapping[str, Any]) -> Endpoints:
        return Endpoints(
            self.database,
            self.log,
            registry=self.registry,
            datasets=self.datasets,
            loader=self.loader,
            stopwatch=MachineStopwatch(),
            **shared,
        )

    def _rooms(self) -> Rooms:
        return Rooms(
            database=self.database,
            ledger=self.ledger,
            datasets=self.datasets,
            runs=self.runs,
            registry=self.registry,
            loader=self.loader,
            guards=self.guards,
            monitors=self.monitors,
            endpoints=self.endpoints,
            rollouts=self.rollouts,
            preparer=self.preparer,
            landings=self.landings,
            clock=self.clock,
            ids=self.ids,
        )

    def acting_as(self, name: str) -> Context:
        """Return the project's context as seen by another person."""
        return replace(self.context, actor=Actor(name=name))

    def run(
        self, pipeline: Pipeline[..., Any], *, params: Mapping[str, Any] | None = None, key: str | None = None
    ) -> Run:
        """Run a pipeline; see `Runs.run`."""
        return self.runs.run(self.context, pipeline, params=params, key=key)

    def push(self, dataset: Dataset, rows: Any, *, source: str = "push", **options: Any) -> Snapshot:  # noqa: ANN401 - see Datasets.commit
        """Commit rows (a frame, or a path to Parquet, CSV or Arrow); see `Datasets.commit`."""
        return self.datasets.commit(self.context, dataset, rows, source=source, **options)

    def land_labels(self, dataset: Dataset, labels: Any, *, source: str = "labels", **options: Any) -> Snapshot:  # noqa: ANN401 - see Datasets.land_labels
        """Land labels, each with the time it became known; see `Datasets.land_labels`."""
        return self.datasets.land_labels(self.context, dataset, labels, source=source, **options)

    def read(self, dataset: str, *, columns: Sequence[str] | None = None, **which: Unpack[Reading]) -> "pl.DataFrame":
        """Read rows with the labels known by then; see `Datasets.read`."""
        return self.datasets.read(self.context, dataset, columns=columns, **which)

    def start(self, loop: Loop) -> None:
        """Declare a loop; a `worker` turns it. See `Loops.start`."""
        self.loops.start(self.context, loop)

    def worker(self, *loops: Loop, **options: Any) -> Worker:  # noqa: ANN401 - see Worker
        """Return a worker that turns these loops; use it in a `with`."""
        return Worker(self.rooms, self.context, loops, **options)


def open_home(
    home: str | Path | None = None, *, clock: Clock | None = None, settings: Settings | None = None
) -> Platform:
    """Open a home: a folder, or a `postgresql://` address; made if missing.

    Without an address, the one of `noria.toml` or `NORIA_HOME`, or the folder `.noria`. `clock` is the machine's
    unless one is given, such as `noria.core.clock.SimulatedClock`.

    Raises:
        Invalid: the address is of no known kind.
        Unavailable: the database cannot be reached.

    """
    found = settings or read_settings()
    if home is not None:
        found = replace(found, home=str(home))
    return Platform(found, clock=clock or RealClock())


def _places(settings: Settings) -> tuple[str, Path]:
    """Return the database's address, and the folder for what is not in it."""
    if "://" in settings.home:
        return settings.home, Path(".noria")
    folder = Path(settings.home).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / _DATABASE_FILE}", folder
