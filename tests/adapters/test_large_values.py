"""Laws of large values: they are read where they lie, files do not pass through memory, and nobody changes another's."""

import json
import os
import pickle
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import noria as nr
from noria.adapters.codecs import standard
from noria.adapters.executors import places
from noria.core.errors import Corrupt, Invalid
from noria.runs.values import Several, Values
from noria.settings import Settings
from noria.store.blobs import open_blobs

ROWS = 400_000
_TOLD = """
import json, sys
from pathlib import Path
import numpy, polars
from noria.adapters.codecs import standard
from noria.runs.inprocess import own_bytes
from noria.runs.model import Artifact
from noria.runs.values import Values
from noria.store.blobs import open_blobs

values = Values(standard(), open_blobs(sys.argv[1]))
begun = own_bytes("self")
{work}
told = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
peak = int(told["VmHWM"].split()[0]) * 1024  # getrusage's would be that of whoever started this process
print(json.dumps([found, own_bytes("self") - begun, peak]))
"""


def told_by_another_process(folder, work, *arguments):
    """Return what other code finds, the memory of its own that it has used, and the most it has had."""
    command = [sys.executable, "-c", _TOLD.format(work=work), str(folder), *map(str, arguments)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"POLARS_MAX_THREADS": "1"}
    )
    return json.loads(done.stdout)


@pytest.fixture(params=["folder", "object storage"])
def values(request, tmp_path):
    return Values(
        standard(), open_blobs("memory:///" if request.param == "object storage" else str(tmp_path / "blobs"))
    )


def stored(values, value):
    return values.stored(values.put(values.codecs.encode(value)))


def frame():
    numbers = np.random.default_rng(0).random((4, ROWS))
    return pl.DataFrame({f"x{place}": column for place, column in enumerate(numbers)}).with_columns(
        pl.when(pl.col("x0") > 0.5).then(None).otherwise(pl.col("x1")).alias("gaps"),
        pl.col("x2").cast(pl.String).alias("words"),
        (pl.col("x3") > 0.5).cast(pl.String).cast(pl.Categorical).alias("kinds"),
    )


def test_a_large_frame_is_read_by_another_process_without_a_copy_in_its_memory(tmp_path):
    values = Values(standard(), open_blobs(str(tmp_path / "blobs")))
    artifact = values.keep(pl.DataFrame({f"x{n}": np.full(2_000_000, n / 2) for n in range(8)})).artifact
    work = "frame = values.read(Artifact(codec='arrow', digest='', blob=sys.argv[2]))\nfound = sum(frame.sum().row(0))"

    found, own, _ = told_by_another_process(tmp_path / "blobs", work, artifact.blob)

    assert found == 28_000_000
    assert own < 50_000_000  # a copy would take 128


def test_a_large_array_is_read_by_another_process_without_a_copy_in_its_memory(tmp_path):
    values = Values(standard(), open_blobs(str(tmp_path / "blobs")))
    artifact = values.keep(np.full((4, 4_000_000), 0.5)).artifact
    work = (
        "array = values.read(Artifact(codec='npy', digest='', blob=sys.argv[2]))\n"
        "found = float(array.sum())\narray[0, :1000] = 7"
    )

    found, own, _ = told_by_another_process(tmp_path / "blobs", work, artifact.blob)

    assert found == 8_000_000
    assert own < 30_000_000  # a copy would take 128


def test_a_file_does_not_pass_through_memory_either_way(tmp_path):
    (tmp_path / "weights").mkdir()
    piece = random.Random(0).randbytes(1_000_000)
    with (tmp_path / "weights" / "large.bin").open("wb") as file:
        for _ in range(300):
            file.write(piece)
    work = (
        "taken = values.stored(values.keep(Path(sys.argv[2])).artifact).take()\n"
        "found = [file.stat().st_size for file in taken.iterdir()]"
    )

    found, _, peak = told_by_another_process(tmp_path / "blobs", work, tmp_path / "weights")

    assert found == [300_000_000]
    assert peak < 150_000_000


def test_large_frames_come_back_equal_with_all_their_types(values):
    whole = frame()

    back = stored(values, whole).take()

    assert back.schema == whole.schema
    assert back.equals(whole)
    assert values.digest(back) == values.digest(whole)
    assert stored(values, whole["words"]).take().equals(whole["words"])


def test_a_frame_with_what_pyarrow_cannot_read_comes_back_too(values):
    whole = pl.DataFrame({"n": pl.Series(range(600_000), dtype=pl.Int128)})

    assert stored(values, whole).take().equals(whole)


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_one_taker_does_to_an_array_no_other_sees(values, order):
    kept = stored(values, np.asarray(np.arange(1_200_000.0).reshape(1000, 1200), order=order))

    one = kept.take()
    one[0, 0] = -1
    other = kept.take()

    assert type(other) is np.ndarray
    assert other.flags.f_contiguous == (order == "F")
    assert (one[0, 0], other[0, 0], other[999, 1199]) == (-1, 0, 1_199_999)


def test_what_one_taker_does_to_a_frame_of_pandas_no_other_sees(values):
    kept = stored(values, pd.DataFrame({"x": np.arange(600_000.0), "n": range(600_000)}))

    one = kept.take()
    one.loc[0, "x"] = -1
    one["n"] += 1
    other = kept.take()

    assert (one.loc[0, "x"], other.loc[0, "x"], other.loc[0, "n"]) == (-1, 0, 0)


