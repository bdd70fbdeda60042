"""Laws of sharing out one machine's cores, GPUs and memory."""

import threading

import pytest

from noria.core.errors import Unavailable
from noria.pipelines.model import Needs
from noria.runs.executors import Offers
from noria.runs.slots import Slots

OFFERS = Offers(cpus=2, gpus=1, memory_bytes=100)


class Taker(threading.Thread):
    """Takes slots in a thread of its own and holds them until it is told to let go."""

    def __init__(self, slots, **needs):
        super().__init__(daemon=True)
        self.slots, self.needs = slots, Needs(**needs)
        self.has, self.may_go, self.raised = threading.Event(), threading.Event(), None
        self.start()

    def run(self):
        try:
            with self.slots.taken(self.needs):
                self.has.set()
                self.may_go.wait(20)
        except Unavailable as problem:
            self.raised = problem

    def lets_go(self):
        self.may_go.set()
        self.join(20)


def waiting(slots, number):
    with slots._changed:
        return len(slots._waiting) == number


def until_waiting(slots, number):
    while not waiting(slots, number):
        threading.Event().wait(0.001)


@pytest.mark.parametrize("needs", [{"cpus": 1.5}, {"cpus": 0.1, "gpus": 1}, {"cpus": 0.1, "memory_bytes": 60}])
def test_whoever_finds_no_room_waits_until_there_is(needs):
    slots = Slots(OFFERS)
    first = Taker(slots, **needs)
    assert first.has.wait(20)
    second = Taker(slots, **needs)
    until_waiting(slots, 1)
    assert not second.has.is_set()

    first.lets_go()

    assert second.has.wait(20)
    second.lets_go()


def test_a_small_one_that_comes_later_does_not_overtake_a_large_one():
    slots = Slots(OFFERS)
    first = Taker(slots, cpus=1)
    assert first.has.wait(20)
    large = Taker(slots, cpus=2)
    until_waiting(slots, 1)
    small = Taker(slots, cpus=1)
    until_waiting(slots, 2)
    assert not small.has.is_set()

    first.lets_go()

    assert large.has.wait(20)
    assert not small.has.is_set()
    large.lets_go()
    assert small.has.wait(20)
    small.lets_go()


def test_tenths_add_up():
    slots = Slots(Offers(cpus=1))
    for _ in range(3):
        takers = [Taker(slots, cpus=0.1) for _ in range(10)]
        assert all(taker.has.wait(20) for taker in takers)
        for taker in takers:
            taker.lets_go()
    whole = Taker(slots, cpus=1)
    assert whole.has.wait(20)
    whole.lets_go()


def test_closing_lets_nobody_wait():
    slots = Slots(OFFERS)
    first = Taker(slots, cpus=2)
    assert first.has.wait(20)
    second = Taker(slots, cpus=2)
    until_waiting(slots, 1)

    slots.close()
    second.join(20)

    assert second.raised.sentence == "the executor is closed"
    first.lets_go()
