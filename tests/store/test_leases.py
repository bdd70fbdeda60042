"""Laws of leases, on both databases, on a simulated clock."""

import subprocess
import sys
from datetime import timedelta

import pytest

from noria.core.errors import LeaseLost
from noria.store import leases
from noria.store.holders import this_process


def take(database, clock, *, holder, seconds=30.0):
    return database.write(lambda c: leases.acquire(c, clock.now(), name="work", holder=holder, seconds=seconds))


def test_a_free_lease_is_taken_with_the_first_token(any_database, clock):
    lease = take(any_database, clock, holder="a")

    assert lease is not None
    assert lease.token == 1


def test_a_held_lease_is_refused_to_others_until_it_ends(any_database, clock):
    take(any_database, clock, holder="a", seconds=30)

    clock.advance_to(clock.now() + timedelta(seconds=29))
    assert take(any_database, clock, holder="b") is None
    clock.advance_to(clock.now() + timedelta(seconds=2))

    assert take(any_database, clock, holder="b").token == 2


def test_taking_our_own_lease_again_keeps_its_token(any_database, clock):
    take(any_database, clock, holder="a")

    assert take(any_database, clock, holder="a").token == 1


def test_a_holder_that_slept_through_the_end_of_its_lease_can_commit_nothing(any_database, clock):
    slept = take(any_database, clock, holder="a", seconds=30)
    clock.advance_to(clock.now() + timedelta(seconds=31))
    take(any_database, clock, holder="b")

    with pytest.raises(LeaseLost, match="lost to b"):
        any_database.write(lambda c: leases.check(c, slept, clock.now()))


def test_a_renewed_lease_lasts_from_now(any_database, clock):
    lease = take(any_database, clock, holder="a", seconds=30)
    clock.advance_to(clock.now() + timedelta(seconds=20))

    renewed = any_database.write(lambda c: leases.renew(c, lease, clock.now(), seconds=30))
    clock.advance_to(clock.now() + timedelta(seconds=25))

    any_database.write(lambda c: leases.check(c, renewed, clock.now()))
    assert renewed.token == lease.token


def test_a_released_lease_is_free_at_once_and_its_token_is_never_given_again(any_database, clock):
    lease = take(any_database, clock, holder="a")

    any_database.write(lambda c: leases.release(c, lease))

    assert take(any_database, clock, holder="b").token == 2


def test_the_lease_of_a_process_that_died_on_this_machine_is_free_at_once(any_database, clock):
    child = subprocess.run(
        [sys.executable, "-c", "from noria.store.holders import this_process; print(this_process())"],
        check=True,
        capture_output=True,
        text=True,
    )
    take(any_database, clock, holder=child.stdout.strip())

    assert take(any_database, clock, holder="b").token == 2


def test_the_lease_of_a_living_process_is_not(any_database, clock):
    take(any_database, clock, holder=this_process())

    assert take(any_database, clock, holder="b") is None
