"""Laws of what strangers send to the gateway: it is answered or refused in words, never a failure, and nothing grows."""

import json
import random

import pytest
from serving_home import route
from test_gateway import Door

from noria.core.errors import NotStored

SEED = 20_260_131
ATOMS = [
    "0", "-0.0", "1e308", "1e309", "-1e400", "1e-400", "9" * 25, "-" + "9" * 40, "18446744073709551616", "9" * 300,
    "1." + "3" * 400, "true", "false", "null", '"x"', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '""', "NaN",
    "Infinity", '"' + "y" * 5_000 + '"', "[]", "{}", "[" * 500 + "]" * 500, '"0001-01-01T00:00:00+23:59"',
    '"9999-12-31T23:59:59-23:59"', '"2026-02-30T00:00:00Z"', '"2026-01-01"', '"nan"', "-9223372036854775809", "01",
]  # fmt: skip
NAMES = ["x", "y", "id", "at", "note", "bought", "", "a\\u0000", "__proto__", "x" * 400, "é", "row", "key"]


@pytest.fixture
def door(home):
    route(home, (1, 1.0))
    made = Door(home)
    yield made
    made.table.close()


def a_body(chance):
    """Return a body of a predict or feedback request with odd values in odd places, sometimes cut short or torn."""

    def atom():
        return chance.choice(ATOMS)

    def row():
        pairs = [("x", "1.0"), ("y", "0.5")] + [(chance.choice(NAMES), atom()) for _ in range(chance.randrange(4))]
        return "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"

    shape = chance.randrange(6)
    if shape < 3:
        body = f'{{"row":{row()}' + (f',"key":{atom()}' if chance.random() < 0.5 else "") + "}"
    elif shape == 3:
        body = f'{{"rows":[{row()},{row()}],"keys":[{atom()},{atom()}]}}'
    elif shape == 4:
        body = f'{{"endpoint":"clicks","key":{atom()},"label":{atom()}}}'
    else:
        body = (
            f'{{"feedback":[{{"prediction":{atom()},"label":{atom()}}},{{"endpoint":{atom()},"key":"k","label":1}}]}}'
        )
    payload = body.encode("utf-8", "surrogatepass")
    if chance.random() < 0.1:
        payload = payload[: chance.randrange(len(payload))]
    if chance.random() < 0.1:
        place = chance.randrange(len(payload) + 1)
        payload = payload[:place] + bytes([chance.randrange(256)]) + payload[place:]
    return payload


def test_whatever_is_sent_is_answered_or_refused_in_words_and_the_next_is_answered(door):
    chance = random.Random(SEED)
    seen = set()

    for number in range(400):
        path = chance.choice(["/endpoints/clicks/predict", "/feedback"])
        body = a_body(chance)
        answer = door.send("POST", path, content=body)
        seen.add(answer.status_code)
        assert answer.status_code < 500, (number, path, body, answer.text)
        if answer.status_code != 200:
            assert answer.json()["detail"], (number, path, body)

    assert {200, 400, 422} <= seen
    assert door.ask({"row": {"x": 1.0, "y": 1.0}}).status_code == 200


def test_what_strangers_ask_for_is_one_label_of_the_metrics(door):
    before = door.send("GET", "/metrics").text.count("\n")
    chance = random.Random(SEED)

    for _ in range(300):
        name = f"{chance.getrandbits(40):x}"
        path = chance.choice([f"/{name}", f"/{name}/predict", f"/endpoints/{name}", f"/endpoints/{name}/predict"])
        door.send(chance.choice(["GET", "POST", "OPTIONS", "PATCH"]), path, content=b'{"row":{"x":1}}')
        told = {"label": 1, "key": "k", "endpoint": name}
        door.send("POST", "/feedback", json=told)

    after = door.send("GET", "/metrics").text
    assert after.count("\n") < before + 12
    assert 'noria_requests_total{route="other",status="404"}' in after


