"""Laws of retiring and removing over the API, and of what a gateway answers for what is gone."""

import pytest
from serving_home import route
from test_gateway import Door

from noria.loop.removal_model import Kind, Thing

THINGS = {"loop": "loops", "endpoint": "endpoints", "model": "models", "dataset": "datasets"}


def post(client, verb, kind, **more):
    body = {"kind": kind, "name": "clicks", "reason": "a trial"} | more
    return client.post(f"/api/v1/{verb}", json=body)


def names(client, kind, **query):
    items = client.get(f"/api/v1/{THINGS[kind]}", params=query).json()["items"]
    return [item.get("name") or item["endpoint"] for item in items]


def test_what_is_retired_is_left_out_of_the_lists_but_for_who_asks_for_it(client):
    for kind in THINGS:
        assert post(client, "retire", kind).json() == {"words": f"{kind} clicks is retired"}

    assert [names(client, kind) for kind in THINGS] == [[], [], [], []]
    assert [names(client, kind, retired=True) for kind in THINGS] == [["clicks"]] * 4
    listed = client.get("/api/v1/retired").json()["items"]
    assert [(each["thing"]["kind"], each["reason"]) for each in listed] == [
        (kind, "a trial") for kind in sorted(THINGS)
    ]
    for kind in THINGS:
        assert post(client, "restore", kind).json() == {"words": f"{kind} clicks is shown again"}
    assert [names(client, kind) for kind in THINGS] == [["clicks"]] * 4
    assert client.get("/api/v1/retired").json()["items"] == []


def test_a_loop_that_is_retired_is_gone_for_who_resumes_it(client):
    post(client, "retire", "loop")

    answer = client.post("/api/v1/loops/clicks/resume", json={})

    assert (answer.status_code, answer.json()["code"]) == (410, "retired")
    assert answer.json()["hint"] == "noria restore loop clicks"


@pytest.mark.parametrize("verb", ["retire", "restore", "remove"])
def test_what_is_not_there_not_retired_or_needed_is_refused_in_words(client, verb):
    wrong = [
        client.post(f"/api/v1/{verb}", json={"kind": "loop", "name": "clocks", "reason": "a trial"}),
        client.post(f"/api/v1/{verb}", json={"kind": "fact", "name": "clicks", "reason": "a trial"}),
        client.post(f"/api/v1/{verb}", json={"kind": "loop", "name": "clicks"}),
        post(client, verb, "dataset", **({"dry_run": False} if verb == "remove" else {})),
    ]

    assert [answer.status_code for answer in wrong] == [404, 422, 422, 409]
    assert wrong[0].json()["hint"] == "did you mean 'clicks'?"


def test_a_removal_is_a_dry_run_unless_told_otherwise(client):
    dry = post(client, "remove", "loop").json()
    there = names(client, "loop")
    done = post(client, "remove", "loop", dry_run=False).json()

    assert (dry["dry_run"], there, done["dry_run"]) == (True, ["clicks"], False)
    assert dry["rows"] == done["rows"]
    assert done["rows"]["loops"] == 1
    assert names(client, "loop", retired=True) == []
    assert post(client, "remove", "loop", dry_run=False).json()["rows"] == {}


def test_a_dry_run_names_what_needs_the_thing_and_with_users_takes_it_along(client):
    dry = post(client, "remove", "dataset").json()
    done = post(client, "remove", "dataset", with_users=True, dry_run=False)

    assert [user["kind"] for user in dry["used_by"]] == ["loop", "model", "endpoint"]
    assert done.status_code == 200
    assert [names(client, kind, retired=True) for kind in THINGS] == [[], [], [], []]


# --- the gateway

ENDPOINT = Thing(kind=Kind.ENDPOINT, name="clicks")


@pytest.fixture
def door(home):
    route(home, (1, 1.0))
    made = Door(home)
    yield made
    made.table.close()


def tell(door, **told):
    return door.send("POST", "/feedback", json=told | {"label": True})


def test_a_retired_endpoint_is_gone_until_it_is_restored_also_for_a_gateway_that_starts_then(home, door):
    answered = door.ask({"rows": [{"x": 1.0, "y": 2.0}]}).json()["answers"][0]
    home.removals.retire(home.context, ENDPOINT, reason="a trial")
    door.table.look()
    late = Door(home)
    refused = [each.ask({"rows": [{"x": 1.0, "y": 2.0}]}) for each in (door, late)]
    refused += [tell(door, prediction=answered["prediction"]), tell(door, endpoint="clicks", key="7")]
    late.table.close()
    home.removals.restore(home.context, ENDPOINT, reason="it was good")
    door.table.look()

    assert [answer.status_code for answer in refused] == [410] * 4
    assert {(answer.json()["code"], answer.json()["detail"]) for answer in refused} == {
        ("retired", "endpoint 'clicks' is retired")
    }
    assert refused[0].json()["hint"] == "noria restore endpoint clicks"
    assert door.ask({"rows": [{"x": 1.0, "y": 2.0}]}).status_code == 200
    assert tell(door, prediction=answered["prediction"]).status_code == 200


def test_a_removed_endpoint_is_answered_no_more_and_its_log_is_gone(home, door):
    door.ask({"rows": [{"x": 1.0, "y": 2.0}]})
    found = home.removals.remove(home.context, ENDPOINT, reason="a trial")
    door.table.look()

    answer = door.ask({"rows": [{"x": 1.0, "y": 2.0}]})

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert found.rows["logged_predictions"] == 1
    assert not home.log.folder_of(home.context.project, "clicks").exists()
    assert door.table.scorers() == []
