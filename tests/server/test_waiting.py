"""Laws of what waits for a person: rollouts, reviews, held rows, signals and stumbles, over HTTP and on the first page."""

import pytest
from builders import DAY, a_loop, client_of, turn
from test_control import problem
from test_first_pages import page_of

import noria as nr
from noria.access.model import Role
from noria.core.context import Actor
from noria.datasets.model import FragmentKind, Hold
from noria.guards.model import Action, Finding, Judgement
from noria.loop import queries
from noria.loop.model import CycleState, Stumble
from noria.monitors.model import Signal
from noria.rollouts.spec import Candidate

HOSTILE = "<script>alert(1)</script>"


def let_in(home, version, *, reason="the gate passed"):
    canary = nr.Canary(shadow="1d", stages=(0.25, 1.0))
    wanted = Candidate(endpoint="clicks", model="clicks", version=version, champion=2, canary=canary, reason=reason)
    return home.rollouts.begin(home.context, wanted)


def hold(home, count):
    rows = home.read("clicks").head(count)
    holds = tuple(
        Hold(kind=FragmentKind.LABELS, key=key, time=at, through=99)
        for key, at in zip(rows["id"].to_list(), rows["at"].to_list(), strict=True)
    )
    found = Finding(guard="poisoning", action=Action.QUARANTINE, words="labels flipped", source="shop", holds=holds)
    judged = Judgement(findings=(found,))
    home.database.write(lambda c: home.guards.quarantine_in(c, home.context, "clicks", judged, cycle="clicks/2"))


def stumble(home, *, error="KeyError: 'weather'", retry_at=None):
    now = home.clock.now()
    found = Stumble(
        project=home.context.project, loop="clicks", over="fact_1", what="dataset.committed", tries=5, error=error,
        trace="Traceback", began_at=now, at=now, retry_at=retry_at,
    )  # fmt: skip
    home.database.write(lambda c: queries.put_stumble(c, found))


def wait_for_review(home):
    loop = a_loop("asking", review=nr.Review(within="2d"), model="asked", gate=nr.Gate("log_loss", margin=0.05))
    home.start(loop)
    turn(home, loop)
    return loop


def test_a_rollout_is_shown_with_its_stages_its_looks_and_their_evidence(turned, client):
    begun = let_in(turned, 3)
    turned.clock.advance_to(begun.look_due)
    turned.rollouts.look(turned.context, begun)

    (line,) = client.get("/api/v1/rollouts", params={"state": "open"}).json()["items"]
    whole = client.get(f"/api/v1/rollouts/{begun.id}").json()

    assert (line["candidate"], line["champion"], line["stage"], line["looks"]) == (3, 2, "shadow", 1)
    assert line.items() <= whole.items()
    assert [stage["name"] for stage in whole["stages"]] == ["shadow", "25%"]
    assert [reading["metric"] for reading in whole["look"]["readings"]] == whole["spec"]["abort_on"]
    assert whole["look"]["next"] == "wait"


def test_a_rollout_is_aborted_by_its_id_once_and_its_champion_answers_again(turned, client):
    begun = let_in(turned, 3)

    ended = client.post(f"/api/v1/rollouts/{begun.id}/abort", json={"reason": "customers complain"}).json()

    assert (ended["state"], ended["words"]) == ("aborted", "person:ann took it back: customers complain")
    assert turned.endpoints.route(turned.context, "clicks").shadows == ()
    problem(client.post(f"/api/v1/rollouts/{begun.id}/abort", json={"reason": "again"}), 409, "stale")
    problem(client.post("/api/v1/rollouts/none/abort", json={"reason": "no such"}), 404, "not-found")
    problem(client.post(f"/api/v1/rollouts/{begun.id}/abort", json={}), 422, "invalid")


def test_rollouts_and_signals_come_newest_first_a_page_at_a_time(any_home, any_client):
    for number in range(3):
        any_home.clock.advance_to(any_home.clock.now() + DAY)
        any_home.rollouts.take_back(any_home.context, let_in(any_home, 3).id, reason=str(number))
        signal = Signal(subject="clicks", kind="drift:psi", value=0.1 * number, threshold=0.2, words=str(number))
        any_home.database.write(lambda c, signal=signal: any_home.monitors.raise_in(c, any_home.context, signal))

    for path in ("rollouts", "signals"):
        first = any_client.get(f"/api/v1/{path}", params={"limit": 2}).json()
        rest = any_client.get(f"/api/v1/{path}", params={"limit": 2, "after": first["next"]}).json()

        assert [one["words"][-1] for one in first["items"] + rest["items"]] == ["2", "1", "0"]
        assert rest["next"] is None
        problem(any_client.get(f"/api/v1/{path}", params={"after": "none"}), 404, "not-found")
    assert any_client.get("/api/v1/signals", params={"loop": "other"}).json()["items"] == []


