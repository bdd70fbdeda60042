"""Laws of landing: rows and labels once each, with where they came from, whatever was cut short."""

from datetime import timedelta

import polars as pl
import pytest
from clicks import CLICKS, HOUR, READS, START, ask, by_x, labels, land, rows_of, snapshots, tell
from sklearn.linear_model import LogisticRegression

import noria as nr
from noria.core.errors import Unavailable
from noria.ledger.model import FactKind
from noria.serving.model import AsideKind, Landed


def test_rows_and_labels_land_with_their_source_and_nothing_lands_twice(home):
    answers = ask(home, rows_of(3))
    tell(home, label=True, prediction=answers[0].prediction)
    tell(home, label=False, key="c1")

    assert land(home) == Landed(rows=3, labels=2)
    assert land(home) == Landed()

    assert snapshots(home) == [("endpoint/clicks", 3, 0), ("feedback/clicks", 0, 2)]
    assert labels(home) == {"c0": True, "c1": False, "c2": None}
    assert home.read("clicks")["x"].to_list() == [0.0, 1.0, 2.0]


def test_each_landing_of_feedback_is_one_fact(home):
    for answer in ask(home, rows_of(5)):
        tell(home, label=True, prediction=answer.prediction)

    land(home)

    home.ledger.seal()
    facts = [fact for fact in home.ledger.after(-1) if fact.kind is FactKind.FEEDBACK_LANDED]
    assert [fact.payload["labels"] for fact in facts] == [5]


def test_a_reader_goes_on_where_it_was_and_late_feedback_finds_its_row(home):
    (first,) = ask(home, rows_of(1))
    land(home)
    home.clock.advance_to(START + 30 * HOUR)
    ask(home, rows_of(1, first=1, at=START + 30 * HOUR))
    tell(home, label=True, prediction=first.prediction)

    assert land(home) == Landed(rows=1, labels=1)

    assert labels(home) == {"c0": True, "c1": None}
    assert home.read("clicks", as_of=START + 29 * HOUR)["bought"].to_list() == [None]


def test_what_the_models_own_decision_shaped_has_a_source_of_its_own(home):
    first, second = ask(home, rows_of(2))
    tell(home, label=True, prediction=first.prediction, shaped=True)
    tell(home, label=False, prediction=second.prediction)

    assert land(home) == Landed(rows=2, labels=2)

    assert snapshots(home)[1:] == [("feedback/clicks", 0, 1), ("feedback/clicks/shaped", 0, 1)]


def test_a_row_without_key_and_time_is_known_by_its_request_and_the_time_it_was_asked(home):
    home.clock.advance_to(START + HOUR)
    (answer,) = ask(home, rows_of(1).drop("id", "at"))
    tell(home, label=True, prediction=answer.prediction)

    assert land(home) == Landed(rows=1, labels=1)

    (row,) = home.read("clicks").to_dicts()
    assert (row["at"], row["bought"], len(row["id"])) == (START + HOUR, True, 21)


def test_a_request_about_a_key_that_the_dataset_holds_is_a_row_of_its_own_and_is_counted(home):
    home.push(CLICKS, rows_of(2))
    ask(home, rows_of(3, first=0, at=START + HOUR).with_columns(x=pl.lit(7.5)), key="id")
    home.clock.advance_to(START + 2 * HOUR)
    tell(home, label=True, key="c0")

    assert land(home) == Landed(rows=3, labels=1, repeated=2)

    assert by_x(home, "c0") == [(0.0, None), (7.5, True)]


def test_feedback_on_a_row_that_has_not_come_waits_for_it(home):
    tell(home, label=True, key="c7")
    assert land(home) == Landed(waiting=1)
    assert land(home) == Landed(waiting=1)

    home.push(CLICKS, rows_of(1, first=7))

    assert land(home) == Landed(labels=1)
    assert labels(home) == {"c7": True}


def test_feedback_that_was_told_on_a_clock_that_was_ahead_is_known_when_it_lands(home):
    ask(home, rows_of(1))
    home.clock.advance_to(START + timedelta(days=2000))
    tell(home, label=True, key="c0")
    home.clock._now = START + HOUR

    assert land(home) == Landed(rows=1, labels=1)
    assert home.read("clicks")["known_at"].to_list() == [START + HOUR]


def test_of_two_labels_for_one_row_the_later_counts(home):
    ask(home, rows_of(1))
    tell(home, label=True, key="c0")
    home.clock.advance_to(START + HOUR)
    tell(home, label=False, key="c0")

    land(home)

    assert labels(home) == {"c0": False}


def test_columns_that_the_dataset_does_not_have_are_left_out_and_a_label_in_a_row_is_no_label(home):
    home.push(CLICKS, rows_of(1, first=100))
    ask(home, rows_of(1).with_columns(y=pl.lit(1), site=pl.lit("north"), bought=pl.lit(value=True)))

    assert land(home) == Landed(rows=1)

    found = home.read("clicks").row(by_predicate=pl.col("id") == "c0", named=True)
    assert (found["y"], found.get("bought"), "site" in found) == (1.0, None, False)


