"""Erases rows and labels from every snapshot: rewrites the fragments that hold them, and drops the old blobs."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from noria.core.clock import Clock
from noria.core.context import Context
from noria.core.digests import canonical_json
from noria.core.errors import Stale
from noria.core.ids import Ids
from noria.datasets import queries, rules
from noria.datasets.fragments import FragmentList, FragmentReader
from noria.datasets.holding import Held, spelled
from noria.datasets.model import KNOWN_AT, Dataset, Erasure, Fragment, FragmentKind
from noria.store.blobs import Blobs
from noria.store.database import Connection, Database

_TRIES = 20
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rewrite:
    """A fragment and what is left of it, None for nothing."""

    before: Fragment
    after: Fragment | None

    @property
    def gone(self) -> int:
        """Return how many rows or labels it loses."""
        return self.before.rows - (0 if self.after is None else self.after.rows)


class Eraser:
    """Erases; blobs that a crash kept from being dropped are dropped by the next erasure, or by `sweep`."""

    def __init__(
        self, database: Database, blobs: Blobs, reader: FragmentReader, listed: FragmentList, *, clock: Clock, ids: Ids,
        key: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:  # fmt: skip
        self._database = database
        self._blobs = blobs
        self._reader = reader
        self._listed = listed
        self._clock = clock
        self._ids = ids
        self._key = key

    def erase(
        self,
        context: Context,
        dataset: Dataset,
        held: Held,
        *,
        reason: str,
        also: Callable[[Connection, Erasure], None],
    ) -> Erasure:
        """Erase what is held from every snapshot; see `Datasets.erase`."""
        for _ in range(_TRIES - 1):
            try:
                return self._once(context, dataset, held, reason=reason, also=also)
            except Stale:
                continue
        return self._once(context, dataset, held, reason=reason, also=also)

    def sweep(self) -> None:
        """Drop the blobs of erasures that a crash cut short."""
        for erasure, blobs in self._database.read(queries.leftovers).items():
            for blob in blobs:
                if not self._database.read(lambda c, blob=blob: queries.is_needed(c, blob)):
                    self._blobs.drop(blob)
            self._database.write(lambda c, erasure=erasure: queries.set_leftover(c, erasure, []))

    def _once(
        self,
        context: Context,
        dataset: Dataset,
        held: Held,
        *,
        reason: str,
        also: Callable[[Connection, Erasure], None],
    ) -> Erasure:
        there = self._listed.of(context, dataset.name)
        first = next((part for part in there if part.kind is FragmentKind.ROWS), None)
        rewrites = [made for part in there if (made := self._rewritten(dataset, part, held, keep=part is first))]
        key = self._key(_KEY_BYTES)
        told = Erasure(
            id=self._ids.new("erasure"),
            dataset=dataset.name,
            rows=sum(each.gone for each in rewrites if each.before.kind is FragmentKind.ROWS),
            labels=sum(each.gone for each in rewrites if each.before.kind is FragmentKind.LABELS),
            snapshots=len({each.before.added_in for each in rewrites}),
            commitment=commitment(key, held),
            reason=reason,
            by=str(context.actor),
            at=self._clock.now(),
        )
        through = there[-1].added_in if there else 0

        def work(connection: Connection) -> None:
            queries.lock(connection, context.project, dataset.name)
            if queries.fragments_after(connection, context.project, dataset.name, through):
                raise Stale(f"dataset {dataset.name!r} got another snapshot meanwhile", hint="try again")
            self._write(connection, context, dataset, rewrites)
            old = sorted({blob for each in rewrites for blob in (each.before.blob, each.before.profile) if blob})
            queries.insert_erasure(connection, context.project, told, key=key.hex(), leftover=old)
            also(connection, told)

        self._database.write(work)
        self._reader.forget()
        self.sweep()
        return told

    def _rewritten(self, dataset: Dataset, part: Fragment, held: Held, *, keep: bool) -> _Rewrite | None:
        """Return a fragment without what is to be erased, None if nothing of it is; `keep` keeps an emptied one."""
        doomed = held.keys(part)
        if part.kind is FragmentKind.LABELS:  # an erased row takes all its labels along
            doomed = doomed | {hold.key for hold in held.holds if hold.kind is FragmentKind.ROWS}
        if not doomed:
            return None
        frame = self._reader.frame(part)
        left = frame.filter(~spelled(frame[dataset.key]).is_in(list(doomed)))
        if left.height == frame.height:
            return None
        if not left.height and not keep:
            return _Rewrite(before=part, after=None)
        return _Rewrite(before=part, after=self._stored(dataset, part, left))

    def _stored(self, dataset: Dataset, part: Fragment, left: pl.DataFrame) -> Fragment:
        blob, digest = self._reader.put(left)
        first_key, last_key = rules.key_range(left[dataset.key]) if left.height else ("", "")
        made = replace(part, blob=blob, digest=digest, rows=left.height, first_key=first_key, last_key=last_key)
        if part.kind is FragmentKind.ROWS:
            return replace(made, profile=self._reader.put_profile(left))
        return replace(made, known_from=left[0, KNOWN_AT], known_through=left[-1, KNOWN_AT])

    @staticmethod
    def _write(connection: Connection, context: Context, dataset: Dataset, rewrites: Sequence[_Rewrite]) -> None:
        for each in rewrites:
            is_rows = each.before.kind is FragmentKind.ROWS
            queries.rewrite_fragment(connection, each.before, each.after)
            queries.reduce_snapshot(
                connection,
                context.project,
                dataset.name,
                each.before.added_in,
                rows=each.gone if is_rows else 0,
                labels=0 if is_rows else each.gone,
            )


def commitment(key: bytes, held: Held) -> str:
    """Return the keyed commitment to what is erased: an HMAC that says nothing to who has not its key."""
    told = [[hold.kind.value, hold.key] for hold in held.holds]
    return hmac.new(key, canonical_json(told), hashlib.sha256).hexdigest()
