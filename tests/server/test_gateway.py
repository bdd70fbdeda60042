"""Laws of the gateway in one process: what is answered, what is refused and how, and that routes are followed."""

import asyncio
import json
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import polars as pl
import pytest
from serving_home import CLICKS, route

from noria.boot import open_home
from noria.core.clock import MachineStopwatch
from noria.core.errors import Unavailable
from noria.server.gateway.app import Gateway
from noria.server.gateway.table import Table
from noria.serving.model import Variant


class HandStopwatch:
    """A stopwatch that goes on only when told."""

    def __init__(self):
        self.seconds = 0.0

    def wall(self):
        return self.seconds


class Door:
    """A gateway and a client of it, without a socket between them."""

    def __init__(self, home, *, stopwatch=None):
        self.table = Table(home, stopwatch=stopwatch or MachineStopwatch())
        self.app = Gateway(home, self.table, stopwatch=MachineStopwatch())
        self.table.look()

    def send(self, method, path, **options):
        async def work():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://gateway") as client:
                return await client.request(method, path, **options)

        return asyncio.run(work())

    def ask(self, body):
        return self.send("POST", "/endpoints/clicks/predict", json=body)


@pytest.fixture
def door(home):
    route(home, (1, 1.0))
    made = Door(home)
    yield made
    made.table.close()


def outcomes(home):
    now = home.clock.now()
    window = {"since": now - timedelta(hours=1), "until": now + timedelta(hours=1), "as_of": now + timedelta(hours=1)}
    return home.endpoints.outcomes(home.context, "clicks", **window)


def test_a_row_is_answered_with_score_version_prediction_and_epoch(door, home):
    answer = door.ask({"row": {"id": "c1", "x": 2.0, "y": 0.5}})

    assert answer.status_code == 200
    told = answer.json()
    assert told == {"prediction": told["prediction"], "version": 1, "score": pytest.approx(1.02), "epoch": 1}
    (logged,) = outcomes(home).to_dicts()
    assert logged["prediction"] == told["prediction"]
    assert (logged["key"], logged["missing"], logged["error"]) == ("c1", 0, None)


def test_rows_are_answered_in_their_order_by_the_versions_of_their_keys(door, home):
    route(home, (2, 0.5), (1, 0.5))
    door.table.look()
    rows = [{"x": float(number), "y": 0.0} for number in range(40)]

    told = door.ask({"rows": rows, "keys": list(range(40))}).json()

    answers = told["answers"]
    assert told["epoch"] == 2
    assert {answer["version"] for answer in answers} == {1, 2}
    for number, answer in enumerate(answers):
        assert answer["score"] == pytest.approx(answer["version"] + number / 100, abs=1e-4)
    again = door.ask({"rows": rows, "keys": list(range(40))}).json()["answers"]
    assert [answer["version"] for answer in again] == [answer["version"] for answer in answers]


def test_a_version_with_code_of_its_own_answers_from_its_process(door, home):
    route(home, (3, 1.0))
    door.table.look()

    told = door.ask({"row": {"x": 1, "y": None}}).json()

    assert (told["version"], told["score"]) == (3, pytest.approx(3.01))
    assert outcomes(home)["missing"].to_list() == [1]


def test_shadows_see_what_was_answered_and_never_answer(door, home):
    route(home, (1, 1.0), shadows=(2, 3))
    door.table.look()

    told = door.ask({"row": {"x": 0.0, "y": 0.0}}).json()
    while outcomes(home).height < 3:
        time.sleep(0.01)

    found = outcomes(home).sort("version")
    assert told["version"] == 1
    assert found["is_shadow"].to_list() == [False, True, True]
    assert found["score"].to_list() == pytest.approx([1.0, 2.0, 3.0])
    assert found["request"].n_unique() == 1


BAD = [
    ("a wrong column", {"row": {"x": 1.0, "yy": 2.0}}, 422, "bad-data", "row 0 has an unknown column 'yy'", "known: y"),
    (
        "a wrong type",
        {"row": {"x": "hot", "y": 1.0}},
        422,
        "bad-data",
        "column 'x' of row 0: 'hot' is not of its kind: numbers",
        "",
    ),
    ("a nested value", {"row": {"x": [1], "y": 1.0}}, 422, "bad-data", "the body is not what this route takes", ""),
    ("no rows", {"rows": []}, 422, "bad-data", "there are no rows", "at least one row"),
    ("an empty row", {"row": {}}, 422, "bad-data", "one is empty", ""),
    ("nothing", {}, 422, "bad-data", "neither one row nor rows", ""),
    ("an unknown field", {"row": {"x": 1.0, "y": 1.0}, "shadow": True}, 422, "bad-data", "unknown field", ""),
    ("too few keys", {"rows": [{"x": 1.0, "y": 1.0}], "keys": []}, 422, "bad-data", "1 rows came with 0 keys", ""),
    ("NaN", b'{"row": {"x": NaN, "y": 1.0}}', 400, "not-json", "the body is no JSON", "null for a missing value"),
    ("no JSON", b"x=1&y=2", 400, "not-json", "the body is no JSON", ""),
    ("no body", b"", 400, "not-json", "the body is no JSON", ""),
    ("no UTF-8", b'{"row": {"x": "\xff\xfe"}}', 400, "not-json", "the body is no JSON", ""),
]


