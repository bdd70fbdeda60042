"""What a read leaves out: held rows, and held labels until later ones replace them."""

from collections.abc import Iterable
from datetime import datetime

import polars as pl

from noria.core import digests
from noria.datasets.model import Fragment, FragmentKind, Hold


class Held:
    """The holds that a read leaves out; of two, the same holds have the same digest in whatever order they come."""

    def __init__(self, holds: Iterable[Hold] = ()) -> None:
        self.holds = tuple(sorted(set(holds), key=lambda hold: (hold.kind.value, hold.key, hold.through)))
        self._rows = {hold.key for hold in self.holds if hold.kind is FragmentKind.ROWS}
        self._labels: dict[int, set[str]] = {}
        for hold in self.holds:
            if hold.kind is FragmentKind.LABELS:
                self._labels.setdefault(hold.through, set()).add(hold.key)

    def __bool__(self) -> bool:
        return bool(self.holds)

    def __or__(self, other: "Held") -> "Held":
        return Held((*self.holds, *other.holds))

    def inside(self, *, as_of: datetime | None, since: datetime | None, until: datetime | None) -> "Held":
        """Return the holds on rows that a window shows, so that others do not change its digest."""
        return Held(
            hold
            for hold in self.holds
            if (since is None or hold.time >= since)
            and (until is None or hold.time < until)
            and (as_of is None or hold.time <= as_of)
        )

    def digest(self) -> str:
        """Return the digest of what is left out."""
        return digests.of_json([[hold.kind.value, hold.key, hold.through] for hold in self.holds])

    def keys(self, part: Fragment) -> set[str]:
        """Return the keys, spelled as texts, that are left out of a fragment."""
        if part.kind is FragmentKind.ROWS:
            return self._rows
        reaching = (names for through, names in self._labels.items() if part.added_in <= through)
        return set[str]().union(*reaching)

    def left_in(self, part: Fragment, frame: pl.DataFrame, *, key: str) -> pl.DataFrame:
        """Return a fragment's rows or labels without those that are held."""
        names = self.keys(part)
        return frame.filter(~spelled(frame[key]).is_in(list(names))) if names else frame


def spelled(keys: pl.Series) -> pl.Series:
    """Return keys as texts, the way holds name them."""
    return keys.cast(pl.String)
