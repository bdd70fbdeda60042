"""The feedback-loop check: how many labels the model's own decisions have shaped."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import polars as pl

from noria.core.errors import Invalid
from noria.datasets.model import FragmentKind
from noria.guards.model import Action, Finding
from noria.guards.spec import Batch, Guard

_SHAPED = re.compile(r"^feedback/.+/shaped$")

Answer = Literal["warn", "cap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackLoopCheck(Guard):
    """Holds the share of shaped labels under a bar; see `check_feedback_loop`."""

    name: ClassVar[str] = "feedback loop"
    max_share: float = 0.5
    answer: Answer = "warn"

    def findings(self, batch: Batch) -> Sequence[Finding]:
        """Return one finding if the model learns too much from what it has done itself."""
        labelled = batch.labelled()
        shaped = labelled & batch.sources().str.contains(_SHAPED.pattern).fill_null(value=False)
        count, all_of_them = int(shaped.sum()), int(labelled.sum())
        if not all_of_them or count / all_of_them <= self.max_share:
            return []
        share = count / all_of_them
        words = (
            f"{share:.0%} of {all_of_them:,} new labels were shaped by the model's own decisions, "
            f"more than {self.max_share:.0%}"
        )
        numbers = {"share": share, "shaped": float(count), "labels": float(all_of_them)}
        if self.answer == "warn":
            return [Finding(guard=self.name, action=Action.WARN, words=words, numbers=numbers)]
        excess = over_the_cap(batch, shaped, allowed=_allowed(count, all_of_them, self.max_share))
        holds = batch.holds(excess, FragmentKind.LABELS)
        words += f"; the newest {len(holds):,} are held"
        return [Finding(guard=self.name, action=Action.QUARANTINE, words=words, numbers=numbers, holds=holds)]


def check_feedback_loop(*, max_share: float = 0.5, answer: Answer = "warn") -> FeedbackLoopCheck:
    """Check how many new labels the model's own decisions have shaped (source `feedback/NAME/shaped`).

    Above a share of `max_share`, warn, or "cap": hold the newest of them until the share is kept. A model that learns
    from what it has shaped collapses onto itself unless the data is kept mixed (Gerstgrasser et al. 2024, arXiv
    2404.01413).
    """
    if answer not in ("warn", "cap"):
        raise Invalid(f"{answer!r} is no answer", hint="'warn' or 'cap'")
    if not 0 <= max_share < 1:
        raise Invalid(f"a share of {max_share} cannot be meant", hint="between 0 and 1; 0.5 is usual")
    return FeedbackLoopCheck(max_share=max_share, answer=answer)


def over_the_cap(batch: Batch, chosen: pl.Series, *, allowed: int) -> pl.Series:
    """Say of each row whether it is one of the newest chosen ones that are more than allowed."""
    places = pl.DataFrame({"time": batch.rows[batch.dataset.time], "chosen": chosen}).with_row_index("row")
    kept = places.filter("chosen").sort("time", "row")["row"].head(allowed)
    return chosen & ~places["row"].is_in(kept.implode())


def _allowed(shaped: int, labels: int, share: float) -> int:
    """Return how many shaped labels, beside all others, make up the share."""
    others = labels - shaped
    return int(share * others / (1 - share))
