"""Laws of landing: rows and labels once each, with where they came from, whatever was cut short."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

import noria as nr
from noria.boot import open_home
from noria.core.clock import SimulatedClock
from noria.core.errors import Unavailable
from noria.ledger.model import FactKind
from noria.registry.model import Trained
from noria.runs.model import Artifact
from noria.serving.model import Feedback, Landed, Variant
from noria.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CLICKS = nr.Dataset("clicks", key="id", time="at", label="bought")
READS = nr.columns("x", "y")


def rows_of(count, *, first=0, at=START):
    numbers = range(first, first + count)
    return pl.DataFrame(
        {
            "id": [f"c{number}" for number in numbers],
            "at": [at] * count,
            "x": [float(number) for number in numbers],
            "y": [0.5] * count,
        }
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request, tmp_path):
    address = str(tmp_path / "home") if request.param == "sqlite" else request.getfixturevalue("postgresql_address")
    folders = {"blobs": str(tmp_path / "blobs"), "key_file": str(tmp_path / "key"), "log_folder": str(tmp_path / "log")}
    with open_home(clock=SimulatedClock(START), settings=Settings(home=address, **folders)) as platform:
        platform.datasets.create(platform.context, CLICKS)
        table = np.random.default_rng(1).normal(size=(50, 2))
        model = nr.Model(LogisticRegression().fit(table, table[:, 0] > 0), preprocess=READS)
        encoded = platform.codecs.encode(model)
        artifact = Artifact(codec=encoded.codec, blob=platform.blobs.put(encoded.payload), digest=encoded.digest)
        trained = Trained(artifact=artifact, run="run", snapshot="s", trained_through=START, code="22" * 32)
        platform.registry.register(platform.context, "clicks", trained)
        platform.endpoints.create(platform.context, "clicks", model="clicks", dataset="clicks")
        one = (Variant(version=1, weight=1.0),)
        platform.endpoints.set_route(platform.context, "clicks", expected_epoch=0, variants=one, reason="the first")
        yield platform


def ask(home, rows, key="x"):
    return home.endpoints.predict(home.context, "clicks", rows, key=key)


def tell(home, **told):
    home.endpoints.tell(home.context, "clicks", [Feedback(at=home.clock.now(), **told)])


def land(home):
    return home.landings.land(home.context, home.endpoints.get(home.context, "clicks"))


def labels(home):
    found = home.read("clicks")
    return dict(zip(found["id"], found["bought"], strict=True))


def snapshots(home):
    return [(made.source, made.rows, made.labels) for made in home.datasets.snapshots(home.context, "clicks")]


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


def test_a_row_that_the_dataset_holds_already_is_left_out_and_its_label_lands(home):
    home.push(CLICKS, rows_of(2))
    ask(home, rows_of(3, at=START + HOUR))
    tell(home, label=True, key="c0")

    assert land(home) == Landed(rows=1, labels=1)

    assert labels(home) == {"c0": True, "c1": None, "c2": None}


def test_feedback_on_a_row_that_has_not_come_waits_for_it(home):
    tell(home, label=True, key="c7")
    assert land(home) == Landed(waiting=1)
    assert land(home) == Landed(waiting=1)

    home.push(CLICKS, rows_of(1, first=7))

    assert land(home) == Landed(labels=1)
    assert labels(home) == {"c7": True}


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
