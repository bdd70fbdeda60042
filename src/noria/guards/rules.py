"""Pure decisions of the guards: what all checks say together, and which entries of a quarantine are meant."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from noria.datasets.holding import spelled
from noria.guards.model import Judgement, QuarantineState, Schema, SchemaState
from noria.guards.spec import Batch, Guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which entries of a dataset's quarantine are meant; None means any."""

    source: str | None = None
    guard: str | None = None
    cycle: str | None = None
    key: str | None = None
    state: QuarantineState | None = QuarantineState.HELD
    limit: int | None = None
    after: tuple[int, int] | None = None
    """Only those that come after this change and place in it."""

    def words(self) -> str:
        """Return it as a person would say it."""
        named = {"source": self.source, "guard": self.guard, "cycle": self.cycle, "key": self.key}
        return ", ".join(f"{name} {value}" for name, value in named.items() if value is not None) or "everything held"

    def told(self) -> str:
        """Return it as a fact tells it: facts stay for ever, so no key is in them."""
        return replace(self, key="of one row").words() if self.key is not None else self.words()


def judge(batch: Batch, guards: Iterable[Guard]) -> Judgement:
    """Return what all guards found in a batch; a batch without rows has nothing to find."""
    if not batch.rows.height:
        return Judgement()
    return Judgement(findings=tuple(finding for guard in guards for finding in guard.findings(batch)))


def enforced(schemas: Sequence[Schema]) -> Schema | None:
    """Return the schema that rows are held against: the newest approved one, else the newest proposed one."""
    approved = [schema for schema in schemas if schema.state is SchemaState.APPROVED]
    return (approved or list(schemas) or [None])[-1]


def unpardoned(rows: pl.DataFrame, *, key: str, pardoned: Iterable[str]) -> pl.DataFrame:
    """Return the rows without those that a person has released: they are not judged again."""
    names = list(pardoned)
    return rows.filter(~spelled(rows[key]).is_in(names)) if names else rows
