"""The same work in several engines, each in an environment of its own, in one run, as tables in Markdown.

`python benchmarks/peers/run.py [chain fan cold cached real crash] [--only noria dbos] [--runs 3] [--folder FOLDER]` makes
the environments in FOLDER where they are missing (by default in the user's cache folder). Each row is a fresh home and a
fresh process; runs go round all contestants, so that a busy moment hits none of them alone. A row that cannot run says why.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE_SECONDS = 900
QUIET = {
    "OMP_NUM_THREADS": "1",
    "DO_NOT_TRACK": "1",
    "TZ": "UTC",
    "PYTHONPATH": str(HERE),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "400",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_agent_register_timeout_ms": "300000",
    "METAFLOW_DEFAULT_DATASTORE": "local",
    "METAFLOW_DEFAULT_METADATA": "local",
    "USERNAME": "bench",
    "SCARF_NO_ANALYTICS": "true",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
}


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """An engine in one way of using it; `steps` is how many of a chain or map it is given, where 200 would take hours."""

    words: str
    file: str
    packages: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    steps: int | None = None
    cached: bool = True
    crash: bool = True
    real: bool = True

    def takes(self, workload):
        """Whether it can do the work at all."""
        return getattr(self, workload, True)


NOTHING_KEPT = {"cached": False, "crash": False}
CONTESTANTS = {
    "plain": Contestant(words="plain Python", file="plain", packages=("pip",), **NOTHING_KEPT),
    "sqlite-normal": Contestant(
        words="one SQLite commit a step, NORMAL", file="sqlite", env={"SYNCHRONOUS": "NORMAL"}, real=False
    ),
    "sqlite-full": Contestant(
        words="one SQLite commit a step, FULL", file="sqlite", env={"SYNCHRONOUS": "FULL"}, real=False
    ),
    "noria": Contestant(words="**Noria** (SQLite, synced within 100 ms)", file="noria_"),
    "noria-synced": Contestant(
        words="**Noria** (SQLite, each step synced)", file="noria_", env={"NORIA_SYNC_STEPS": "true"}
    ),
    "dask": Contestant(
        words="Dask threads (keeps nothing)", file="dask_", packages=("dask", "distributed"), env={"MODE": "threads"},
        **NOTHING_KEPT,
    ),
    "dask-distributed": Contestant(
        words="Dask distributed (keeps nothing)", file="dask_", packages=("dask", "distributed"),
        env={"MODE": "distributed"}, **NOTHING_KEPT,
    ),
    "ray": Contestant(words="Ray (keeps nothing)", file="ray_", packages=("ray",), **NOTHING_KEPT),
    "dbos": Contestant(words="DBOS (SQLite)", file="dbos_", packages=("dbos",)),
    "prefect": Contestant(words="Prefect (ephemeral server)", file="prefect_", packages=("prefect",)),
    "dagster": Contestant(
        words="Dagster in process", file="dagster_", packages=("dagster",), env={"MODE": "inprocess"}, cached=False
    ),
    "dagster-multiprocess": Contestant(
        words="Dagster multiprocess", file="dagster_", packages=("dagster",), env={"MODE": "multiprocess"}, steps=10,
        cached=False,
    ),
    "metaflow": Contestant(words="Metaflow (local)", file="metaflow_", packages=("metaflow",), steps=20),
    "airflow": Contestant(
        words="Airflow (`dags test`)", file="airflow_", packages=("apache-airflow",), steps=20, **NOTHING_KEPT
    ),
}  # fmt: skip
FOR_ALL = ("scikit-learn", "pandas", "pyarrow")
"""Of what the real work needs, everybody has the same: pandas loads PyArrow where it is installed."""
CHAIN, FAN, CRASH, KILLED_AT = 200, 500, 20, 8


class DidNotRunError(Exception):
    """Why a row is empty."""


class Contest:
    """The contestants, their environments, and what each run came to."""

    def __init__(self, folder):
        self.folder = folder

    def python(self, contestant):
        """Return the interpreter of its environment, made if missing; the present one for what is installed here."""
        if not contestant.packages:
            return sys.executable
        python = self.folder / contestant.packages[0].removeprefix("apache-") / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", *contestant.packages, *FOR_ALL], check=True)
        return python

    def version(self, contestant):
        """Return its version, empty for what has none of interest."""
        if contestant.packages in ((), ("pip",)):
            return ""
        code = f"from importlib.metadata import version; print(version({contestant.packages[0]!r}))"
        return subprocess.run(
            [self.python(contestant), "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()

    def once(self, contestant, steps, home, *workload):
        """Run a workload once and return what the meter said; raises `DidNotRunError`."""
        command = self._command(contestant, *workload)
        metered = [sys.executable, HERE / "metering.py", str(PATIENCE_SECONDS), *command]
        done = subprocess.run(
            metered, cwd=home, env=self._env(contestant, steps, home), capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        if found["told"] is None:
            raise DidNotRunError((found["words"] or "it said nothing").splitlines()[-1])
        return found

    def killed(self, contestant, home):
        """Begin the chain of slow steps, kill all its processes in the middle, and return how many were begun."""
        process = subprocess.Popen(
            self._command(contestant, "crash"), cwd=home, env=self._env(contestant, CRASH, home),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + PATIENCE_SECONDS
        while len(trace(home)) < KILLED_AT and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.05)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return len(trace(home))

    def _command(self, contestant, *workload):
        return [self.python(contestant), HERE / "contestants" / f"{contestant.file}.py", *workload]

    def _env(self, contestant, steps, home):
        homes = {
            "BENCH_HOME": home,
            "BENCH_N": str(steps),
            "PREFECT_HOME": f"{home}/.prefect",
            "DAGSTER_HOME": home,
            "METAFLOW_HOME": f"{home}/.metaflow",
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": home,
            "AIRFLOW_HOME": f"{home}/airflow",
        }
        return os.environ | QUIET | contestant.env | homes


def trace(home):
    file = Path(home) / "trace"
    return file.read_text().split() if file.exists() else []


def chain(contest, contestant, home):
    """Milliseconds a step: wall; CPU in the process that runs it, of all steps and of those after the first; CPU of all
    processes beyond a one-step run.
    """
    return _each(contest, contestant, "chain", contestant.steps or CHAIN, home, expected=lambda steps: steps)


def fan(contest, contestant, home):
    """Milliseconds an item, as for a chain."""
    steps = contestant.steps or FAN
    return _each(contest, contestant, "fan", steps, home, expected=lambda steps: steps * (steps + 1) // 2)


def _each(contest, contestant, workload, steps, home, *, expected):
    one = contest.once(contestant, 1, _inside(home, "one"), workload)
    many = contest.once(contestant, steps, _inside(home, "many"), workload)
    if many["told"]["result"] != expected(steps):
        raise DidNotRunError(f"the result was {many['told']['result']}")
    told = many["told"]
    later, everywhere = (
        (whole["cpu"] - first["cpu"]) / (steps - 1) for whole, first in ((told, one["told"]), (many, one))
    )
    return 1000 * told["wall"] / steps, 1000 * told["cpu"] / steps, 1000 * later, 1000 * everywhere, many["peak_mb"]


def cold(contest, contestant, home):
    """Measure from the interpreter's start to the end of a one-step run in a fresh home."""
    found = contest.once(contestant, 1, home, "chain")
    return found["wall"], found["cpu"], found["peak_mb"]