@pytest.mark.parametrize(("what", "body", "status", "code", "detail", "hint"), BAD, ids=[case[0] for case in BAD])
def test_bad_input_is_a_problem_with_code_and_hint_and_the_gateway_goes_on(
    door, what, body, status, code, detail, hint
):
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()

    answer = door.send("POST", "/endpoints/clicks/predict", content=payload)

    told = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (told["status"], told["code"], told["type"]) == (status, code, f"https://noria.dev/errors/{code}")
    assert detail in told["detail"]
    assert told["hint"]
    assert hint in told["hint"]
    assert door.ask({"row": {"x": 1.0, "y": 1.0}}).status_code == 200


def test_an_endpoint_or_route_that_is_not_there_is_said_with_the_nearest(door):
    wrong_endpoint = door.send("POST", "/endpoints/click/predict", json={"row": {"x": 1}})
    wrong_route = door.send("GET", "/health")
    wrong_method = door.send("GET", "/feedback")

    assert (wrong_endpoint.status_code, wrong_endpoint.json()["hint"]) == (404, "did you mean 'clicks'?")
    assert (wrong_route.status_code, wrong_route.json()["hint"]) == (404, "did you mean '/healthz'?")
    assert (wrong_method.status_code, wrong_method.json()["code"]) == (405, "method-not-allowed")


def test_a_body_that_is_too_large_is_refused_before_it_is_read(door):
    async def work():
        sent = []

        async def receive():
            raise AssertionError("the body was read")

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/feedback", "headers": [(b"content-length", b"50000000")]}
        await door.app(scope, receive, send)
        return sent

    start, body = asyncio.run(work())

    assert start["status"] == 413
    assert (b"connection", b"close") in start["headers"]
    assert json.loads(body["body"])["code"] == "too-large"


def test_a_body_without_a_length_is_refused_as_soon_as_it_is_too_large(door):
    async def endless():
        for _ in range(10**6):
            yield b" " * 2**20

    answer = door.send("POST", "/feedback", content=endless())

    assert answer.status_code == 413


def test_columns_that_lack_or_are_null_are_counted_and_no_score_is_said_to_be_none(door, home):
    answer = door.ask({"row": {"x": None, "id": "c1"}})

    assert (answer.status_code, answer.json()["score"]) == (200, None)
    (logged,) = outcomes(home).to_dicts()
    assert (logged["missing"], logged["score"], logged["error"]) == (2, None, "the score is not a number")


def test_an_endpoint_without_a_version_is_unavailable_with_a_hint(door, home):
    route(home)
    door.table.look()

    answer = door.ask({"row": {"x": 1.0, "y": 1.0}})

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "noria promote clicks@N" in answer.json()["hint"]


def test_feedback_comes_late_by_prediction_or_by_key_and_is_acknowledged_when_it_is_safe(door, home):
    first = door.ask({"row": {"id": "c1", "x": 1.0, "y": 1.0}}).json()["prediction"]
    door.ask({"row": {"id": "c2", "x": 1.0, "y": 1.0}})

    one = door.send("POST", "/feedback", json={"prediction": first, "label": True})
    many = door.send("POST", "/feedback", json={"feedback": [{"endpoint": "clicks", "key": "c2", "label": 0}]})

    assert (one.json(), many.json()) == ({"accepted": 1}, {"accepted": 1})
    found = outcomes(home)
    assert dict(zip(found["key"], found["label"], strict=True)) == {"c1": 1.0, "c2": 0.0}


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"prediction": "clicks.0.0", "label": True}, 404, "no prediction named 'clicks.0.0'"),
        ({"endpoint": "click", "key": "c1", "label": True}, 404, "no endpoint named 'click'"),
        ({"key": "c1", "label": True}, 422, "names neither a prediction nor a row"),
        ({"prediction": "clicks.0.0"}, 422, "has no label"),
        ({"feedback": []}, 422, "there is no feedback"),
        ({"feedback": [{"prediction": "clicks.0.0"}]}, 422, "missing required field `label`"),
    ],
)
def test_feedback_that_cannot_be_meant_is_refused_and_nothing_of_it_is_kept(door, home, body, status, detail):
    answer = door.send("POST", "/feedback", json=body)

    assert (answer.status_code, detail in answer.json()["detail"]) == (status, True)
    assert list(home.log.folder_of("default", "clicks").glob("feedback*")) == []


def test_a_version_that_cannot_be_loaded_never_gets_traffic_and_health_says_why(door, home):
    servable = home.endpoints.servable(home.context, "clicks", 2)
    version = home.registry.version(home.context, "clicks", 2)
    for blob in (servable.blob, version.artifact.blob):
        next((Path(home.settings.home) / "blobs").rglob(blob)).unlink()
    route(home, (2, 1.0))

    door.table.look()

    assert door.ask({"row": {"x": 1.0, "y": 1.0}}).json()["version"] == 1
    health = door.send("GET", "/healthz").json()
    assert health["status"] == "degraded"
    assert "epoch 2: no blob named" in health["failures"]["clicks"]
    route(home, (1, 1.0))
    door.table.look()
    assert door.send("GET", "/healthz").json()["status"] == "ok"


