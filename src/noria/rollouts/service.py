"""Verbs of rollouts: begin, look, act, abort; promote and roll back by hand. Alias and routes move as one."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from noria.access.model import Permission
from noria.access.service import Access
from noria.core.clock import Clock
from noria.core.context import Context
from noria.core.errors import CannotServe, Conflict, NotFound, Stale
from noria.core.ids import Ids
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.registry.model import AliasState
from noria.registry.service import Registry
from noria.rollouts import observing, queries, routing, rules
from noria.rollouts.model import Look, Next, Rollout, RolloutState, RolloutsWanted
from noria.rollouts.rules import Seen
from noria.rollouts.spec import LATENCY, Canary, Candidate
from noria.serving.service import Endpoints
from noria.store.database import Connection, Database

_INSTANT = timedelta(microseconds=1)
_PAST = timedelta(days=7)
"""How far back the champion's answers say what is usual."""


class Rollouts:
    """Who answers with what share. Verbs that end in `_in` do their work in the caller's transaction.

    Whatever moves a champion goes through here: the alias, the routes of all endpoints of the model, the end of an
    open rollout and the facts are one transaction. It holds the champion's alias, so that two never decide at once.
    """

    def __init__(
        self,
        database: Database,
        *,
        registry: Registry,
        endpoints: Endpoints,
        ledger: Ledger,
        access: Access,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._registry = registry
        self._endpoints = endpoints
        self._ledger = ledger
        self._access = access
        self._clock = clock
        self._ids = ids

    # --- a candidate's way in

    def begin(self, context: Context, wanted: Candidate) -> Rollout:
        """Begin in a transaction of its own; see `begin_in`."""
        self._access.require(context, Permission.MODEL_PROMOTE)
        self._registry.verified(context, wanted.model, wanted.version)
        fixed = replace(wanted, canary=self.fixed(context, wanted.endpoint, wanted.canary, champion=wanted.champion))
        return self._database.write(lambda connection: self.begin_in(connection, context, fixed))

    def fixed(self, context: Context, endpoint: str, canary: Canary, *, champion: int) -> Canary:
        """Return the canary with what it leaves open fixed, by what the champion has answered at the endpoint so far."""
        if canary.slow_ms is not None or LATENCY not in canary.abort_on:
            return canary
        before = self._endpoints.answers(context, endpoint, since=self._clock.now() - _PAST)
        return replace(canary, slow_ms=observing.slow_ms(before, champion=champion))

    def begin_in(self, connection: Connection, context: Context, wanted: Candidate) -> Rollout:
        """Let a candidate in at its first stage.

        Raises:
            Stale: the champion is not the one that the candidate was judged against.
            Conflict: another candidate of the model is on its way in, or it is the champion already.

        """
        self._access.require(context, Permission.MODEL_PROMOTE)
        champion = self._registry.champion_in(connection, context, wanted.model)
        if wanted.version == wanted.champion:
            raise Conflict(f"{wanted.model}@{wanted.version} is the champion already")
        if champion.version != wanted.champion:
            raise Stale(
                f"the champion of {wanted.model!r} is {champion.version}, not {wanted.champion}",
                hint=f"look again: noria models {wanted.model}",
            )
        other = queries.open_of(connection, context.project, wanted.model, lock=True)
        if other is not None:
            raise Conflict(
                f"{other.model}@{other.candidate} is on its way in",
                hint=f"wait for it, or: noria rollout abort {other.endpoint} --reason TEXT",
            )
        begun = self._begun(context, wanted)
        queries.insert_rollout(connection, begun)
        routing.to_stage_in(self._endpoints, connection, context, begun, wanted.canary.plan()[0])
        words = f"{begun.model}@{begun.candidate} is let in at {wanted.canary.plan()[0]}: {wanted.reason}"
        self._tell(connection, context, begun, FactKind.ROLLOUT_STARTED, words=words)
        return begun

    def observe(self, context: Context, rollout: Rollout) -> Look:
        """Read what was answered at this stage and decide; nothing is changed yet."""
        canary, now = Canary.from_plain(rollout.spec), self._clock.now()
        stage = canary.plan()[rollout.stage]
        # What was answered at the very moment of the stage's beginning was answered before it; what is answered now counts.
        outcomes = self._endpoints.outcomes(
            context, rollout.endpoint, since=rollout.stage_at + _INSTANT, until=now + _INSTANT, as_of=now
        )
        found = observing.samples(
            outcomes, canary=canary, stage=stage, champion=rollout.champion, candidate=rollout.candidate
        )
        seen = Seen(
            stage=rollout.stage,
            since=rollout.stage_at,
            now=now,
            samples=found,
            requests=observing.requests_of(outcomes, stage=stage, candidate=rollout.candidate),
            shown=rollout.shown,
        )
        decided = rules.decide(canary, seen)
        if decided.next is Next.FINISH:
            try:
                self._registry.verified(context, rollout.model, rollout.candidate)
            except CannotServe as problem:  # gateways that have loaded it would be the last ones that can
                return replace(decided, next=Next.ABORT, reasons=(problem.sentence,))
        return decided

    def look(self, context: Context, rollout: Rollout) -> Rollout:
        """Observe and act on it; returns the rollout as it is then. Raises `Stale` if somebody else did meanwhile."""
        found = self.observe(context, rollout)
        return self._database.write(lambda connection: self.act_in(connection, context, rollout, found))

    def act_in(self, connection: Connection, context: Context, rollout: Rollout, look: Look) -> Rollout:
        """Do what a look at the rollout has decided, once: of two that looked at the same time one is `Stale`."""
        self._access.require(context, Permission.MODEL_PROMOTE)
        champion = self._registry.champion_in(connection, context, rollout.model)
        if champion.version != rollout.champion:
            words = f"the champion was moved from version {rollout.champion} to {champion.version} meanwhile"
            return self._back_in(connection, context, rollout, words=words)
        match look.next:
            case Next.WAIT:
                return queries.move(connection, rollout, **self._looked(rollout, look))
            case Next.ADVANCE:
                return self._advance_in(connection, context, rollout, look)
            case Next.FINISH:
                return self._finish_in(connection, context, rollout, words="; ".join(look.reasons), look=look)
            case Next.ABORT:
                return self._back_in(connection, context, rollout, words="; ".join(look.reasons), look=look)

    def take_back_in(self, connection: Connection, context: Context, rollout: Rollout, *, words: str) -> Rollout:
        """Take a candidate back without a look, in the caller's transaction: the champion answers everything again.

        Raises `Stale` if the rollout has ended, or was looked at meanwhile.
        """
        self._access.require(context, Permission.MODEL_PROMOTE)
        self._registry.champion_in(connection, context, rollout.model)
        return self._back_in(connection, context, rollout, words=words)

    def take_back(self, context: Context, rollout_id: str, *, reason: str) -> Rollout:
        """Take the candidate of one rollout back by hand; raises `NotFound`, or `Stale` if it has ended."""
        model = self.get(context, rollout_id).model

        def work(connection: Connection) -> Rollout:
            self._registry.champion_in(connection, context, model)
            found = queries.find(connection, context.project, rollout_id)
            assert found is not None
            return self.take_back_in(connection, context, found, words=_by_hand(context, reason))

        return self._database.write(work)

    def abort(self, context: Context, endpoint: str, *, reason: str) -> Rollout:
        """Take a candidate back by hand; traffic is the champion's again. Raises `NotFound` if none is on its way."""
        self._access.require(context, Permission.MODEL_PROMOTE)
        model = self._endpoints.get(context, endpoint).model

        def work(connection: Connection) -> Rollout:
            self._registry.champion_in(connection, context, model)
            found = queries.open_of(connection, context.project, model, lock=True)
            if found is None or found.endpoint != endpoint:
                raise NotFound("open rollout", endpoint, hint="what there was: noria rollouts")
            return self._back_in(connection, context, found, words=_by_hand(context, reason))

        return self._database.write(work)

    # --- the champion, by hand or without a canary

    def promote(self, context: Context, model: str, number: int, *, reason: str) -> AliasState:
        """Make a version the champion at once, whatever was on its way in, and let it answer everywhere.

        Raises:
            NotFound: there is no such version.
            Conflict: it is the champion already.
            CannotServe: what it is made of is gone, or damaged; the champion stays.

        """
        self._access.require(context, Permission.MODEL_PROMOTE)
        self._registry.verified(context, model, number)

        def work(connection: Connection) -> AliasState:
            before = self._registry.champion_in(connection, context, model)
            return self.promote_in(connection, context, model, number, expected=before.version, reason=reason)

        return self._database.write(work)

    def promote_in(
        self, connection: Connection, context: Context, model: str, number: int, *, expected: int | None, reason: str
    ) -> AliasState:
        """Promote in the caller's transaction; raises `Stale` if the champion is not the `expected` one."""
        moved = self._registry.promote_in(connection, context, model, number, expected=expected, reason=reason)
        self._end_open_in(connection, context, model, champion=number, words=f"{model}@{number} was promoted: {reason}")
        routing.to_champion_in(self._endpoints, connection, context, model, number, reason=reason)
        return moved

    def rollback(self, context: Context, model: str, *, to: int | None = None, reason: str) -> AliasState:
        """Undo the last step: take back the candidate on its way in, else give the place to the champion before.

        `to` names the version to go back to, whatever is on its way in.

        Raises:
            NotFound: there is no such model or version.
            Conflict: there is no champion before, or it is the champion now.
            CannotServe: what that one is made of is gone, or damaged; the champion stays.

        """
        self._access.require(context, Permission.MODEL_PROMOTE)
        before = self._registry.before(context, model) if to is None else to
        stays = to in (None, self._registry.alias(context, model).version)
        is_back = stays and self.open_of(context, model) is not None  # the candidate goes, and the champion answers on
        if before is not None and not is_back:
            self._registry.verified(context, model, before)

        def work(connection: Connection) -> AliasState:
            champion = self._registry.champion_in(connection, context, model)
            if to in (None, champion.version):
                words = f"{context.actor} rolled back: {reason}"
                if self._end_open_in(connection, context, model, champion=None, words=words):
                    return champion
            moved = self._registry.rollback_in(connection, context, model, to=to, reason=reason)
            assert moved.version is not None
            if moved.version != before or is_back:
                raise Stale(f"another champion of {model!r} was made just now", hint="look again, and roll back anew")
            words = f"the champion was rolled back to version {moved.version}: {reason}"
            self._end_open_in(connection, context, model, champion=moved.version, words=words)
            routing.to_champion_in(self._endpoints, connection, context, model, moved.version, reason=reason)
            return moved

        return self._database.write(work)

    def serve_champion_in(self, connection: Connection, context: Context, endpoint: str, *, model: str) -> None:
        """Let the champion answer at an endpoint that was made after it became champion."""
        champion = self._registry.champion_in(connection, context, model).version
        if champion is not None and not self._endpoints.route_in(connection, context, endpoint).variants:
            routing.to_champion_in(self._endpoints, connection, context, model, champion, reason="the champion")

    # --- looking

    def get(self, context: Context, rollout_id: str) -> Rollout:
        """Return a rollout by its id; raises `NotFound`."""
        self._access.require(context, Permission.MODEL_READ)
        found = self._database.read(lambda connection: queries.find(connection, context.project, rollout_id))
        if found is None:
            raise NotFound("rollout", rollout_id, hint="what there is: noria rollouts")
        return found

    def all(self, context: Context, model: str | None = None) -> list[Rollout]:
        """Return the project's rollouts, or those of one model, oldest first."""
        self._access.require(context, Permission.MODEL_READ)
        return self._database.read(lambda connection: queries.all_rollouts(connection, context.project, model))

    def page(self, context: Context, wanted: RolloutsWanted, *, after: str | None = None) -> list[Rollout]:
        """Return rollouts newest first, those that come after the rollout `after` in that order; raises `NotFound`."""
        self._access.require(context, Permission.MODEL_READ)
        last = None if after is None else self.get(context, after)
        return self._database.read(lambda c: queries.page_of_rollouts(c, context.project, wanted, after=last))

    def open_of(self, context: Context, model: str) -> Rollout | None:
        """Return the model's rollout that is on its way, None when there is none."""
        self._access.require(context, Permission.MODEL_READ)
        return self._database.read(lambda connection: queries.open_of(connection, context.project, model))

    def bring_back_in(self, connection: Connection, rollout: Rollout) -> Rollout:
        """Let an open rollout's stage begin now: the clock was set back, and what it had begun at lies ahead."""
        canary, now = Canary.from_plain(rollout.spec), self._clock.now()
        due = rules.next_look(canary, stage=rollout.stage, since=now, now=now)
        return queries.move(connection, rollout, began_at=min(rollout.began_at, now), stage_at=now, look_due=due)

    def _begun(self, context: Context, wanted: Candidate) -> Rollout:
        now = self._clock.now()
        return Rollout(
            id=self._ids.new("rollout"),
            project=context.project,
            endpoint=wanted.endpoint,
            model=wanted.model,
            champion=wanted.champion,
            candidate=wanted.version,
            state=RolloutState.OPEN,
            spec=wanted.canary.to_plain(),
            stage=0,
            began_at=now,
            stage_at=now,
            look_due=rules.next_look(wanted.canary, stage=0, since=now, now=now),
            words=wanted.reason,
            told=wanted.told,
        )

    def _looked(self, rollout: Rollout, look: Look) -> dict[str, Any]:
        """Return what a look leaves in the record."""
        canary = Canary.from_plain(rollout.spec)
        due = rules.next_look(canary, stage=rollout.stage, since=rollout.stage_at, now=self._clock.now())
        return {
            "looks": rollout.looks + 1,
            "look": look.to_plain(),
            "look_due": due,
            "shown": look.shown,
            "exposed": rules.exposed(canary, rollout, look),
        }

    def _advance_in(self, connection: Connection, context: Context, rollout: Rollout, look: Look) -> Rollout:
        canary, now = Canary.from_plain(rollout.spec), self._clock.now()
        behind, ahead = canary.plan()[rollout.stage], canary.plan()[rollout.stage + 1]
        passed = {"stage": str(behind), "since": rollout.stage_at.isoformat(), "look": look.to_plain()}
        changes = self._looked(rollout, look) | {
            "stage": rollout.stage + 1,
            "stage_at": now,
            "passed": (*rollout.passed, passed),
            "look_due": rules.next_look(canary, stage=rollout.stage + 1, since=now, now=now),
        }
        moved = queries.move(connection, rollout, **changes)
        routing.to_stage_in(self._endpoints, connection, context, moved, ahead)
        words = f"{rollout.model}@{rollout.candidate} passed {behind} and goes on to {ahead}: {'; '.join(look.reasons)}"
        self._tell(connection, context, moved, FactKind.ROLLOUT_ADVANCED, words=words)
        return moved

    def _finish_in(
        self, connection: Connection, context: Context, rollout: Rollout, *, words: str, look: Look
    ) -> Rollout:
        ended = self._ended_in(connection, rollout, RolloutState.FINISHED, words=words, look=look)
        self._registry.promote_in(
            connection, context, rollout.model, rollout.candidate, expected=rollout.champion, reason=words
        )
        routing.to_champion_in(self._endpoints, connection, context, rollout.model, rollout.candidate, reason=words)
        self._tell(connection, context, ended, FactKind.ROLLOUT_FINISHED, words=words)
        return ended

    def _back_in(
        self, connection: Connection, context: Context, rollout: Rollout, *, words: str, look: Look | None = None
    ) -> Rollout:
        """End the rollout and give all traffic to whoever is champion now."""
        ended = self._ended_in(connection, rollout, RolloutState.ABORTED, words=words, look=look)
        champion = self._registry.champion_in(connection, context, rollout.model).version
        assert champion is not None
        routing.to_champion_in(self._endpoints, connection, context, rollout.model, champion, reason=words)
        self._tell(connection, context, ended, FactKind.ROLLOUT_ABORTED, words=words)
        return ended

    def _end_open_in(
        self, connection: Connection, context: Context, model: str, *, champion: int | None, words: str
    ) -> bool:
        """End the model's open rollout, if there is one: finished if its candidate is the champion now."""
        found = queries.open_of(connection, context.project, model, lock=True)
        if found is None:
            return False
        if champion != found.candidate:
            self._back_in(connection, context, found, words=words)
        else:
            ended = self._ended_in(connection, found, RolloutState.FINISHED, words=words)
            self._tell(connection, context, ended, FactKind.ROLLOUT_FINISHED, words=words)
        return True

    def _ended_in(
        self, connection: Connection, rollout: Rollout, state: RolloutState, *, words: str, look: Look | None = None
    ) -> Rollout:
        changes = {} if look is None else self._looked(rollout, look)
        changes |= {"state": state, "ended_at": self._clock.now(), "look_due": None, "words": words}
        return queries.move(connection, rollout, **changes)

    def _tell(self, connection: Connection, context: Context, rollout: Rollout, kind: FactKind, *, words: str) -> None:
        told = {
            "rollout": rollout.id,
            "endpoint": rollout.endpoint,
            "model": rollout.model,
            "version": rollout.candidate,
            "champion": rollout.champion,
            "stage": rollout.stage,
            "looks": rollout.looks,
            "exposed": rollout.exposed,
            "words": words,
        }
        self._ledger.record(connection, context, kind, subject=rollout.endpoint, payload={**rollout.told, **told})


def _by_hand(context: Context, reason: str) -> str:
    return f"{context.actor} took it back: {reason}"