def cached(contest, contestant, home):
    """Measure a second run of the same chain, and count the steps that it executes again."""
    steps = contestant.steps or CHAIN
    contest.once(contestant, steps, home, "cached")
    before = len(trace(home))
    found = contest.once(contestant, steps, home, "cached")["told"]
    return 1000 * found["wall"], 1000 * found["wall"] / steps, len(trace(home)) - before


def real(contest, contestant, home):
    """Measure the run, and the process with all that it starts."""
    found = contest.once(contestant, 1, home, "real")
    return found["told"]["wall"], found["wall"], found["cpu"]


def crash(contest, contestant, home):
    """Count steps executed twice and lost by kill -9; time until the result, over what the missing steps sleep."""
    begun = contest.killed(contestant, home)
    if begun >= CRASH:
        raise DidNotRunError("it had ended before it was killed")
    again = contest.once(contestant, CRASH, home, "crash", "again")
    executed = trace(home)
    missing = len(executed) - begun
    return len(executed) - len(set(executed)), CRASH - len(set(executed)), again["wall"] - 0.2 * missing


def _inside(home, name):
    folder = Path(home) / name
    folder.mkdir()
    return str(folder)


WORKLOADS = {
    "chain": (
        chain,
        f"a chain of {CHAIN} steps",
        "ms a step|CPU ms a step, own process|each after the first|CPU ms a step, all processes|MB",
    ),
    "fan": (
        fan,
        f"a map of {FAN} items and their sum",
        "ms an item|CPU ms an item, own process|each after the first|CPU ms an item, all processes|MB",
    ),
    "cold": (cold, "from Python's start to a finished one-step run", "s|CPU s, all processes|MB"),
    "cached": (cached, f"a second run of {CHAIN} cached steps", "ms|ms a step|executed again"),
    "real": (real, "three models on two datasets", "s, run|s, process|CPU s, all processes"),
    "crash": (crash, f"kill -9 in the middle of {CRASH} steps", "executed twice|lost|s more than the steps"),
}


def measured(contest, workload, contestants, runs):
    """Return the rows of each contestant by name, runs going round, and why others have none."""
    work, rows, problems = WORKLOADS[workload][0], {name: [] for name in contestants}, {}
    for _ in range(runs):
        for name, contestant in contestants.items():
            if name in problems:
                continue
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
                try:
                    rows[name].append(work(contest, contestant, home))
                except (DidNotRunError, subprocess.CalledProcessError) as problem:
                    problems[name] = str(problem)[:120]
    return rows, problems


def printed(contest, workload, contestants, runs):
    """Measure a workload and print its table."""
    _, words, columns = WORKLOADS[workload]
    print(f"\n| {words} | version | {columns.replace('|', ' | ')} |")
    print("|---|---|" + "---|" * len(columns.split("|")), flush=True)
    rows, problems = measured(contest, workload, contestants, runs)
    for name, contestant in contestants.items():
        steps = f", {contestant.steps} of them" if contestant.steps and workload in ("chain", "fan", "cached") else ""
        cells = (
            f"did not run: {problems[name]}"
            if name in problems
            else " | ".join(f"{statistics.median(column):.3g}" for column in zip(*rows[name], strict=True))
        )
        print(f"| {contestant.words}{steps} | {contest.version(contestant)} | {cells} |", flush=True)


def main():
    """Read what is asked, and print a table for each workload."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; all if none is named"
    )
    parser.add_argument("--only", nargs="*", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "noria-bench")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    if unknown := set(asked.workloads) - set(WORKLOADS):
        parser.error(f"no workload {', '.join(unknown)}; known: {', '.join(WORKLOADS)}")
    contest = Contest(asked.folder)
    print(
        f"{platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, medians of {asked.runs}"
    )
    for workload in asked.workloads or WORKLOADS:
        takers = {name: CONTESTANTS[name] for name in asked.only if CONTESTANTS[name].takes(workload)}
        printed(contest, workload, takers, asked.runs)


if __name__ == "__main__":
    main()
