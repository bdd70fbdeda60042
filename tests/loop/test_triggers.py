"""Laws of triggers: when a loop has a reason to turn, and that nothing that came is lost."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

import noria as nr
from noria.core.errors import Invalid
from noria.loop.model import Standing
from noria.loop.triggers import Schedule


def words(trigger, standing):
    return [reason.words for reason in trigger.reasons(standing)]


@pytest.mark.parametrize(("labels", "due"), [(0, False), (999, False), (1000, True), (5000, True)])
def test_new_labels_are_counted_since_the_last_cycle(labels, due):
    assert bool(nr.new_labels(1000).reasons(Standing(labels=labels))) is due


def test_a_reason_says_what_it_saw_and_what_it_wanted():
    assert words(nr.new_rows(20_000), Standing(rows=20_345)) == ["20,345 new rows since the last cycle, 20,000 wanted"]


def test_any_of_answers_with_every_reason_there_is():
    trigger = nr.any_of(nr.new_rows(10), nr.new_labels(10), nr.data_arrival())

    assert len(trigger.reasons(Standing(rows=10, labels=9, commits=1))) == 2
    assert trigger.reasons(Standing()) == ()


def test_all_of_waits_for_the_last_one():
    trigger = nr.all_of(nr.new_rows(10), nr.new_labels(10))

    assert trigger.reasons(Standing(rows=10, labels=9)) == ()
    assert len(trigger.reasons(Standing(rows=10, labels=10))) == 2


def test_a_signal_counts_only_for_its_own_kind_and_from_its_bar_on():
    standing = Standing(signals=({"kind": "drift:psi", "value": 0.21, "words": "hour drifted"},))

    assert words(nr.drift(psi=0.2), standing) == ["hour drifted"]
    assert words(nr.drift(psi=0.3), standing) == []
    assert words(nr.metric_drop("auc", by=0.1), standing) == []


def test_a_metric_drop_hears_only_its_own_metric():
    standing = Standing(signals=({"kind": "metric:auc", "value": 0.05, "words": "auc fell"},))

    assert words(nr.metric_drop("auc", by=0.02), standing) == ["auc fell"]
    assert words(nr.metric_drop("log_loss", by=0.02), standing) == []


def test_a_schedule_is_due_once_at_each_time_across_the_change_to_daylight_saving():
    nightly = nr.schedule("30 2 * * *", zone="America/New_York")
    moment, due = datetime(2026, 3, 7, tzinfo=UTC), []
    for _ in range(4):
        moment = nightly.next_after(moment)
        due.append(moment)

    days = [after - before for before, after in pairwise(due)]
    assert len({moment.astimezone(UTC).date() for moment in due}) == 4
    assert all(timedelta(hours=22) <= day <= timedelta(hours=26) for day in days)


def test_a_schedule_is_due_once_when_the_clock_goes_back():
    nightly = Schedule(cron="30 1 * * *", zone="America/New_York")

    first = nightly.next_after(datetime(2026, 11, 1, 0, 0, tzinfo=UTC))
    second = nightly.next_after(first)

    assert first == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert second == datetime(2026, 11, 2, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize("cron", ["", "every night", "61 * * * *", "* * * *"])
def test_what_is_no_cron_line_is_refused_with_an_example(cron):
    with pytest.raises(Invalid) as caught:
        nr.schedule(cron)

    assert "0 3 * * *" in caught.value.hint


def test_an_unknown_zone_is_refused():
    with pytest.raises(Invalid, match="no time zone 'Mars/Base'"):
        nr.schedule("0 3 * * *", zone="Mars/Base")


def test_a_trigger_cannot_wait_for_nothing():
    with pytest.raises(Invalid, match="cannot wait for 0"):
        nr.new_rows(0)


def test_triggers_say_themselves_in_words():
    trigger = nr.any_of(
        nr.schedule("0 3 * * *"), nr.new_labels(5000), nr.drift(psi=0.2), nr.metric_drop("auc", by=0.02)
    )

    assert trigger.words() == "schedule '0 3 * * *' or 5,000 new labels or drift over 0.2 PSI or auc worse by 0.02"
