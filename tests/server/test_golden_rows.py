"""Laws of golden rows: whatever loads a version gives the scores of the model that was judged, or answers nobody."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from serving_home import READS, SAMPLE, register, route, says
from sklearn.linear_model import Ridge
from sqlalchemy import update

import noria as nr
from noria.boot import open_home
from noria.cli.root import noria
from noria.core.clock import MachineStopwatch
from noria.core.errors import CannotServe, Corrupt, NotInstalled, Unavailable
from noria.loop.forgetting import forget
from noria.registry.loading import Loader
from noria.server.gateway.table import Table
from noria.serving import golden
from noria.serving.model import Loading, ServableKind
from noria.serving.tables import servables

ROWS = [{"x": 3.0, "y": 0.5}, {"x": -1.5, "y": 2.0}]


def opened(home, number):
    version = home.registry.version(home.context, "clicks", number)
    servable = home.endpoints.servable(home.context, "clicks", number)
    return home.runtime.open(version, servable, inputs=servable.inputs)


def scores(loaded, rows=ROWS):
    found = loaded.scorer.submit(rows).result()
    loaded.scorer.close()
    return found


def blob(home, digest):
    return next((Path(home.settings.home) / "blobs").rglob(digest))


def change(home, number, **values):
    where = servables.c.version == number
    home.database.write(lambda c: c.execute(update(servables).where(where).values(**values)))


def run(*words_and_home):
    """Return a command's exit status, and what it said."""
    *words, home = words_and_home
    done = CliRunner().invoke(noria, [*words, "--home", home.settings.home])
    return done.exit_code, " ".join(f"{done.output} {done.exception or ''}".split())


def other_golden(home, number, by):
    """Let the golden rows say another score, as if the library had been another one where the model was judged."""
    servable = home.endpoints.servable(home.context, "clicks", number)
    rows = golden.decoded(home.blobs.get(servable.golden))
    told = [one if one.score is None else _moved(one, by) for one in rows.rows]
    change(home, number, golden=home.blobs.put(golden.Golden(inputs=rows.inputs, rows=told).encoded()))


def _moved(one, by):
    return golden.GoldenRow(about=one.about, row=one.row, score=one.score + by, lacks=one.lacks, key=one.key)


def test_the_order_of_a_versions_columns_comes_back_as_it_was(home):
    names = ["zeta", "b", "B", "a b", "ä.1", "1st", "alpha"]
    rows = pl.DataFrame({name: np.arange(5.0) + place for place, name in enumerate(names)})
    reads = nr.columns(*names)
    model = nr.Model(Ridge().fit(reads(rows), np.arange(5.0)), preprocess=reads)
    estimator = model.estimator
    estimator.coef_ = np.arange(7.0) + 1
    prepared = home.preparer.prepare(model, rows, features=names, functions=[])
    made = register(home, nr.Model(says(9), preprocess=READS))
    home.database.write(lambda c: c.execute(servables.delete().where(servables.c.version == made.version)))
    version = home.registry.version(home.context, "clicks", made.version)
    home.database.write(lambda c: home.endpoints.serve_in(c, home.context, version, prepared))

    found = home.endpoints.servable(home.context, "clicks", made.version)

    assert list(found.inputs) == names
    assert found.is_ordered
    scorer = home.runtime.open(version, found, inputs=found.inputs)
    assert scorer.kind is ServableKind.ONNX
    assert scores(scorer, rows.to_dicts()) == pytest.approx(model.predict(rows).tolist(), rel=1e-4)


def test_a_record_that_does_not_tell_the_order_is_served_as_trained_and_says_so(home):
    change(home, 1, inputs={"x": "float", "y": "float"}, golden=None)

    loaded = opened(home, 1)

    assert loaded.kind is ServableKind.NATIVE
    assert "does not tell the order of its columns" in loaded.words
    assert "no golden rows" in loaded.words
    assert scores(loaded) == pytest.approx([1.03, 0.985])


def test_a_conversion_that_gives_other_scores_here_is_left_for_the_model_itself(home):
    wrong = home.endpoints.servable(home.context, "clicks", 2).blob
    change(home, 1, blob=wrong)

    loaded = opened(home, 1)

    assert loaded.kind is ServableKind.NATIVE
    assert "the ONNX of clicks@1 gives other scores than the model that was judged" in loaded.words
    assert scores(loaded) == pytest.approx([1.03, 0.985])


