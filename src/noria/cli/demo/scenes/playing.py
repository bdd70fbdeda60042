"""Plays the three scenes one after the other, each in a home of its own, and tells each in a sentence."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from noria.cli.demo.scenes import bad_live, poisoned_feed, worse_candidate

Told = Mapping[str, Any]

_SCENES: Mapping[str, Callable[[pl.DataFrame, str | Path], dict[str, Any]]] = {
    "poisoned_feed": poisoned_feed.play,
    "worse_candidate": worse_candidate.play,
    "bad_live": bad_live.play,
}
TITLES = {
    "poisoned_feed": "A poisoned feed",
    "worse_candidate": "A worse candidate",
    "bad_live": "Good offline, bad live",
}


def play_all(flights: pl.DataFrame, home: Path, *, on_end: Callable[[str, Told], None]) -> dict[str, Told]:
    """Play every scene anew below the home's folder; return what each has to tell."""
    told: dict[str, Told] = {}
    for name, play in _SCENES.items():
        place = home / name
        shutil.rmtree(place, ignore_errors=True)
        told[name] = play(flights, place)
        on_end(name, told[name])
    return told


def sentence(name: str, told: Told) -> str:
    """Return what happened in a scene, with its numbers."""
    return _SENTENCES[name](told)


def _poisoned_feed(told: Told) -> str:
    held, flipped = told["rows_quarantined"], told["labels_flipped"]
    corrected = told["after_repair"]["corrected"]["auc_difference"]
    return (
        f"For three weeks {told['share']:.0%} of the labels of {told['source']} came flipped. The guard held {held:,} "
        f"labels, {told['true_positives']:,} of the {flipped:,} flipped and {told['false_positives']:,} others. AUC on true "
        f"labels: {told['auc']['guarded']:.3f} guarded, {told['auc']['unguarded']:.3f} without the guard, "
        f"{told['auc']['clean']:.3f} had nothing happened; {corrected:+.4f} from that once the feed was corrected."
    )


def _worse_candidate(told: Told) -> str:
    return f"Trained on a join that finds nothing, with 0 in place of its columns. The gate's verdict: {told['verdict']}: {'; '.join(told['reasons'])}."


def _bad_live(told: Told) -> str:
    return (
        "Better offline and through three days of shadow; then the feed of its best feature broke. Where it fell "
        f"silent the rollout was {_taken_back(told)}. Where it told seconds for minutes it was "
        f"{_taken_back(told['in_seconds'])}. {told['failed_requests']} of {told['requests']:,} predictions failed."
    )


def _taken_back(told: Told) -> str:
    hours = (told["seconds_to_abort"] or 0) / 3600
    return (
        f"{told['state']} {hours:.0f} simulated hours later, in stage {told['stage']}, after {told['looks']} looks and "
        f"{told['exposure']:,} answers: {'; '.join(told['reasons'])}"
    )


_SENTENCES: Mapping[str, Callable[[Told], str]] = {
    "poisoned_feed": _poisoned_feed,
    "worse_candidate": _worse_candidate,
    "bad_live": _bad_live,
}
