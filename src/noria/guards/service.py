"""Verbs of the guards: judge a batch, put into quarantine, look, release, erase; propose and approve schemas."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from noria.access.model import Permission
from noria.access.service import Access
from noria.core.clock import Clock
from noria.core.context import Context
from noria.core.errors import Conflict, NotFound
from noria.datasets.holding import Held
from noria.datasets.model import Erasure, FragmentKind, Hold
from noria.datasets.service import Datasets
from noria.guards import queries, rules, schemas
from noria.guards.model import (
    ColumnRule,
    Finding,
    Judgement,
    Quarantined,
    QuarantineGroup,
    QuarantineState,
    Schema,
    SchemaState,
)
from noria.guards.rules import Choice
from noria.guards.spec import Batch, Guard
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.store.database import Connection, Database

_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class Guards:
    """Judges data before anything learns from it, and keeps what is in quarantine."""

    def __init__(self, database: Database, datasets: Datasets, *, ledger: Ledger, access: Access, clock: Clock) -> None:
        self._database = database
        self._datasets = datasets
        self._ledger = ledger
        self._access = access
        self._clock = clock

    # --- judging

    def judge(self, context: Context, batch: Batch, guards: Sequence[Guard]) -> Judgement:
        """Return what the guards find in a batch, held against the dataset's schema; nothing is written."""
        schema = rules.enforced(self.schemas(context, batch.dataset.name))
        return rules.judge(replace(batch, schema=schema), guards)

    def quarantine_in(
        self, connection: Connection, context: Context, dataset: str, judgement: Judgement, *, cycle: str
    ) -> int:
        """Put what was found into quarantine in the caller's transaction; return the number of the change.

        That number says, for ever, what was held after it; without anything to hold it is that of the last change.
        """
        self._access.require(context, Permission.DATA_WRITE)
        last = queries.last_change(connection, context.project, dataset)
        entries = self._entries(context, dataset, judgement, cycle=cycle, change=last + 1)
        if not entries:
            return last
        queries.insert_entries(connection, context.project, entries)
        for finding in judgement.findings:
            if finding.holds:
                self._tell(connection, context, dataset, finding, cycle=cycle)
        return last + 1

    # --- what is held

    def held(self, context: Context, dataset: str, *, change: int | None = None) -> Held:
        """Return what reads leave out now, or left out after a change to the quarantine."""
        self._access.require(context, Permission.DATA_READ)

        def query(connection: Connection) -> list[Quarantined]:
            at = queries.last_change(connection, context.project, dataset) if change is None else change
            return queries.held_at(connection, context.project, dataset, at) if at else []

        return Held(entry.hold() for entry in self._database.read(query))

    def pardoned(self, context: Context, dataset: str) -> set[str]:
        """Return the keys of what was released: a person has judged it, so no guard judges it again."""
        released = self.entries(context, dataset, Choice(state=QuarantineState.RELEASED))
        return {entry.key for entry in released}

    def entries(self, context: Context, dataset: str, choice: Choice) -> list[Quarantined]:
        """Return single rows and labels of a dataset's quarantine, in the order in which they were held."""
        self._access.require(context, Permission.DATA_READ)
        return self._database.read(lambda c: queries.entries(c, context.project, dataset, choice))

    def groups(self, context: Context, dataset: str | None = None) -> list[QuarantineGroup]:
        """Return what is or was in quarantine, of one dataset or of all, a line for each source and reason."""
        self._access.require(context, Permission.DATA_READ)
        return self._database.read(lambda c: queries.groups(c, context.project, dataset))

    def release(self, context: Context, dataset: str, choice: Choice, *, reason: str) -> int:
        """Let what is chosen be read again, and never be judged again; return how many rows and labels it were.

        Raises `NotFound` if nothing that is held was meant.
        """
        self._access.require(context, Permission.REVIEW)
        chosen = replace(choice, state=QuarantineState.HELD, limit=None)

        def work(connection: Connection) -> int:
            change = queries.last_change(connection, context.project, dataset) + 1
            count = queries.end(
                connection, context.project, dataset, chosen,
                state=QuarantineState.RELEASED, ended_in=change, by=str(context.actor), at=self._clock.now(),
            )  # fmt: skip
            if not count:
                raise _nothing_held(dataset, choice)
            told = {"dataset": dataset, "count": count, "which": choice.told(), "reason": reason}
            self._ledger.record(connection, context, FactKind.ROWS_RELEASED, subject=dataset, payload=told)
            return count

        return self._database.write(work)

    def erase(self, context: Context, dataset: str, choice: Choice, *, reason: str) -> Erasure:
        """Remove what is chosen from every snapshot, rows with all their labels or labels alone; it cannot be undone.

        Raises `NotFound` if nothing that is held was meant.
        """
        self._access.require(context, Permission.REVIEW)
        chosen = replace(choice, state=QuarantineState.HELD, limit=None)
        entries = self.entries(context, dataset, chosen)
        if not entries:
            raise _nothing_held(dataset, choice)

        def also(connection: Connection, erasure: Erasure) -> None:
            change = queries.last_change(connection, context.project, dataset) + 1
            count = queries.end(
                connection, context.project, dataset, chosen, state=QuarantineState.ERASED, ended_in=change,
                by=str(context.actor), at=self._clock.now(), key=erasure.commitment,
            )  # fmt: skip
            if count != len(entries):
                raise Conflict("the quarantine changed just now", hint="look again: noria quarantine ls")
            self._tell_erased(connection, context, erasure)

        held = Held(entry.hold() for entry in entries)
        return self._datasets.erase(context, dataset, held, reason=reason, also=also)

    def erase_keys(self, context: Context, dataset: str, keys: Collection[str], *, reason: str) -> Erasure:
        """Remove the rows of some keys from every snapshot, and the keys from the quarantine; it cannot be undone.

        Erasing what is not there, or no longer, is fine, and told as well.
        """
        self._access.require(context, Permission.REVIEW)

        def also(connection: Connection, erasure: Erasure) -> None:
            change = queries.last_change(connection, context.project, dataset) + 1
            for key in keys:
                queries.end(
                    connection, context.project, dataset, Choice(key=key, state=None), state=QuarantineState.ERASED,
                    ended_in=change, by=str(context.actor), at=self._clock.now(), key=erasure.commitment,
                )  # fmt: skip
            self._tell_erased(connection, context, erasure)

        held = Held(Hold(kind=FragmentKind.ROWS, key=key, time=_ANY_TIME, through=0) for key in keys)
        return self._datasets.erase(context, dataset, held, reason=reason, also=also)

    # --- schemas

    def schemas(self, context: Context, dataset: str) -> list[Schema]:
        """Return all versions of a dataset's schema, oldest first."""
        self._access.require(context, Permission.DATA_READ)
        return self._database.read(lambda c: queries.all_schemas(c, context.project, dataset))

    def schema(self, context: Context, dataset: str, version: int | None = None) -> Schema:
        """Return a version of a dataset's schema, or the one that rows are held against; raises `NotFound`."""
        known = self.schemas(context, dataset)
        found = rules.enforced(known) if version is None else next((s for s in known if s.version == version), None)
        if found is None:
            name = dataset if version is None else f"{dataset}@{version}"
            raise NotFound("schema", name, known=known, hint=f"propose one: noria schema propose {dataset}")
        return found

    def propose(
        self, context: Context, dataset: str, *, with_ranges: bool = False, with_categories: bool = False
    ) -> Schema:
        """Propose a schema of all rows there are, held ones left out; the same rules are not proposed twice."""
        declared = self._datasets.dataset(context, dataset)
        rows = self._datasets.read(context, dataset, without=self.held(context, dataset))
        columns = schemas.infer(declared, rows, with_ranges=with_ranges, with_categories=with_categories)
        return self._database.write(lambda c: self.propose_in(c, context, dataset, columns))

    def has_schema(self, connection: Connection, context: Context, dataset: str) -> bool:
        """Say in the caller's transaction whether a schema was ever proposed."""
        return bool(queries.all_schemas(connection, context.project, dataset))

    def propose_in(
        self, connection: Connection, context: Context, dataset: str, columns: Sequence[ColumnRule]
    ) -> Schema:
        """Propose rules in the caller's transaction; return the newest schema if it has them already."""
        self._access.require(context, Permission.DATA_WRITE)
        known = queries.all_schemas(connection, context.project, dataset)
        if known and schemas.same_rules(known[-1], columns):
            return known[-1]
        made = Schema(
            dataset=dataset,
            version=len(known) + 1,
            state=SchemaState.PROPOSED,
            columns=tuple(columns),
            proposed_by=str(context.actor),
            proposed_at=self._clock.now(),
        )
        queries.insert_schema(connection, context.project, made)
        told = {"dataset": dataset, "version": made.version, "columns": len(made.columns)}
        self._ledger.record(connection, context, FactKind.SCHEMA_PROPOSED, subject=dataset, payload=told)
        return made

    def approve(self, context: Context, dataset: str, version: int | None = None) -> Schema:
        """Approve a version, the newest if none is named: from now on it is enforced. Raises `NotFound`, `Conflict`."""
        self._access.require(context, Permission.REVIEW)
        known = self.schemas(context, dataset)
        wanted = self.schema(context, dataset, known[-1].version if version is None and known else version)
        if wanted.state is SchemaState.APPROVED:
            raise Conflict(f"schema {wanted} was approved by {wanted.approved_by} already")

        def work(connection: Connection) -> None:
            by, now = str(context.actor), self._clock.now()
            queries.approve_schema(connection, context.project, dataset, wanted.version, by=by, at=now)
            told = {"dataset": dataset, "version": wanted.version}
            self._ledger.record(connection, context, FactKind.SCHEMA_APPROVED, subject=dataset, payload=told)

        self._database.write(work)
        return self.schema(context, dataset, wanted.version)

    # --- inside

    def _entries(
        self, context: Context, dataset: str, judgement: Judgement, *, cycle: str, change: int
    ) -> list[Quarantined]:
        """Return one entry for each row or label, with the first reason that was found for it."""
        found: dict[tuple[FragmentKind, str], Quarantined] = {}
        for finding in judgement.findings:
            for hold in finding.holds:
                entry = Quarantined(
                    dataset=dataset, kind=hold.kind, key=hold.key, time=hold.time, through=hold.through,
                    source=finding.source or "", guard=finding.guard, reason=finding.words, cycle=cycle,
                    state=QuarantineState.HELD, held_in=change, ended_in=None,
                    by=str(context.actor), at=self._clock.now(),
                )  # fmt: skip
                found.setdefault((hold.kind, hold.key), entry)
        return list(found.values())

    def _tell_erased(self, connection: Connection, context: Context, erasure: Erasure) -> None:
        told: dict[str, object] = {"dataset": erasure.dataset, "erasure": erasure.id, "rows": erasure.rows}
        told |= {"labels": erasure.labels, "snapshots": erasure.snapshots, "commitment": erasure.commitment}
        told |= {"reason": erasure.reason}
        self._ledger.record(connection, context, FactKind.ROWS_ERASED, subject=erasure.dataset, payload=told)

    def _tell(self, connection: Connection, context: Context, dataset: str, finding: Finding, *, cycle: str) -> None:
        kinds = sorted({hold.kind.value for hold in finding.holds})
        told = {"dataset": dataset, "source": finding.source, "guard": finding.guard, "cycle": cycle, "kinds": kinds}
        told |= {"count": len(finding.holds), "reason": finding.words}
        self._ledger.record(connection, context, FactKind.ROWS_QUARANTINED, subject=dataset, payload=told)


def _nothing_held(dataset: str, choice: Choice) -> NotFound:
    return NotFound(
        "held rows in the quarantine of", f"{dataset}: {choice.words()}", hint="noria quarantine ls shows them"
    )
