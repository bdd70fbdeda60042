"""Laws of events from outside: one is heard once, opens a cycle where a trigger waits for it, and is kept erasable."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

import noria as nr
from noria.boot import open_home
from noria.core.clock import SimulatedClock
from noria.core.errors import Invalid, NotFound
from noria.ledger.model import FactKind
from noria.loop import rules
from noria.loop.model import CyclesWanted, Event, Outcome, Standing
from noria.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
CLICKS = nr.Dataset("clicks", key="id", time="at", label="bought")
REFRESHED = Event(id="1", source="/shop/catalogue", type="com.shop.refreshed", subject="shoes", data={"rows": 3})


@nr.step
def fit(rows: pl.DataFrame) -> nr.Model:
    return nr.Model(LogisticRegression().fit(rows.select("x").to_numpy(), rows["bought"].to_numpy()))


@nr.pipeline
def train(rows):
    return fit(rows)


def a_loop(name="clicks", **event):
    waits = nr.event(**({"type": "com.shop.refreshed"} | event))
    return nr.Loop(name, dataset=CLICKS, train=train, when=waits, evaluate=nr.Evaluation(holdout=None), gate=None)


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = str(tmp_path / "home") if request.param == "sqlite" else request.getfixturevalue("postgresql_address")
    settings = Settings(home=place, blobs=str(tmp_path / "blobs"), key_file=str(tmp_path / "key"), actor="ann")
    with open_home(clock=SimulatedClock(START), settings=settings) as platform:
        chance = np.random.default_rng(3)
        x = chance.normal(size=300)
        moments = pl.datetime_range(
            datetime(2025, 12, 1), datetime(2025, 12, 20), eager=True, time_zone="UTC", interval="1h"
        )[:300]
        rows = pl.DataFrame({"id": range(300), "at": moments, "x": x, "bought": x + chance.normal(size=300) > 0})
        platform.push(CLICKS, rows.with_columns(known_at="at"))
        yield platform


def turn(home, *loops):
    with home.worker(*loops) as worker:
        worker.run_until_quiet()


def test_an_event_opens_a_cycle_of_the_loop_that_waits_for_its_type(home):
    waiting, deaf = a_loop(), a_loop("deaf", type="com.shop.closed")
    home.start(waiting)
    home.start(deaf)

    home.loops.receive(home.context, REFRESHED)
    turn(home, waiting, deaf)

    (cycle,) = home.loops.cycles(home.context)
    assert cycle.loop == "clicks"
    assert cycle.reasons[0].words == "event 'com.shop.refreshed' about shoes came from /shop/catalogue"


def test_the_same_source_and_id_twice_is_one_event(home):
    assert home.loops.receive(home.context, REFRESHED)
    assert not home.loops.receive(home.context, REFRESHED)

    told = [
        fact for fact in (home.ledger.checkpoint(), *home.ledger.after(-1))[1:] if fact.kind is FactKind.EVENT_RECEIVED
    ]
    assert len(told) == 1


def test_the_ledger_holds_only_the_digest_of_what_an_event_carried(home):
    home.loops.receive(home.context, REFRESHED)
    home.ledger.seal()

    fact = next(fact for fact in home.ledger.after(-1) if fact.kind is FactKind.EVENT_RECEIVED)
    assert "rows" not in str(fact.payload)
    assert len(fact.payload["data"]) == 64


def test_a_source_that_was_named_is_the_only_one_heard():
    trigger = nr.event(type="t", source="/a")

    assert trigger.reasons(Standing(events=({"type": "t", "source": "/b", "subject": None},))) == ()
    assert trigger.reasons(Standing(events=({"type": "t", "source": "/a", "subject": None},)))[0].words == (
        "event 't' came from /a"
    )
    assert trigger.words() == "event 't' from /a"


def test_an_event_that_has_no_type_or_a_name_too_long_is_refused(home):
    with pytest.raises(Invalid, match="the type of an event has 0 letters"):
        home.loops.receive(home.context, Event(id="1", source="/a", type=""))
    with pytest.raises(Invalid, match="the id of an event has 256 letters"):
        home.loops.receive(home.context, Event(id="x" * 256, source="/a", type="t"))
    with pytest.raises(Invalid, match="needs the type"):
        nr.event(type="")


def test_a_standing_that_was_stored_before_there_were_events_is_still_read():
    stored = {"rows": 1, "labels": 2, "commits": 3, "due": [], "signals": [], "requests": []}

    assert rules.from_plain(stored) == Standing(rows=1, labels=2, commits=3)
    assert rules.from_plain(rules.to_plain(Standing(events=({"type": "t"},)))) == Standing(events=({"type": "t"},))


def test_cycles_are_paged_newest_first_without_a_gap(home):
    loop = a_loop()
    home.start(loop)
    for number in range(5):
        home.loops.receive(home.context, Event(id=str(number), source="/a", type="com.shop.refreshed"))
        turn(home, loop)

    first = home.loops.page(home.context, CyclesWanted(limit=2))
    rest = home.loops.page(home.context, CyclesWanted(limit=10), after=first[-1].id)

    assert [cycle.number for cycle in (*first, *rest)] == [5, 4, 3, 2, 1]
    promoted = home.loops.page(home.context, CyclesWanted(outcome=Outcome.PROMOTED, loop="clicks"))
    assert [cycle.number for cycle in promoted] == [1]
    with pytest.raises(NotFound):
        home.loops.page(home.context, CyclesWanted(), after="cycle_none")
