"""A chain of 200 steps in each of several engines, each in an environment of its own, in one run.

`python benchmarks/peers/run.py [FOLDER] [--runs 3]` makes the environments in FOLDER where they are missing
(by default in the cache folder of the user, outside the repository). A row that cannot run says why.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
STEPS = 200
CONTESTANTS = {
    "sqlite": ("one SQLite commit a step, FULL", None),
    "noria": ("Noria (SQLite, synced within 100 ms)", None),
    "dask": ("Dask threads (nothing durable)", ["dask"]),
    "dbos": ("DBOS (SQLite)", ["dbos"]),
    "prefect": ("Prefect (ephemeral server)", ["prefect"]),
}
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "400",
    "PREFECT_LOGGING_LEVEL": "ERROR",
}


def environment(folder, name, packages):
    if packages is None:
        return sys.executable
    python = folder / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return python


def version(python, packages):
    if packages is None:
        return ""
    code = f"from importlib.metadata import version; print(version({packages[0]!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def once(python, name):
    with tempfile.TemporaryDirectory() as home:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        done = subprocess.run(
            [python, HERE / f"chain_{name}.py", str(STEPS), home],
            cwd=home,
            env=os.environ | QUIET | {"PREFECT_HOME": f"{home}/.prefect"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"result"')))
    assert told["result"] == STEPS
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return told["wall"] / STEPS * 1000, told["cpu"] / STEPS * 1000, wall, used


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path.home() / ".cache" / "noria-bench")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    print(f"| a chain of {STEPS} steps | version | ms a step, wall | ms a step, CPU | s in all, wall | s in all, CPU |")
    print("|---|---|---|---|---|---|")
    for name, (words, packages) in CONTESTANTS.items():
        try:
            python = environment(asked.folder, name, packages)
            figures = [once(python, name) for _ in range(asked.runs)]
        except Exception as problem:  # noqa: BLE001 - the row says why
            print(f"| {words} | | did not run: {problem} | | | |", flush=True)
            continue
        cells = " | ".join(f"{statistics.median(column):.3f}" for column in zip(*figures, strict=True))
        print(f"| {words} | {version(python, packages)} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
