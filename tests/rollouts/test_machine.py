"""Laws of rollouts under any order of verbs: routes sum to 1, alias and routes agree, nothing is decided twice."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from noria.core.errors import Conflict, NotFound, Stale
from noria.ledger.model import FactKind
from noria.rollouts.model import Look, Next, RolloutState
from noria.rollouts.spec import Canary, Candidate

VERSIONS = (1, 2, 3, 4)
SPECS = (Canary(), Canary(shadow=None, stages=(0.1, 1.0)), Canary(stages=(1.0,)))


class Releases(RuleBasedStateMachine):
    """What a team may do to a model's releases, beside a plain account of what must come of it."""

    def __init__(self, site):
        super().__init__()
        self.site = site
        self.held = []
        self.champion = None

    @property
    def open(self):
        return self.site.rollouts.open_of(self.site.context, "fraud")

    @rule(version=st.sampled_from(VERSIONS))
    def promote(self, version):
        if version == self.champion:
            with pytest.raises(Conflict):
                self.site.rollouts.promote(self.site.context, "fraud", version, reason="by hand")
            return
        self.site.rollouts.promote(self.site.context, "fraud", version, reason="by hand")
        self.champion = version
        assert self.open is None

    @rule(to=st.none() | st.sampled_from(VERSIONS))
    def rollback(self, to):
        was_open, before = self.open, self.champion
        try:
            after = self.site.rollouts.rollback(self.site.context, "fraud", to=to, reason="by hand")
        except Conflict:
            assert was_open is None
            assert to is None or to == before
            return
        self.champion = after.version
        assert self.open is None
        assert self.champion == (before if was_open and to in (None, before) else to or self.champion)

    @precondition(lambda self: self.champion is not None)
    @rule(version=st.sampled_from(VERSIONS), spec=st.sampled_from(SPECS), stale=st.booleans())
    def begin(self, version, spec, stale):
        judged_against = self.champion % len(VERSIONS) + 1 if stale else self.champion
        wanted = Candidate(
            endpoint="shop", model="fraud", version=version, champion=judged_against, canary=spec, reason="passed"
        )
        if stale or self.open is not None or version == self.champion:
            with pytest.raises(Conflict):
                self.site.rollouts.begin(self.site.context, wanted)
            return
        self.held.append(self.site.rollouts.begin(self.site.context, wanted))

    @precondition(lambda self: self.open is not None)
    @rule(wanted=st.sampled_from(Next))
    def look(self, wanted):
        found = self.open
        after = self.act(found, wanted)
        self.held.append(found)
        if after.state is RolloutState.FINISHED:
            self.champion = found.candidate

    @precondition(lambda self: self.held)
    @rule(wanted=st.sampled_from(Next), data=st.data())
    def look_that_comes_late(self, wanted, data):
        late = data.draw(st.sampled_from(self.held))
        if self.open is None or (self.open.id, self.open.looks) != (late.id, late.looks):
            with pytest.raises(Stale):
                self.act(late, wanted)

    @rule()
    def abort(self):
        if self.open is None:
            with pytest.raises(NotFound):
                self.site.rollouts.abort(self.site.context, "shop", reason="by hand")
            return
        self.held.append(self.open)
        self.site.rollouts.abort(self.site.context, "shop", reason="by hand")
        assert self.site.route() == ({self.champion: 1.0}, ())

    def act(self, found, wanted):
        """Act on a look that goes on from where the rollout was: to the next stage, or from the last to the end."""
        is_last = found.stage == len(Canary.from_plain(found.spec).plan()) - 1
        on = Next.FINISH if is_last else Next.ADVANCE
        look = Look(
            next=on if wanted in (Next.ADVANCE, Next.FINISH) else wanted, reasons=("so it was decided",), requests=10
        )
        site = self.site
        return site.database.write(lambda c: site.rollouts.act_in(c, site.context, found, look))

    @invariant()
    def the_alias_is_what_it_must_be(self):
        assert self.site.champion == self.champion

    @invariant()
    def routes_say_what_alias_and_rollout_say(self):
        alone = ({} if self.champion is None else {self.champion: 1.0}, ())
        found = self.open
        assert self.site.route("app") == alone
        if found is None:
            assert self.site.route("shop") == alone
            return
        stage = Canary.from_plain(found.spec).plan()[found.stage]
        shares, shadows = self.site.route("shop")
        assert sum(shares.values()) == pytest.approx(1.0)
        if stage.is_shadow:
            assert (shares, shadows) == ({self.champion: 1.0}, (found.candidate,))
        else:
            assert (shares, shadows) == ({found.candidate: stage.weight, self.champion: 1 - stage.weight}, ())

    def teardown(self):
        """Every rollout has begun once and ended at most once."""
        all_of_them = self.site.rollouts.all(self.site.context)
        ends = [fact.payload["rollout"] for fact in self.site.told(FactKind.ROLLOUT_FINISHED, FactKind.ROLLOUT_ABORTED)]
        begins = [fact.payload["rollout"] for fact in self.site.told(FactKind.ROLLOUT_STARTED)]
        assert sorted(ends) == sorted(one.id for one in all_of_them if not one.is_open)
        assert sorted(begins) == sorted(one.id for one in all_of_them)


def test_in_any_order_of_verbs_alias_and_routes_agree_and_nothing_is_decided_twice(new_site, request):
    examples = 30 if "sqlite" in request.node.name else 8
    kept = settings(max_examples=examples, stateful_step_count=12, deadline=None)

    run_state_machine_as_test(lambda: Releases(new_site()), settings=kept)
