"""Laws of what fits an annotation: as PEP 484 has it, nothing is changed to fit, and what cannot be told fits."""

import enum
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple, NewType, NotRequired, Protocol, TypedDict, TypeVar

import numpy as np
import polars as pl
import pytest

import noria.pipelines as nr
from noria.pipelines.type_checks import check_of

Thing = TypeVar("Thing")
UserId = NewType("UserId", int)


class Colour(enum.Enum):
    RED = "red"


class Named(NamedTuple):
    x: int


class Told(TypedDict):
    a: int
    b: NotRequired[str]


class Walks(Protocol):
    def walk(self): ...


class Odd(type):
    def __instancecheck__(cls, instance):
        raise RuntimeError("ask me not")


class Strange(metaclass=Odd):
    pass


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (float, 3),
        (int, True),
        (int, np.int64(3)),
        (float, np.float32(0.5)),
        (complex, 1.5),
        (str, np.str_("a")),
        (UserId, 3),
        (int | None, None),
        (list[int], [1, True]),
        (list[float], [1, 2.5, nr.Failure(step="s", reason="r")]),
        (Sequence[str], ("a", "b")),
        (tuple[int, ...], (1, 2)),
        (tuple[int, str], (1, "a")),
        (dict[str, list[int]], {"a": [1]}),
        (Mapping[str, Any], {"a": object()}),
        (Literal["a", 1], 1),
        (Colour, Colour.RED),
        (Named, Named(1)),
        (Told, {"a": 1}),
        (pl.DataFrame, pl.DataFrame({"a": [1]})),
        (np.ndarray, np.zeros(2)),
    ],
)
def test_what_fits_is_taken(annotation, value):
    assert check_of(annotation).fits(value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "7"),
        (int, 7.0),
        (float, "7"),
        (float, Fraction(1, 2)),
        (str, 7),
        (bool, 1),
        (Path, "a/b"),
        (int | None, "x"),
        (list[int], [1, "2"]),
        (list[int], (1, 2)),
        (tuple[int, str], (1, "a", 3)),
        (dict[str, int], {1: 1}),
        (dict[str, int], {"a": 1.5}),
        (Literal[1], True),
        (Literal["a"], "b"),
        (Colour, "red"),
        (Told, {"b": "x"}),
        (Told, {"a": "x"}),
        (pl.DataFrame, [1]),
        (pl.LazyFrame, pl.DataFrame({"a": [1]})),
        (None, 0),
    ],
)
def test_what_does_not_fit_is_refused(annotation, value):
    assert not check_of(annotation).fits(value)


@pytest.mark.parametrize(
    "annotation", [Any, object, Thing, Walks, Callable[[int], int], type[int], int | Walks, "later"]
)
def test_what_cannot_be_told_is_not_checked(annotation):
    assert check_of(annotation) is None


def test_a_class_that_does_not_let_itself_be_asked_takes_anything():
    assert check_of(Strange).fits(7)


def test_a_class_that_was_made_twice_by_loading_its_module_again_is_the_same():
    again = type("Colour", (), {"__module__": Colour.__module__, "__qualname__": Colour.__qualname__})

    assert check_of(again).fits(Colour.RED)
