"""The poisoning check: which source's labels are flipped, how much one source may say, what a source does to the model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import pi
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from noria.core.errors import Invalid
from noria.datasets.model import FragmentKind, Hold
from noria.guards import influence
from noria.guards.model import Action, Finding
from noria.guards.shaping import over_the_cap
from noria.guards.spec import Batch, Floats, Guard
from noria.stats import flips
from noria.stats.flips import UNMOVED, Control, Flips

_ALONE = 0.5
"""Without concurrent sources a change of the world can look like flips, but cannot turn the order of scores round."""
_LEAST_SLOPE = 0.2
"""Below this slope the concurrent sources do not follow the champion either, and say nothing about one of them."""
_AGAINST = -0.5
"""At this slope of all labels together most of them go against the champion."""
_FEW_DAYS = 3
_WEIGHT_OF_FEW = 0.5
"""The flights, patients or clicks of one day hang together: on fewer days than three their likelihood counts half."""
_MOST = 0.5
"""If more labels than this share look flipped, it is not one source: a person has to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoisoningCheck(Guard):
    """Judges each source of labels; see `check_poisoning`."""

    name: ClassVar[str] = "poisoning"
    needs_scores: ClassVar[bool] = True
    by: str | None = None
    alpha: float = 0.01
    least: float = 0.15
    min_labels: int = 100
    max_share: float | None = None
    max_count: int | None = None
    influence: float | None = None

    def findings(self, batch: Batch) -> Sequence[Finding]:
        """Return the sources whose labels are flipped, are too many, or make the model worse, and what was not read."""
        found = list(self._caps(batch))
        problem = _unjudged(batch)
        if problem is not None:
            return [*found, problem]
        assert batch.scores is not None, "what cannot be judged was told of above"
        unread = batch.labelled() & pl.Series(~np.isfinite(batch.scores))
        if unread.any():
            found.append(_unread(batch, unread))
        judged = _Sources(batch, self, readable=batch.labelled() & ~unread)
        flipped = judged.flipped()
        found += [*self._flipped(judged, flipped), *judged.unfollowed(aside=flipped)]
        if self.influence is not None:
            found += influence.findings(batch, judged.labels_of, limit=self.influence, suspects=judged.by_suspicion())
        return found

    def bar(self, *, number: int, sources: int) -> float:
        """Return the p-value under which a source is said to be flipped.

        `alpha` is spent over all cycles of the loop (a share of 6 / (pi k)^2 in the k-th, which add up to one) and,
        within a cycle, over the sources (Bonferroni): so a loop that runs for ever says it falsely with the chance
        alpha at most.
        """
        return self.alpha * 6 / (pi * max(1, number)) ** 2 / max(1, sources)

    def _caps(self, batch: Batch) -> Iterator[Finding]:
        """Find sources that say more than one source may; the newest of their labels are held."""
        if self.max_share is None and self.max_count is None:
            return
        labelled, sources = batch.labelled(), batch.sources(self.by)
        all_of_them = int(labelled.sum())
        for source in sorted(set(sources.filter(labelled).drop_nulls().to_list())):
            chosen = labelled & (sources == source).fill_null(value=False)
            count = int(chosen.sum())
            allowed = min(
                count if self.max_count is None else self.max_count,
                count if self.max_share is None else int(self.max_share * all_of_them),
            )
            if count > allowed:
                holds = batch.holds(over_the_cap(batch, chosen, allowed=allowed), FragmentKind.LABELS)
                words = f"source {source!r} brought {count:,} of {all_of_them:,} new labels; {allowed:,} are allowed"
                numbers = {"labels": float(count), "allowed": float(allowed)}
                yield _of_source(source, Action.QUARANTINE, words, numbers, holds=holds)

    def _flipped(self, judged: "_Sources", found: Mapping[str, Flips]) -> Iterator[Finding]:
        share = sum(flip.rows for flip in found.values()) / max(1, judged.rows)
        for source, flip in found.items():
            words = (
                f"about {flip.share:.0%} of the {flip.rows:,} labels of source {source!r} are flipped "
                f"(likelihood ratio {flip.ratio:.0f} against {flip.least:.0%}, p {flip.p_value:.1g})"
            )
            numbers = {"share": flip.share, "labels": float(flip.rows), "ratio": flip.ratio, "p_value": flip.p_value}
            holds = judged.holds(source)
            if len(judged.names) > 1 and share > _MOST:
                words += f"; with other sources that is {share:.0%} of all new labels: is it they, or the champion?"
                yield _of_source(source, Action.STOP, words, numbers)
            else:
                yield _of_source(source, Action.QUARANTINE, words, numbers, holds=holds)


