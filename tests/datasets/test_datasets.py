"""Laws of datasets: snapshots never change, nothing known later is visible, bad input loses nothing."""

import threading
from datetime import UTC, datetime, timedelta

import pandas as pd
import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from noria.access.service import Access
from noria.core.context import Actor, Context
from noria.core.errors import BadData, Conflict, Denied, NotFound
from noria.datasets.frames import frame_digest
from noria.datasets.model import Dataset
from noria.datasets.service import Datasets
from noria.ledger.notes import Signer
from noria.ledger.service import Ledger

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
FLIGHTS = Dataset("flights", key="id", time="at", label="late")


def build(database, blobs, clock, ids, context):
    ledger = Ledger(database, Signer(Ed25519PrivateKey.generate()), clock=clock, ids=ids)
    access = Access(database, ledger, clock=clock)
    access.found(context)
    return Datasets(database, blobs, ledger=ledger, access=access, clock=clock, ids=ids)


@pytest.fixture
def datasets(any_database, blobs, clock, ids, ann):
    clock.advance_to(START + timedelta(days=30))
    return build(any_database, blobs, clock, ids, ann)


def rows(first, count, **extra):
    keys = [f"f{number:04d}" for number in range(first, first + count)]
    times = [START + HOUR * number for number in range(first, first + count)]
    return pl.DataFrame({"id": keys, "at": times, "distance": [float(n) for n in range(count)], **extra})


def labels(numbers, value=True, delay=2):
    return pl.DataFrame(
        {
            "id": [f"f{number:04d}" for number in numbers],
            "late": [value] * len(numbers),
            "known_at": [START + HOUR * (number + delay) for number in numbers],
        },
    )


def test_a_commit_is_an_immutable_numbered_snapshot(datasets, ann):
    first = datasets.commit(ann, FLIGHTS, rows(0, 5), source="feed")
    second = datasets.commit(ann, FLIGHTS, rows(5, 3), source="feed")

    assert (first.number, second.number, second.parent) == (1, 2, first.id)
    assert datasets.read(ann, "flights", snapshot=first.id).height == 5
    assert datasets.read(ann, "flights", snapshot="flights@2").height == 8
    assert datasets.read(ann, "flights").height == 8


def test_rows_come_back_as_they_were_in_order_of_time(datasets, ann):
    given_rows = rows(0, 5)
    datasets.commit(ann, FLIGHTS, given_rows.reverse(), source="feed")

    assert_frame_equal(datasets.read(ann, "flights", columns=["id", "at", "distance"]), given_rows)


def test_provenance_is_kept(datasets, ann):
    snapshot = datasets.commit(ann, FLIGHTS, rows(0, 5), source="feed", arrived_at=START)

    assert (snapshot.source, snapshot.arrived_at, snapshot.committed_by) == ("feed", START, "person:ann")
    assert datasets.snapshots(ann, "flights") == [snapshot]


def test_a_label_is_seen_from_the_moment_it_was_known(datasets, ann):
    datasets.commit(ann, FLIGHTS, rows(0, 5), source="feed")
    datasets.land_labels(ann, FLIGHTS, labels([0, 1]), source="arrivals")

    before = datasets.read(ann, "flights", as_of=START + HOUR * 2 - timedelta(seconds=1))
    at_once = datasets.read(ann, "flights", as_of=START + HOUR * 2)

    assert before["late"].to_list() == [None, None]
    assert at_once["late"].to_list() == [True, None, None]


def test_a_correction_counts_from_the_moment_it_was_known(datasets, ann):
    datasets.commit(ann, FLIGHTS, rows(0, 1), source="feed")
    datasets.land_labels(ann, FLIGHTS, labels([0], value=False, delay=5), source="corrected")
    datasets.land_labels(ann, FLIGHTS, labels([0], value=True, delay=2), source="arrivals")

    assert datasets.read(ann, "flights", as_of=START + HOUR * 3)["late"].to_list() == [True]
    assert datasets.read(ann, "flights", as_of=START + HOUR * 6)["late"].to_list() == [False]


def test_of_two_labels_known_at_once_the_one_landed_last_counts(datasets, ann):
    datasets.commit(ann, FLIGHTS, rows(0, 1), source="feed")
    datasets.land_labels(ann, FLIGHTS, labels([0], value=True), source="first")
    datasets.land_labels(ann, FLIGHTS, labels([0], value=False), source="second")

    assert datasets.read(ann, "flights")["late"].to_list() == [False]


