"""Laws of the pages: they say where every loop is and why, work without scripts, and show hostile words as words."""

import re
from html.parser import HTMLParser

import pytest
from builders import CLICKS, a_loop, client_of, train

import noria as nr
from noria.loop import queries
from noria.loop.model import Cycle, CycleState, Outcome
from noria.server.control.pages import wheel

HOSTILE = """<script>alert(1)</script>"'&{{7*7}}"""


class Words(HTMLParser):
    """Reads a page as a browser would: its tags, its links, and its words."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.words = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(client, path="/"):
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8"), answer.text
    return Words(answer.text)


def a_cycle(**changes):
    told = {"id": "c", "project": "p", "loop": "l", "number": 1, "reasons": (), "opened_at": None, "snapshot": "s"}
    return Cycle(**told | changes)


def looks(stations):
    return {station.name: station.look for station in stations if station.look != "ahead"}


def test_a_home_without_loops_says_what_to_do(empty):
    assert "noria init" in page_of(client_of(empty)).text


def test_the_first_page_shows_each_loop_its_champion_and_the_last_decisions_with_reasons(client):
    page = page_of(client)

    assert "clicks@2" in page.text
    assert "400 new labels or event 'com.shop.refreshed'" in page.text
    assert "rejected" in page.text
    assert "against the champion's" in page.text
    assert "because 420 new labels since the last cycle, 400 wanted" in page.text


def test_every_link_of_every_page_leads_to_a_page(client):
    seen, to_see = set(), {"/"}
    while to_see:
        path = to_see.pop()
        seen.add(path)
        if path.endswith((".css", ".json")):
            assert client.get(path).status_code == 200
        else:
            to_see |= {link for link in page_of(client, path).links if link not in seen}

    assert any(path.startswith("/cycles/") for path in seen)
    assert "/models/clicks/versions/2" in seen


def test_a_cycles_page_shows_the_verdict_and_the_numbers_behind_it(client):
    newest = client.get("/api/v1/cycles").json()["items"][0]

    page = page_of(client, f"/cycles/{newest['id']}")

    assert "The gate said: failed" in page.text
    assert "log_loss" in page.text
    assert "auc" in page.text


def test_a_versions_page_tells_why_it_exists(client):
    page = page_of(client, "/models/clicks/versions/2")

    assert "champion" in page.text
    assert "trigger" in page.text
    assert "new labels since the last cycle" in page.text


def test_hostile_words_are_shown_as_words(turned):
    turned.start(nr.Loop("odd", dataset=CLICKS, train=train, when=nr.event(type=HOSTILE), model=f"m{HOSTILE}"))
    turned.rollouts.promote(turned.context, "clicks", 1, reason=HOSTILE)
    newest = turned.loops.cycles(turned.context)[-1]
    turned.database.write(
        lambda c: queries.move_cycle(
            c, newest, state=newest.state, words=HOSTILE, verdict={"outcome": HOSTILE, "reasons": [HOSTILE]}
        )
    )
    client = client_of(turned)

    pages = [page_of(client, path) for path in ("/", f"/cycles/{newest.id}", "/models/clicks/versions/1")]

    assert all(HOSTILE in page.text for page in pages)
    assert all("script" not in page.tags for page in pages)


def test_pages_ask_nothing_of_anybody_else_and_run_no_script(client):
    answer = client.get("/")

    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert all(link.startswith("/") for link in page_of(client).links)
    assert "http" not in client.get("/noria.css").text.replace("http-equiv", "")


def test_a_page_that_is_not_there_is_a_problem(client):
    assert client.get("/cycles/none").status_code == 404
    assert client.get("/models/clicks/versions/99").json()["code"] == "not-found"


@pytest.mark.parametrize("state", [state for state in CycleState if state is not CycleState.SETTLED])
def test_every_state_of_a_cycle_has_its_place_on_the_wheel(state):
    shown = looks(wheel.of_loop(a_cycle(state=state), champion=1))

    assert list(shown.values()).count("here") == 1


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_says_how_far_the_cycle_came(outcome):
    shown = list(looks(wheel.of_cycle(a_cycle(state=CycleState.SETTLED, outcome=outcome))).values())

    assert shown[-1] == ("here" if outcome is Outcome.PROMOTED else "stopped")
    assert set(shown[:-1]) <= {"passed"}


def test_a_loop_at_rest_is_live_or_waits_for_data():
    assert looks(wheel.of_loop(None, champion=3)) == {"live": "here"}
    assert looks(wheel.of_loop(None, champion=None)) == {"data": "waiting"}


def test_a_paused_loop_says_so(turned):
    turned.start(a_loop())
    turned.loops.pause(turned.context, "clicks")

    assert "paused: what comes is answered when it is resumed" in page_of(client_of(turned)).text
