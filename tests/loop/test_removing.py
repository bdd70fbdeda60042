"""Laws of retiring and removing: what is needed or under way stays, what goes leaves a receipt, and nothing is hidden for good."""

import shutil
import threading
import time
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
from noria.core.errors import Conflict, Denied, NotFound, Retired
from noria.ledger.model import FactKind
from noria.loop import belongings
from noria.loop.removal_model import Kind, Thing
from noria.serving.disk import locked
from noria.serving.model import Feedback
from noria.settings import Settings
from noria.store import garbage
from noria.store.tables import metadata

START = datetime(2026, 1, 1, tzinfo=UTC)
VISITS = nr.Dataset("visits", key="id", time="at", label="y")
FEATURES = nr.columns("x")
NEEDED_OR_KEPT = {
    *(("endpoints", "model"), ("endpoints", "dataset"), ("loops", "dataset"), ("model_versions", "run")),
    *(("cycles", "run"), ("rollouts", "endpoint"), ("erasures", "dataset")),
}
"""Columns by which something needs a thing, or that are kept as what has happened."""
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


def asked(home, *, feedback=0):
    """Ask the endpoint about twenty rows, and tell it about some."""
    rows = pl.DataFrame({"id": [f"asked{place}" for place in range(20)], "x": np.linspace(-1, 1, 20)})
    answers = home.endpoints.predict(home.context, "visits", rows, key="id")
    told = [Feedback(at=home.clock.now(), prediction=answer.prediction, label=True, shaped=False) for answer in answers]
    home.endpoints.tell(home.context, "visits", told[:feedback])


@pytest.mark.parametrize("kind", list(Kind))
def test_what_is_retired_is_left_out_of_every_list_until_it_is_restored(home, kind):
    context = home.context
    lists = {
        Kind.LOOP: lambda **options: [row.name for row in home.loops.all(context, **options)],
        Kind.DATASET: lambda **options: [each.name for each in home.datasets.datasets(context, **options)],
        Kind.MODEL: lambda **options: home.registry.models(context, **options),
        Kind.ENDPOINT: lambda **options: [each.name for each in home.endpoints.all(context, **options)],
        Kind.RUN: lambda **options: [run.id for run in home.runs.list(context, **options)],
    }
    run = home.registry.version(context, "visits", 1).run
    for thing in (LOOP, ENDPOINT, MODEL, DATASET):
        home.removals.retire(context, thing, reason="a trial")
    home.removals.retire(context, Thing(kind=Kind.RUN, name=run), reason="a trial")

    name = run if kind is Kind.RUN else "visits"
    assert lists[kind]() == []
    assert lists[kind](with_retired=True) == [name]
    home.removals.restore(context, Thing(kind=kind, name=name), reason="it was good")
    assert lists[kind]() == [name]


@pytest.mark.parametrize("state", [None, "succeeded", "running"])
def test_retired_runs_take_no_place_of_others_in_a_list(home, state):
    @nr.pipeline
    def nothing():
        return 1

    ids = [home.run(nothing).id for _ in range(3)]
    home.removals.retire(home.context, Thing(kind=Kind.RUN, name=ids[-1]), reason="a trial")

    listed = [run.id for run in home.runs.list(home.context, pipeline="nothing", state=state, limit=2)]
    assert listed == ([] if state == "running" else [ids[1], ids[0]])


def test_a_retired_endpoint_answers_nothing_takes_no_feedback_and_comes_back(home):
    home.removals.retire(home.context, LOOP, reason="a trial")
    home.removals.retire(home.context, ENDPOINT, reason="a trial")

    with pytest.raises(Retired, match="endpoint 'visits' is retired\nhint: noria restore endpoint visits"):
        asked(home)
    with pytest.raises(Retired):
        home.endpoints.tell(home.context, "visits", [])
    home.removals.restore(home.context, ENDPOINT, reason="it was good")
    asked(home)
    assert home.landings.logged(home.context, "visits").predictions == 20


def test_an_endpoint_is_needed_by_the_loop_that_brings_candidates_in_there(home):
    with pytest.raises(Conflict, match="needed by loop visits"):
        home.removals.retire(home.context, ENDPOINT, reason="a trial")
    with pytest.raises(Conflict, match="needed by loop visits"):
        remove(home, ENDPOINT)

    remove(home, LOOP)
    assert [each.name for each in home.endpoints.all(home.context)] == ["visits"]


def test_an_endpoint_goes_with_its_log_and_both_are_counted(home):
    asked(home, feedback=5)
    folder = home.log.folder_of(home.context.project, "visits")

    dry = remove(home, ENDPOINT, dry_run=True)
    refused = [folder.exists()]
    with pytest.raises(Conflict):
        remove(home, ENDPOINT)
    refused.append(home.landings.logged(home.context, "visits").predictions)
    remove(home, ENDPOINT, with_users=True)

    assert (dry.rows["logged_predictions"], dry.rows["logged_feedback"]) == (20, 5)
    assert "20 logged predictions, 5 logged feedback" in dry.words()
    assert refused == [True, 20]
    assert not folder.exists()
    receipts = {fact.subject: fact.payload["rows"] for fact in told(home, FactKind.OBJECT_REMOVED)}
    assert receipts["endpoint/visits"]["logged_predictions"] == 20
    assert receipts["endpoint/visits"]["logged_feedback"] == 5


def test_what_a_gateway_logs_after_a_removal_goes_when_it_is_removed_again(home):
    asked(home)
    spare = home.log.folder_of(home.context.project, "spare")
    shutil.copytree(home.log.folder_of(home.context.project, "visits"), spare)
    remove(home, ENDPOINT, with_users=True)
    spare.rename(home.log.folder_of(home.context.project, "visits"))

    found = remove(home, ENDPOINT)

    assert found.rows == {"logged_predictions": 20}
    assert not home.log.folder_of(home.context.project, "visits").exists()
    assert remove(home, ENDPOINT).rows == {}


def test_a_log_that_lands_is_not_removed_before_it_has_landed(home):
    asked(home)
    folder, done = home.log.folder_of(home.context.project, "visits"), threading.Event()

    def work():
        remove(home, ENDPOINT, with_users=True)
        done.set()

    with locked(folder, shared=True):
        thread = threading.Thread(target=work)
        thread.start()
        waited = done.wait(0.3)
        there = home.landings.logged(home.context, "visits").predictions
    thread.join()

    assert (waited, there, folder.exists()) == (False, 20, False)


def test_who_waits_for_the_lock_of_a_folder_that_is_removed_locks_the_new_one(tmp_path):
    folder = tmp_path / "log"
    seen = []

    def work():
        with locked(folder):
            seen.append((folder / ".lock").exists())

    with locked(folder):
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.1)
        shutil.rmtree(folder)
    thread.join()

    assert seen == [True]


def test_every_table_with_a_column_that_names_a_thing_is_among_what_belongs_to_it():
    known = {(table.name, column) for rows in belongings._ROWS.values() for table, column in rows}
    naming = {kind.value for kind in Kind}
    found = {
        (table.name, column.name)
        for table in metadata.tables.values()
        for column in table.columns
        if "project" in table.columns and column.name in naming
    }

    assert found - known == NEEDED_OR_KEPT


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
