"""Verbs of the ledger: record a fact, seal what is recorded, follow what is sealed, audit all of it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from noria.core.clock import Clock
from noria.core.context import Context
from noria.core.digests import canonical_json
from noria.core.errors import NotFound
from noria.core.ids import Ids
from noria.ledger import merkle, notes, queries
from noria.ledger.model import Audit, Checkpoint, Fact, FactKind
from noria.ledger.notes import Signer
from noria.store.database import Connection, Database, Durability
from noria.store.waking import after_commit

_CHECKPOINT_EVERY = 1000
FACTS = "facts"
"""The topic on which `Database.listen` hears that a fact was told."""


class Ledger:
    """Facts in one order, under one Merkle tree (RFC 6962), with signed checkpoints."""

    def __init__(self, database: Database, signer: Signer, *, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._signer = signer
        self._clock = clock
        self._ids = ids

    def record(
        self,
        connection: Connection,
        context: Context,
        kind: FactKind,
        *,
        subject: str,
        payload: Mapping[str, Any],
    ) -> Fact:
        """Tell a fact in the transaction of the state it tells of; both are there, or neither is."""
        fact = Fact(
            id=self._ids.new("fact"),
            position=None,
            kind=kind,
            project=context.project,
            actor=str(context.actor),
            subject=subject,
            at=self._clock.now(),
            payload=payload,
        )
        queries.insert_fact(connection, fact)
        after_commit(connection, FACTS)
        return fact

    def seal(self, *, limit: int = 1000) -> int:
        """Give unsealed facts their positions and put them into the tree; return how many there were.

        One sequencer at a time: others wait for its transaction. Positions have no gaps.
        """
        if not self._database.read(queries.count_unsealed):
            return 0

        def work(connection: Connection) -> int:
            size, _ = queries.lock_head(connection)
            waiting = queries.unsealed(connection, limit=limit)
            sealed = [replace(fact, position=size + offset) for offset, fact in enumerate(waiting)]
            if not sealed:
                return 0
            queries.seal(connection, sealed)
            root = _grow(connection, size, sealed)
            queries.move_head(connection, size=size + len(sealed), root=root.hex())
            self._checkpoint_if_due(connection, size + len(sealed), root)
            return len(sealed)

        return self._database.write(work, durability=Durability.STEP)

    def after(self, position: int, *, project: str | None = None, limit: int = 256) -> list[Fact]:
        """Return sealed facts that come after a position (-1 for the beginning), in order."""
        return self._database.read(lambda connection: queries.after(connection, position, limit=limit, project=project))

    def get(self, context: Context, fact_id: str) -> Fact:
        """Return a fact of the context's project; raises `NotFound`."""
        found = self._database.read(lambda connection: queries.find(connection, context.project, fact_id))
        if found is None:
            raise NotFound("fact", fact_id)
        return found

    def newest(self, context: Context) -> Fact | None:
        """Return the fact that was told last in the context's project, None when there is none."""
        return self._database.read(lambda connection: queries.newest(connection, context.project))

    def about(self, context: Context, subject: str) -> list[Fact]:
        """Return all facts about one subject in the context's project, oldest first."""
        return self._database.read(lambda connection: queries.about(connection, context.project, subject))

    @staticmethod
    def last_time(connection: Connection, context: Context, subject: str, kind: FactKind) -> datetime | None:
        """Return when such a fact was told last of a subject, as the caller's transaction sees it; None if never."""
        return queries.last_time(connection, context.project, subject, kind)

    def checkpoint(self) -> Checkpoint | None:
        """Seal what is recorded and sign the tree as it stands; None while the ledger is empty.

        Keep the note elsewhere: it is what shows, later, that the tail was cut.
        """
        while self.seal():
            pass

        def work(connection: Connection) -> Checkpoint | None:
            size, root = queries.lock_head(connection)
            last = queries.last_checkpoint(connection)
            if size == 0 or (last is not None and last.size == size):
                return last
            return self._sign(connection, size, bytes.fromhex(root))

        return self._database.write(work)

    def audit(self, *, kept: Iterable[str] = ()) -> Audit:
        """Recompute the whole tree from the facts and hold it against every checkpoint.

        `kept` are checkpoint notes that were stored elsewhere; a ledger whose tail was cut cannot satisfy them.
        """

        def look(connection: Connection) -> Audit:
            size, root = queries.head(connection)
            marks = queries.all_checkpoints(connection)
            notes_to_hold = [mark.note for mark in marks] + list(kept)
            roots, problems = _recompute(connection, {notes.contents(note)[0] for note in notes_to_hold} | {size})
            found = roots.get(size)
            if size and (found is None or found.hex() != root):
                problems.append(f"the tree's root over {size} facts is not the one stored")
            problems += [problem for note in notes_to_hold for problem in self._doubts(note, roots)]
            return Audit(
                facts=size,
                unsealed=queries.count_unsealed(connection),
                root=root,
                checkpoints=len(marks),
                problems=tuple(problems),
            )

        return self._database.read(look)

    def _doubts(self, note: str, roots: Mapping[int, bytes]) -> list[str]:
        size, root = notes.contents(note)
        doubts: list[str] = []
        if not self._signer.holds(note):
            doubts.append(f"the signature of the checkpoint at {size} facts does not hold")
        if roots.get(size) != root:
            doubts.append(f"the facts are not those that the checkpoint at {size} facts was signed over")
        return doubts

    def _checkpoint_if_due(self, connection: Connection, size: int, root: bytes) -> None:
        last = queries.last_checkpoint(connection)
        if size - (last.size if last else 0) >= _CHECKPOINT_EVERY:
            self._sign(connection, size, root)

    def _sign(self, connection: Connection, size: int, root: bytes) -> Checkpoint:
        note = self._signer.sign(size=size, root=root)
        checkpoint = Checkpoint(size=size, root=root.hex(), at=self._clock.now(), note=note)
        queries.insert_checkpoint(connection, checkpoint)
        return checkpoint


def _grow(connection: Connection, size: int, sealed: Iterable[Fact]) -> bytes:
    """Append the facts' leaves to the stored tree and return its new root."""
    made: dict[tuple[int, int], bytes] = {}

    def get(level: int, index: int) -> bytes:
        known = made.get((level, index))
        return known if known is not None else queries.node(connection, level, index)

    for fact in sealed:
        made.update(merkle.append(size, merkle.leaf_hash(canonical_json(fact.content())), get))
        size += 1
    queries.insert_nodes(connection, made.items())
    return merkle.root(size, get)


def _recompute(connection: Connection, sizes: set[int]) -> tuple[dict[int, bytes], list[str]]:
    """Return the tree's root at each wanted size, built anew from the facts, and the gaps found on the way."""
    nodes: dict[tuple[int, int], bytes] = {}

    def get(level: int, index: int) -> bytes:
        return nodes[level, index]

    roots: dict[int, bytes] = {}
    problems: list[str] = []
    for place, fact in enumerate(queries.every(connection)):
        if fact.position != place:
            problems.append(f"fact {place} is missing: the next one is {fact.position}")
            break
        nodes.update(merkle.append(place, merkle.leaf_hash(canonical_json(fact.content())), get))
        if place + 1 in sizes:
            roots[place + 1] = merkle.root(place + 1, get)
    return roots, problems
