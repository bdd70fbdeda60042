"""Laws of what is looked for in kept values: a key is found in whatever kind of value holds it, and nowhere else."""

from collections import Counter, deque, namedtuple
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from noria.adapters.codecs import standard
from noria.runs.erasing import RunEraser
from noria.runs.values import Values

Pair = namedtuple("Pair", "first second")  # noqa: PYI024 - a kind of its own


@dataclass(frozen=True, slots=True)
class Order:
    buyer: object


class Person(StrEnum):
    ADA = "ada"


HOLDS = [
    {"ada"},
    deque([("ada",)]),
    Counter(["ada"]),
    {("ada", 1): 2},
    Order("ada"),
    Order([Order(pl.Series("id", ["ada"]))]),
    Pair(1, "ada"),
    Person.ADA,
    np.array([None, "ada"], dtype=object),
    pd.DataFrame({"x": pd.Series([{"buyer": "ada"}, None], dtype=object)}),
    pd.Index(["ada"], name="id"),
    pl.DataFrame({"x": pl.Series([{"ada"}], dtype=pl.Object)}),
    pa.table({"x": ["ada"]}),
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
LACKS = [
    "adam",
    ["ad", "a"],
    pl.DataFrame({"id": ["adam"]}),
    pd.DataFrame({"id": ["adam"]}),
    np.array([1.0]),
    None,
    7,
    Order("adam"),
]


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


def test_a_key_is_found_in_a_value_whose_class_is_gone(database, blobs, monkeypatch):
    values = Values(standard(), blobs)
    kept = [values.keep(Order(name)).artifact for name in ("ada", str(UUID(int=1)))]
    monkeypatch.delitem(globals(), "Order")

    found = [RunEraser(database, values)._holds(artifact, frozenset({"ada"}), "id") for artifact in kept]

    assert found == [True, False]
