"""Pure decisions of the registry."""

from collections.abc import Sequence
from typing import Any

from noria.registry.model import ModelVersion, Move


def version_before(moves: Sequence[Move]) -> int | None:
    """Return the champion that a rollback goes back to, None when there is none.

    Rollbacks are undone moves: two in a row go back two steps, and a promotion after them begins anew from there.

    >>> version_before([])
    """
    standing: list[int] = []
    for move in moves:
        if move.to is None:
            continue
        if move.is_rollback and move.to in standing:
            del standing[standing.index(move.to) + 1 :]
        else:
            standing.append(move.to)
    return standing[-2] if len(standing) > 1 else None


def told(version: ModelVersion) -> dict[str, Any]:
    """Return what the ledger is told of a new version."""
    return {
        "model": version.model,
        "version": version.number,
        "run": version.run,
        "snapshot": version.snapshot,
        "trained_through": version.trained_through.isoformat(),
        "artifact": version.artifact.digest,
        "code": version.code,
        "environment": version.environment,
        "parent": version.parent,
        "bundle": version.bundle,
    }