@pytest.mark.parametrize("where", ["row", "key", "column", "label", "told key", "endpoint"])
def test_the_letter_nul_is_refused_with_where_it_stands(door, where):
    bodies = {
        "row": {"row": {"x": 1.0, "y": 1.0, "id": "a\0"}},
        "key": {"rows": [{"x": 1.0, "y": 1.0}] * 2, "keys": ["a", "a\0"]},
        "column": {"row": {"x": 1.0, "y": 1.0, "a\0": 1}},
        "label": {"label": "a\0", "endpoint": "clicks", "key": "k"},
        "told key": {"feedback": [{"label": 1, "endpoint": "clicks", "key": "a\0"}]},
        "endpoint": {"label": 1, "endpoint": "a\0", "key": "k"},
    }
    path = "/endpoints/clicks/predict" if where in ("row", "key", "column") else "/feedback"

    answer = door.send("POST", path, content=json.dumps(bodies[where]))

    assert (answer.status_code, answer.json()["code"]) == (422, "bad-data")
    assert "NUL" in answer.json()["detail"]


def test_a_backslash_before_u0000_is_text(door):
    assert (
        door.send("POST", "/endpoints/clicks/predict", content=b'{"row":{"x":1,"y":1,"id":"\\\\u0000"}}').status_code
        == 200
    )


def test_a_key_that_no_dataset_takes_is_refused(door):
    long = "k" * 1_001

    assert door.ask({"row": {"x": 1.0, "y": 1.0, "id": long}}).status_code == 422
    assert door.ask({"row": {"x": 1.0, "y": 1.0}, "key": long}).status_code == 422
    assert door.send("POST", "/feedback", json={"endpoint": "clicks", "key": long, "label": 1}).status_code == 422


def refusing(*_):
    raise NotStored("the log could not be written: no space", hint="make room")


def test_what_cannot_be_logged_is_refused_health_says_so_and_all_is_well_when_there_is_room(door, home, monkeypatch):
    row = {"row": {"x": 1.0, "y": 1.0}}
    with monkeypatch.context() as full:
        full.setattr("noria.serving.segments.SegmentWriter.append", refusing)
        full.setattr("noria.serving.segments.SegmentWriter.append_synced", refusing)
        refused = door.ask(row)
        told = door.send("POST", "/feedback", json={"endpoint": "clicks", "key": "c1", "label": 1})
        health = door.send("GET", "/healthz")
        metrics = door.send("GET", "/metrics").text

    assert (refused.status_code, refused.json()["code"], told.status_code) == (507, "not-stored", 507)
    assert (health.status_code, health.json()["status"]) == (503, "degraded")
    assert "no space" in health.json()["log"]
    assert "noria_log_up 0.000" in metrics
    assert 'noria_log_errors_total{endpoint="clicks"} 1' in metrics
    assert door.ask(row).status_code == 200
    assert door.send("GET", "/healthz").json()["status"] == "ok"


def test_answers_that_may_be_given_unlogged_say_so(door, monkeypatch):
    monkeypatch.setattr(door.app._answers, "_answers_unlogged", True)
    monkeypatch.setattr("noria.serving.segments.SegmentWriter.append", refusing)

    one = door.ask({"row": {"x": 1.0, "y": 1.0}})
    many = door.ask({"rows": [{"x": 1.0, "y": 1.0}]})

    assert (one.status_code, one.json()["logged"]) == (200, False)
    assert (many.status_code, many.json()["logged"]) == (200, False)


class Hung:
    """A scorer that never answers."""

    trouble, deaths = "it hangs", 3

    def submit(self, _rows):
        from concurrent.futures import Future

        return Future()

    def close(self):
        pass


def test_a_version_that_never_answers_costs_a_504_and_health_knows(door, monkeypatch):
    monkeypatch.setattr(door.app._answers, "_patience", 0.05)
    monkeypatch.setattr(door.table._live["clicks"].versions[1], "scorer", Hung())

    answer = door.ask({"row": {"x": 1.0, "y": 1.0}})

    assert (answer.status_code, answer.json()["code"]) == (504, "timed-out")
    assert door.send("GET", "/healthz").json()["troubles"] == {"clicks": "it hangs"}
    metrics = door.send("GET", "/metrics").text
    assert 'noria_timeouts_total{endpoint="clicks",version="1"} 1' in metrics
    assert 'noria_scorer_deaths_total{endpoint="clicks",version="1"} 3' in metrics
    assert 'noria_scorer_up{endpoint="clicks",version="1"} 0' in metrics