@pytest.mark.parametrize("broken", ["commit", "land_labels", "write"])
def test_a_landing_that_is_cut_short_is_done_again_and_puts_nothing_twice(home, monkeypatch, broken):
    answers = ask(home, rows_of(3))
    tell(home, label=True, prediction=answers[0].prediction)
    room = home.database if broken == "write" else home.datasets
    real, calls = getattr(room, broken), []

    def dies(*args, **options):
        calls.append(args)
        made = real(*args, **options) if broken != "write" or len(calls) < 4 else None
        if broken != "write" or made is None:
            raise Unavailable("killed after the commit")
        return made

    monkeypatch.setattr(room, broken, dies)
    with pytest.raises(Unavailable):
        land(home)
    monkeypatch.undo()
    ask(home, rows_of(1, first=3))

    land(home)
    land(home)

    assert sorted(snapshots(home)) == [("endpoint/clicks", 1, 0), ("endpoint/clicks", 3, 0), ("feedback/clicks", 0, 1)]


def test_a_worker_lands_what_its_loops_endpoint_met(home):
    @nr.step
    def fit(rows: pl.DataFrame) -> nr.Model:
        return nr.Model(LogisticRegression().fit(READS(rows), rows["bought"].to_numpy()), preprocess=READS)

    @nr.pipeline
    def train(rows):
        return fit(rows)

    loop = nr.Loop("clicks", dataset=CLICKS, train=train, when=nr.manual(), gate=None)
    home.start(loop)
    answers = ask(home, rows_of(2))
    tell(home, label=True, prediction=answers[1].prediction)

    with home.worker(loop) as worker:
        worker.run_until_quiet()

    assert labels(home) == {"c0": None, "c1": True}
    assert home.loops.get(home.context, "clicks").standing.labels == 1


def asides(home):
    return [
        (aside.kind, aside.key, aside.reason)
        for aside in home.landings.asides(home.context, home.endpoints.get(home.context, "clicks"))
    ]


def put_aside(home):
    home.ledger.seal()
    return [fact.payload for fact in home.ledger.after(-1) if fact.kind is FactKind.RECORDS_PUT_ASIDE]


def test_feedback_whose_row_does_not_come_is_put_aside_after_its_time(home):
    tell(home, label=True, key="never")
    assert land(home) == Landed(waiting=1)

    home.clock.advance_to(START + timedelta(days=29))
    assert land(home) == Landed(waiting=1)
    home.clock.advance_to(START + timedelta(days=31))

    assert land(home) == Landed(aside=1)
    assert land(home) == Landed()
    assert asides(home) == [(AsideKind.FEEDBACK, "never", "its row did not come")]
    assert put_aside(home) == [{"endpoint": "clicks", "dataset": "clicks", "rows": 0, "feedback": 1}]


def test_a_row_that_cannot_be_committed_is_put_aside_and_the_others_land(home):
    home.push(CLICKS, rows_of(1, first=100))
    rows = rows_of(5).with_columns(id=pl.when(pl.col("x") == 2).then(pl.lit("c" * 1001)).otherwise(pl.col("id")))
    ask(home, rows)

    assert land(home) == Landed(rows=4, aside=1)

    assert set(labels(home)) == {"c100", "c0", "c1", "c3", "c4"}
    ((kind, key, reason),) = asides(home)
    assert (kind, len(key)) == (AsideKind.ROW, 1001)
    assert "keys are longer than 1,000 letters" in reason


def test_a_label_that_is_not_of_the_datasets_kind_is_put_aside(home):
    ask(home, rows_of(2))
    tell(home, label=True, key="c0")
    land(home)
    tell(home, label="perhaps", key="c1")

    assert land(home) == Landed(aside=1)

    assert asides(home) == [
        (AsideKind.FEEDBACK, "c1", "its label does not fit: 'perhaps' is not of its kind: true or false")
    ]


def test_landing_reads_the_fragments_of_the_keys_that_came_and_not_the_dataset(home, monkeypatch):
    for day in range(8):
        home.push(CLICKS, rows_of(50, first=50 * day, at=START - timedelta(days=day)).sample(fraction=1.0, seed=day))
    land_one(home, 1000)
    read = []
    real = home.blobs.get
    monkeypatch.setattr(home.blobs, "get", lambda digest: read.append(digest) or real(digest))
    home.datasets._reader._frames.clear()

    land_one(home, 1001)
    assert len(read) <= 2  # the first fragment says the columns; the new row's own is read for its label

    ask(home, rows_of(1, first=75))
    tell(home, label=True, key="c75")
    read.clear()
    assert land(home) == Landed(rows=1, labels=1, repeated=1)
    assert len(read) <= 3


def land_one(home, number):
    ask(home, rows_of(1, first=number))
    tell(home, label=True, key=f"c{number}")
    assert land(home) == Landed(rows=1, labels=1)