def test_a_collection_of_large_values_is_read_part_by_part_and_each_is_the_takers_own(values):
    kept = stored(values, {"train": (frame(), np.zeros(1_200_000)), "test": frame().head(5)})

    one = kept.take()
    one["train"][1][:] = 1
    other = kept.take()

    assert other["train"][0].equals(frame())
    assert other["train"][1].sum() == 0
    assert other["test"].height == 5


def test_many_small_parts_of_a_large_collection_take_no_file_each(tmp_path):
    values = Values(standard(), open_blobs(str(tmp_path / "blobs")))
    kept = stored(values, [np.full(20_000, float(place)) for place in range(100)])
    before = len(list(Path("/proc/self/fd").iterdir()))

    taken = kept.take()

    assert [part[-1] for part in taken] == list(range(100))
    assert len(list(Path("/proc/self/fd").iterdir())) - before < 10


def test_a_mapped_array_that_a_step_hands_on_is_a_value_like_any_other(tmp_path):
    np.save(tmp_path / "array.npy", np.arange(10.0))
    mapped = np.load(tmp_path / "array.npy", mmap_mode="r")

    encoded = standard().encode(mapped)

    assert encoded.digest == standard().encode(np.arange(10.0)).digest
    assert standard().decode(encoded.codec, encoded.payload).tolist() == list(range(10))


def test_records_and_dates_come_back_as_arrays(values):
    records = np.zeros(500_000, dtype=[("é", "<i4"), ("b", "<f8", (2,))])
    records["é"] = np.arange(500_000)
    dates = np.arange("2020-01-01", "2022-01-01", dtype="datetime64[D]")

    assert np.array_equal(stored(values, records).take(), records)
    assert np.array_equal(stored(values, dates).take(), dates)


def test_an_archive_is_what_tarfile_itself_would_write(tmp_path):
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "deep" / ("ü" * 120)).write_bytes(b"x" * 700)
    (tmp_path / "model" / "empty").write_bytes(b"")
    payload = standard().encode(tmp_path / "model").payload
    (tmp_path / "archive.tar").write_bytes(bytes(payload))

    with tarfile.open(tmp_path / "archive.tar") as archive:
        names = archive.getnames()

    assert payload.size == (tmp_path / "archive.tar").stat().st_size
    assert payload.size % tarfile.RECORDSIZE == 0
    assert names == ["model", "model/deep", "model/deep/" + "ü" * 120, "model/empty"]


def test_a_file_that_is_still_written_to_is_refused_and_not_stored(tmp_path):
    values = Values(standard(), open_blobs(str(tmp_path / "blobs")))
    growing = tmp_path / "growing.txt"
    growing.write_text("a" * 10)
    encoded = values.codecs.encode(growing)
    growing.write_text("a" * 20)

    with pytest.raises(Invalid, match="changed while it was read"):
        values.put(encoded)

    assert list(values.blobs.all()) == []


@pytest.mark.parametrize("shape", [lambda path: path, lambda path: [path]])
def test_a_large_file_that_is_written_to_between_two_looks_is_refused_and_not_stored(tmp_path, shape):
    values = Values(standard(), open_blobs(str(tmp_path / "blobs")))
    large = tmp_path / "large"
    large.write_bytes(b"a" * 9_000_000)
    encoded = values.codecs.encode(shape(large))
    with large.open("r+b") as file:
        file.write(b"b")

    with pytest.raises(Invalid, match="changed while it was read"):
        values.put(encoded)

    assert list(values.blobs.all()) == []


@nr.step
def made(rows: int) -> pl.DataFrame:
    return pl.DataFrame({"x": np.arange(float(rows)), "y": np.ones(rows)})


@nr.step
def summed(rows: pl.DataFrame, *, pid: int) -> list[float]:
    return [rows["x"].sum(), rows["y"].sum(), os.getpid() != pid]


@nr.pipeline
def handed_on(rows: int, pid: int):
    return summed(made(rows), pid=pid)


def test_a_large_value_reaches_a_process_for_steps_by_its_place(tmp_path):
    with nr.open(tmp_path / "home", settings=Settings(executor="processes")) as home:
        run = home.run(handed_on, params={"rows": 1_000_000, "pid": os.getpid()})

    assert run.result == [499_999_500_000.0, 1_000_000.0, True]


def test_a_large_result_is_stored_by_its_process_and_what_is_small_or_cannot_be_kept_comes_back_itself(tmp_path):
    folder = tmp_path / "blobs"
    large, objects = np.ones(2_000_000), np.full(2_000_000, object())

    left = places.left(pl.DataFrame({"x": large}), folder)

    assert Values(standard(), open_blobs(str(folder))).stored(left.artifact).take()["x"].sum() == 2_000_000
    assert type(places.left(large, folder)) is places.Left
    for value, where in ((large, None), (np.ones(3), folder), (objects, folder), ({"nbytes": 1}, folder)):
        assert places.left(value, where) is value


def test_what_is_sent_of_a_large_value_is_its_place_and_what_lies_there_damaged_is_said(tmp_path):
    values = Values(standard(), open_blobs(str(tmp_path / "blobs")))
    small, large = values.keep(np.ones(3)), values.keep(np.ones(2_000_000))

    sent = pickle.dumps(places.sent(Several([small, large])))
    taken = pickle.loads(sent)

    assert len(sent) < 2_000
    assert [array.sum() for array in taken] == [3, 2_000_000]
    assert large.leave() is not None
    assert small.leave() is None
    file = next((tmp_path / "blobs").rglob(large.artifact.blob))
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(Corrupt, match="is damaged"):
        pickle.loads(sent)
