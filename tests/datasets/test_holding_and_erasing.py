"""Laws of what is held and what is erased: reads leave it out, the digest says so, nothing of it stays anywhere."""

from datetime import timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from test_datasets import FLIGHTS, HOUR, START, build, labels, rows

from noria.core.errors import NotFound
from noria.datasets import erasing, queries
from noria.datasets.holding import Held
from noria.datasets.model import LABEL_SOURCE, ROW_SOURCE, FragmentKind, Hold


@pytest.fixture
def datasets(any_database, blobs, clock, ids, ann):
    clock.advance_to(START + timedelta(days=30))
    made = build(any_database, blobs, clock, ids, ann)
    made.commit(ann, FLIGHTS, rows(0, 6), source="feed")
    made.land_labels(ann, FLIGHTS, labels(range(6)), source="arrivals")
    made.commit(ann, FLIGHTS, rows(6, 4), source="other feed")
    made.land_labels(ann, FLIGHTS, labels(range(6, 10), value=False), source="arrivals")
    return made


def hold(number, kind=FragmentKind.ROWS, through=4):
    return Hold(kind=kind, key=f"f{number:04d}", time=START + HOUR * number, through=through)


def label_hold(number, through=4):
    return hold(number, FragmentKind.LABELS, through)


def nothing_more(connection, erasure):
    """Record nothing beside an erasure."""


def interrupted(_digest):
    raise KeyboardInterrupt


def test_a_read_without_what_is_held_leaves_out_rows_and_makes_labels_unknown(datasets, ann):
    found = datasets.read(ann, "flights", without=Held([hold(0), label_hold(7)]))

    assert found["id"].to_list() == [f"f{n:04d}" for n in range(1, 10)]
    assert found.filter(pl.col("id") == "f0007")["late"].to_list() == [None]


def test_labelled_rows_leave_out_those_whose_label_is_held(datasets, ann):
    found = datasets.read(ann, "flights", labelled=True, without=Held([label_hold(7)]))

    assert found.height == 9


def test_with_nothing_held_a_read_has_the_digest_that_it_always_had(datasets, ann):
    assert datasets.rows(ann, "flights", without=Held()).digest == datasets.rows(ann, "flights").digest


def test_the_same_holds_have_the_same_digest_in_whatever_order_and_others_have_another(datasets, ann):
    first, second, other = ([hold(0), hold(7)], [hold(7), hold(0)], [hold(0)])

    digests = [datasets.rows(ann, "flights", without=Held(holds)).digest for holds in (first, second, other)]

    assert digests[0] == digests[1] != digests[2]
    assert digests[2] != datasets.rows(ann, "flights").digest


def test_what_is_held_outside_a_window_does_not_change_the_windows_digest(datasets, ann):
    window = {"since": START, "until": START + HOUR * 3}

    held = datasets.rows(ann, "flights", without=Held([hold(7)]), **window)

    assert held.digest == datasets.rows(ann, "flights", **window).digest


def test_a_correction_that_lands_later_lifts_the_hold_on_a_label(datasets, ann):
    corrected = labels([7], value=True).with_columns(pl.lit(START + HOUR * 20).alias("known_at"))
    datasets.land_labels(ann, FLIGHTS, corrected, source="corrected")

    found = datasets.read(ann, "flights", without=Held([label_hold(7, through=4)]))

    assert found.filter(pl.col("id") == "f0007")["late"].to_list() == [True]


def test_a_read_says_where_each_row_and_its_label_came_from(datasets, ann):
    datasets.land_labels(ann, FLIGHTS, labels([2], delay=9), source="second thoughts")

    found = datasets.read(ann, "flights", with_sources=True)

    assert found[ROW_SOURCE].to_list() == ["feed"] * 6 + ["other feed"] * 4
    assert found[LABEL_SOURCE].to_list() == ["arrivals"] * 2 + ["second thoughts"] + ["arrivals"] * 7


def test_a_window_without_labels_says_that_they_came_from_nowhere(datasets, ann):
    found = datasets.read(ann, "flights", as_of=START + HOUR, with_sources=True)

    assert found[LABEL_SOURCE].to_list() == [None, None]


@pytest.mark.parametrize("number", [2, 7])
def test_an_erased_row_is_gone_from_every_snapshot_and_all_of_them_stay_readable(datasets, ann, number):
    erased = datasets.erase(ann, "flights", Held([hold(number)]), reason="asked to", also=nothing_more)

    assert (erased.rows, erased.labels, erased.snapshots) == (1, 1, 2)
    for snapshot in datasets.snapshots(ann, "flights"):
        found = datasets.read(ann, "flights", snapshot=snapshot.id)
        assert f"f{number:04d}" not in found["id"].to_list()
        assert datasets.profile(ann, snapshot.id).column("id").rows == found.height
    assert datasets.read(ann, "flights").height == 9


def test_an_erased_label_leaves_its_row_and_later_labels(datasets, ann):
    datasets.land_labels(ann, FLIGHTS, labels([7], delay=9), source="corrected")

    datasets.erase(ann, "flights", Held([label_hold(7), label_hold(8)]), reason="flipped", also=nothing_more)

    found = datasets.read(ann, "flights")
    assert found.height == 10
    assert found.filter(pl.col("id").is_in(["f0007", "f0008"]))["late"].to_list() == [True, None]


