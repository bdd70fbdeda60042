"""What it costs to hand a large value from step to step: Noria's codecs beside pickle, joblib, Parquet and plain copies.

Each cell is a fresh process: one gives the value away, the next one takes it and looks at all of it. Libraries are
loaded before. Memory is the most that a process took beyond what it had: while taken, that of its own and that of files
it has mapped, which processes share. Noria digests content and syncs what it keeps; the others do neither.
"""

import json
import multiprocessing
import os
import pickle
import shutil
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
import polars as pl
import pyarrow.ipc  # noqa: F401 - loaded, not measured
import skops.io
from sklearn.ensemble import RandomForestClassifier

from noria.adapters.codecs import standard
from noria.runs.model import Artifact
from noria.runs.values import Values
from noria.store.blobs import open_blobs

HOME = Path(tempfile.mkdtemp(prefix="noria-values-"))
KEPT, SOURCE, TAKEN, ARTIFACT = HOME / "kept", HOME / "source", HOME / "taken", HOME / "artifact"
FILE = KEPT / "file"


def frame():
    numbers = np.random.default_rng(0).random((20, 1_000_000))
    return pl.DataFrame({f"x{place}": column for place, column in enumerate(numbers)})


def array():
    return np.random.default_rng(0).random((25_000, 1_000))


def forest():
    rng = np.random.default_rng(0)
    rows = rng.random((2_000, 10))
    return RandomForestClassifier(100, random_state=0).fit(rows, rows[:, 0] + rng.normal(0, 0.3, 2_000) > 0.5)


def folder():
    SOURCE.mkdir()
    for name in range(10):
        (SOURCE / str(name)).write_bytes(os.urandom(50_000_000))
    return SOURCE


def noria():
    """Return Noria's values, held as long as the process as a home holds them."""
    noria.values = Values(standard(), open_blobs(str(KEPT)))
    return noria.values


def noria_give(value):
    artifact = noria().keep(value).artifact
    ARTIFACT.write_text(json.dumps([artifact.codec, artifact.digest, artifact.blob]))


def noria_take():
    codec, digest, blob = json.loads(ARTIFACT.read_text())
    return noria().read(Artifact(codec=codec, digest=digest, blob=blob))


def copied():
    return shutil.copytree(KEPT / "folder", TAKEN)


WAYS = {
    "**Noria**": (noria_give, noria_take),
    "pickle": (
        lambda value: FILE.write_bytes(pickle.dumps(value, protocol=5)),
        lambda: pickle.loads(FILE.read_bytes()),
    ),
    "joblib": (lambda value: joblib.dump(value, FILE), lambda: joblib.load(FILE)),
    "joblib, mapped": (lambda value: joblib.dump(value, FILE), lambda: joblib.load(FILE, mmap_mode="c")),
    "Parquet (zstd)": (lambda value: value.write_parquet(FILE), lambda: pl.read_parquet(FILE)),
    "`np.save`, `np.load`": (lambda value: np.save(KEPT / "a.npy", value), lambda: np.load(KEPT / "a.npy")),
    "skops": (
        lambda value: skops.io.dump(value, FILE),
        lambda: skops.io.load(FILE, trusted=skops.io.get_untrusted_types(file=FILE)),
    ),
    "`shutil.copytree`": (lambda value: shutil.copytree(value, KEPT / "folder"), copied),
}
VALUES = {
    "a frame of 1M x 20, 160 MB": (frame, ("**Noria**", "pickle", "Parquet (zstd)")),
    "an array of 200 MB": (array, ("**Noria**", "pickle", "joblib", "joblib, mapped", "`np.save`, `np.load`")),
    "a forest of 100 trees": (forest, ("**Noria**", "pickle", "joblib", "skops")),
    "a folder of 500 MB": (folder, ("**Noria**", "`shutil.copytree`")),
}


def looked_at(value):
    """Look at all of a value, as a step would, and return it."""
    if isinstance(value, pl.DataFrame | np.ndarray):
        value.sum()
    return value


def memory(field):
    told = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(told[field].split()[0]) / 1000


def measured(work):
    """Do work and return the seconds that it took, wall and CPU, and the MB: the most, and those of its own that it keeps."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    peak, own = memory("VmRSS"), memory("RssAnon")
    wall, cpu = time.perf_counter(), time.process_time()
    held = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    told = [wall, cpu, memory("VmHWM") - peak, memory("RssAnon") - own]
    del held
    return told


def given(words, way):
    value = VALUES[words][0]()
    return measured(lambda: WAYS[way][0](value))


def taken(way):
    return measured(lambda: looked_at(WAYS[way][1]()))


def row(words, way):
    """Return a line of the table."""
    KEPT.mkdir(parents=True)
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as processes:
        gave, took = processes.apply(given, (words, way)), processes.apply(taken, (way,))
    size = sum(file.stat().st_size for file in KEPT.rglob("*") if file.is_file())
    shutil.rmtree(HOME)
    seconds = [f"{value:.3f}" for value in (*gave[:2], *took[:2])]
    amounts = [f"{value:.0f}" for value in (gave[2], took[2], took[3], size / 1e6)]
    return f"| {' | '.join([way, *seconds, *amounts])} |"


def main():
    """Print a table for each kind of value."""
    columns = ("given, s", "CPU", "taken, s", "CPU", "MB while given", "while taken", "of it its own", "MB kept")
    for words, (_, ways) in VALUES.items():
        print(f"\n| {words} | {' | '.join(columns)} |\n{'|---' * 9}|")
        for way in ways:
            print(row(words, way), flush=True)


if __name__ == "__main__":
    main()
