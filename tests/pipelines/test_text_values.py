"""Laws of values that are typed: the annotation says what a text means, and what it cannot mean is refused."""

import enum
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict

import pytest

import noria.pipelines as nr
from noria.core.errors import BadPipeline, Invalid
from noria.pipelines.text_values import guessed, value_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Window:
    days: int
    folder: Path | None = None


class Point(NamedTuple):
    x: int
    y: str


class Told(TypedDict):
    a: int


Version = NewType("Version", str)


def read(text, annotation):
    return value_of(text, annotation, note=lambda _: None)


@pytest.mark.parametrize("text", ["1.10", "007", "true", "null", "12e4567", "", "[1]", " x "])
def test_a_text_is_kept_as_it_was_typed(text):
    for annotation in (str, Version, Annotated[str, "anything"]):
        assert read(text, annotation) == text


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (bool, "No", False),
        (bool, "on", True),
        (bool, "0", False),
        (int, "-3", -3),
        (int, "1_000", 1000),
        (float, "1e3", 1000.0),
        (float, "-inf", -math.inf),
        (Decimal, "1.10", Decimal("1.10")),
        (date, "2026-01-31", date(2026, 1, 31)),
        (datetime, "2026-01-31T10:00:00Z", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        (timedelta, "1d 12h", timedelta(hours=36)),
        (Path, "a/b", Path("a/b")),
        (Colour, "red", Colour.RED),
        (Colour, "BLUE", Colour.BLUE),
        (Level, "2", Level.HIGH),
        (Literal[1, "a", True], "true", True),
        (int | None, "null", None),
        (int | None, "7", 7),
        (int | str, "007", "007"),
        (int | str, "7", 7),
        (float | str, "1.10", "1.10"),
        (bool | int, "1", 1),
        (list[int], "[1, 2]", [1, 2]),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (dict[int, str], '{"1": "a"}', {1: "a"}),
        (set[Path], '["a"]', {Path("a")}),
        (list[Decimal], '["1.10"]', [Decimal("1.10")]),
        (Window, '{"days": 3, "folder": "x"}', Window(3, Path("x"))),
        (Point, '[1, "a"]', Point(1, "a")),
        (Told, '{"a": 1}', {"a": 1}),
    ],
)
def test_a_text_means_what_the_annotation_says(annotation, text, value):
    found = read(text, annotation)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (bool, "maybe"),
        (bool, "2"),
        (int, "abc"),
        (int, "1.5"),
        (int, "0x10"),
        (int, "\uff19"),
        (int, "9" * 5000),
        (float, "1e999"),
        (float, "abc"),
        (Decimal, "x"),
        (date, "2026-02-30"),
        (timedelta, "soon"),
        (Path, ""),
        (Colour, "green"),
        (Literal["a", "b"], "c"),
        (int | None, "abc"),
        (list[int], "1,2"),
        (list[int], '["a"]'),
        (list[int], "[1.5]"),
        (tuple[int, str], "[1]"),
        (Window, '{"folder": "x"}'),
        (Told, "{}"),
        (bytes, "abc"),
        (nr.Failure, "abc"),
        (type, "int"),
    ],
)
def test_what_a_text_cannot_mean_is_refused_with_what_can_be_written(annotation, text):
    with pytest.raises(Invalid) as refused:
        read(text, annotation)

    assert refused.value.hint.startswith("write ")
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(("text", "value"), [("1.10", 1.1), ("1e5", 1e5), ("12e4567", "12e4567"), ("no", "no")])
def test_a_guess_that_could_be_meant_otherwise_is_said(text, value):
    said = []

    assert guessed(text, note=said.append) == value
    assert len(said) == 1
    assert "annotate" in said[0]


@pytest.mark.parametrize(("text", "value"), [("3", 3), ("0.5", 0.5), ("true", True), ("[1]", [1]), ("007", "007")])
def test_a_guess_that_is_plain_is_not_talked_about(text, value):
    said = []

    assert guessed(text, note=said.append) == value
    assert said == []


def test_a_pipeline_reads_its_parameters_also_where_annotations_are_texts_or_do_not_resolve():
    def work(n: "int", rows: "Nowhere", more: Any = None):  # noqa: F821 - that is the point
        return n

    pipeline = nr.pipeline(work)

    assert pipeline.read({"n": "7", "rows": "1", "more": "2"}, note=lambda _: None) == {"n": 7, "rows": 1, "more": 2}
    with pytest.raises(Invalid, match="pipeline 'work' cannot take n: 'x' is no int"):
        pipeline.read({"n": "x"}, note=lambda _: None)
    with pytest.raises(BadPipeline) as unknown:
        pipeline.read({"row": "1"}, note=lambda _: None)
    assert unknown.value.hint == "did you mean 'rows'?"
