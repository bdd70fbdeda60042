"""Sees loops whose cycles come to nothing again and again: a loop that runs is not yet a loop that works."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from noria.loop.model import Outcome

_FEW = 3
"""How often guards may stop a loop, or a gate stay unsure, before somebody should look."""
MOST_SEEN = 100
_HOW = {Outcome.FAILED: "failed", Outcome.QUARANTINED: "stopped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a cycle has ended, in short."""

    number: int
    outcome: Outcome
    words: str
    is_unsure: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """The newest cycles of a loop, all of which came to nothing: how many, how, since when, and why the last one."""

    loop: str
    cycles: int
    how: str
    since: datetime
    last: Ended

    def words(self) -> str:
        """Return it as a person would say it."""
        if self.cycles == 1:
            return f"cycle {self.last.number} {self.how}: {self.last.words}"
        many = f"{self.cycles} cycles" if self.cycles < MOST_SEEN else f"{self.cycles} cycles and more"
        return f"its last {many} came to nothing ({self.how}); the last one, {self.last.number}: {self.last.words}"


def streak(loop: str, ended: Sequence[Ended]) -> Streak | None:
    """Return what a loop's ended cycles, the newest first, came to nothing with; None if nobody needs to look.

    One that has failed is enough. A cycle that was skipped, for want of news or money, says nothing either way; one
    that the gate has judged, that was promoted, declined or rolled back, ends the streak.
    """
    vain: list[Ended] = []
    for each in ended:
        if each.outcome is Outcome.SKIPPED:
            continue
        if _HOW.get(each.outcome) is None and not each.is_unsure:
            break
        vain.append(each)
    if not vain or (len(vain) < _FEW and vain[0].outcome is not Outcome.FAILED):
        return None
    counted = Counter(_HOW.get(each.outcome, "unsure") for each in vain)
    how = next(iter(counted)) if len(vain) == 1 else ", ".join(f"{count} {word}" for word, count in counted.items())
    return Streak(loop=loop, cycles=len(vain), how=how, since=vain[-1].at, last=vain[0])
