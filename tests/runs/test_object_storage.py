"""Laws of runs whose values are kept in object storage: another machine goes on with them, and what nobody names goes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

import noria as nr
from noria.settings import Settings
from noria.store import garbage

ROWS = 600_000
made = Path("made")


@nr.step(cache=True)
def frame(rows: int) -> pl.DataFrame:
    made.write_text("frame")
    return pl.DataFrame({"x": range(rows), "y": [2.0 * row for row in range(rows)]})


@nr.step(cache=True)
def fit(rows: pl.DataFrame) -> LinearRegression:
    return LinearRegression().fit(rows[:100].select("x").to_numpy(), rows["y"][:100].to_numpy())


@nr.step(cache=True)
def report(rows: pl.DataFrame, model: LinearRegression) -> Path:
    folder = Path("report")
    folder.mkdir(exist_ok=True)
    (folder / "slope.txt").write_text(f"{model.coef_[0]:.3f}")
    (folder / "rows.bin").write_bytes(bytes(rows.height * 20))
    return folder


@nr.pipeline
def reported(rows: int):
    known = frame(rows)
    return {"report": report(known, fit(known)), "rows": known}


@pytest.mark.parametrize("executor", ["in-process", "processes"])
def test_another_machine_takes_what_one_has_made_and_what_nobody_names_is_taken_away(
    executor, s3, tmp_path, monkeypatch, postgresql_address
):
    monkeypatch.chdir(tmp_path)
    settings = Settings(blobs=s3, executor=executor, key_file=str(tmp_path / "key"))
    with nr.open(postgresql_address, settings=settings) as here:
        run = here.run(reported, params={"rows": ROWS})
        assert run.error is None
    made.unlink()

    with nr.open(postgresql_address, settings=settings) as elsewhere:
        again = elsewhere.run(reported, params={"rows": ROWS})
        told = again.result
        lost = elsewhere.blobs.put(b"nobody names this")
        found = garbage.find(elsewhere.database, elsewhere.blobs, before=datetime.now(UTC) + timedelta(days=1))
        garbage.collect(elsewhere.blobs, found)

        assert not made.exists()
        assert again.id != run.id
        assert told["rows"]["y"].sum() == ROWS * (ROWS - 1)
        assert (told["report"] / "slope.txt").read_text() == "2.000"
        assert (told["report"] / "rows.bin").stat().st_size == ROWS * 20
        assert [blob.digest for blob in found.blobs] == [lost]
        assert elsewhere.runs.get(elsewhere.context, run.id).result["rows"].height == ROWS
