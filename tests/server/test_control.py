"""Laws of the control API: it says what the platform knows, moves what a caller may move, and survives bad input."""

import json
import sys

import pytest
from builders import DAY, a_loop, client_of, turn

from noria.access.model import Role
from noria.core.context import Actor
from noria.ledger.model import FactKind
from noria.loop.model import Outcome


def problem(answer, status, code):
    """Return the problem that an answer is, and hold it against what every problem has."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    told = answer.json()
    assert set(told) == {"type", "title", "status", "detail", "code", "hint"}
    assert (told["status"], told["code"]) == (status, code)
    return told


def test_health_says_that_the_database_answers(client):
    assert client.get("/healthz").json()["status"] == "ok"


def test_a_database_that_does_not_answer_is_unhealthy(turned, client, monkeypatch):
    from noria.core.errors import Unavailable

    def away(_query):
        raise Unavailable("the metadata database did not answer", hint="check the address")

    monkeypatch.setattr(turned.database, "read", away)

    assert problem(client.get("/healthz"), 503, "unavailable")["hint"] == "check the address"


def test_a_loop_says_where_it_is_and_what_has_come(client):
    (loop,) = client.get("/api/v1/loops").json()["items"]

    assert loop == client.get("/api/v1/loops/clicks").json()
    assert (loop["name"], loop["state"], loop["champion"], loop["cycles"]) == ("clicks", "running", 2, 2)
    assert loop["turns_on"] == "400 new labels or event 'com.shop.refreshed'"
    assert loop["open_cycle"] is None


def test_cycles_come_newest_first_with_their_reasons_and_one_with_its_evidence(client):
    listed = client.get("/api/v1/cycles").json()

    assert [(line["number"], line["outcome"]) for line in listed["items"]] == [(2, "rejected"), (1, "promoted")]
    assert listed["next"] is None
    whole = client.get(f"/api/v1/cycles/{listed['items'][0]['id']}").json()
    assert whole["verdict"]["outcome"] == "failed"
    assert whole["evidence"]["comparisons"][0]["metric"] == "log_loss"
    assert whole["reasons"][0]["trigger"] == "new_labels"


def test_cycles_are_filtered_and_paged(any_client):
    first = any_client.get("/api/v1/cycles", params={"limit": 1}).json()
    rest = any_client.get("/api/v1/cycles", params={"limit": 1, "after": first["next"]}).json()
    rejected = any_client.get("/api/v1/cycles", params={"outcome": "rejected", "loop": "clicks"}).json()

    assert [first["items"][0]["number"], rest["items"][0]["number"]] == [2, 1]
    assert [line["number"] for line in rejected["items"]] == [2]
    assert any_client.get("/api/v1/cycles", params={"state": "training"}).json()["items"] == []
    problem(any_client.get("/api/v1/cycles", params={"loop": "none"}), 404, "not-found")
    problem(any_client.get("/api/v1/cycles", params={"outcome": "splendid"}), 422, "invalid")


def test_a_model_says_its_champion_its_versions_and_why_each_exists(any_client):
    (model,) = any_client.get("/api/v1/models").json()["items"]
    versions = any_client.get("/api/v1/models/clicks/versions").json()
    why = any_client.get("/api/v1/models/clicks/versions/2/why").json()

    assert model == any_client.get("/api/v1/models/clicks").json()
    assert model == {"name": "clicks", "champion": 2, "anchor": 2, "versions": 3}
    assert [version["number"] for version in versions["items"]] == [1, 2, 3]
    assert [move["to"] for move in versions["moves"]] == [2]
    assert {line["step"] for line in why["lines"]} >= {"trigger", "data", "evidence", "promoted"}


def test_promote_and_rollback_move_the_champion_and_tell_who_did_it(any_home, any_client):
    promoted = any_client.post("/api/v1/models/clicks/promote", json={"version": 1, "reason": "as a drill"})
    back = any_client.post("/api/v1/models/clicks/rollback", json={"reason": "the drill is over"})

    assert promoted.json() == {"model": "clicks", "version": 1, "before": 2, "epoch": 2}
    assert (back.json()["version"], back.json()["before"]) == (2, 1)
    move = any_home.registry.moves(any_home.context, "clicks")[-1]
    assert (move.actor, move.reason, move.is_rollback) == ("person:ann", "the drill is over", True)


def test_a_move_that_cannot_be_is_a_conflict_or_names_what_there_is(client):
    problem(client.post("/api/v1/models/clicks/promote", json={"version": 2, "reason": "again"}), 409, "conflict")
    problem(client.post("/api/v1/models/clicks/promote", json={"version": 9, "reason": "no such"}), 404, "not-found")
    hint = problem(client.post("/api/v1/models/click/rollback", json={}), 404, "not-found")["hint"]
    assert hint == "did you mean 'clicks'?"


def test_a_paused_loop_answers_nothing_until_it_is_resumed(turned, client):
    assert client.post("/api/v1/loops/clicks/pause").json()["state"] == "paused"
    client.post("/api/v1/loops/clicks/cycles", json={"reason": "now"})
    loop = a_loop()
    turned.loops.declare(turned.context, loop)
    turn(turned, loop)
    assert client.get("/api/v1/loops/clicks").json()["cycles"] == 2

    assert client.post("/api/v1/loops/clicks/resume").json()["state"] == "running"
    turn(turned, loop)

    assert client.get("/api/v1/loops/clicks").json()["cycles"] == 3


def test_a_cycle_that_is_asked_for_is_opened_with_who_asked(turned, client):
    answer = client.post("/api/v1/loops/clicks/cycles", json={"reason": "a new catalogue"})
    turn(turned, a_loop())

    assert answer.status_code == 202
    newest = client.get("/api/v1/cycles").json()["items"][0]
    assert newest["reasons"][0]["words"] == "person:ann asked: a new catalogue"


def test_datasets_say_their_newest_snapshot(client):
    (dataset,) = client.get("/api/v1/datasets").json()["items"]
    snapshots = client.get("/api/v1/datasets/clicks/snapshots").json()["items"]

    assert (dataset["name"], dataset["key"], dataset["label"]) == ("clicks", "id", "bought")
    assert dataset["latest"]["number"] == len(snapshots) == 36
    problem(client.get("/api/v1/datasets/none"), 404, "not-found")


def test_an_endpoint_says_who_answers(client):
    (endpoint,) = client.get("/api/v1/endpoints").json()["items"]

    assert (endpoint["endpoint"], endpoint["model"]) == ("clicks", "clicks")


def test_facts_are_followed_by_position_without_a_gap(any_home, any_client):
    position, kinds = -1, []
    while page := any_client.get("/api/v1/facts", params={"after": position, "limit": 7}).json()["items"]:
        assert [fact["position"] for fact in page] == list(range(position + 1, position + 1 + len(page)))
        kinds += [fact["kind"] for fact in page]
        position = page[-1]["position"]

    assert kinds.count("cycle.settled") == 2
    assert any_client.get("/api/v1/facts", params={"after": position}).json() == {"items": [], "next": position}


def test_a_checkpoint_is_one_that_the_ledger_holds_against_itself(turned, client):
    signed = client.get("/api/v1/audit/checkpoint").json()

    assert turned.ledger.audit(kept=[signed["note"]]).holds
    assert signed["size"] == turned.ledger.audit().facts


# --- who acts


def test_a_caller_on_this_machine_may_act_as_somebody_who_then_needs_a_role(turned, client):
    as_eve = {"noria-actor": "eve"}
    problem(client.get("/api/v1/loops", headers=as_eve), 403, "denied")
    problem(client.get("/api/v1/cycles", headers=as_eve), 403, "denied")
    problem(client.get("/api/v1/facts", headers=as_eve), 403, "denied")
    turned.access.grant(turned.context, Actor(name="eve"), Role.VIEWER)

    assert client.get("/api/v1/loops", headers=as_eve).status_code == 200
    problem(client.post("/api/v1/loops/clicks/pause", headers=as_eve), 403, "denied")


@pytest.mark.parametrize(
    "path", ["loops", "cycles", "runs", "models", "endpoints", "datasets", "facts", "audit/checkpoint"]
)
def test_nothing_is_read_without_the_right_to(empty, path):
    problem(client_of(empty).get(f"/api/v1/{path}", headers={"noria-actor": "eve"}), 403, "denied")


def test_a_name_that_does_not_come_straight_from_this_machine_is_refused_not_dropped(turned, client):
    elsewhere = client_of(turned, at="10.0.0.9")
    as_ann = {"noria-actor": "ann"}

    problem(elsewhere.post("/api/v1/loops/clicks/pause", headers=as_ann), 403, "not-believed")
    for header in ("x-forwarded-for", "forwarded", "x-real-ip", "via"):
        through = as_ann | {header: "10.0.0.9"}
        problem(client.post("/api/v1/loops/clicks/pause", headers=through), 403, "not-believed")

    turned.ledger.seal()
    assert [fact for fact in turned.ledger.after(-1) if fact.kind is FactKind.LOOP_PAUSED] == []


def test_two_names_are_none(client):
    twice = [("noria-actor", "ann"), ("noria-actor", "eve")]

    problem(client.get("/api/v1/loops", headers=twice), 422, "invalid")


@pytest.mark.parametrize("name", ["service:loop-worker", "x" * 200, " "])
def test_nobody_becomes_a_service_or_a_name_that_is_none(empty, name):
    problem(client_of(empty).get("/api/v1/loops", headers={"noria-actor": name}), 422, "invalid")


def test_another_sites_page_cannot_act_and_a_rebound_name_is_not_answered(empty):
    client = client_of(empty)

    problem(client.post("/api/v1/loops/x/pause", headers={"origin": "http://evil.example"}), 403, "cross-site")
    problem(client.get("/healthz", headers={"host": "evil.example:7878"}), 421, "misdirected")
    problem(client.post("/api/v1/loops/x/pause", headers={"origin": "http://127.0.0.1:7878"}), 404, "not-found")


# --- events


def nested(levels):
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize(
    "told",
    [
        '"time":"0001-01-01T00:00:00+23:59"',
        '"time":"9999-12-31T23:59:59-23:59"',
        '"time":"2026-02-30T00:00:00Z"',
        f'"data":{nested(65)}',
        f'"data":{nested(100_000)}',
        f'"extension":{nested(100_000)}',
        '"data":' + "[" * 900 + "]" * 900,
        '"data":1e400',
        '"data":' + "9" * 5_000,
        '"subject":"a\\u0000"',
        '"data":"\\ud800"',
    ],
    ids=range(11),
)
def test_an_event_that_cannot_be_kept_is_refused_in_words(client, told):
    body = '{"specversion":"1.0","id":"7","source":"/shop","type":"t",' + told + "}"

    answer = client.post("/api/v1/events", content=body, headers={"content-type": "application/cloudevents+json"})

    problem(answer, 422, "invalid")


def test_an_event_at_the_limits_is_kept(client):
    told = f'"time":"9999-12-31T23:59:59Z","data":{nested(64)}'
    body = '{"specversion":"1.0","id":"7","source":"/shop","type":"t",' + told + "}"

    answer = client.post("/api/v1/events", content=body, headers={"content-type": "application/cloudevents+json"})

    assert answer.status_code == 202


def test_a_database_whose_disk_is_full_is_said_as_such(turned, client):
    import sqlite3

    from noria.store import sqlite

    found = sqlite._translated(sqlite3.OperationalError("database or disk is full"))

    assert (found.code, found.status) == ("not-stored", 507)
    assert sqlite._translated(sqlite3.OperationalError("attempt to write a readonly database")).status == 507


EVENT = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "com.shop.refreshed", "data": {"rows": 3}}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}


def test_an_event_in_structured_mode_opens_a_cycle_once(any_home, any_client):
    first = any_client.post("/api/v1/events", content=json.dumps(EVENT), headers=STRUCTURED)
    second = any_client.post("/api/v1/events", content=json.dumps(EVENT), headers=STRUCTURED)
    turn(any_home, a_loop())
    turn(any_home, a_loop())

    assert (first.status_code, second.status_code) == (202, 202)
    assert (first.json()["is_new"], second.json()["is_new"]) == (True, False)
    opened = any_client.get("/api/v1/cycles").json()["items"]
    assert [line["number"] for line in opened] == [3, 2, 1]
    assert opened[0]["reasons"][0]["words"] == "event 'com.shop.refreshed' came from /shop"


def test_an_event_in_binary_mode_is_the_same_event(turned, client):
    headers = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/shop%20one", "ce-type": "com.shop.refreshed"}
    headers |= {"content-type": "application/json", "ce-time": "2026-01-02T03:04:05Z", "ce-extra": "is passed over"}

    first = client.post("/api/v1/events", content=b'{"rows": 3}', headers=headers)
    structured = client.post("/api/v1/events", content=json.dumps(EVENT | {"source": "/shop one"}), headers=STRUCTURED)

    assert first.json() == {"id": "7", "source": "/shop one", "is_new": True}
    assert structured.json()["is_new"] is False


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", STRUCTURED),
        (b"", STRUCTURED),
        (b"[]", STRUCTURED),
        (json.dumps(EVENT | {"specversion": "0.3"}), STRUCTURED),
        (json.dumps(EVENT | {"id": ""}), STRUCTURED),
        (json.dumps(EVENT | {"id": 7}), STRUCTURED),
        (json.dumps(EVENT | {"time": "yesterday"}), STRUCTURED),
        (json.dumps(EVENT | {"type": "a\0b"}), STRUCTURED),
        (json.dumps(EVENT | {"source": "x" * 300}), STRUCTURED),
        (b'{"specversion":"1.0","id":"\\ud800","source":"/s","type":"t"}', STRUCTURED),
        (b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data":NaN}', STRUCTURED),
        (b"\xff\xfe", STRUCTURED),
        (json.dumps(EVENT), {"content-type": "application/json"}),
        (json.dumps([EVENT]), {"content-type": "application/cloudevents-batch+json"}),
        (b"{", {"content-type": "application/json", "ce-specversion": "1.0", "ce-id": "1"}),
    ],
)
def test_what_is_no_event_is_refused_and_the_server_goes_on(empty, body, headers):
    client = client_of(empty)

    problem(client.post("/api/v1/events", content=body, headers=headers), 422, "invalid")

    assert client.get("/healthz").status_code == 200


# --- bad input


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid"),
        (b"not json", 400, "not-json"),
        (b"[]", 422, "invalid"),
        (b'"text"', 422, "invalid"),
        (b'{"version": "two", "reason": "r"}', 422, "invalid"),
        (b'{"version": 1.5, "reason": "r"}', 422, "invalid"),
        (b'{"version": NaN, "reason": "r"}', 422, "invalid"),
        (b'{"version": -1, "reason": "r"}', 422, "invalid"),
        (b'{"version": 99999999999999999999, "reason": "r"}', 422, "invalid"),
        (b'{"version": 1}', 422, "invalid"),
        (b'{"version": 1, "reason": ""}', 422, "invalid"),
        (b'{"version": 1, "reason": "a\\u0000b"}', 422, "invalid"),
        (b'{"version": 1, "reason": "\\ud800"}', 422, "invalid"),
        (b'{"version": 1, "reason": "r", "forse": true}', 422, "invalid"),
        (b"\xff\xfe\x00", 400, "not-json"),
        (b'{"version": 1, "reason": "' + b"x" * 3000 + b'"}', 422, "invalid"),
        (b"[" * 100_000, 400, "not-json"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_problem_and_the_server_goes_on(client, body, status, code):
    headers = {"content-type": "application/json"}

    told = problem(client.post("/api/v1/models/clicks/promote", content=body, headers=headers), status, code)

    assert told["hint"]
    assert client.get("/api/v1/models/clicks").json()["champion"] == 2


def test_fifty_megabytes_are_refused_before_they_are_read(empty):
    client, read = client_of(empty), []

    def stream():
        for _ in range(50):
            read.append(1)
            yield b"x" * 2**20

    told = client.post("/api/v1/events", content=b"x", headers=STRUCTURED | {"content-length": str(50 * 2**20)})
    counted = client.post("/api/v1/events", content=stream(), headers=STRUCTURED)

    problem(told, 413, "too-large")
    problem(counted, 413, "too-large")
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "not-found"),
        ("GET", "/api/v1/loops/%00", 404, "not-found"),
        ("GET", "/api/v1/loops/%ff%fe", 404, "not-found"),
        ("GET", "/api/v1/cycles?after=%00", 422, "invalid"),
        ("GET", "/api/v1/facts?after=-2", 422, "invalid"),
        ("GET", "/api/v1/facts?after=1e99", 422, "invalid"),
        ("GET", "/api/v1/facts?limit=0", 422, "invalid"),
        ("GET", "/api/v1/models/clicks/versions/99999999999999999999/why", 422, "invalid"),
        ("DELETE", "/api/v1/loops", 405, "method-not-allowed"),
        ("GET", "/api/v1/loops/" + "x" * 3000, 422, "invalid"),
    ],
)
def test_an_address_that_names_nothing_is_a_problem(any_client, method, path, status, code):
    problem(any_client.request(method, path), status, code)


def test_what_was_not_foreseen_is_a_problem_too_and_the_server_goes_on(turned, monkeypatch):
    from starlette.testclient import TestClient

    from noria.server.control.app import make_app

    client = TestClient(make_app(turned), base_url="http://localhost", raise_server_exceptions=False)
    monkeypatch.setattr(turned.loops, "all", lambda _context: 1 / 0)

    told = problem(client.get("/api/v1/loops"), 500, "noria")

    assert "division" not in json.dumps(told)
    assert client.get("/healthz").status_code == 200


def test_the_control_app_loads_no_model_and_none_of_what_would():
    import subprocess

    code = "import sys, noria.server.control.command; print([m for m in ('sklearn', 'scipy', 'onnxruntime', 'alembic') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert answer.stdout.strip() == "[]"


def test_the_clock_of_the_platform_is_the_one_that_dates_what_is_done(turned, client):
    turned.clock.advance_to(turned.clock.now() + DAY)
    client.post("/api/v1/models/clicks/promote", json={"version": 1, "reason": "as a drill"})

    assert turned.registry.moves(turned.context, "clicks")[-1].at == turned.clock.now()
    assert turned.loops.cycles(turned.context)[0].outcome is Outcome.PROMOTED
