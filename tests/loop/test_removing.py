"""Laws of retiring and removing: what is needed or under way stays, what goes leaves a receipt, and nothing is hidden for good."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

import noria as nr
from noria.access.model import Role
from noria.boot import open_home
from noria.cli.root import noria
from noria.core.clock import SimulatedClock
from noria.core.context import Actor
from noria.core.errors import Conflict, Denied, NotFound
from noria.ledger.model import FactKind
from noria.loop.removal_model import Kind, Thing
from noria.settings import Settings
from noria.store import garbage

START = datetime(2026, 1, 1, tzinfo=UTC)
VISITS = nr.Dataset("visits", key="id", time="at", label="y")
FEATURES = nr.columns("x")
LOOP, DATASET, MODEL, ENDPOINT = (Thing(kind=kind, name="visits") for kind in list(Kind)[:4])


@nr.step
def fit(rows: pl.DataFrame) -> nr.Model:
    return nr.Model(LogisticRegression().fit(FEATURES(rows), rows["y"].to_numpy()), preprocess=FEATURES)


@nr.pipeline
def train(rows):
    return fit(rows)


DECLARED = nr.Loop(
    "visits", dataset=VISITS, train=train, when=nr.data_arrival(), guards=[], gate=None,
    evaluate=nr.Evaluation(holdout=None),
)  # fmt: skip


def rows_of(day):
    at = [day + timedelta(minutes=10 * place) for place in range(120)]
    x = np.random.default_rng(day.day).normal(size=120)
    keys = [moment.isoformat() for moment in at]
    return pl.DataFrame({"id": keys, "at": at, "x": x, "y": x > 0, "known_at": at})


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clock = SimulatedClock(START)
    with open_home(settings=Settings(home=str(tmp_path / "home")), clock=clock) as opened:
        clock.advance_to(START + timedelta(days=2))
        opened.start(DECLARED)
        opened.push(VISITS, rows_of(START))
        with opened.worker(DECLARED) as worker:
            worker.run_until_quiet()
        assert opened.registry.alias(opened.context, "visits").version == 1
        yield opened


def remove(home, thing, **options):
    return home.removals.remove(home.context, thing, reason="a trial", **options)


def told(home, kind):
    home.ledger.seal()
    return [fact for fact in home.ledger.after(-1, limit=10_000) if fact.kind is kind]


def test_a_dry_run_says_what_would_go_and_what_needs_it_and_changes_nothing(home):
    found = remove(home, DATASET, dry_run=True)

    assert found.used_by == (LOOP, MODEL, ENDPOINT)
    assert found.rows["fragments"] == 2
    assert found.rows["model_versions"] == 1
    assert remove(home, DATASET, dry_run=True) == found


@pytest.mark.parametrize("thing", [DATASET, MODEL])
def test_what_something_needs_is_not_removed_and_the_needing_is_named(home, thing):
    with pytest.raises(Conflict, match="needed by loop visits"):
        remove(home, thing)


def test_a_run_that_trained_a_version_is_needed_by_its_model(home):
    run = home.registry.version(home.context, "visits", 1).run

    with pytest.raises(Conflict, match="needed by .*model visits"):
        remove(home, Thing(kind=Kind.RUN, name=run))


def test_a_removal_with_all_that_needs_it_leaves_receipts_and_nothing_else(home):
    remove(home, DATASET, with_users=True)

    assert [home.loops.all(home.context), home.registry.models(home.context)] == [[], []]
    assert home.datasets.datasets(home.context) == []
    assert home.endpoints.all(home.context) == []
    receipts = {fact.subject: fact.payload["rows"] for fact in told(home, FactKind.OBJECT_REMOVED)}
    assert list(receipts) == ["loop/visits", "model/visits", "endpoint/visits", "dataset/visits"]
    assert receipts["loop/visits"]["cycles"] == 1
    assert home.ledger.audit().holds


def test_removing_again_removes_nothing_and_what_never_was_is_not_found(home):
    remove(home, LOOP)
    again = remove(home, LOOP)

    assert again.rows == {}
    assert len(told(home, FactKind.OBJECT_REMOVED)) == 1
    with pytest.raises(NotFound, match="no loop named 'visit'"):
        remove(home, Thing(kind=Kind.LOOP, name="visit"))


def test_the_bytes_of_a_removed_dataset_are_garbage(home):
    remove(home, DATASET, with_users=True)

    found = garbage.find(home.database, home.blobs, before=datetime.now(UTC) + timedelta(days=1))
    assert len(found.blobs) >= 2


def test_a_name_that_was_removed_can_be_used_anew_and_shows_nothing_of_before(home):
    remove(home, DATASET, with_users=True)
    home.push(VISITS, rows_of(START + timedelta(days=1)))

    assert home.read("visits")["at"].min() == START + timedelta(days=1)


def test_a_loop_that_a_worker_turns_is_not_removed(home):
    with home.worker(DECLARED) as worker:
        worker.run_until_quiet()
        with pytest.raises(Conflict, match="end that worker"):
            remove(home, LOOP)


def test_who_may_not_change_a_thing_may_not_remove_it(home):
    home.access.grant(home.context, Actor(name="eve"), Role.VIEWER)

    with pytest.raises(Denied):
        home.removals.remove(home.acting_as("eve"), LOOP, reason="why not", dry_run=True)
    with pytest.raises(Denied):
        home.removals.retire(home.acting_as("eve"), LOOP, reason="why not")


def test_a_retired_loop_turns_no_more_and_comes_back(home):
    home.removals.retire(home.context, LOOP, reason="a trial")
    home.removals.retire(home.context, LOOP, reason="a trial")
    home.push(VISITS, rows_of(START + timedelta(days=1)))
    with home.worker(DECLARED) as worker:
        worker.run_until_quiet()
    retired = len(home.loops.cycles(home.context, "visits"))
    for verb in (home.loops.resume, lambda context, _: home.loops.start(context, DECLARED)):
        with pytest.raises(Conflict, match="is retired"):
            verb(home.context, "visits")
    home.removals.restore(home.context, LOOP, reason="it was good")
    home.loops.resume(home.context, "visits")
    with home.worker(DECLARED) as worker:
        worker.run_until_quiet()

    assert (retired, len(home.loops.cycles(home.context, "visits"))) == (1, 2)
    assert len(told(home, FactKind.OBJECT_RETIRED)) == 1


def test_what_an_unretired_thing_needs_is_not_retired(home):
    with pytest.raises(Conflict, match="needed by loop visits"):
        home.removals.retire(home.context, DATASET, reason="a trial")


def test_the_commands_retire_hide_restore_and_remove(home, tmp_path):
    place = ["--home", str(tmp_path / "home")]

    def said(*words):
        done = CliRunner().invoke(noria, [*words, *place], catch_exceptions=False)
        return done.exit_code, done.output

    before = said("doctor")
    said("retire", "loop", "visits")
    hidden = said("loop", "status")
    doctor = said("doctor")
    listed = said("retired")
    said("restore", "loop", "visits")
    dry = said("remove", "loop", "visits", "--dry-run")
    shown = said("loop", "status")
    said("remove", "loop", "visits", "--yes")

    assert before[0] == 1
    assert "no loops yet" in hidden[1]
    assert doctor == (0, "nothing is wrong, and nothing waits for a person\n")
    assert "asked by hand" in listed[1]
    assert "dry_run  True" in dry[1]
    assert "visits" in shown[1]
    assert home.loops.all(home.context) == []