class _Sources:
    """The labels of a batch by source, with the champion's scores of their rows."""

    def __init__(self, batch: Batch, check: PoisoningCheck, *, readable: pl.Series) -> None:
        self._batch = batch
        self._check = check
        self._readable = readable
        rows = batch.rows.filter(readable)
        assert batch.scores is not None
        self._labels = rows[batch.dataset.label or ""].cast(pl.Float64).to_numpy()
        self._scores: Floats = batch.scores[readable.to_numpy()]
        days = (rows[batch.dataset.time] - batch.until).dt.total_days()
        self._blocks: NDArray[np.int64] = days.cast(pl.Int64).to_numpy()
        self._sources = batch.sources(check.by).filter(readable).fill_null("").to_numpy()
        counts = dict(zip(*np.unique(self._sources, return_counts=True), strict=True))
        self.names = sorted(str(name) for name, count in counts.items() if count >= check.min_labels)
        self.rows = len(self._labels)

    def flipped(self) -> Mapping[str, Flips]:
        """Return the sources with flipped labels: the clearest is set aside, and the others judged without it."""
        bar = self._check.bar(number=self._batch.number, sources=len(self.names))
        found: dict[str, Flips] = {}
        while True:
            others = [name for name in self.names if name not in found]
            rest = {name: flip for name in others if (flip := self._judge(name, aside=found)) is not None}
            worst = max(rest, key=lambda name: rest[name].ratio, default=None)
            if worst is None or rest[worst].p_value > bar:
                return found
            found[worst] = rest[worst]

    def unfollowed(self, *, aside: Mapping[str, Flips]) -> Iterator[Finding]:
        """Say so if the labels do not follow the champion's scores at all, and nothing can be told of one source."""
        others = [name for name in self.names if name not in aside]
        left = [name for name in others if self._judge(name, aside=aside) is None]
        if not left:
            return
        slope = flips.control(self._labels, self._scores, self._blocks).slope
        words = (
            f"{len(left)} of {len(self.names)} sources were not judged: the others do not follow the champion's scores"
        )
        action = Action.WARN
        if slope <= _AGAINST:
            words, action = (
                f"the new labels go against the champion's scores (slope {slope:.2f}): is it they, or the champion?",
                Action.STOP,
            )
        yield Finding(guard=PoisoningCheck.name, action=action, words=words, numbers={"slope": slope})

    def by_suspicion(self) -> list[str]:
        """Return the sources, those whose labels look flipped most first."""
        found = {name: self._judge(name, aside={}) for name in self.names}
        return sorted(self.names, key=lambda name: 0.0 if (flip := found[name]) is None else -flip.ratio)

    def labels_of(self, source: str) -> pl.Series:
        """Say of each row of the batch whether its label came from the source and can be read."""
        return self._readable & (self._batch.sources(self._check.by).fill_null("") == source)

    def holds(self, source: str) -> tuple[Hold, ...]:
        """Return holds on a source's labels."""
        return self._batch.holds(self.labels_of(source), FragmentKind.LABELS)

    def _judge(self, name: str, *, aside: Mapping[str, Flips]) -> Flips | None:
        """Return a source's flips, None if the concurrent sources do not follow the champion."""
        mine = self._sources == name
        control = self._control(mine | np.isin(self._sources, list(aside)))
        if control is None:
            return None
        least = self._check.least if control is not UNMOVED else max(_ALONE, self._check.least)
        weight = _WEIGHT_OF_FEW if len(np.unique(self._blocks[mine])) < _FEW_DAYS else 1.0
        odds = control.odds(self._scores[mine], self._blocks[mine])
        return flips.estimate(self._labels[mine], odds, least=least, weight=weight)

    def _control(self, left_out: NDArray[np.bool_]) -> Control | None:
        others = ~left_out
        if others.sum() < self._check.min_labels:
            return UNMOVED
        found = flips.control(self._labels[others], self._scores[others], self._blocks[others])
        return found if found.slope >= _LEAST_SLOPE else None


