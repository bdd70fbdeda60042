"""Laws of the commands: a list for people and for programs, a candidate taken back, and a champion moved with its routes."""

import json

import pytest
from click.testing import CliRunner

from noria.boot import open_home
from noria.cli.root import noria
from noria.registry.model import Trained
from noria.rollouts.spec import Canary, Candidate
from noria.runs.model import Artifact


@pytest.fixture
def home(tmp_path):
    """A home in which fraud@2 is in shadow beside the champion fraud@1 at the endpoint `shop`."""
    with open_home(tmp_path / "home") as platform:
        context, now = platform.context, platform.clock.now()
        stored = platform.blobs.put(b"a model, whose bytes are all that these commands ask for")
        for number in range(3):
            artifact = Artifact(codec="model", blob=stored, digest="11" * 32)
            trained = Trained(artifact=artifact, run=f"r{number}", snapshot="s", trained_through=now, code="22" * 32)
            platform.registry.register(context, "fraud", trained)
        platform.endpoints.create(context, "shop", model="fraud", dataset="payments")
        platform.rollouts.promote(context, "fraud", 1, reason="first")
        wanted = Candidate(
            endpoint="shop", model="fraud", version=2, champion=1, canary=Canary(), reason="the gate passed"
        )
        platform.rollouts.begin(context, wanted)
    return str(tmp_path / "home")


def said(*words, status=0):
    answer = CliRunner().invoke(noria, [*words])
    assert answer.exit_code == status, answer.output
    return answer.output


def route(home):
    with open_home(home) as platform:
        found = platform.endpoints.route(platform.context, "shop")
        return [(variant.version, variant.weight) for variant in found.variants], found.shadows


def test_rollouts_are_listed_for_people_and_for_programs(home):
    assert "fraud@2" in said("rollouts", "--home", home)

    (row,) = json.loads(said("rollouts", "fraud", "--home", home, "--json"))
    assert (row["state"], row["stage"], row["words"]) == ("open", "shadow", "the gate passed")


def test_a_candidate_is_taken_back_by_name_with_a_reason(home):
    assert "fraud@1 answers everything" in said("rollout", "abort", "shop", "--reason", "not today", "--home", home)

    (row,) = json.loads(said("rollouts", "--home", home, "--json"))
    assert row["state"] == "aborted"
    assert row["words"].endswith("took it back: not today")
    assert route(home) == ([(1, 1.0)], ())


def test_promote_moves_the_route_with_the_champion(home):
    assert "fraud@3 is the champion" in said("promote", "fraud@3", "--reason", "better", "--home", home)

    assert route(home) == ([(3, 1.0)], ())


def test_rollback_undoes_the_last_step_and_says_which(home):
    assert "the candidate on its way in was taken back" in said("rollback", "fraud", "--home", home)
    assert route(home) == ([(1, 1.0)], ())

    said("promote", "fraud@3", "--reason", "better", "--home", home)
    assert "fraud@1 is the champion again, in place of fraud@3" in said("rollback", "fraud", "--home", home)
    assert route(home) == ([(1, 1.0)], ())
