"""Laws of what cannot be landed: it is refused at the door, and what is in the log already keeps nobody else waiting."""

import polars as pl
import pytest
from clicks import CLICKS, START, ask, labels, land, rows_of, tell

import noria as nr
from noria.core.errors import BadData, Invalid, NotStored, Unavailable
from noria.serving.isolating import landed_apart
from noria.serving.model import Feedback, Prediction


def logged_row(home, key, **values):
    """Put an answered row into the log as a gateway of an older version did, which looked at nothing."""
    import msgspec

    row = msgspec.Raw(msgspec.json.encode({"id": key, "x": 1.0, "y": 0.5} | values))
    record = Prediction(
        request=key, prediction=f"clicks.{key}.x", key=key, row_key=key, at=START, version=1, score=0.5, latency_ms=1.0,
        row=row,
    )  # fmt: skip
    home.log.predicted("default", "clicks", [record])


def asides(home):
    return home.landings.asides(home.context, home.endpoints.get(home.context, "clicks"))


def test_a_key_with_nul_that_is_in_the_log_already_is_put_aside_and_the_rest_lands(home):
    ask(home, rows_of(2))
    logged_row(home, "a\0b")
    home.log.told("default", "clicks", [Feedback(label=True, at=START, key="a\0b")])
    tell(home, label=True, key="c1")

    landed = land(home)

    assert (landed.rows, landed.labels) == (2, 1)
    assert labels(home) == {"c0": None, "c1": True}
    ask(home, rows_of(1, first=5))
    assert land(home).rows == 1
    assert ("row", "a\\0b") in [(aside.kind.value, aside.key) for aside in asides(home)]


@pytest.mark.parametrize("values", [{"word": "a\0b"}, {"word": "x", "wo\0rd": "y"}])
def test_a_text_with_nul_that_is_in_the_log_already_is_put_aside(home, values):
    logged_row(home, "good", word="fine")
    logged_row(home, "bad", **values)
    logged_row(home, "better", word="fine")

    land(home)

    assert {"good", "better"} <= set(home.read("clicks")["id"])
    ask(home, rows_of(1).with_columns(word=pl.lit("w")))
    assert land(home).rows == 1


def test_whatever_a_record_makes_the_store_raise_it_is_put_aside_with_the_reason(home, monkeypatch):
    ask(home, rows_of(9))
    commit = home.datasets.commit

    def refusing(context, dataset, rows, **more):
        if "c4" in rows["id"].to_list():
            raise ZeroDivisionError("this record and no other")
        return commit(context, dataset, rows, **more)

    monkeypatch.setattr(home.datasets, "commit", refusing)

    landed = land(home)

    assert (landed.rows, landed.aside) == (8, 1)
    (aside,) = asides(home)
    assert (aside.key, aside.reason) == ("c4", "ZeroDivisionError: this record and no other")
    assert land(home).rows == 0


@pytest.mark.parametrize(
    "problem", [Unavailable("no database"), NotStored("no room"), OSError(28, "no space"), MemoryError()]
)
def test_what_says_nothing_about_a_record_puts_none_aside_and_all_land_later(home, monkeypatch, problem):
    ask(home, rows_of(4))

    def away(*_, **__):
        raise problem

    with monkeypatch.context() as patched:
        patched.setattr(home.datasets, "commit", away)
        with pytest.raises(type(problem)):
            land(home)

    assert (land(home).rows, asides(home)) == (4, [])


def test_a_label_that_makes_the_store_raise_is_put_aside_and_the_others_land(home, monkeypatch):
    ask(home, rows_of(4))
    for number in range(4):
        tell(home, label=True, key=f"c{number}")
    land_labels = home.datasets.land_labels

    def refusing(context, dataset, frame, **more):
        if "c2" in frame["id"].to_list():
            raise KeyError("c2")
        return land_labels(context, dataset, frame, **more)

    monkeypatch.setattr(home.datasets, "land_labels", refusing)

    assert (land(home).labels, [aside.key for aside in asides(home)]) == (3, ["c2"])


def test_halving_keeps_the_order_and_tries_no_good_record_alone_when_all_are_good():
    tried = []

    def work(some):
        tried.append(list(some))
        if any(one in (3, 6) for one in some):
            raise ValueError("bad")
        return list(some)

    parts = landed_apart(list(range(8)), work, put_aside=lambda one, why: [(one, why)])

    assert [one for part in parts for one in part] == [0, 1, 2, (3, "ValueError: bad"), 4, 5, (6, "ValueError: bad"), 7]
    assert landed_apart([1, 2], lambda some: list(some), put_aside=lambda *_: []) == [[1, 2]]
    assert landed_apart([], work, put_aside=lambda *_: []) == []


@pytest.mark.parametrize("told", [{"key": "a\0b"}, {"key": "x" * 1001}, {"key": "\ud800"}])
def test_feedback_that_no_store_can_hold_is_refused_in_python_too(home, told):
    with pytest.raises(BadData):
        tell(home, label=True, **told)


@pytest.mark.parametrize("label", ["a\0b", "\udfff", float("nan"), float("inf")])
def test_a_label_that_no_store_can_hold_is_refused_in_python_too(home, label):
    with pytest.raises(BadData):
        tell(home, label=label, key="c0")


def test_texts_with_nul_are_refused_at_push_and_at_predict_with_column_and_row(home):
    rows = rows_of(3).with_columns(word=pl.Series(["a", "b\0", "c"]))

    for use in (lambda: home.push(CLICKS, rows), lambda: ask(home, rows)):
        with pytest.raises(BadData, match="column 'word' has a text with the letter NUL in row 1"):
            use()
    with pytest.raises(BadData, match="name of column"):
        home.push(CLICKS, rows_of(1).rename({"x": "x\0"}))
    with pytest.raises(Invalid):
        nr.Dataset("visits", key="i\0d", time="at")
    with pytest.raises(Invalid):
        home.push(CLICKS, rows_of(1), source="a\0b")
