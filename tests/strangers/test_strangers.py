"""Laws that hold for users whom nobody here has seen: worlds are invented, and played through the whole circle."""

import sys
import warnings
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import knowledge
import playing
from knowledge import Knowledge
from lives import Life
from recipes import program
from streams import Stream
from worlds import Column, draw, of_seed

HOUR = timedelta(hours=1)

A_MINUTE = {"first": range(1, 3), "second": range(3, 5)}
"""Worlds of each run of the suite; `make strangers` plays as many more as there is time for."""


@pytest.mark.parametrize("seeds", A_MINUTE.values(), ids=A_MINUTE)
def test_no_law_breaks_in_worlds_of_strangers(seeds):
    broken = {played.world.seed: played.broken for played in playing.play(map(of_seed, seeds)) if played.broken}

    assert broken == {}


@settings(
    max_examples=10, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(chance=st.randoms(use_true_random=False))
def test_what_a_stranger_pushes_is_what_is_read_at_any_time(tmp_path_factory, chance):
    world = replace(draw(chance), days=5, asked_a_day=0, trigger="arrival")

    life = Life(world, tmp_path_factory.mktemp("world"))
    broken = life.pushes_alone()

    assert broken == []


def test_a_world_is_the_same_one_however_often_it_is_drawn():
    assert of_seed(4711) == of_seed(4711)
    assert Stream(of_seed(4711)).rows == Stream(of_seed(4711)).rows
    assert program(of_seed(4711)) == program(of_seed(4711))


def test_worlds_differ_in_what_users_differ_in():
    worlds = [of_seed(number) for number in range(300)]

    assert {world.recipe for world in worlds} == {"columns", "function", "frame", "forgetful"}
    assert {world.label_kind for world in worlds} == {"bool", "int", "float", "text", "three"}
    assert {world.form for world in worlds} == {"polars", "pandas", "arrow", "parquet"}
    assert {column.kind for world in worlds for column in world.columns} >= {"counter", "month", "rotating", "big_id"}
    assert {world.rows_a_day for world in worlds} >= {1, 700}


@pytest.mark.parametrize(
    ("found", "wanted", "is_same"),
    [
        (1, 1, True), (1.0, 1, True), (True, 1, False), (None, float("nan"), True), (None, 0, False),
        (2**53, 2**53 + 1, False), ("1", 1, False),
    ],
)  # fmt: skip
def test_cells_are_the_same_only_if_no_value_has_changed(found, wanted, is_same):
    assert knowledge.same(found, wanted) is is_same


def test_a_changed_row_a_lost_row_and_a_row_from_the_future_are_found():
    world = of_seed(1)
    rows = Stream(world).rows
    known = Knowledge(world)
    known.pushed([*rows[0], *rows[1]])
    seen = list(known.as_of(None).values())
    changed = [seen[0] | {world.columns[0].name: "another"}, *seen[1:]]

    assert known.differences(seen, None) == []
    assert "not" in known.differences(changed, None)[0]
    assert "missing" in known.differences(seen[1:], None)[0]
    assert "not known yet" in known.differences(seen, rows[0][-1][world.time])[-1]


def test_an_answer_that_is_not_the_models_breaks_a_law(tmp_path, monkeypatch):
    asked = Life._send

    def shifted(life, path, body):
        answer = asked(life, path, body)
        told = answer.json()
        if told.get("score") is not None:
            return httpx.Response(answer.status_code, json=told | {"score": told["score"] + 0.01})
        return answer

    monkeypatch.setattr(Life, "_send", shifted)
    columns = (Column("z", "normal", 0.0, 0), Column("a", "count", 0.0, 0))
    world = replace(
        of_seed(1), columns=columns, key="id", key_kind="text", time="at", label="y", label_kind="bool", zone="UTC",
        recipe="columns", estimator="logistic", trigger="rows", delay=HOUR, delay_of_positives=HOUR, form="polars",
        rows_a_day=100, days=10, asked_a_day=8, accidents=0, late=0.0, corrected=0.0, rollout=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = Life(world, tmp_path).live()

    assert any(words.startswith("a live answer is the model's") for words in report["broken"])
