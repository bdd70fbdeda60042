"""Laws of what is looked for in kept values: a key is found in whatever kind of value holds it, and nowhere else."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from noria.adapters.codecs import standard
from noria.runs.erasing import RunEraser
from noria.runs.values import Values

HOLDS = [
    "ada",
    {"ada": 1},
    [1, ["ada"]],
    pl.DataFrame({"id": ["ada"], "x": [1.0]}),
    pl.DataFrame({"friend": ["bob", "ada"]}),
    pl.Series("friend", ["ada"]),
    pd.DataFrame({"x": [1.0]}, index=pd.Index(["ada"], name="id")),
    np.array(["ada", "bob"]),
    {"table": pl.DataFrame({"id": ["ada"]})},
]
LACKS = ["adam", ["ad", "a"], pl.DataFrame({"id": ["adam"]}), pd.DataFrame({"id": ["adam"]}), np.array([1.0]), None, 7]


@pytest.mark.parametrize(("value", "holds"), [(v, True) for v in HOLDS] + [(v, False) for v in LACKS])
def test_a_key_is_found_as_a_whole_in_values_of_every_kind(database, blobs, value, holds):
    values = Values(standard(), blobs)

    assert RunEraser(database, values)._holds(values.keep(value).artifact, frozenset({"ada"}), "id") is holds


def test_a_number_is_a_key_only_in_the_keys_own_column(database, blobs):
    values = Values(standard(), blobs)
    eraser = RunEraser(database, values)
    frames = [pl.DataFrame({"id": [7], "x": [1]}), pl.DataFrame({"id": [1], "x": [7]})]

    found = [eraser._holds(values.keep(frame).artifact, frozenset({"7"}), "id") for frame in frames]

    assert found == [True, False]
