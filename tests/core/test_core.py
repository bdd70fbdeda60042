"""Laws of ids, clocks, digests, durations and errors."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noria.core import digests, errors
from noria.core.clock import RealClock, SimulatedClock, as_utc
from noria.core.durations import as_duration, spell_duration
from noria.core.errors import Invalid, NoriaError, NotFound
from noria.core.ids import TimedIds

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_simulated_clock_moves_only_when_told_and_never_back():
    clock = SimulatedClock(NOON)

    clock.advance_to(NOON + timedelta(hours=1))

    assert clock.now() == NOON + timedelta(hours=1)
    with pytest.raises(Invalid, match="does not go back"):
        clock.advance_to(NOON)


def test_the_real_clock_speaks_utc():
    assert RealClock().now().tzinfo is UTC


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(Invalid, match="no time zone"):
        as_utc(datetime(2026, 1, 1))


def test_ids_made_later_sort_later_and_never_repeat():
    clock = SimulatedClock(NOON)
    ids = TimedIds(clock)

    made = [ids.new("run") for _ in range(3000)]
    clock.advance_to(NOON + timedelta(milliseconds=1))
    made.append(ids.new("run"))

    assert made == sorted(set(made))


def test_ids_from_the_same_seed_and_clock_are_the_same():
    first, second = (TimedIds(SimulatedClock(NOON), random.Random(1)) for _ in range(2))

    assert [first.new("a") for _ in range(5)] == [second.new("a") for _ in range(5)]


def test_a_digest_of_a_plain_value_does_not_depend_on_the_order_of_keys():
    assert digests.of_json({"a": 1, "b": [1.5, None]}) == digests.of_json({"b": [1.5, None], "a": 1})


def test_a_digest_knows_the_sha_256_of_the_standard():
    assert digests.of_bytes(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_parts_have_one_digest_only_if_they_are_the_same_parts(left, right):
    assert (digests.of_parts(left) == digests.of_parts(right)) == (left == right)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_what_is_not_plain_has_no_digest(value):
    with pytest.raises(Invalid, match="not a plain value"):
        digests.of_json(value)


@pytest.mark.parametrize(
    ("spelled", "seconds"),
    [
        ("7d", 604_800),
        ("36h", 129_600),
        ("1d 12h", 129_600),
        ("90m", 5_400),
        ("30s", 30),
        ("2w", 1_209_600),
        ("1.5h", 5_400),
    ],
)
def test_durations_are_read_as_people_write_them(spelled, seconds):
    assert as_duration(spelled) == timedelta(seconds=seconds)


@pytest.mark.parametrize("spelled", ["", "7", "d", "7 days", "1d x"])
def test_what_is_no_duration_is_refused_with_an_example(spelled):
    with pytest.raises(Invalid) as caught:
        as_duration(spelled)

    assert "7d" in caught.value.hint


@given(st.integers(min_value=0, max_value=10**8))
def test_a_spelled_duration_reads_back_as_itself(seconds):
    assert as_duration(spell_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


def test_not_found_offers_the_nearest_name():
    assert (
        str(NotFound("model", "frauds", known=["fraud", "churn"]))
        == "no model named 'frauds'\nhint: did you mean 'fraud'?"
    )


def test_every_error_has_a_code_of_its_own_a_status_and_a_place_in_the_drawn_tree():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, NoriaError)]

    codes = [kind.code for kind in kinds]

    assert len(set(codes)) == len(codes)
    assert all(400 <= kind.status < 600 for kind in kinds)
    assert all(kind.__name__ in errors.__doc__ for kind in kinds)
