"""What the first page asks a person to look at: loops that stumble, reviews, candidates on their way in, held rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from noria.boot import Platform
from noria.core.context import Context
from noria.guards.model import QuarantineState
from noria.loop.model import Cycle, Stumble
from noria.rollouts.model import Rollout, RolloutState, RolloutsWanted
from noria.rollouts.spec import Canary
from noria.server.control.pages.spelling import Link, cycle_link, moment, version_link

_MOST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Something that waits for a person: what, since or until when, why, and the commands that answer it."""

    tag: str
    title: str
    to: str
    when: str
    words: Sequence[str]
    commands: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WayIn:
    """A candidate on its way in: at which stage of which, how many live answers, and what the last look read."""

    candidate: Link
    champion: Link
    endpoint: str
    stages: Sequence[tuple[str, str]]
    exposed: str
    looks: str
    words: Sequence[str]
    command: str


def asked(home: Platform, context: Context) -> list[Asked]:
    """Return what waits for a person: what has raised first, then reviews, then what is held."""
    stumbles = [_stumble(found) for found in home.loops.stumbles(context)]
    reviews = [_review(home, context, cycle) for cycle in home.loops.reviews(context)]
    return [*stumbles, *reviews, *_held(home, context)]


def ways_in(home: Platform, context: Context) -> list[WayIn]:
    """Return the candidates on their way in, the newest first."""
    wanted = RolloutsWanted(state=RolloutState.OPEN, limit=_MOST)
    return [_way_in(found) for found in home.rollouts.page(context, wanted)]


def _stumble(found: Stumble) -> Asked:
    then = "set aside" if found.retry_at is None else f"tried again {moment(found.retry_at)}"
    return Asked(
        tag="stumbled",
        title=f"loop {found.loop}",
        to="" if found.cycle is None else cycle_link(found.cycle, words="").to,
        when=f"since {moment(found.began_at)}",
        words=(f"{found.words()}; {then}",),
        commands=("noria doctor --trace", f"noria loop retry {found.loop}"),
    )


def _review(home: Platform, context: Context, cycle: Cycle) -> Asked:
    assert cycle.deadline is not None
    assert cycle.candidate is not None
    version = version_link(str(home.loops.get(context, cycle.loop).spec["model"]), cycle.candidate)
    return Asked(
        tag="review",
        title=version.words,
        to=version.to,
        when=f"until {moment(cycle.deadline)}",
        words=[str(reason) for reason in cycle.verdict["reasons"]],
        commands=[f"noria review {word} {cycle.loop} --reason TEXT" for word in ("approve", "refuse")],
    )


def _held(home: Platform, context: Context) -> list[Asked]:
    groups = [group for group in home.guards.groups(context) if group.state is QuarantineState.HELD]
    return [
        Asked(
            tag="held",
            title=f"{group.count:,} {group.kind.value} of {group.dataset}",
            to="",
            when=f"since {moment(group.at)}",
            words=(group.reason,),
            commands=(
                f"noria quarantine show {group.dataset} --cycle {group.cycle}",
                f"noria quarantine release {group.dataset} --cycle {group.cycle}",
            ),
        )
        for group in groups[-_MOST:]
    ]


def _way_in(found: Rollout) -> WayIn:
    plan = Canary.from_plain(found.spec).plan()
    looks = ["passed"] * found.stage + ["here"] + ["ahead"] * (len(plan) - found.stage - 1)
    look_due = "" if found.look_due is None else f", the next {moment(found.look_due)}"
    return WayIn(
        candidate=version_link(found.model, found.candidate),
        champion=version_link(found.model, found.champion),
        endpoint=found.endpoint,
        stages=[*zip(map(str, plan), looks, strict=True), ("champion", "ahead")],
        exposed=f"{found.exposed:,} live answers by the last look",
        looks=f"{found.looks} {'look' if found.looks == 1 else 'looks'}{look_due}",
        words=[str(reason) for reason in found.look.get("reasons", ())] or [found.words],
        command=f"noria rollout abort {found.endpoint} --reason TEXT",
    )