def test_a_gateway_that_does_not_reach_the_database_says_so_and_refuses_only_if_told_to(home, monkeypatch):
    route(home, (1, 1.0))
    stopwatch = HandStopwatch()
    door = Door(home, stopwatch=stopwatch)
    row = {"row": {"x": 1.0, "y": 1.0}}
    assert "noria-route-age" not in door.ask(row).headers

    stopwatch.seconds = 37.0

    answer = door.ask(row)
    assert (answer.status_code, answer.headers["noria-route-age"]) == (200, "37")
    health = door.send("GET", "/healthz")
    assert (health.status_code, health.json()["status"]) == (200, "stale")
    object.__setattr__(home, "settings", replace(home.settings, refuse_when_stale=True))
    strict = Gateway(home, door.table, stopwatch=MachineStopwatch())
    door.app = strict
    refused = door.ask(row)
    assert (refused.status_code, refused.json()["code"]) == (503, "stale-route")
    assert door.send("GET", "/healthz").status_code == 503
    door.table.close()


def test_the_routes_are_followed_by_a_thread_of_their_own(home):
    route(home, (1, 1.0))
    table = Table(home, stopwatch=MachineStopwatch())
    table.start()
    try:
        route(home, (2, 1.0))
        while [found.epoch for found in table.routes()] != [2]:
            time.sleep(0.01)
    finally:
        table.close()


def test_a_request_that_was_begun_ends_with_the_version_it_was_given(door, home):
    route(home, (3, 1.0))
    door.table.look()
    with door.table.entered("clicks") as live:
        scorer = live.versions[3].scorer
        route(home, (1, 1.0))
        door.table.look()
        assert scorer.submit([{"x": 1.0, "y": 0.0}]).result() == pytest.approx([3.01])

    while scorer.process is not None and not scorer._closed:
        time.sleep(0.01)
    with pytest.raises(Unavailable):
        scorer.submit([{"x": 1.0}])


def test_metrics_are_what_prometheus_reads(door):
    door.ask({"row": {"x": 1.0, "y": 1.0}})
    door.send("POST", "/feedback", content=b"{")

    text = door.send("GET", "/metrics").text

    assert 'noria_predictions_total{endpoint="clicks",version="1",role="live"} 1' in text
    assert 'noria_requests_total{route="feedback",status="400"} 1' in text
    assert 'noria_request_seconds_bucket{le="+Inf"} 1' in text
    assert text.endswith("\n")


def test_the_row_is_logged_as_it_was_sent_with_its_time(door, home):
    door.ask({"row": {"id": "c9", "x": 1.0, "y": 1.0, "site": "north"}})

    (file,) = home.log.folder_of("default", "clicks").glob("predictions*")
    logged = json.loads(file.read_text())
    assert logged["row"].keys() == {"id", "x", "y", "site", "at"}
    assert pl.Series([logged["time"]]).str.to_datetime(time_zone="UTC").len() == 1
    assert CLICKS.time in logged["row"]


def test_two_gateways_of_one_home_answer_alike_and_keep_logs_of_their_own(door, home, tmp_path):
    with open_home(tmp_path / "home") as other:
        second = Door(other)
        row = {"row": {"id": "c1", "x": 1.0, "y": 1.0}}
        one, two = door.ask(row).json(), second.ask(row).json()
        assert second.send("POST", "/feedback", json={"prediction": one["prediction"], "label": 1}).status_code == 200
        second.table.close()

    assert (one["score"], one["version"]) == (two["score"], two["version"])
    assert one["prediction"] != two["prediction"]
    assert outcomes(home)["label"].to_list() == [1.0, None]  # the label is of the prediction that it names


def test_an_endpoint_does_not_wait_for_another_ones_slow_version(home, monkeypatch):
    route(home, (1, 1.0))
    home.endpoints.create(home.context, "others", model="clicks", dataset="clicks")
    door, held, may_go = Door(home), threading.Event(), threading.Event()
    real = home.runtime.open

    def slow(version, servable, *, inputs):
        if version.number == 3:
            held.set()
            may_go.wait()
        return real(version, servable, inputs=inputs)

    monkeypatch.setattr(home.runtime, "open", slow)
    one = [Variant(version=3, weight=1.0)]
    home.endpoints.set_route(home.context, "others", expected_epoch=0, variants=one, reason="slow")
    door.table._notice()
    held.wait()
    route(home, (2, 1.0))
    door.table._notice()
    while door.ask({"row": {"x": 1.0, "y": 1.0}}).json()["version"] != 2:
        time.sleep(0.01)

    assert [found.epoch for found in door.table.routes() if found.endpoint == "others"] == [0]
    may_go.set()
    door.table.close()
