"""What a world knows and when, kept in plain Python beside the platform: what every read is held against."""

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from worlds import World


@dataclass
class Knowledge:
    """Rows and labels that were acknowledged, in the order in which they were."""

    world: World
    rows: dict[Any, dict[str, Any]] = field(default_factory=dict)
    labels: list[tuple[Any, Any, datetime]] = field(default_factory=list)

    def pushed(self, rows: list[dict[str, Any]]) -> None:
        """Note rows that were acknowledged."""
        self.rows |= {row[self.world.key]: row for row in rows}

    def labelled(self, key: Any, value: Any, known_at: datetime) -> None:
        """Note a label that was acknowledged."""
        self.labels.append((key, value, known_at))

    def as_of(self, moment: datetime | None) -> dict[Any, dict[str, Any]]:
        """Return what may be seen at a moment: rows that had happened, each with the label that was known last."""
        world = self.world
        seen = {
            key: {name: row.get(name) for name in (world.key, world.time, *(column.name for column in world.columns))}
            for key, row in self.rows.items()
            if moment is None or row[world.time] <= moment
        }
        last: dict[Any, datetime] = {}
        for key, value, known_at in self.labels:
            if key in seen and (moment is None or known_at <= moment) and known_at >= last.get(key, known_at):
                last[key] = known_at
                seen[key] |= {world.label: value, "known_at": known_at}
        for row in seen.values():
            row.setdefault(world.label, None)
            row.setdefault("known_at", None)
        return seen

    def differences(self, found: list[dict[str, Any]], moment: datetime | None) -> list[str]:
        """Return in words where rows that were read are not what may be seen; at most a few."""
        expected, key = self.as_of(moment), self.world.key
        keys = [row[key] for row in found]
        times = Counter(keys)
        told = [f"key {one!r} comes {count} times" for one, count in times.items() if count > 1]
        told += [f"row {one!r} is missing" for one in expected if one not in times]
        told += [f"row {one!r} was never acknowledged, or not known yet" for one in keys if one not in expected]
        for row in found:
            wanted = expected.get(row[key], row)
            told += [
                f"row {row[key]!r} has {name!r} {row.get(name)!r}, not {value!r}"
                for name, value in wanted.items()
                if not same(row.get(name), value)
            ]
        return told[:5]


def same(found: Any, wanted: Any) -> bool:
    """Say whether two cells are equal: exactly, a missing number being as missing as None, True never being 1."""
    found, wanted = (None if isinstance(cell, float) and math.isnan(cell) else cell for cell in (found, wanted))
    if isinstance(wanted, datetime) and isinstance(found, datetime):
        return found.astimezone(UTC) == wanted.astimezone(UTC)
    if isinstance(found, bool) is not isinstance(wanted, bool):
        return False
    return bool(found == wanted)
