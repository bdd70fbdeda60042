"""Laws of gates: what cannot be read is never a pass, errors are held under alpha, reasons are in words."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as peer

from noria.core.errors import Invalid, NotFound
from noria.evaluation import comparing, gates, metrics
from noria.evaluation.comparing import Judged
from noria.evaluation.model import Evidence, Outcome
from noria.evaluation.spec import Evaluation, Gate

START = datetime(2026, 1, 1, tzinfo=UTC)


def judged(*, labels, candidate, champion=None, anchor=None, days=14, extra=None):
    count = len(labels)
    times = [START + timedelta(days=days) * place / count for place in range(count)]
    rows = pl.DataFrame({"at": times, **(extra or {})})
    arrays = {name: None if said is None else np.asarray(said, float) for name, said in
              (("candidate", candidate), ("champion", champion), ("anchor", anchor))}  # fmt: skip
    return Judged(
        rows=rows,
        labels=np.asarray(labels, float),
        since=START,
        until=START + timedelta(days=days),
        time="at",
        **arrays,
    )


def verdict(found, gate, *, evaluation=None):
    evaluation = evaluation or Evaluation(min_rows=50)
    evidence = comparing.compare(found, evaluation=evaluation, gate=gate, chance=np.random.default_rng(1))
    return gates.judge(evidence, gate)


def world(seed, *, rows=4000, noise=1.0):
    chance = np.random.default_rng(seed)
    signal = chance.normal(size=rows)
    labels = (chance.random(rows) < 1 / (1 + np.exp(-signal))).astype(float)

    def said(blur):
        return 1 / (1 + np.exp(-(signal + chance.normal(scale=blur, size=rows)) * noise))

    return labels, said


def test_every_metric_has_the_value_of_scikit_learn():
    labels, said = world(1)
    scores = said(0.3)
    values = {name: metrics.named(name).of(labels, scores) for name in metrics.NAMES}

    assert values == pytest.approx(
        {
            "auc": peer.roc_auc_score(labels, scores),
            "log_loss": peer.log_loss(labels, scores),
            "brier": peer.brier_score_loss(labels, scores),
            "accuracy": peer.accuracy_score(labels, scores >= 0.5),
            "mae": peer.mean_absolute_error(labels, scores),
            "rmse": peer.root_mean_squared_error(labels, scores),
        },
        rel=1e-12,
    )


def test_a_much_better_candidate_passes_a_superiority_gate():
    labels, said = world(2)

    found = verdict(judged(labels=labels, candidate=said(0.1), champion=said(3.0)), Gate("auc", test="superiority"))

    assert found.outcome is Outcome.PASSED


def test_a_much_worse_candidate_fails_with_its_numbers_in_words():
    labels, said = world(3)

    found = verdict(judged(labels=labels, candidate=said(3.0), champion=said(0.1)), Gate("auc", margin=0.01))

    assert found.outcome is Outcome.FAILED
    assert found.reasons[0].startswith("auc 0.")
    assert "against the champion's" in found.reasons[0]


def test_an_equal_candidate_is_not_inferior():
    labels, said = world(4)
    same = said(0.5)

    found = verdict(judged(labels=labels, candidate=same, champion=same.copy()), Gate("log_loss", margin=0.01))

    assert found.outcome is Outcome.PASSED


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_unsure_never_a_pass(bad):
    labels, said = world(5)
    broken = said(0.1)
    broken[7] = bad

    found = verdict(judged(labels=labels, candidate=broken, champion=said(2.0)), Gate("auc"))

    assert found.outcome is Outcome.UNSURE
    assert "1 of 4,000 scores of the candidate are no numbers" in found.reasons[0]


def test_too_few_rows_are_unsure_and_said():
    labels, said = world(6, rows=40)

    found = verdict(judged(labels=labels, candidate=said(0.1), champion=said(1.0)), Gate("auc"))

    assert found.outcome is Outcome.UNSURE
    assert found.reasons == ("40 labelled rows to judge on, 50 wanted",)


def test_one_class_is_unsure_for_auc():
    _, said = world(7)

    found = verdict(judged(labels=np.ones(4000), candidate=said(0.1), champion=said(1.0)), Gate("auc"))

    assert found.outcome is Outcome.UNSURE


def test_rows_of_one_day_show_no_spread_and_are_unsure():
    labels, said = world(8)

    found = verdict(judged(labels=labels, candidate=said(0.1), champion=said(1.0), days=0.5), Gate("auc"))

    assert found.outcome is Outcome.UNSURE


def test_the_first_candidate_must_beat_the_base_rate():
    labels, said = world(9)
    chance = np.random.default_rng(9)

    assert verdict(judged(labels=labels, candidate=said(0.5)), Gate("log_loss")).outcome is Outcome.PASSED
    assert verdict(judged(labels=labels, candidate=chance.random(4000)), Gate("log_loss")).outcome is Outcome.FAILED


def test_a_gain_that_is_not_worth_a_promotion_is_refused_in_words():
    labels, said = world(10)
    champion = said(0.5)

    found = verdict(
        judged(labels=labels, candidate=champion.copy(), champion=champion), Gate("log_loss", min_gain=0.001)
    )

    assert found.outcome is Outcome.FAILED
    assert "not worth a promotion" in found.reasons[0]


def test_a_guard_on_a_second_metric_can_refuse_what_the_first_lets_pass():
    labels, said = world(11)
    champion = said(0.2)
    overconfident = np.clip(champion**9 / (champion**9 + (1 - champion) ** 9), 1e-9, 1 - 1e-9)

    found = judged(labels=labels, candidate=overconfident, champion=champion)

    assert verdict(found, Gate("auc", margin=0.01)).outcome is Outcome.PASSED
    assert verdict(found, Gate("auc", margin=0.01, guards=[("log_loss", 0.02)])).outcome is Outcome.FAILED


def test_a_slice_that_falls_below_its_floor_fails_a_candidate_that_is_better_on_the_whole():
    labels, said = world(12, rows=8000)
    site = np.where(np.arange(8000) % 5 == 0, "small", "large")
    candidate = np.where(site == "small", 1 - said(0.1), said(0.1))
    evaluation = Evaluation(min_rows=50, slices=["site"])
    found = judged(labels=labels, candidate=candidate, champion=said(0.3), extra={"site": site})
    gate = Gate("log_loss", margin=5.0, max_slice_drop=0.05)

    assert verdict(found, gate, evaluation=evaluation).outcome is Outcome.FAILED
    assert "site = small" in verdict(found, gate, evaluation=evaluation).reasons[0]


def test_a_slice_too_small_to_judge_is_said_and_blocks_nothing():
    labels, said = world(13)
    site = np.where(np.arange(4000) < 40, "tiny", "large")
    candidate = np.where(site == "tiny", 1 - said(0.1), said(0.1))
    evaluation = Evaluation(min_rows=50, slices=["site"])
    gate = Gate("auc", max_slice_drop=0.01)
    found = judged(labels=labels, candidate=candidate, champion=said(2.0), extra={"site": site})

    evidence = comparing.compare(found, evaluation=evaluation, gate=gate, chance=np.random.default_rng(1))

    assert {part.value: part.comparison is None for part in evidence.slices} == {"large": False, "tiny": True}
    assert gates.judge(evidence, gate).outcome is Outcome.PASSED


def test_an_anchor_stops_a_slow_slide_downhill():
    labels, said = world(14)
    champion = said(2.0)
    found = judged(labels=labels, candidate=champion.copy(), champion=champion, anchor=said(0.1))

    assert verdict(found, Gate("auc", margin=0.02)).outcome is Outcome.PASSED
    assert verdict(found, Gate("auc", margin=0.02, anchor_margin=0.02)).outcome is Outcome.FAILED


def test_an_unsure_gate_says_its_power_and_how_many_more_labels_would_settle_it():
    labels, said = world(15, rows=400)
    found = verdict(
        judged(labels=labels, candidate=said(0.5), champion=said(0.55), days=10), Gate("log_loss", margin=0.03)
    )

    assert found.outcome is Outcome.UNSURE
    assert 0 < found.power < 0.8
    assert found.more_labels > 0


def test_negative_flips_are_counted():
    labels = np.tile([0.0, 1.0], 100)
    champion = np.where(labels == 1, 0.9, 0.1)
    candidate = champion.copy()
    candidate[:6] = 1 - candidate[:6]

    evidence = comparing.compare(
        judged(labels=labels, candidate=candidate, champion=champion),
        evaluation=Evaluation(min_rows=50),
        gate=Gate("log_loss"),
        chance=np.random.default_rng(1),
    )

    assert (evidence.flips.negative, evidence.flips.positive) == (6, 0)


def test_evidence_reads_back_as_it_was_recorded():
    labels, said = world(16)
    gate = Gate("auc", max_slice_drop=0.1)
    evidence = comparing.compare(
        judged(labels=labels, candidate=said(0.1), champion=said(1.0), extra={"site": ["a", "b"] * 2000}),
        evaluation=Evaluation(min_rows=50, slices=["site"]),
        gate=gate,
        chance=np.random.default_rng(1),
    )

    assert Evidence.from_plain(evidence.to_plain()) == evidence
    assert gates.judge_plain(evidence.to_plain(), gate) == gates.judge(evidence, gate)


def test_without_a_gate_everything_passes_and_the_verdict_says_so():
    found = gates.judge_plain({}, None)

    assert (found.outcome, found.reasons) == (Outcome.PASSED, ("no gate was asked for",))


def day_world(chance, *, difference, days=14, rows=60):
    """Brier losses of two models whose true mean difference is known, with effects of the day that both share and not."""
    labels = np.ones(days * rows)
    day = np.repeat(np.arange(days), rows)
    base = 0.25 + chance.normal(scale=0.01, size=days)[day] + chance.normal(scale=0.03, size=days * rows)
    other = base + difference + chance.normal(scale=0.01, size=days)[day] + chance.normal(scale=0.03, size=days * rows)
    said = [1 - np.sqrt(np.clip(loss, 0.0, 1.0)) for loss in (other, base)]
    return judged(labels=labels, candidate=said[0], champion=said[1], days=days)


@pytest.mark.parametrize(
    ("difference", "gate"),
    [(0.0, Gate("brier", test="superiority")), (0.01, Gate("brier", margin=0.01))],
    ids=["an equal one under superiority", "one worse by the margin under non-inferiority"],
)
def test_a_wrong_promotion_happens_at_most_about_alpha_of_the_time(difference, gate):
    chance = np.random.default_rng(20)
    outcomes = [verdict(day_world(chance, difference=difference), gate).outcome for _ in range(300)]

    share = outcomes.count(Outcome.PASSED) / len(outcomes)

    assert share < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_a_gate_that_may_look_twice_uses_half_of_alpha_each_time():
    assert Gate("auc", alpha=0.05, patience="3d").alpha_per_look == 0.025
    assert Gate("auc", alpha=0.05).alpha_per_look == 0.05


@pytest.mark.parametrize("wrong", [{"alpha": 0}, {"alpha": 0.7}, {"margin": -0.1}, {"test": "equality"}])
def test_a_gate_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(Invalid):
        Gate("auc", **wrong)


def test_an_unknown_metric_is_refused_with_the_nearest():
    with pytest.raises(NotFound) as caught:
        Gate("aucc")

    assert caught.value.hint == "did you mean 'auc'?"
