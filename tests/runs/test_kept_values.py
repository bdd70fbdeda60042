"""Laws of what steps return: it is the same for every taker, or the step fails in words and the run ends."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, NewType

import pandas as pd
import polars as pl
import pytest

import noria as nr
from noria.adapters.codecs import standard
from noria.core.annotations import never_carried

CODECS = standard()
worked: list[str] = []


@dataclass
class Config:
    name: str


@dataclass
class Held:
    lock: memoryview


class Scored(NamedTuple):
    rows: pl.DataFrame


class Plain:
    pass


class Base:
    pass


@dataclass
class Inner(Base):
    x: int


Name = NewType("Name", str)


@pytest.mark.parametrize(
    "annotation",
    [
        *(None, Any, object, int, dict[str, Any], list[pl.DataFrame], tuple[int, ...], "Unknown", Config, Scored, Name),
        *(int | None, Iterator[int] | None, Base, nr.Model, pd.DataFrame, Exception | int),
    ],
)
def test_an_annotation_that_may_be_carried_refuses_nothing(annotation):
    assert never_carried(annotation, CODECS.carries) is None


@pytest.mark.parametrize(
    "annotation",
    [
        *(Iterator[int], Callable[[], int], Plain, Held, list[Plain], dict[str, Plain], tuple[int, Plain], type[int]),
        *(ValueError, memoryview, type(threading), type(threading.Lock()), pl.LazyFrame, Plain | Held),
    ],
)
def test_an_annotation_of_what_is_never_carried_is_known(annotation):
    assert never_carried(annotation, CODECS.carries) is not None


@nr.step
def iterate() -> Iterator[int]:
    worked.append("iterate")
    return iter([1])


@nr.pipeline
def iterates():
    return iterate()


@nr.step
def item(n: int):
    return pd.DataFrame({"id": pd.Series([2**70], dtype=object)}) if n == 1 else n


@nr.step
def count(found: list[Any]) -> int:
    return sum(not isinstance(one, nr.Failure) for one in found)


@nr.pipeline
def many():
    return count(item.map([0, 1, 2], on_failure="continue"))


@nr.step
def orders():
    return pd.DataFrame({"coupon": pd.Series([None, 2**53 + 1], dtype=object)})


@nr.step
def seen(rows: pd.DataFrame) -> list[str]:
    return [repr(value) for value in rows["coupon"]]


@nr.pipeline
def twice():
    rows = orders()
    return [seen(rows), seen(rows)]


def test_a_step_that_is_annotated_to_return_what_cannot_be_kept_is_refused_before_it_works(tmp_path):
    with nr.open(tmp_path) as home:
        run = home.run(iterates)

    assert "returns what cannot be kept, by its annotation: no codec carries a collections.abc.Iterator" in str(
        run.error
    )
    assert worked == []


def test_a_value_that_is_refused_fails_its_item_and_the_map_goes_on(tmp_path):
    with nr.open(tmp_path) as home:
        run = home.run(many)

    assert (run.error, run.result) == (None, 2)


def test_every_taker_of_a_frame_sees_the_same_today_and_tomorrow(tmp_path):
    with nr.open(tmp_path) as home:
        first = home.run(twice, key="one").result
    with nr.open(tmp_path) as home:
        later = home.run(twice, key="one").result

    assert first == later == [["None", "9007199254740993"]] * 2
