"""Laws of runs over HTTP: they are listed a page at a time, and one tells its params, metrics and attempts."""

import math

import pytest
from builders import client_of

import noria as nr
from noria.access.model import Role
from noria.core.context import Actor


@nr.step(retries=1, backoff_seconds=0)
def fit(password: nr.Secret, depth: int) -> int:
    revealed = password.reveal()
    nr.log_param("address", f"app:{revealed}@db")
    nr.log_metric("loss", 0.5)
    nr.log_metric("loss", math.nan)
    if depth < 0:
        raise ValueError(f"no depth of {depth} with {revealed}")
    return depth


@nr.pipeline
def train(password: nr.Secret, depth: int = 1):
    return fit(password, depth)


@nr.pipeline
def other(n: int = 1):
    return n


@pytest.fixture
def home(empty, monkeypatch):
    monkeypatch.setenv("TEST_DB_PASSWORD", "hunter22")
    return empty


@pytest.fixture
def client(home):
    return client_of(home)


def run_all(home):
    """Run three times, of which the last one fails, and return the runs, the newest first."""
    password = nr.secret("env:TEST_DB_PASSWORD")
    ran = [
        home.run(train, params={"password": password, "depth": 3}, key="first"),
        home.run(other),
        home.run(train, params={"password": password, "depth": -1}),
    ]
    return ran[::-1]


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [run["id"] for run in answer.json()["items"]]


def refused(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    return answer.json()


def test_runs_are_listed_newest_first_and_by_pipeline_and_state(home, client):
    bad, plain, good = (run.id for run in run_all(home))

    assert ids(client.get("/api/v1/runs")) == [bad, plain, good]
    assert ids(client.get("/api/v1/runs", params={"pipeline": "train"})) == [bad, good]
    assert ids(client.get("/api/v1/runs", params={"pipeline": "train", "state": "succeeded"})) == [good]
    assert ids(client.get("/api/v1/runs", params={"pipeline": "none"})) == []
    assert ids(client.get("/api/v1/runs", params={"state": "queued"})) == []
    refused(client.get("/api/v1/runs", params={"state": "splendid"}), 422, "invalid")


def test_runs_are_read_a_page_at_a_time(home, client):
    wanted = [run.id for run in run_all(home)]
    read, after = [], None
    while True:
        asked = {"limit": 2} | ({} if after is None else {"after": after})
        page = client.get("/api/v1/runs", params=asked)
        read += ids(page)
        after = page.json()["next"]
        if after is None:
            break

    assert read == wanted
    refused(client.get("/api/v1/runs", params={"after": "run_none"}), 404, "not-found")
    refused(client.get("/api/v1/runs", params={"limit": 0}), 422, "invalid")


def test_a_run_that_nobody_holds_is_interrupted_in_the_list_by_its_filter_and_by_itself(home, client):
    newest, *_ = wanted = [run.id for run in run_all(home)]
    with home.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET state = 'running'")
    first = client.get("/api/v1/runs", params={"state": "interrupted", "limit": 2})
    rest = client.get("/api/v1/runs", params={"state": "interrupted", "limit": 2, "after": first.json()["next"]})

    assert ids(first) + ids(rest) == wanted
    assert ids(client.get("/api/v1/runs", params={"state": "running"})) == []
    assert {run["state"] for run in client.get("/api/v1/runs").json()["items"]} == {"interrupted"}
    assert client.get(f"/api/v1/runs/{newest}").json()["state"] == "interrupted"


def test_a_run_tells_its_params_metrics_and_attempts_and_no_secret(home, client):
    bad, _, good = run_all(home)
    answer = client.get(f"/api/v1/runs/{good.id}")
    told = answer.json()

    assert (told["state"], told["pipeline"], told["key"], told["error"]) == ("succeeded", "train", "first", None)
    assert [(param["name"], param["step"], param["words"]) for param in told["params"]] == [
        ("depth", "", "3"),
        ("password", "", "nr.secret('env:TEST_DB_PASSWORD')"),
        ("address", "fit", "'app:***@db'"),
    ]
    assert [(each["name"], each["step"], each["position"], each["value"]) for each in told["metrics"]] == [
        ("loss", "fit", 0, 0.5),
        ("loss", "fit", 1, "nan"),
    ]
    assert [(each["step"], each["attempt"], each["state"], each["error"]) for each in told["attempts"]] == [
        ("fit", 1, "succeeded", None)
    ]
    failed = client.get(f"/api/v1/runs/{bad.id}")
    assert failed.json()["error"] == "step 'fit' raised ValueError: no depth of -1 with ***"
    assert [(each["attempt"], each["error"]) for each in failed.json()["attempts"]] == [
        (1, "ValueError: no depth of -1 with ***"),
        (2, "ValueError: no depth of -1 with ***"),
    ]
    assert "hunter22" not in answer.text + failed.text


def test_a_run_that_there_is_not_is_not_found(client):
    refused(client.get("/api/v1/runs/run_none"), 404, "not-found")


def test_runs_are_read_by_whoever_may_and_by_nobody_else(home, client):
    newest, *_ = run_all(home)
    as_eve = {"noria-actor": "eve"}
    for path in ("runs", f"runs/{newest.id}"):
        refused(client.get(f"/api/v1/{path}", headers=as_eve), 403, "denied")

    home.access.grant(home.context, Actor(name="eve"), Role.VIEWER)

    assert client.get(f"/api/v1/runs/{newest.id}", headers=as_eve).status_code == 200