def check_poisoning(
    *,
    by: str | None = None,
    alpha: float = 0.01,
    least: float = 0.15,
    min_labels: int = 100,
    max_share: float | None = None,
    max_count: int | None = None,
    influence: float | None = None,
) -> PoisoningCheck:
    """Check each source of labels against the trusted past; what looks poisoned goes into quarantine.

    A source is where labels came from, or a column (`by="carrier"`). Flips: the champion's scores, as concurrent
    sources on the same days follow them, say which labels were to be expected; a source of which surely more than the
    share `least` is flipped is held, with a chance of `alpha` at most to say it falsely over the whole life of a loop.
    Sources with fewer than `min_labels` new labels are not judged by that: cap them by `max_count`, the most labels
    that one source may bring in a cycle, or by `max_share`, the largest share of all. `influence` retrains without a
    suspected source and holds it if it costs more than so much log loss on rows that it has no part in.

    Raises `Invalid` for bars that cannot be meant.
    """
    if not 0 < alpha < 0.5 or not 0 < least < 0.5:  # noqa: PLR2004 - a coin's chance
        raise Invalid("alpha and least are shares below a half", hint="alpha=0.01 and least=0.15 are usual")
    if max_share is not None and not 0 < max_share <= 1:
        raise Invalid(f"a share of {max_share} cannot be meant", hint="between 0 and 1")
    if max_count is not None and max_count < 1:
        raise Invalid(f"a source that may bring {max_count} labels brings none", hint="leave it out instead")
    return PoisoningCheck(
        by=by, alpha=alpha, least=least, min_labels=min_labels, max_share=max_share, max_count=max_count,
        influence=influence,
    )  # fmt: skip


def _unjudged(batch: Batch) -> Finding | None:
    """Say why labels cannot be judged, None if they can."""
    if batch.unread:
        words = f"the champion cannot score the new rows: {batch.unread}"
        return Finding(guard=PoisoningCheck.name, action=Action.STOP, words=words)
    if batch.scores is None:
        words = "labels were not judged: there is no champion yet that learned from a trusted past"
        return Finding(guard=PoisoningCheck.name, action=Action.WARN, words=words)
    label = batch.rows[batch.dataset.label] if batch.dataset.label in batch.rows.columns else None
    values = [] if label is None else label.drop_nulls().unique().to_list()
    if not set(values) <= {0, 1}:
        words = "labels were not judged: flips are estimated for labels of two classes"
        return Finding(guard=PoisoningCheck.name, action=Action.WARN, words=words)
    told = batch.scores[np.isfinite(batch.scores)]
    if ((told < 0) | (told > 1)).any():
        words = "labels were not judged: the champion's scores are no chances"
        return Finding(guard=PoisoningCheck.name, action=Action.WARN, words=words)
    return None


def _unread(batch: Batch, unread: pl.Series) -> Finding:
    holds = batch.holds(unread, FragmentKind.LABELS)
    words = f"the champion's score of {len(holds):,} rows cannot be read, so their labels are held"
    return Finding(guard=PoisoningCheck.name, action=Action.QUARANTINE, words=words, holds=holds)


def _of_source(
    source: str, action: Action, words: str, numbers: Mapping[str, float], *, holds: tuple[Hold, ...] = ()
) -> Finding:
    return Finding(guard=PoisoningCheck.name, action=action, words=words, numbers=numbers, source=source, holds=holds)
