"""Laws of a look: surely worse goes back, surely good enough goes on, what cannot be read is never a pass."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from noria.core.errors import Invalid, NotFound
from noria.rollouts import rules
from noria.rollouts.model import Look, Next
from noria.rollouts.observing import Sample
from noria.rollouts.rules import Seen, decide
from noria.rollouts.spec import Canary
from noria.stats.sequential import Sums

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CANARY = Canary(abort_on=("error_rate", "log_loss"))
SHADOW, FIVE, QUARTER = 0, 1, 2


def rate(metric, ours, theirs, *, keys=5000):
    first = Sums(units=keys, total=ours * keys, squares=ours * keys)
    second = Sums(units=keys, total=theirs * keys, squares=theirs * keys)
    return Sample(metric=metric, candidate=first, champion=second)


def loss(ours, theirs, *, keys=50_000):
    def side(mean):
        return Sums(units=keys, total=mean * keys, squares=keys * (mean**2 + 0.25))

    return Sample(metric="log_loss", candidate=side(ours), champion=side(theirs))


def seen(*samples, stage=FIVE, after=2 * HOUR, requests=5000, shown=()):
    return Seen(stage=stage, since=START, now=START + after, samples=samples, requests=requests, shown=shown)


def test_a_candidate_that_is_surely_worse_goes_back_at_once_in_words():
    look = decide(CANARY, seen(rate("error_rate", 0.08, 0.05), loss(0.4, 0.4), after=timedelta(minutes=5)))

    assert (look.next, look.aborted_on) == (Next.ABORT, ("error_rate",))
    assert look.reasons[0].startswith("error_rate 0.0800 against the champion's 0.0500: +0.0300 [+0.0")
    assert look.reasons[0].endswith("on 5,000 keys: surely worse")


def test_what_is_tolerated_is_not_gone_back_on():
    tolerant = replace(CANARY, tolerances={"error_rate": 0.04})

    look = decide(tolerant, seen(rate("error_rate", 0.08, 0.05), loss(0.4, 0.4)))

    assert look.next is Next.WAIT


def test_a_stage_is_passed_when_time_requests_and_evidence_suffice_and_the_last_one_finishes():
    good = (rate("error_rate", 0.001, 0.001), loss(0.38, 0.4))

    assert decide(CANARY, seen(*good)).next is Next.ADVANCE
    assert decide(CANARY, seen(*good, stage=QUARTER)).next is Next.FINISH


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ({"after": timedelta(minutes=20)}, "5% has lasted 20m, 1h wanted"),
        ({"requests": 199}, "199 requests of the candidate at 5%, 200 wanted"),
    ],
)
def test_a_stage_waits_for_time_and_requests_and_says_so(lacking, words):
    look = decide(CANARY, seen(rate("error_rate", 0.001, 0.001), loss(0.38, 0.4), **lacking))

    assert (look.next, look.reasons) == (Next.WAIT, (words,))


def test_a_metric_that_cannot_be_read_is_never_a_pass():
    look = decide(
        CANARY, seen(Sample(metric="error_rate", unread="no answers of the candidate that tell it"), loss(0.38, 0.4))
    )

    assert look.next is Next.WAIT
    assert look.reasons == ("error_rate cannot be read: no answers of the candidate that tell it",)


def test_fewer_than_twenty_keys_show_nothing_however_bad_they_look():
    look = decide(CANARY, seen(rate("error_rate", 1.0, 0.0, keys=19), loss(0.38, 0.4)))

    assert look.next is Next.WAIT
    assert "19 keys, 20 wanted" in look.reasons[0]


def test_a_candidate_that_always_fails_is_found_with_twenty_keys():
    bad = Sample(metric="error_rate", candidate=Sums(units=20, total=20, squares=20), champion=Sums(units=380))

    assert decide(CANARY, seen(bad)).next is Next.ABORT


def test_a_stage_that_waits_too_long_goes_back_in_words():
    look = decide(CANARY, seen(rate("error_rate", 0.001, 0.001), after=14 * DAY + HOUR, requests=3))

    assert look.next is Next.ABORT
    assert look.aborted_on == ()
    assert look.reasons[0] == "5% has waited 14d for its evidence in vain"


def test_a_loss_that_was_shown_once_is_only_watched_later_and_errors_are_shown_at_each_stage():
    few = loss(0.4, 0.4, keys=60)

    assert decide(CANARY, seen(rate("error_rate", 0.001, 0.001), few)).next is Next.WAIT
    assert decide(CANARY, seen(rate("error_rate", 0.001, 0.001), few, shown=("log_loss",))).next is Next.ADVANCE
    assert decide(CANARY, seen(rate("error_rate", 0.0, 0.0, keys=60), few, shown=("log_loss",))).next is Next.WAIT
    assert (
        decide(CANARY, seen(rate("error_rate", 0.001, 0.001), loss(0.5, 0.4), shown=("log_loss",))).next is Next.ABORT
    )


def test_without_an_error_a_margin_of_one_point_wants_650_keys():
    """Some 6.5 events' worth: 3 would do for one look at 5% (the rule of three), more looks and stages cost the rest."""

    def passes(keys):
        sample = Sample(metric="error_rate", candidate=Sums(units=keys), champion=Sums(units=19 * keys))
        return rules.reading(sample, CANARY).is_within

    assert (passes(640), passes(660)) == (False, True)


def test_alpha_is_split_over_stages_and_for_going_back_over_metrics():
    assert CANARY.alpha_to_pass == pytest.approx(0.05 / 3)
    assert CANARY.alpha_to_abort == pytest.approx(0.05 / 6)


def test_the_next_look_is_not_later_than_the_moment_at_which_the_stage_has_lasted():
    spec = Canary(shadow="3d", look_every="2h")

    assert rules.next_look(spec, stage=SHADOW, since=START, now=START) == START + 2 * HOUR
    assert rules.next_look(spec, stage=SHADOW, since=START, now=START + 71 * HOUR) == START + 72 * HOUR
    assert rules.next_look(spec, stage=SHADOW, since=START, now=START + 72 * HOUR) == START + 74 * HOUR


def test_a_look_and_a_spec_are_kept_as_plain_values_and_read_back():
    look = decide(CANARY, seen(rate("error_rate", 0.08, 0.05), loss(0.4, 0.4)))

    assert Look.from_plain(look.to_plain()) == look
    assert Canary.from_plain(CANARY.to_plain()).to_plain() == CANARY.to_plain()
    assert [str(stage) for stage in CANARY.plan()] == ["shadow", "5%", "25%"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"stages": (0.5, 0.25, 1.0)}, "are no way in"),
        ({"stages": (0.5,)}, "are no way in"),
        ({"stages": (1.0,), "shadow": None}, "there is nothing to watch"),
        ({"abort_on": ()}, "watches nothing"),
        ({"alpha": 0.6}, "not a chance of error"),
        ({"margins": {"log_loss": 0.0}}, "a margin is above 0"),
        ({"tolerances": {"log_loss": -0.1}}, "a margin is above 0"),
        ({"look_every": "0s"}, "some time apart"),
        ({"shadow": "soon"}, "no duration"),
    ],
)
def test_a_canary_that_cannot_be_meant_is_refused(wrong, words):
    with pytest.raises(Invalid, match=words):
        Canary(**wrong)


def test_an_unknown_metric_is_said_with_the_nearest():
    with pytest.raises(NotFound) as caught:
        Canary(abort_on=("eror_rate",))

    assert caught.value.hint == "did you mean 'error_rate'?"
