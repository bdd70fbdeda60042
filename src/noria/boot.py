"""Picks the adapters, wires the rooms, and hands back a `Platform`.

Rooms that load Polars or SciPy are made when they are first asked for: a program that only runs a pipeline starts in
a fraction of the time.
"""

import getpass
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from noria.access.service import Access
from noria.adapters.codecs import standard
from noria.adapters.executors.importing import refuse_while_importing
from noria.core.clock import Clock, MachineStopwatch, RealClock
from noria.core.context import Actor, Context
from noria.core.errors import Invalid, ReadOnly, nearest
from noria.core.ids import Ids, TimedIds
from noria.ledger.notes import Signer, load_key, load_or_make_key
from noria.ledger.service import Ledger
from noria.pipelines import Pipeline
from noria.runs.executors import Executor, Offers
from noria.runs.inprocess import InProcess
from noria.runs.model import Prices, Run
from noria.runs.service import Runs
from noria.runs.values import Values
from noria.settings import Settings, read_settings, with_user
from noria.store.blobs import open_blobs
from noria.store.bundles import Bundles
from noria.store.migrating import upgrade
from noria.store.opening import SQLITE, is_read_only, open_database
from noria.store.sqlite_files import may

if TYPE_CHECKING:
    import polars as pl

    from noria.adapters.model_process import ModelProcesses
    from noria.datasets.model import Dataset, Snapshot
    from noria.datasets.reading import Reading
    from noria.datasets.service import Datasets
    from noria.guards.service import Guards
    from noria.loop.removing import Removals
    from noria.loop.service import Loops
    from noria.loop.spec import Loop
    from noria.loop.turn import Rooms
    from noria.loop.worker import Worker
    from noria.monitors.service import Monitors
    from noria.registry.loading import Loader
    from noria.registry.service import Registry
    from noria.rollouts.service import Rollouts
    from noria.serving.landing import Landings
    from noria.serving.loading import Runtime
    from noria.serving.log import Log
    from noria.serving.preparing import Preparer
    from noria.serving.proving import Prover
    from noria.serving.rescoring import Rescorer
    from noria.serving.service import Endpoints

_DATABASE_FILE = "noria.db"
_ANOTHER_HOME = "name another folder: --home, NORIA_HOME, or home in noria.toml"