def test_a_conversion_that_cannot_be_read_here_is_left_for_the_model_itself(home, monkeypatch):
    def missing(*_):
        raise NotInstalled("onnxruntime", "onnx")

    place = blob(home, home.endpoints.servable(home.context, "clicks", 1).blob)
    place.unlink()
    gone = opened(home, 1)
    place.write_bytes(b"not what was stored")
    damaged = opened(home, 1)
    monkeypatch.setattr(home.runtime, "_onnx", missing)
    without = opened(home, 2)

    assert [one.kind for one in (gone, damaged, without)] == [ServableKind.NATIVE] * 3
    assert scores(gone) == scores(damaged) == pytest.approx([1.03, 0.985])
    assert scores(without) == pytest.approx([2.03, 1.985])


@pytest.mark.parametrize("number", [1, 3])
def test_a_model_that_scores_otherwise_here_is_refused_by_whatever_loads_it(home, number):
    other_golden(home, number, by=0.01)
    version = home.registry.version(home.context, "clicks", number)

    with pytest.raises(CannotServe, match=f"clicks@{number} gives other scores than the model that was judged: on"):
        opened(home, number)
    if number == 1:  # the module of the other one is only in its bundle
        with pytest.raises(CannotServe, match="clicks@1 gives other scores"):
            Loader(home.blobs, home.codecs, prove=home.prover).load(version.artifact)
        with open_home(home.settings.home) as again, pytest.raises(CannotServe):
            again.loader.load(version.artifact)


def test_a_process_that_is_started_again_proves_itself_again(home):
    loaded = opened(home, 3)
    order = loaded.scorer._order
    rows = golden.Golden(
        inputs=order.golden.inputs, rows=[_moved(one, 1.0) for one in order.golden.rows if one.score is not None]
    )
    loaded.scorer._order = replace(order, golden=rows)  # as if the library had changed meanwhile
    loaded.scorer._child.end()

    with pytest.raises(Unavailable, match="could not be started again: clicks@3 gives other scores"):
        loaded.scorer.submit(ROWS).result()
    loaded.scorer.close()


def test_a_version_whose_golden_rows_are_gone_is_believed_and_says_so(home):
    blob(home, home.endpoints.servable(home.context, "clicks", 1).golden).unlink()

    loaded = opened(home, 1)

    assert loaded.kind is ServableKind.NATIVE
    assert "its golden rows cannot be read" in loaded.words
    loaded.scorer.close()


def test_golden_rows_that_cannot_be_read_are_corrupt():
    with pytest.raises(Corrupt):
        golden.decoded(b'{"inputs": 3}')


def test_an_endpoint_that_has_nothing_to_answer_with_says_why(home):
    other_golden(home, 3, by=0.5)
    route(home, (3, 1.0))
    table = Table(home, stopwatch=MachineStopwatch())
    table.start()
    try:
        with (
            pytest.raises(
                Unavailable, match="'clicks' has nothing to answer with: epoch 1: clicks@3 gives other scores"
            ),
            table.entered("clicks"),
        ):
            pass
    finally:
        table.close()
    assert home.endpoints.loading(home.context, "clicks", 3).failed
    status, told = run("doctor", home)
    assert status == 1
    assert "a gateway could not load it" in told


def test_how_a_version_was_loaded_is_kept_as_it_was_last(home):
    route(home, (1, 1.0))
    table = Table(home, stopwatch=MachineStopwatch())
    table.start()
    table.close()
    found = home.endpoints.loading(home.context, "clicks", 1)
    assert (found.kind, found.failed) == (ServableKind.ONNX, False)
    assert "golden rows the scores that it was judged by" in found.words

    home.endpoints.loaded(home.context, Loading(model="clicks", version=1, kind=None, words="no", at=found.at))

    assert home.endpoints.loading(home.context, "clicks", 1).failed


@pytest.mark.parametrize(
    ("what", "how"), [("artifact", "gone"), ("bundle", "damaged"), ("golden", "gone"), ("artifact", "damaged")]
)
def test_what_is_not_there_in_full_does_not_become_the_champion(home, what, how):
    home.rollouts.promote(home.context, "clicks", 3, reason="first")
    home.rollouts.promote(home.context, "clicks", 1, reason="second")
    version = home.registry.version(home.context, "clicks", 3)
    golden_rows = home.endpoints.servable(home.context, "clicks", 3).golden
    place = blob(home, {"artifact": version.artifact.blob, "bundle": version.bundle, "golden": golden_rows}[what])
    place.unlink()
    if how == "damaged":
        place.write_bytes(b"x")

    for words in (
        ["promote", "clicks@3", "--reason", "again"],
        ["rollback", "clicks"],
        ["rollback", "clicks", "--to", "3"],
    ):
        status, told = run(*words, home)
        assert status != 0
        assert "clicks@3 cannot answer" in told
        assert how in told
    assert home.registry.alias(home.context, "clicks").version == 1
    assert home.endpoints.route(home.context, "clicks").versions == (1,)


