"""Plays worlds in processes of their own, kills those that the world kills, and compares lives."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
os.environ |= dict.fromkeys(_ONE_THREAD, "1") | {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from worlds import World  # noqa: E402 - found beside this file

_SECONDS = 90.0
_WORLDS_A_PROCESS = 20
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["preloaded"])
Work = tuple[World, Path, int | None]


@dataclass(frozen=True)
class Played:
    """What came of a world: laws that broke, and what was decided."""

    world: World
    broken: tuple[str, ...]
    decided: dict[str, Any] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    """What the undisturbed life took."""

    @property
    def has_champion(self) -> bool:
        return bool(self.decided.get("moves"))


def play(worlds: Iterable[World]) -> Iterator[Played]:
    """Play worlds undisturbed, and once more with its accidents if one has any: both lives decide the same."""
    waiting = iter(worlds)
    while some := list(islice(waiting, _WORLDS_A_PROCESS)):
        for calm in _undisturbed([replace(world, accidents=0) for world in some]):
            world = next(one for one in some if one.seed == calm.world.seed)
            yield _compared(calm, _disturbed(world)) if world.accidents else calm


def _compared(calm: Played, disturbed: Played) -> Played:
    told = [f"(killed {disturbed.world.accidents} times) {words}" for words in disturbed.broken]
    for what, value in calm.decided.items():
        if disturbed.decided and disturbed.decided[what] != value:
            told.append(f"an interrupted life decides the same: {what}: {_apart(value, disturbed.decided[what])}")
    return replace(calm, world=disturbed.world, broken=(*calm.broken, *told))


def _undisturbed(worlds: Sequence[World]) -> Iterator[Played]:
    """Play lives one after the other in one process; where one ends the process, the others go on in the next."""
    waiting = list(worlds)
    with tempfile.TemporaryDirectory(prefix="worlds-", ignore_cleanup_errors=True) as place:
        while waiting:
            work = [(world, Path(place) / str(world.seed), None) for world in waiting]
            code = _process(work)
            for world, folder, _ in work:
                waiting.remove(world)
                found = _report(world, folder)
                yield found or _ended(world, folder, code)
                shutil.rmtree(folder, ignore_errors=True)
                if found is None:
                    break


def _disturbed(world: World) -> Played:
    """Play one life to its end, in as many processes as it takes."""
    chance = random.Random(f"{world.seed}/accidents")
    deaths = [chance.randint(2, 80) for _ in range(world.accidents)]
    with tempfile.TemporaryDirectory(prefix="world-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        for dies_at in [*deaths, None]:
            code = _process([(world, folder, dies_at)])
            found = _report(world, folder)
            if found is not None:
                return found
            if code != -signal.SIGKILL or dies_at is None:
                return _ended(world, folder, code)
    raise AssertionError("the last process of a life is not killed")


def _report(world: World, folder: Path) -> Played | None:
    file = folder / "report.json"
    if not file.exists():
        return None
    told = json.loads(file.read_text())
    return Played(world=world, broken=tuple(told["broken"]), decided=told["decided"], cpu_seconds=told["cpu_seconds"])


def _ended(world: World, folder: Path, code: int | None) -> Played:
    """Say that a process ended within a life, with what it printed but for the list of modules that a crash adds."""
    said = folder / "said"
    text = said.read_text(errors="replace").partition("\nExtension modules:")[0][-2500:] if said.exists() else ""
    return Played(world=world, broken=(f"a life ends: its process ended with {code}: {text}",))


def _process(work: Sequence[Work]) -> int | None:
    """Let one process play some lives, and return its exit code; one that hangs in a life is ended."""
    process = _processes.Process(target=_live_all, args=(work,), daemon=False)
    process.start()
    done, since = 0, time.monotonic()
    while process.is_alive():
        process.join(1.0)
        now = sum((folder / "report.json").exists() for _, folder, _ in work)
        if now > done:
            done, since = now, time.monotonic()
        if time.monotonic() - since > _SECONDS and process.is_alive():
            os.kill(process.pid or 0, signal.SIGABRT)
            process.join()
    return process.exitcode


def _live_all(work: Sequence[Work]) -> None:
    """Live some lives, in a process of its own."""
    import faulthandler
    import warnings

    faulthandler.enable()
    warnings.simplefilter("ignore")
    for world, folder, dies_at in work:
        _live(world, folder, dies_at)


def _live(world: World, folder: Path, dies_at: int | None) -> None:
    """Live one life; what it prints goes to a file."""
    from lives import Life

    folder.mkdir(exist_ok=True)
    with (folder / "said").open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    begun = time.process_time()
    report = Life(world, folder, dies_at=dies_at).live() | {"cpu_seconds": time.process_time() - begun}
    (folder / "unfinished").write_text(json.dumps(report))
    (folder / "unfinished").rename(folder / "report.json")


def _apart(calm: Any, disturbed: Any) -> str:
    """Return where two reports differ, in a line."""
    if isinstance(calm, list) and isinstance(disturbed, list):
        for place, (one, other) in enumerate(zip(calm, disturbed, strict=False)):
            if one != other:
                return f"number {place}: {one} against {other}"[:1500]
        return f"{len(calm)} against {len(disturbed)}"
    return f"{calm} against {disturbed}"