class Platform(AbstractContextManager["Platform"]):
    """An open home: every room, and the few verbs that people say most, with the actor filled in.

    Rooms (`datasets`, `guards`, `runs`, `registry`, `endpoints`, `monitors`, `rollouts`, `loops`, `ledger`, `access`)
    take a `Context` first; the shorthands here pass `context`. Safe to share between threads; close it, or use it in a `with`.
    """

    def __init__(self, settings: Settings, *, clock: Clock) -> None:
        database_address, self._folder = _places(settings)
        self.is_read_only = is_read_only(database_address)
        self.settings = settings
        self.clock = clock
        self.ids = TimedIds(clock)
        may_only: dict[str, Any] = {"read_only": self.is_read_only}
        self.database = open_database(database_address, sync_steps=settings.sync_steps, **may_only)
        upgrade(self.database, declare=_declare_tables, **may_only)
        self.blobs = open_blobs(settings.blobs or str(self._folder / "blobs"))
        self.bundles = Bundles(self.blobs, self._folder / "bundles")
        self.codecs = standard()
        self.ledger = Ledger(self.database, self._signer(), clock=clock, ids=self.ids)
        self.access = Access(self.database, self.ledger, clock=clock, **may_only)
        self.context = Context(actor=Actor(name=settings.actor or login_name()), project=settings.project)
        self.access.found(self.context)
        self._shared: dict[str, Any] = {"ledger": self.ledger, "access": self.access, "clock": clock, "ids": self.ids}
        self.runs = Runs(
            self.database,
            self.blobs,
            self.codecs,
            stopwatch=MachineStopwatch(),
            lease_seconds=settings.lease_seconds,
            executor=_executor(settings, Values(self.codecs, self.blobs), self.ids),
            check_types=settings.check_types,
            prices=Prices(usd_per_cpu_hour=settings.usd_per_cpu_hour, usd_per_gpu_hour=settings.usd_per_gpu_hour),
            **self._shared,
        )

    @cached_property
    def datasets(self) -> "Datasets":
        """Return the datasets."""
        from noria.datasets.service import Datasets  # noqa: PLC0415 - see the module

        return Datasets(self.database, self.blobs, cache_bytes=self.settings.fragment_cache_bytes, **self._shared)

    @cached_property
    def registry(self) -> "Registry":
        """Return the models and their versions."""
        from noria.registry.service import Registry  # noqa: PLC0415 - see the module
        from noria.serving.verifying import Verifier  # noqa: PLC0415 - see the module

        return Registry(self.database, verify=Verifier(self.database, self.blobs), **self._shared)

    @cached_property
    def guards(self) -> "Guards":
        """Return what judges data, and the quarantine."""
        from noria.guards.service import Guards  # noqa: PLC0415 - see the module

        shared = {name: self._shared[name] for name in ("ledger", "access", "clock")}
        return Guards(self.database, self.datasets, **shared)

    @cached_property
    def log(self) -> "Log":
        """Return the log of predictions and feedback."""
        from noria.serving.log import Log  # noqa: PLC0415 - see the module

        return Log(Path(self.settings.log_folder or self._folder / "log"), clock=self.clock, ids=self.ids)

    @cached_property
    def endpoints(self) -> "Endpoints":
        """Return the endpoints, and who answers them."""
        from noria.serving.service import Endpoints  # noqa: PLC0415 - see the module

        rooms: dict[str, Any] = {"registry": self.registry, "datasets": self.datasets, "loader": self.loader}
        return Endpoints(self.database, self.log, stopwatch=MachineStopwatch(), **rooms, **self._shared)

    @cached_property
    def landings(self) -> "Landings":
        """Return what brings the log into datasets."""
        from noria.serving.landing import Landings  # noqa: PLC0415 - see the module

        return Landings(
            self.database,
            self.datasets,
            self.log,
            patience=timedelta(days=self.settings.feedback_patience_days),
            keep=timedelta(days=self.settings.log_keep_days) or None,
            **self._shared,
        )

    @cached_property
    def preparer(self) -> "Preparer":
        """Return what makes a trained model ready to be served."""
        from noria.adapters.onnx import OnnxScorer, convert  # noqa: PLC0415 - see the module
        from noria.serving.preparing import Preparer  # noqa: PLC0415 - see the module

        return Preparer(self.blobs, convert=convert, opener=OnnxScorer)

    @cached_property
    def runtime(self) -> "Runtime":
        """Return what runs served versions: ONNX in this process, any other in one of its own."""
        from noria.adapters.onnx import OnnxScorer  # noqa: PLC0415 - see the module
        from noria.serving.loading import Runtime  # noqa: PLC0415 - see the module

        return Runtime(self.blobs, self.bundles, onnx=OnnxScorer, process=self.model_processes.open)

    @cached_property
    def model_processes(self) -> "ModelProcesses":
        """Return what runs a version in a process of its own."""
        from noria.adapters.model_process import ModelProcesses  # noqa: PLC0415 - see the module

        modules = self.settings.model_preload.replace(",", " ").split()
        return ModelProcesses(modules, patience=self.settings.answer_seconds)

    @cached_property
    def rollouts(self) -> "Rollouts":
        """Return the ways in and out of a champion's place."""
        from noria.rollouts.service import Rollouts  # noqa: PLC0415 - see the module

        return Rollouts(self.database, registry=self.registry, endpoints=self.endpoints, **self._shared)

    @cached_property
    def monitors(self) -> "Monitors":
        """Return the monitors of what is live."""
        from noria.monitors.service import Monitors  # noqa: PLC0415 - see the module

        return Monitors(self.database, **self._shared)

    @cached_property
    def loader(self) -> "Loader":
        """Return what loads a version's model."""
        from noria.registry.loading import Loader  # noqa: PLC0415 - see the module

        return Loader(self.blobs, self.codecs, prove=self.prover)

    @cached_property
    def prover(self) -> "Prover":
        """Return what holds loaded models against their golden rows."""
        from noria.serving.proving import Prover  # noqa: PLC0415 - see the module

        return Prover(self.database, self.blobs)

    @cached_property
    def rooms(self) -> "Rooms":
        """Return the rooms that a turn of the circle passes through."""
        from noria.loop.turn import Rooms  # noqa: PLC0415 - see the module

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
            rescorer=self._rescorer(),
            prover=self.prover,
            clock=self.clock,
            ids=self.ids,
        )

    def _rescorer(self) -> "Rescorer":
        """Return what scores live answers again."""
        from noria.serving.rescoring import Rescorer  # noqa: PLC0415 - see the module

        return Rescorer(
            self.database, self.log, registry=self.registry, loader=self.loader, share=self.settings.rescore_share
        )

    @cached_property
    def loops(self) -> "Loops":
        """Return the loops."""
        from noria.loop.service import Loops  # noqa: PLC0415 - see the module

        return Loops(self.rooms, access=self.access)

    @cached_property
    def removals(self) -> "Removals":
        """Return what retires and removes things."""
        from noria.loop.removing import Removals  # noqa: PLC0415 - see the module

        return Removals(self.rooms, access=self.access)

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the home."""
        self.close()

    def close(self) -> None:
        """Seal and sign what was told, and let go of the database; calling it twice is fine."""
        if "log" in vars(self):
            self.log.close()
        if "model_processes" in vars(self):
            self.model_processes.close()
        self.runs.close()
        if not self.is_read_only:
            self.ledger.checkpoint()
        self.database.close()

    def _signer(self) -> Signer:
        file = Path(self.settings.key_file or self._folder / "ledger.key")
        return Signer(partial(load_key, file)) if self.is_read_only else Signer(load_or_make_key(file))

    def acting_as(self, name: str) -> Context:
        """Return the project's context as seen by another person."""
        return replace(self.context, actor=Actor(name=name))

    def run(
        self, pipeline: Pipeline[..., Any], *, params: Mapping[str, Any] | None = None, key: str | None = None
    ) -> Run:
        """Run a pipeline; see `Runs.run`."""
        return self.runs.run(self.context, pipeline, params=params, key=key)

    def push(self, dataset: "Dataset", rows: Any, *, source: str = "push", **options: Any) -> "Snapshot":  # noqa: ANN401 - see Datasets.commit
        """Commit rows (a frame, or a path to Parquet, CSV or Arrow); see `Datasets.commit`."""
        return self.datasets.commit(self.context, dataset, rows, source=source, **options)

    def land_labels(self, dataset: "Dataset", labels: Any, *, source: str = "labels", **options: Any) -> "Snapshot":  # noqa: ANN401 - see Datasets.land_labels
        """Land labels, each with the time it became known; see `Datasets.land_labels`."""
        return self.datasets.land_labels(self.context, dataset, labels, source=source, **options)

    def read(self, dataset: str, *, columns: Sequence[str] | None = None, **which: "Unpack[Reading]") -> "pl.DataFrame":
        """Read rows with the labels known by then; see `Datasets.read`."""
        return self.datasets.read(self.context, dataset, columns=columns, **which)

    def start(self, loop: "Loop") -> None:
        """Declare a loop; a `worker` turns it. See `Loops.start`."""
        self.loops.start(self.context, loop)

    def worker(self, *loops: "Loop", **options: Any) -> "Worker":  # noqa: ANN401 - see Worker
        """Return a worker that turns these loops; use it in a `with`."""
        from noria.loop.worker import Worker  # noqa: PLC0415 - see the module

        return Worker(self.rooms, self.context, loops, **options)