def test_the_registry_alone_verifies_too_and_a_conversion_that_is_gone_is_no_hindrance(home):
    blob(home, home.endpoints.servable(home.context, "clicks", 1).blob).unlink()
    home.registry.promote(home.context, "clicks", 1, expected=None, reason="first")
    blob(home, home.registry.version(home.context, "clicks", 2).artifact.blob).unlink()

    with pytest.raises(CannotServe):
        home.registry.promote(home.context, "clicks", 2, expected=1, reason="second")
    with pytest.raises(CannotServe):
        home.registry.rollback(home.context, "clicks", to=2, reason="back")


def test_erasing_a_key_takes_what_was_made_of_its_row_out_of_golden_rows(home):
    keyed = SAMPLE.with_columns(id=pl.Series(["one", "two", "three"]))
    model = nr.Model(says(7), preprocess=READS)
    prepared = home.preparer.prepare(model, keyed, features=["x", "y"], functions=[], key="id")
    made = register(home, nr.Model(says(8), preprocess=READS))
    change(home, made.version, golden=prepared.golden)
    before = golden.decoded(home.blobs.get(prepared.golden))
    theirs = [one for one in before.rows if one.key == "two"]

    counted = forget(home.rooms, home.context, "clicks", ["two"], reason="asked", dry_run=True)
    done = forget(home.rooms, home.context, "clicks", ["two"], reason="asked")

    assert (counted.golden_rows, done.golden_rows) == (len(theirs), len(theirs))
    assert theirs
    after = home.endpoints.servable(home.context, "clicks", made.version).golden
    assert {one.key for one in golden.decoded(home.blobs.get(after)).rows} == {"one", "three"}
    assert not home.blobs.has(prepared.golden)


def answered(home, number, score, count=40):
    """Log answers of a version, each with the same score."""
    route(home, (number, 1.0))
    table = home.endpoints.predict(
        home.context,
        "clicks",
        pl.DataFrame({"id": [f"k{i}" for i in range(count)], "x": [1.0] * count, "y": [0.0] * count}),
        key="id",
    )
    if score is not None:
        home.log.close()
        for file in home.log.folder_of("default", "clicks").glob("predictions*.jsonl"):
            lines = [json.loads(line) | {"score": score} for line in file.read_text().splitlines()]
            file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    return table


def test_live_answers_that_are_the_models_are_counted_once_and_no_more(home):
    rescorer = home.rooms.rescorer
    rescorer._share = 1.0
    answered(home, 1, None)
    endpoint = home.endpoints.get(home.context, "clicks")

    look = rescorer.look(home.context, endpoint)
    home.database.write(lambda c: rescorer.keep_in(c, home.context, look))

    assert (look.after.checked, look.after.differing, look.is_new) == (40, 0, False)
    assert rescorer.look(home.context, endpoint) is None
    with open_home(home.settings.home) as again:
        assert again.rooms.rescorer.look(again.context, endpoint) is None
        assert again.endpoints.rescoring(again.context, "clicks").checked == 40


def test_a_live_answer_that_is_not_the_models_is_told_once(home):
    rescorer = home.rooms.rescorer
    rescorer._share = 1.0
    answered(home, 1, 0.25)
    endpoint = home.endpoints.get(home.context, "clicks")

    look = rescorer.look(home.context, endpoint)
    home.database.write(lambda c: rescorer.keep_in(c, home.context, look))

    assert (look.after.checked, look.after.differing, look.is_new) == (40, 40, True)
    assert (
        "clicks@1 answered 40 of 40 sampled rows at endpoint clicks otherwise than the model does" in look.after.words
    )
    _, told = run("doctor", home)
    assert "otherwise than the model does" in told


def test_a_share_of_the_answers_is_the_same_for_whoever_looks(home):
    rescorer = home.rooms.rescorer
    rescorer._share = 0.3
    answered(home, 1, None, count=300)
    endpoint = home.endpoints.get(home.context, "clicks")

    first, second = (rescorer.look(home.context, endpoint) for _ in range(2))

    assert 40 < first.after.checked < 140
    assert first.after == second.after


def test_the_columns_of_an_older_record_come_in_the_order_of_the_dataset(home):
    columns = {"y": [1.0], "x": [2.0], "id": ["a"], "at": [home.clock.now()], "bought": [True]}
    home.push(home.datasets.dataset(home.context, "clicks"), pl.DataFrame(columns))
    change(home, 3, inputs={"x": "float", "y": "float"})
    endpoint = home.endpoints.get(home.context, "clicks")

    assert list(home.endpoints.inputs(home.context, endpoint, 3)) == ["y", "x"]