def test_blobs_of_what_was_erased_are_dropped_and_blobs_that_are_needed_stay(datasets, ann, any_database, blobs):
    before = any_database.read(lambda c: queries.fragments_after(c, "default", "flights", 0))

    datasets.erase(ann, "flights", Held([hold(2)]), reason="asked to", also=nothing_more)

    there = {part.id: blobs.has(part.blob) for part in before}
    assert list(there.values()) == [False, False, True, True]


def test_a_fragment_that_is_emptied_goes_and_the_snapshots_stay(datasets, ann):
    datasets.erase(ann, "flights", Held([hold(n) for n in range(6, 10)]), reason="asked to", also=nothing_more)

    assert [datasets.read(ann, "flights", snapshot=f"flights@{n}").height for n in range(1, 5)] == [6, 6, 6, 6]


def test_even_all_rows_can_be_erased_and_the_columns_stay(datasets, ann):
    columns = datasets.read(ann, "flights").columns

    datasets.erase(ann, "flights", Held([hold(n) for n in range(10)]), reason="asked to", also=nothing_more)

    found = datasets.read(ann, "flights")
    assert (found.height, found.columns) == (0, columns)


def test_what_was_erased_may_be_committed_again(datasets, ann):
    datasets.erase(ann, "flights", Held([hold(n) for n in range(10)]), reason="asked to", also=nothing_more)

    datasets.commit(ann, FLIGHTS, rows(3, 2), source="feed")

    assert datasets.read(ann, "flights")["id"].to_list() == ["f0003", "f0004"]


def test_what_was_erased_is_kept_as_counts_and_a_commitment_that_its_key_alone_can_prove(datasets, ann, any_database):
    held = Held([hold(2)])
    erased = datasets.erase(ann, "flights", held, reason="asked to", also=nothing_more)

    kept = any_database.read(lambda c: queries.all_erasures(c, "default", "flights"))

    assert kept == [erased]
    assert "f0002" not in str(kept)
    assert erasing.commitment(b"another key", held) != erased.commitment


def test_another_process_that_had_read_the_rows_sees_that_they_are_gone(datasets, ann, any_database, blobs, clock, ids):
    other = build(any_database, blobs, clock, ids, ann)
    assert other.read(ann, "flights").height == 10

    datasets.erase(ann, "flights", Held([hold(2)]), reason="asked to", also=nothing_more)

    assert other.read(ann, "flights").height == 9


def test_blobs_that_a_crash_kept_are_dropped_by_the_next_erasure(datasets, ann, any_database, blobs, monkeypatch):
    doomed = any_database.read(lambda c: queries.fragments_after(c, "default", "flights", 0))[0].blob
    with monkeypatch.context() as patch:
        patch.setattr(blobs, "drop", interrupted)
        with pytest.raises(KeyboardInterrupt):
            datasets.erase(ann, "flights", Held([hold(2)]), reason="asked to", also=nothing_more)
    assert blobs.has(doomed)

    datasets.erase(ann, "flights", Held([hold(3)]), reason="asked to", also=nothing_more)

    assert not blobs.has(doomed)
    assert datasets.read(ann, "flights").height == 8


def test_nothing_is_erased_if_what_belongs_to_it_cannot_be_recorded(datasets, ann):
    def refuse(connection, erasure):
        raise NotFound("quarantine", "flights")

    with pytest.raises(NotFound):
        datasets.erase(ann, "flights", Held([hold(2)]), reason="asked to", also=refuse)

    assert datasets.read(ann, "flights").height == 10


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(doomed=st.sets(st.integers(0, 19), min_size=1, max_size=20), cuts=st.sets(st.integers(1, 19), max_size=4))
def test_after_any_erasure_every_snapshot_reads_as_if_the_rows_had_never_come(
    database, blobs, clock, ids, ann, doomed, cuts
):
    clock.advance_to(max(clock.now(), START + timedelta(days=30)))
    datasets = build(database, blobs, clock, ids, ann)
    name = ids.new("flights")
    flights = type(FLIGHTS)(name, key="id", time="at", label="late")
    edges = [0, *sorted(cuts), 20]
    for first, last in pairwise(edges):
        datasets.commit(ann, flights, rows(first, last - first), source="feed")
        datasets.land_labels(ann, flights, labels(range(first, last)), source="arrivals")
    before = [datasets.read(ann, name, snapshot=snapshot.id) for snapshot in datasets.snapshots(ann, name)]

    datasets.erase(ann, name, Held([hold(n, through=99) for n in doomed]), reason="asked to", also=nothing_more)

    gone = [f"f{n:04d}" for n in doomed]
    for snapshot, was in zip(datasets.snapshots(ann, name), before, strict=True):
        left = was.filter(~pl.col("id").is_in(gone))
        now = datasets.read(ann, name, snapshot=snapshot.id)
        assert_frame_equal(now, left, check_dtypes=bool(left.height and left["late"].null_count() < left.height))