def open_home(
    home: str | Path | None = None, *, clock: Clock | None = None, settings: Settings | None = None
) -> Platform:
    """Open a home: a folder, or a `postgresql://` address; made if missing.

    Without an address, the one of `noria.toml` or `NORIA_HOME`, or the folder `.noria`. `clock` is the machine's
    unless one is given, such as `noria.core.clock.SimulatedClock`. Where this user may only read the folder, the home
    opens for reading: verbs that would write raise `ReadOnly`.

    Raises:
        Invalid: the address is of no known kind, or no folder can be made there.
        ReadOnly: this user may not even read it, or not make one there.
        Unavailable: the database cannot be reached.

    """
    refuse_while_importing()
    found = settings or read_settings()
    if home is not None:
        found = replace(found, home=str(home))
    return Platform(found, clock=clock or RealClock())


def _executor(settings: Settings, values: Values, ids: Ids) -> Executor:
    """Return the executor that the settings name."""
    makers: dict[str, Callable[[], Executor]] = {
        "in-process": lambda: InProcess(MachineStopwatch(), **_has(settings)),
        "processes": lambda: _processes(settings, values),
        "ray": lambda: _ray(settings, values),
        "kubernetes": lambda: _kubernetes(settings, values, ids),
    }
    if settings.executor not in makers:
        raise Invalid(f"there is no executor {settings.executor!r}", hint=nearest(settings.executor, makers))
    return makers[settings.executor]()