def test_rows_may_bring_their_labels_along(datasets, ann):
    brought = rows(0, 3, late=[True, None, False])
    snapshot = datasets.commit(ann, FLIGHTS, brought, source="feed", arrived_at=START + HOUR * 9)

    assert (snapshot.rows, snapshot.labels) == (3, 2)
    assert datasets.read(ann, "flights", as_of=START + HOUR * 8)["late"].to_list() == [None] * 3
    assert datasets.read(ann, "flights", labelled=True)["late"].to_list() == [True, False]


def test_a_window_shows_rows_from_its_beginning_up_to_but_not_at_its_end(datasets, ann):
    datasets.commit(ann, FLIGHTS, rows(0, 10), source="feed")

    seen = datasets.read(ann, "flights", since=START + HOUR * 2, until=START + HOUR * 5)

    assert seen["id"].to_list() == ["f0002", "f0003", "f0004"]


@pytest.mark.parametrize(
    "convert", [pl.DataFrame.to_pandas, pl.DataFrame.to_arrow, pl.DataFrame.lazy, pl.DataFrame.to_dicts]
)
def test_frames_of_other_libraries_are_read_alike(datasets, ann, convert):
    datasets.commit(ann, FLIGHTS, convert(rows(0, 4)), source="feed")

    assert_frame_equal(datasets.read(ann, "flights", columns=["id", "at", "distance"]), rows(0, 4))


@pytest.mark.parametrize(
    ("suffix", "write"), [("parquet", "write_parquet"), ("csv", "write_csv"), ("arrow", "write_ipc")]
)
def test_files_are_read_alike(datasets, ann, tmp_path, suffix, write):
    file = tmp_path / f"rows.{suffix}"
    getattr(rows(0, 4), write)(file)

    datasets.commit(ann, FLIGHTS, file, source="feed")

    assert_frame_equal(datasets.read(ann, "flights", columns=["id", "at", "distance"]), rows(0, 4))


def bad_inputs():
    naive = rows(0, 2).with_columns(pl.col("at").dt.replace_time_zone(None))
    yield "an unknown column", rows(50, 2, distanse=[1.0, 2.0]).drop("distance"), "no column 'distanse'"
    yield "a missing column", rows(50, 2).drop("distance"), "lack the column 'distance'"
    yield "no rows", rows(50, 0), "there are no rows"
    yield "no key column", rows(50, 2).drop("id"), "lack the column 'id'"
    yield "a missing key", rows(50, 2).with_columns(pl.lit(None, pl.String).alias("id")), "have no 'id'"
    yield "a key twice", pl.concat([rows(50, 2), rows(50, 1)]), "come more than once"
    yield "a key that is there", rows(0, 2), "holds already: 'f0000', 'f0001'"
    yield "a time without a zone", naive, "not moments with a time zone"
    yield "a missing time", rows(50, 2).with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias("at")), "have no 'at'"
    yield (
        "text for a number",
        rows(50, 2).with_columns(pl.lit("far").alias("distance")),
        "is float, and these rows have text",
    )
    yield "no frame", object(), "is no frame"


@pytest.mark.parametrize(("bad", "words"), [pytest.param(bad, words, id=name) for name, bad, words in bad_inputs()])
def test_bad_rows_are_refused_with_a_hint_and_nothing_is_lost(datasets, ann, bad, words):
    datasets.commit(ann, FLIGHTS, rows(0, 3), source="feed")

    with pytest.raises(BadData, match=words) as caught:
        datasets.commit(ann, FLIGHTS, bad, source="feed")

    assert caught.value.hint
    assert len(datasets.snapshots(ann, "flights")) == 1
    assert datasets.read(ann, "flights").height == 3


def bad_labels():
    yield "a NaN label", labels([0]).with_columns(pl.lit(float("nan")).alias("late")), "missing or NaN"
    yield "a missing label", labels([0]).with_columns(pl.lit(None, pl.Boolean).alias("late")), "missing or NaN"
    yield "a label from the future", labels([0], delay=24 * 40), "from the future"
    yield "a label of no row", labels([7]), "belong to no row"
    yield "no labels", labels([]), "no labels"
    yield "no known_at", labels([0]).drop("known_at"), "lack the column 'known_at'"


@pytest.mark.parametrize(("bad", "words"), [pytest.param(bad, words, id=name) for name, bad, words in bad_labels()])
def test_bad_labels_are_refused_with_a_hint_and_nothing_is_lost(datasets, ann, bad, words):
    datasets.commit(ann, FLIGHTS, rows(0, 3), source="feed")
    datasets.land_labels(ann, FLIGHTS, labels([1]), source="arrivals")

    with pytest.raises(BadData, match=words) as caught:
        datasets.land_labels(ann, FLIGHTS, bad, source="arrivals")

    assert caught.value.hint
    assert datasets.read(ann, "flights")["late"].to_list() == [None, True, None]