def test_a_review_says_what_is_known_and_a_persons_word_ends_it(turned, client):
    loop = wait_for_review(turned)

    (waiting,) = client.get("/api/v1/reviews").json()["items"]
    answer = client.post("/api/v1/reviews/asking/approve", json={"reason": "looks sound"})
    turn(turned, loop)

    assert (waiting["loop"], waiting["candidate"], waiting["champion"]) == ("asking", 1, None)
    assert "against the base rate's" in waiting["verdict"][0]
    assert answer.json()["words"] == "person:ann approved: looks sound"
    assert client.get("/api/v1/reviews").json()["items"] == []
    assert turned.registry.alias(turned.context, "asked").version is not None
    problem(client.post("/api/v1/reviews/asking/refuse", json={"reason": "too late"}), 409, "conflict")


def test_who_may_not_review_is_told_so(turned, client):
    wait_for_review(turned)
    turned.access.grant(turned.context, Actor(name="vic"), Role.VIEWER)

    answer = client.post("/api/v1/reviews/asking/refuse", json={"reason": "no"}, headers={"noria-actor": "vic"})

    problem(answer, 403, "denied")
    assert turned.loops.open_cycle(turned.context, "asking").state is CycleState.REVIEWING


def test_held_rows_are_listed_by_finding_and_singly_and_paged(any_home, any_client):
    hold(any_home, 5)

    (group,) = any_client.get("/api/v1/quarantine", params={"dataset": "clicks"}).json()["items"]
    seen, asked = [], {"limit": 2}
    for size in (2, 2, 1):
        page = any_client.get("/api/v1/quarantine/clicks", params=asked).json()
        assert len(page["items"]) == size
        seen += [one["key"] for one in page["items"]]
        asked["after"] = page["next"]

    assert (group["count"], group["kind"], group["state"], group["reason"]) == (5, "labels", "held", "labels flipped")
    assert seen == any_home.read("clicks").head(5)["id"].to_list()
    assert asked["after"] is None
    problem(any_client.get("/api/v1/quarantine/none"), 404, "not-found")
    problem(any_client.get("/api/v1/quarantine/clicks", params={"after": "x"}), 422, "invalid")


def test_held_rows_are_released_or_erased_for_good_with_a_reason(turned, client):
    hold(turned, 5)
    first = client.get("/api/v1/quarantine/clicks").json()["items"][0]["key"]
    path = "/api/v1/quarantine/clicks"

    released = client.post(f"{path}/release", json={"key": first, "reason": "they are right"}).json()
    wrong = client.post(f"{path}/erase", json={"source": "shop", "count": 5, "reason": "a bad feed"})
    erased = client.post(f"{path}/erase", json={"source": "shop", "count": 4, "reason": "a bad feed"}).json()

    assert (released["released"], released["which"]) == (1, f"key {first}")
    assert problem(wrong, 409, "conflict")["detail"] == "4 rows and labels are meant, not 5"
    assert (erased["rows"], erased["labels"]) == (0, 4)
    assert client.get(path).json()["items"] == []
    gone = client.get(path, params={"state": "erased"}).json()["items"]
    assert {one["key"] for one in gone} == {erased["commitment"]}
    problem(client.post(f"{path}/release", json={"reason": "once more"}), 404, "not-found")
    problem(client.post(f"{path}/erase", json={"sauce": "shop", "count": 1, "reason": "a typo"}), 422, "invalid")


def test_what_a_loop_stumbled_over_is_shown_and_tried_again(any_home, any_client):
    stumble(any_home, retry_at=any_home.clock.now() + DAY)

    (found,) = any_client.get("/api/v1/stumbles", params={"loop": "clicks"}).json()["items"]
    answer = any_client.post("/api/v1/loops/clicks/retry", json={"reason": "mended"})

    assert (found["what"], found["error"], found["tries"]) == ("dataset.committed", "KeyError: 'weather'", 5)
    assert answer.json()["words"] == "tried again: dataset.committed raised 5 times: KeyError: 'weather'"
    (now,) = any_home.loops.stumbles(any_home.context)
    assert (now.tries, now.retry_at) == (0, any_home.clock.now())
    problem(any_client.post("/api/v1/loops/none/retry", json={"reason": "no such"}), 404, "not-found")


def test_the_first_page_shows_what_waits_and_the_command_that_answers_it(turned):
    wait_for_review(turned)
    let_in(turned, 3, reason=HOSTILE)
    hold(turned, 5)
    stumble(turned, error=HOSTILE)

    page = page_of(client_of(turned))

    for words in (
        "noria review approve asking --reason TEXT",
        "clicks@3",
        "beside clicks@2",
        "0 live answers by the last look",
        "noria rollout abort clicks --reason TEXT",
        "5 labels of clicks",
        "noria quarantine release clicks --cycle clicks/2",
        f"dataset.committed raised 5 times: {HOSTILE}; set aside",
        "noria loop retry clicks",
    ):
        assert words in page.text
    assert "script" not in page.tags
    assert all(page_of(client_of(turned), link) for link in page.links if link.startswith(("/models/", "/cycles/")))


@pytest.mark.parametrize("heading", ["Waits for a person", "On their way in"])
def test_a_page_without_anything_that_waits_does_not_speak_of_it(client, heading):
    assert heading not in page_of(client).text
