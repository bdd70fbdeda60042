"""Laws of the quarantine and of schemas: who may, what is told, what is left when something was released or erased."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from click.testing import CliRunner

import noria as nr
from noria.boot import open_home
from noria.cli.root import noria
from noria.core.clock import SimulatedClock
from noria.core.errors import Conflict, Denied, NotFound
from noria.datasets.model import FragmentKind, Hold
from noria.guards.model import Action, Finding, Judgement, QuarantineState, SchemaState
from noria.guards.rules import Choice
from noria.ledger.model import FactKind
from noria.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
VISITS = nr.Dataset("visits", key="id", time="at", label="ill")


def visits(first=0, count=10):
    numbers = list(range(first, first + count))
    return pl.DataFrame(
        {
            "id": [f"v{n}" for n in numbers],
            "at": [START + timedelta(hours=n) for n in numbers],
            "x": [float(n) for n in numbers],
            "ward": ["north", "south"] * (count // 2),
            "ill": [n % 2 == 0 for n in numbers],
        }
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path):
    return str(tmp_path / "home") if request.param == "sqlite" else request.getfixturevalue("postgresql_address")


@pytest.fixture
def home(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NORIA_BLOBS", str(tmp_path / "blobs"))
    monkeypatch.setenv("NORIA_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("NORIA_ACTOR", "ann")
    settings = Settings(home=address, blobs=str(tmp_path / "blobs"), key_file=str(tmp_path / "key"), actor="ann")
    with open_home(clock=SimulatedClock(START + timedelta(days=30)), settings=settings) as platform:
        platform.push(VISITS, visits(), source="ward book")
        yield platform


def quarantine(home, *keys, source="ward book", kind=FragmentKind.ROWS, cycle="visits/1"):
    holds = tuple(Hold(kind=kind, key=key, time=START + timedelta(hours=int(key[1:])), through=1) for key in keys)
    finding = Finding(guard="schema", action=Action.QUARANTINE, words="out of range", source=source, holds=holds)
    judgement = Judgement(findings=(finding,))
    return home.database.write(lambda c: home.guards.quarantine_in(c, home.context, "visits", judgement, cycle=cycle))


def held_digest(home, change=None):
    held = home.guards.held(home.context, "visits", change=change)
    return home.datasets.rows(home.context, "visits", without=held).digest


def facts(home, kind):
    home.ledger.seal()
    return [fact.payload for fact in home.ledger.after(-1, limit=1000) if fact.kind is kind]


def test_quarantine_and_then_release_gives_the_read_the_digest_that_it_had_before(home):
    before = held_digest(home)
    quarantine(home, "v1", "v2")
    between = held_digest(home)

    home.guards.release(home.context, "visits", Choice(), reason="they are right")

    assert held_digest(home) == before != between


def test_what_was_held_after_a_change_can_be_read_again_for_ever(home):
    first = quarantine(home, "v1")
    second = quarantine(home, "v2", cycle="visits/2")
    digests = [held_digest(home, change) for change in (first, second)]

    home.guards.release(home.context, "visits", Choice(key="v1"), reason="right")

    assert [held_digest(home, change) for change in (first, second)] == digests
    assert {hold.key for hold in home.guards.held(home.context, "visits").holds} == {"v2"}


def test_the_fact_of_a_release_by_key_has_no_key(home):
    quarantine(home, "v1")

    home.guards.release(home.context, "visits", Choice(key="v1", source="ward book"), reason="right")

    (told,) = facts(home, FactKind.ROWS_RELEASED)
    assert told["which"] == "source ward book, key of one row"


def test_each_finding_that_holds_is_one_fact_with_its_reason_and_no_keys(home):
    quarantine(home, "v1", "v2")

    told = facts(home, FactKind.ROWS_QUARANTINED)

    assert len(told) == 1
    assert (told[0]["count"], told[0]["reason"], told[0]["source"]) == (2, "out of range", "ward book")
    assert "v1" not in json.dumps(told)


def test_nothing_to_hold_changes_nothing_and_tells_nothing(home):
    change = home.database.write(
        lambda c: home.guards.quarantine_in(c, home.context, "visits", Judgement(), cycle="visits/1")
    )

    assert change == 0
    assert facts(home, FactKind.ROWS_QUARANTINED) == []


def test_a_row_that_two_guards_doubt_is_held_once_with_the_first_reason(home):
    hold = Hold(kind=FragmentKind.ROWS, key="v1", time=START, through=1)
    findings = [Finding(guard=g, action=Action.QUARANTINE, words=g, holds=(hold,)) for g in ("schema", "quality")]
    judgement = Judgement(findings=tuple(findings))

    home.database.write(lambda c: home.guards.quarantine_in(c, home.context, "visits", judgement, cycle="visits/1"))

    assert [entry.reason for entry in home.guards.entries(home.context, "visits", Choice())] == ["schema"]


def test_erased_rows_are_gone_and_only_a_commitment_to_their_keys_is_left(home):
    quarantine(home, "v1", "v2")

    erased = home.guards.erase(home.context, "visits", Choice(), reason="asked to")

    left = home.guards.entries(home.context, "visits", Choice(state=None))
    assert home.read("visits").height == 8
    assert {(entry.state, entry.key) for entry in left} == {(QuarantineState.ERASED, erased.commitment)}
    assert facts(home, FactKind.ROWS_ERASED)[0]["commitment"] == erased.commitment


@pytest.mark.parametrize("verb", ["release", "erase"])
def test_to_mean_nothing_that_is_held_is_said(home, verb):
    quarantine(home, "v1")

    with pytest.raises(NotFound, match="source elsewhere"):
        getattr(home.guards, verb)(home.context, "visits", Choice(source="elsewhere"), reason="why")


@pytest.mark.parametrize("verb", ["release", "erase"])
def test_to_release_and_to_erase_need_the_right_to_review(home, verb):
    quarantine(home, "v1")

    with pytest.raises(Denied, match="may not review"):
        getattr(home.guards, verb)(home.acting_as("eve"), "visits", Choice(), reason="why")


def test_a_schema_is_proposed_once_for_the_same_rules_and_anew_for_others(home):
    first = home.guards.propose(home.context, "visits")
    again = home.guards.propose(home.context, "visits")
    narrower = home.guards.propose(home.context, "visits", with_ranges=True, with_categories=True)

    assert (first, again.version, narrower.version) == (again, 1, 2)
    assert narrower.column("ward").categories == ("north", "south")
    assert (narrower.column("x").low, narrower.column("x").high) == (0.0, 9.0)


def test_an_approved_schema_holds_until_another_is_approved(home):
    home.guards.propose(home.context, "visits")
    home.guards.approve(home.context, "visits")
    home.guards.propose(home.context, "visits", with_ranges=True)

    held_against = home.guards.schema(home.context, "visits")

    assert (held_against.version, held_against.state, held_against.approved_by) == (
        1,
        SchemaState.APPROVED,
        "person:ann",
    )
    assert home.guards.approve(home.context, "visits").version == 2
    assert home.guards.schema(home.context, "visits").version == 2
    assert [told["version"] for told in facts(home, FactKind.SCHEMA_APPROVED)] == [1, 2]


def test_a_schema_is_not_approved_twice_nor_if_it_is_not_there(home):
    with pytest.raises(NotFound) as caught:
        home.guards.approve(home.context, "visits")
    assert caught.value.hint == "propose one: noria schema propose visits"
    home.guards.propose(home.context, "visits")
    home.guards.approve(home.context, "visits")

    with pytest.raises(Conflict, match="was approved by person:ann already"):
        home.guards.approve(home.context, "visits")


# --- commands


def command(address, *words, **options):
    result = CliRunner().invoke(noria, [*words, "--home", address], **options)
    assert result.exception is None or isinstance(result.exception, SystemExit | NotFound), result.exception
    return result


def test_the_quarantine_is_listed_shown_released_and_erased_by_commands(home, address):
    quarantine(home, "v1", "v2")
    quarantine(home, "v3", source="other book", cycle="visits/2")

    listed = json.loads(command(address, "quarantine", "ls", "--json").output)
    shown = json.loads(command(address, "quarantine", "show", "visits", "--source", "other book", "--json").output)
    tried = json.loads(command(address, "quarantine", "erase", "visits", "--dry-run", "--json").output)
    asked = command(address, "quarantine", "erase", "visits", "--source", "other book", input="n\n")
    released = json.loads(command(address, "quarantine", "release", "visits", "--key", "v1", "--json").output)
    erased = json.loads(
        command(address, "quarantine", "erase", "visits", "--cycle", "visits/2", "--yes", "--json").output
    )

    assert [(group["source"], group["count"], group["state"]) for group in listed] == [
        ("ward book", 2, "held"),
        ("other book", 1, "held"),
    ]
    assert [row["key"] for row in shown] == ["v3"]
    assert (tried["meant"], asked.exit_code) == (3, 1)
    assert (released["released"], erased["rows"]) == (1, 1)
    assert home.read("visits")["id"].to_list() == ["v0", "v1", "v2", *(f"v{n}" for n in range(4, 10))]


def test_a_schema_is_proposed_shown_and_approved_by_commands(home, address):
    proposed = json.loads(command(address, "schema", "propose", "visits", "--categories", "--json").output)
    words = command(address, "schema", "show", "visits").output
    approved = json.loads(command(address, "schema", "approve", "visits", "--json").output)

    assert (proposed["schema"], proposed["state"]) == ("visits@1", "proposed")
    assert "enforce it with: noria schema approve visits" in words
    assert approved["state"] == "approved"