def test_an_empty_file_is_refused(datasets, ann, tmp_path):
    (tmp_path / "rows.csv").write_bytes(b"")

    with pytest.raises(BadData, match="rows.csv is empty"):
        datasets.commit(ann, FLIGHTS, tmp_path / "rows.csv", source="feed")


def test_a_damaged_file_is_refused(datasets, ann, tmp_path):
    (tmp_path / "rows.parquet").write_bytes(b"not parquet at all")

    with pytest.raises(BadData, match="cannot be read"):
        datasets.commit(ann, FLIGHTS, tmp_path / "rows.parquet", source="feed")


def test_a_file_that_is_not_there_is_said_with_its_nearest_neighbour(datasets, ann, tmp_path):
    (tmp_path / "rows.csv").write_text("id\n1\n")

    with pytest.raises(NotFound) as caught:
        datasets.commit(ann, FLIGHTS, tmp_path / "row.csv", source="feed")

    assert caught.value.hint == "did you mean 'rows.csv'?"


def test_a_snapshot_that_is_not_there_is_said(datasets, ann):
    datasets.commit(ann, FLIGHTS, rows(0, 3), source="feed")

    with pytest.raises(NotFound) as caught:
        datasets.read(ann, "flights", snapshot="flights@7")
    with pytest.raises(NotFound, match="no dataset named 'flight'"):
        datasets.read(ann, "flight")

    assert "flights@1" in caught.value.hint


def test_under_a_key_the_same_rows_are_the_same_snapshot_and_others_a_conflict(datasets, ann):
    first = datasets.commit(ann, FLIGHTS, rows(0, 3), source="feed", key="monday")

    assert datasets.commit(ann, FLIGHTS, rows(0, 3), source="feed", key="monday") == first
    with pytest.raises(Conflict, match="with other content"):
        datasets.commit(ann, FLIGHTS, rows(3, 3), source="feed", key="monday")
    assert datasets.read(ann, "flights").height == 3


def test_a_dataset_declared_otherwise_is_a_conflict(datasets, ann):
    datasets.create(ann, FLIGHTS)

    with pytest.raises(Conflict, match="has key 'id'"):
        datasets.create(ann, Dataset("flights", key="number", time="at", label="late"))


def test_two_writers_at_once_both_commit_one_after_the_other(datasets, ann):
    datasets.create(ann, FLIGHTS)

    def work(first):
        for place in range(5):
            datasets.commit(ann, FLIGHTS, rows(first + place * 2, 2), source="feed")

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [snapshot.number for snapshot in datasets.snapshots(ann, "flights")] == list(range(1, 16))
    assert datasets.read(ann, "flights").height == 30


def test_whole_numbers_widen_to_fractions(datasets, ann):
    datasets.commit(ann, FLIGHTS, rows(0, 2).with_columns(pl.col("distance").cast(pl.Int32)), source="feed")
    datasets.commit(ann, FLIGHTS, rows(2, 2), source="feed")

    assert datasets.read(ann, "flights")["distance"].dtype == pl.Float64


def test_a_stranger_may_not_read(datasets, ann):
    datasets.commit(ann, FLIGHTS, rows(0, 2), source="feed")

    with pytest.raises(Denied):
        datasets.read(Context(actor=Actor(name="eve")), "flights")


def test_a_read_is_known_by_its_digest_and_commits_that_cannot_touch_it_do_not_change_it(datasets, ann):
    datasets.commit(ann, FLIGHTS, rows(0, 10), source="feed")
    window = {"as_of": START + HOUR * 8, "since": START, "until": START + HOUR * 5}
    before = datasets.rows(ann, "flights", **window)

    datasets.commit(ann, FLIGHTS, rows(100, 10), source="feed")
    datasets.land_labels(ann, FLIGHTS, labels([101]), source="arrivals")
    after = datasets.rows(ann, "flights", **window)
    datasets.land_labels(ann, FLIGHTS, labels([1]), source="arrivals")
    touched = datasets.rows(ann, "flights", **window)

    assert before.digest == after.digest != touched.digest
    assert_frame_equal(before.load(), after.load())


