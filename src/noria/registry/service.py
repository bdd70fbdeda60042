"""Verbs of the registry: register, promote, roll back, look up."""

from collections.abc import Callable, Mapping
from typing import Any

from noria.access.model import Permission
from noria.access.service import Access
from noria.core.clock import Clock
from noria.core.context import Context
from noria.core.errors import Conflict, NotFound, Stale
from noria.core.ids import Ids
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.registry import queries, rules
from noria.registry.environment import environment, environment_digest
from noria.registry.model import ANCHOR, CHAMPION, AliasState, ModelVersion, Move, Trained
from noria.store import retirements
from noria.store.database import Connection, Database
from noria.store.retirements import Kind

Verify = Callable[[ModelVersion], None]
"""Raises `CannotServe` for a version whose bytes are not all there."""


class Registry:
    """Models and their versions; moving an alias is a compare-and-set decision with a fact.

    Verbs that end in `_in` do their work in the caller's transaction, so that a loop decides and tells in one. They do
    not verify what a version is made of, which takes reading it: their callers do that before.
    """

    def __init__(
        self,
        database: Database,
        *,
        ledger: Ledger,
        access: Access,
        clock: Clock,
        ids: Ids,
        verify: Verify | None = None,
    ) -> None:
        self._database = database
        self._verify = verify
        self._ledger = ledger
        self._access = access
        self._clock = clock
        self._ids = ids

    def register(self, context: Context, model: str, trained: Trained) -> ModelVersion:
        """Register what a run trained as the model's next version; the same run again is the same version."""
        return self._database.write(lambda connection: self.register_in(connection, context, model, trained))

    def register_in(self, connection: Connection, context: Context, model: str, trained: Trained) -> ModelVersion:
        """Register in the caller's transaction; see `register`."""
        self._access.require(context, Permission.MODEL_WRITE)
        known = queries.version_of_run(connection, context.project, trained.run)
        if known is not None:
            return known
        queries.put_environment(connection, environment_digest(), environment())
        version = ModelVersion(
            id=self._ids.new("version"),
            project=context.project,
            model=model,
            number=queries.next_number(connection, context.project, model),
            artifact=trained.artifact,
            run=trained.run,
            snapshot=trained.snapshot,
            trained_through=trained.trained_through,
            code=trained.code,
            environment=environment_digest(),
            parent=trained.parent,
            params=trained.params,
            created_at=self._clock.now(),
            created_by=str(context.actor),
            bundle=trained.bundle,
        )
        queries.insert_version(connection, version)
        self._ledger.record(
            connection, context, FactKind.MODEL_REGISTERED, subject=str(version), payload=rules.told(version)
        )
        return version

    def promote(
        self,
        context: Context,
        model: str,
        number: int,
        *,
        expected: int | None,
        reason: str,
    ) -> AliasState:
        """Make a version the champion, if the champion is still the `expected` one (None: there is none yet).

        Raises:
            NotFound: there is no such version.
            Conflict: it is the champion already.
            Stale: the champion is not the expected one.
            CannotServe: what it is made of is gone, or damaged.

        """
        self._access.require(context, Permission.MODEL_PROMOTE)
        self.verified(context, model, number)
        return self._database.write(
            lambda connection: self.promote_in(connection, context, model, number, expected=expected, reason=reason),
        )

    def promote_in(
        self,
        connection: Connection,
        context: Context,
        model: str,
        number: int,
        *,
        expected: int | None,
        reason: str,
    ) -> AliasState:
        """Promote in the caller's transaction; see `promote`. The first champion becomes the anchor too."""
        self._access.require(context, Permission.MODEL_PROMOTE)
        self._must_be_there(connection, context, model, number)
        state = queries.alias(connection, context.project, model, CHAMPION, lock=True)
        if state.version != expected:
            raise Stale(
                f"the champion of {model!r} is {state.version}, not {expected}",
                hint=f"look again: noria models {model}",
            )
        if state.version == number:
            raise Conflict(f"{model}@{number} is the champion already")
        moved = self._move(connection, context, model, state=state, to=number, reason=reason)
        told = {"model": model, "version": number, "before": state.version, "epoch": moved.epoch, "reason": reason}
        self._ledger.record(connection, context, FactKind.MODEL_PROMOTED, subject=f"{model}@{number}", payload=told)
        if state.version is None:
            anchor = queries.alias(connection, context.project, model, ANCHOR, lock=True)
            if anchor.version is None:
                self._move(connection, context, model, state=anchor, to=number, reason="the first champion")
        return moved

    def rollback(self, context: Context, model: str, *, to: int | None = None, reason: str) -> AliasState:
        """Give the place back to the champion before, or to the version named; two in a row go back two steps.

        Raises:
            NotFound: there is no such model or version.
            Conflict: there is no champion before, or it is the champion now.
            CannotServe: what that one is made of is gone, or damaged.

        """
        self._access.require(context, Permission.MODEL_PROMOTE)
        to = self.before(context, model) if to is None else to
        if to is not None:
            self.verified(context, model, to)
        return self._database.write(
            lambda connection: self.rollback_in(connection, context, model, to=to, reason=reason)
        )

    def rollback_in(
        self, connection: Connection, context: Context, model: str, *, to: int | None = None, reason: str
    ) -> AliasState:
        """Roll back in the caller's transaction; see `rollback`."""
        self._access.require(context, Permission.MODEL_PROMOTE)
        self._must_be_known(connection, context, model)
        state = queries.alias(connection, context.project, model, CHAMPION, lock=True)
        moves = queries.moves(connection, context.project, model, CHAMPION)
        target = rules.version_before(moves) if to is None else to
        if target is None:
            raise Conflict(
                f"{model!r} has no champion before {state.version}", hint=f"name one: noria rollback {model} --to N"
            )
        self._must_be_there(connection, context, model, target)
        if target == state.version:
            raise Conflict(f"{model}@{target} is the champion already")
        moved = self._move(connection, context, model, state=state, to=target, reason=reason, is_rollback=True)
        told = {"model": model, "version": target, "before": state.version, "epoch": moved.epoch, "reason": reason}
        subject = f"{model}@{target}"
        self._ledger.record(connection, context, FactKind.MODEL_ROLLED_BACK, subject=subject, payload=told)
        return moved

    def champion_in(self, connection: Connection, context: Context, model: str) -> AliasState:
        """Return where the champion's alias points, and let nobody move it until the caller's transaction ends."""
        self._access.require(context, Permission.MODEL_READ)
        return queries.alias(connection, context.project, model, CHAMPION, lock=True)

    def set_anchor(self, context: Context, model: str, number: int, *, reason: str) -> AliasState:
        """Let another version be the anchor that candidates may not fall behind."""
        self._access.require(context, Permission.MODEL_PROMOTE)

        def work(connection: Connection) -> AliasState:
            self._must_be_there(connection, context, model, number)
            state = queries.alias(connection, context.project, model, ANCHOR, lock=True)
            return self._move(connection, context, model, state=state, to=number, reason=reason)

        return self._database.write(work)

    def before(self, context: Context, model: str) -> int | None:
        """Return the champion that a rollback goes back to, None when there is none."""
        return rules.version_before(self.moves(context, model))

    def verified(self, context: Context, model: str, number: int) -> ModelVersion:
        """Return a version whose bytes are all there; raises `NotFound`, or `CannotServe` when they are not."""
        found = self.version(context, model, number)
        if self._verify is not None:
            self._verify(found)
        return found

    def version(self, context: Context, model: str, number: int) -> ModelVersion:
        """Return a version; raises `NotFound`."""
        self._access.require(context, Permission.MODEL_READ)
        return self._database.read(lambda connection: self._must_be_there(connection, context, model, number))

    def version_in(self, connection: Connection, context: Context, model: str, number: int) -> ModelVersion:
        """Return a version as the caller's transaction sees it; raises `NotFound`."""
        self._access.require(context, Permission.MODEL_READ)
        return self._must_be_there(connection, context, model, number)

    def versions(self, context: Context, model: str) -> list[ModelVersion]:
        """Return a model's versions, oldest first; raises `NotFound`."""
        self._access.require(context, Permission.MODEL_READ)

        def query(connection: Connection) -> list[ModelVersion]:
            self._must_be_known(connection, context, model)
            return queries.versions(connection, context.project, model)

        return self._database.read(query)

    def models(self, context: Context, *, with_retired: bool = False) -> list[str]:
        """Return the names of the project's models; those that are retired only `with_retired`."""
        self._access.require(context, Permission.MODEL_READ)

        def look(connection: Connection) -> list[str]:
            left_out = set[str]() if with_retired else retirements.hidden(connection, context.project, Kind.MODEL)
            return [name for name in queries.models(connection, context.project) if name not in left_out]

        return self._database.read(look)

    def alias(self, context: Context, model: str, name: str = CHAMPION) -> AliasState:
        """Return where an alias points; nowhere, for a model that has no versions."""
        self._access.require(context, Permission.MODEL_READ)
        return self._database.read(lambda connection: queries.alias(connection, context.project, model, name))

    def moves(self, context: Context, model: str, name: str = CHAMPION) -> list[Move]:
        """Return the alias's moves, oldest first: from where to where, when, by whom and why."""
        self._access.require(context, Permission.MODEL_READ)
        return self._database.read(lambda connection: queries.moves(connection, context.project, model, name))

    def environment(self, context: Context, version: ModelVersion) -> Mapping[str, Any]:
        """Return what the version was trained with."""
        self._access.require(context, Permission.MODEL_READ)
        return self._database.read(lambda connection: queries.environment(connection, version.environment))

    def _move(
        self,
        connection: Connection,
        context: Context,
        model: str,
        *,
        state: AliasState,
        to: int,
        reason: str,
        is_rollback: bool = False,
    ) -> AliasState:
        move = Move(
            epoch=state.epoch + 1,
            before=state.version,
            to=to,
            at=self._clock.now(),
            actor=str(context.actor),
            reason=reason,
            is_rollback=is_rollback,
        )
        return queries.move_alias(connection, context.project, model, state=state, move=move)

    @staticmethod
    def _must_be_known(connection: Connection, context: Context, model: str) -> None:
        known = queries.models(connection, context.project)
        if model not in known:
            raise NotFound("model", model, known=known)

    def _must_be_there(self, connection: Connection, context: Context, model: str, number: int) -> ModelVersion:
        found = queries.version(connection, context.project, model, number)
        if found is None:
            self._must_be_known(connection, context, model)
            known = [str(version) for version in queries.versions(connection, context.project, model)]
            raise NotFound("version", f"{model}@{number}", known=known)
        return found