def _has(settings: Settings) -> dict[str, Any]:
    """Return what this machine has for steps, by the settings."""
    tags = frozenset(tag.strip() for tag in settings.worker_tags.split(",") if tag.strip())
    return {"cpus": settings.worker_cpus or None, "gpus": settings.worker_gpus, "tags": tags}


def _processes(settings: Settings, values: Values) -> Executor:
    from noria.adapters.executors.processes import Processes  # noqa: PLC0415 - see the module

    return Processes(MachineStopwatch(), values=values, **_has(settings))


def _ray(settings: Settings, values: Values) -> Executor:
    from noria.adapters.executors.ray import Ray  # noqa: PLC0415 - see the module

    return Ray(values, watch=MachineStopwatch(), address=settings.ray_address)


def _kubernetes(settings: Settings, values: Values, ids: Ids) -> Executor:
    from noria.adapters.executors.jobs import place_of  # noqa: PLC0415 - see the module
    from noria.adapters.executors.kubernetes import Kubernetes, connected  # noqa: PLC0415 - see the module

    place = place_of(
        image=settings.kubernetes_image,
        blobs=settings.blobs,
        namespace=settings.kubernetes_namespace,
        service_account=settings.kubernetes_service_account,
        secret=settings.kubernetes_secret,
        volume_claim=settings.kubernetes_volume_claim,
    )
    has = {name: amount for name, amount in _has(settings).items() if amount}
    return Kubernetes(
        values,
        place,
        connected(),
        ids=ids,
        watch=MachineStopwatch(),
        offers=Offers(ends_steps=True, limits_memory=True, **has),
        pending_seconds=settings.kubernetes_pending_seconds,
    )


def _declare_tables() -> None:
    """Let every room declare its tables: a fresh database is made of them at once, without loading Alembic."""
    for room in iter_modules([str(Path(__file__).parent)]):
        if room.ispkg and (Path(__file__).parent / room.name / "tables.py").exists():
            import_module(f"noria.{room.name}.tables")


def _places(settings: Settings) -> tuple[str, Path]:
    """Return the database's address, and the folder for what is not in it."""
    if "://" in settings.home:
        return settings.home, Path(".noria")
    folder = _folder(settings.home)
    return f"{SQLITE}{folder / _DATABASE_FILE}", folder


def _folder(home: str) -> Path:
    """Return the folder of a home, made if missing, in which this user can at least read a database or else make one."""
    try:
        folder = Path(with_user(home)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / _DATABASE_FILE
        may_open = may(file, os.R_OK) if file.exists() else may(folder, os.W_OK)
    except PermissionError as problem:
        raise ReadOnly(f"this user may not open a home in {home}", hint=_ANOTHER_HOME) from problem
    except (OSError, RuntimeError, ValueError) as problem:  # a file in its place, a name too long, a NUL, no "~"
        said = problem.strerror if isinstance(problem, OSError) else problem
        raise Invalid(f"no home can be in {home!r}: {said}", hint=_ANOTHER_HOME) from problem
    if not may_open:
        raise ReadOnly(f"this user may not open a home in {folder}", hint=_ANOTHER_HOME)
    return folder


def login_name() -> str:
    """Return the name under which this user is logged in; that of a number without a name, as in containers, is `uid-` and the number."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # the user's number stands in no list of users
        return f"uid-{os.getuid()}" if hasattr(os, "getuid") else "nobody"