def test_a_difference_counts_rows_labels_and_corrections_and_names_what_moved(datasets, ann):
    datasets.commit(ann, FLIGHTS, rows(0, 200), source="feed")
    datasets.land_labels(ann, FLIGHTS, labels([0, 1], value=True), source="arrivals")
    moved = rows(300, 200).with_columns(pl.col("distance") + 10_000)
    datasets.commit(ann, FLIGHTS, moved, source="feed")
    datasets.land_labels(ann, FLIGHTS, labels([1, 2], value=False, delay=9), source="corrected")

    found = datasets.diff(ann, "flights@2", "flights@4").to_plain()

    assert (found["rows_added"], found["labels_added"], found["labels_changed"]) == (200, 2, 1)
    assert found["drifted"]["distance"] > 1


def test_the_profile_of_a_whole_is_the_merge_of_its_parts(datasets, ann):
    whole = rows(0, 300)
    for part in (whole[:100], whole[100:120], whole[120:]):
        datasets.commit(ann, FLIGHTS, part, source="feed")

    column = datasets.profile(ann, "flights").column("distance")

    assert (column.rows, column.missing, column.moments.minimum, column.moments.maximum) == (300, 0, 0.0, 299.0)
    assert column.moments.mean == pytest.approx(149.5)
    assert column.quantiles.quantile(0.5) == pytest.approx(149.5, abs=300 * column.quantiles.error + 1)


@pytest.mark.parametrize(
    "same", [lambda f: f.rechunk(), lambda f: pl.concat([f[:3], f[3:]], rechunk=False), lambda f: f.clone()]
)
def test_a_digest_is_of_content_not_of_chunks(same):
    frame = rows(0, 9)

    assert frame_digest(same(frame)) == frame_digest(frame)


@pytest.mark.parametrize(
    "other",
    [
        lambda f: f.with_columns(pl.col("distance") + 1),
        lambda f: f.rename({"distance": "dist"}),
        lambda f: f.with_columns(
            pl.when(pl.col("distance") == 0).then(None).otherwise(pl.col("distance")).alias("distance")
        ),
        lambda f: f.with_columns(pl.col("distance").cast(pl.Int64)),
        lambda f: f.reverse(),
        lambda f: f[:-1],
    ],
)
def test_another_content_is_another_digest(other):
    frame = rows(0, 9)

    assert frame_digest(other(frame)) != frame_digest(frame)


def test_texts_that_run_together_alike_have_digests_of_their_own():
    assert frame_digest(pl.DataFrame({"a": ["ab", "c"]})) != frame_digest(pl.DataFrame({"a": ["a", "bc"]}))


def test_pandas_times_without_a_zone_are_refused_too(datasets, ann):
    frame = pd.DataFrame({"id": ["a"], "at": pd.to_datetime(["2026-01-01"]), "distance": [1.0]})

    with pytest.raises(BadData, match="time zone"):
        datasets.commit(ann, FLIGHTS, frame, source="feed")


events = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 20), st.booleans()),
    min_size=1,
    max_size=12,
)  # row, delay in hours of its label, its value


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(landed=events, order=st.randoms(use_true_random=False), as_of=st.integers(0, 30))
def test_nothing_that_became_known_later_is_visible(tmp_path_factory, clock, ids, ann, landed, order, as_of):
    """Reading as of T equals reading a dataset that never received anything from after T."""
    from noria.store.blobs import open_blobs
    from noria.store.opening import open_database
    from noria.store.tables import metadata

    moment = START + HOUR * as_of
    clock.advance_to(START + timedelta(days=30))

    def told(only_by):
        folder = tmp_path_factory.mktemp("world")
        database = open_database(f"sqlite:///{folder / 'noria.db'}")
        metadata.create_all(database.engine)
        world = build(database, open_blobs(str(folder / "blobs")), clock, ids, ann)
        parts = [rows(first, 3) for first in (0, 3, 6, 9)]
        order.seed(1)
        order.shuffle(parts)
        for part in parts:
            seen = part.filter(pl.col("at") <= only_by) if only_by is not None else part
            if seen.height:
                world.commit(ann, FLIGHTS, seen, source="feed")
        for row, delay, value in landed:
            known = START + HOUR * (row + delay)
            if only_by is None or (known <= only_by and START + HOUR * row <= only_by):
                world.land_labels(ann, FLIGHTS, labels([row], value=value, delay=delay), source="arrivals")
        found = world.read(ann, "flights", as_of=moment) if world.latest(ann, "flights") else None
        database.close()
        return found

    everything, only_what_was_known = told(None), told(moment)

    if only_what_was_known is not None:
        assert_frame_equal(everything, only_what_was_known.cast(everything.schema))
