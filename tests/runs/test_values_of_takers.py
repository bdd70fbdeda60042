"""Laws of what steps hand on: whatever a team of data scientists returns arrives, fresh, and by its content."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import Ridge

import noria as nr


@pytest.fixture
def home(tmp_path):
    with nr.open(tmp_path / "home") as opened:
        yield opened


@nr.step
def split(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    return rows[["x"]], rows["y"]


@nr.step
def fit(parts: tuple[pd.DataFrame, pd.Series]) -> dict[str, object]:
    features, target = parts
    model = Ridge(alpha=0.0).fit(features, target)
    return {"model": model, "coefficients": model.coef_, "rows": pl.DataFrame({"n": [len(features)]})}


@nr.pipeline
def trained(rows: pd.DataFrame):
    return fit(split(rows))


@nr.step(cache=True)
def write(text: str, folder: str) -> Path:
    path = Path(folder) / "notes.txt"
    path.write_text(text)
    return path


@nr.step(cache=True)
def read(path: Path) -> str:
    return path.read_text()


@nr.pipeline
def passed_on(text: str, folder: str):
    return read(write(text, folder))


def test_frames_of_pandas_pass_between_steps_and_so_do_collections_of_values(home):
    rows = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [2.0, 4.0, 6.0]}, index=[7, 8, 9])

    found = home.run(trained, params={"rows": rows}).result

    assert np.allclose(found["coefficients"], [2.0])
    assert found["model"].predict(pd.DataFrame({"x": [10.0]})).round(6).tolist() == [20.0]
    assert found["rows"].item() == 3


def test_a_file_outlives_the_place_where_its_step_wrote_it(home, tmp_path):
    (tmp_path / "a").mkdir()
    first = home.run(passed_on, params={"text": "hello", "folder": str(tmp_path / "a")})
    (tmp_path / "a" / "notes.txt").unlink()

    again = home.run(passed_on, params={"text": "hello", "folder": str(tmp_path / "a")})

    assert (first.result, again.result) == ("hello", "hello")
    assert home.runs.attempts(home.context, again.id) == ()


def test_the_content_of_a_file_is_the_input_of_a_step_not_its_place(home, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        run = home.run(passed_on, params={"text": "hello", "folder": str(tmp_path / folder)})

    (attempt,) = home.runs.attempts(home.context, run.id)

    assert attempt.step.startswith("write")
