"""`noria doctor`: what is wrong, what waits for a person, and which command helps."""

from dataclasses import dataclass
from datetime import timedelta

import click

from noria.boot import Platform
from noria.cli.gateways import gateway_troubles
from noria.cli.output import home_option, json_option, opened, show
from noria.core.context import ActorKind
from noria.core.errors import CannotServe
from noria.loop.model import LoopState, Outcome, Stumble
from noria.loop.removal_model import Kind
from noria.registry.environment import other_library
from noria.rollouts.spec import Canary
from noria.runs.model import Run, RunState

_MOST_RUNS = 20
_CLOCK_IS_NEWS = timedelta(days=7)
_CLOCK_SKEW = timedelta(minutes=5)
_LATE_LOOKS = 3
"""A rollout is unwatched when its next look is so many pauses late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that a person should know of, and the command that helps; `is_wrong` if it does not pass by itself."""

    about: str
    words: str
    do: str
    is_wrong: bool = True
    trace: str = ""


@click.command()
@click.option("--trace", "with_trace", is_flag=True, help="Print the tracebacks of what was raised.")
@home_option
@json_option
def doctor(with_trace: bool, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Say what is wrong and what waits for a person; the exit status is 1 if anything is wrong."""
    with opened(home) as platform:
        found = [
            *_stumbles(platform),
            *_in_vain(platform),
            *_unturned(platform),
            *_clocks(platform),
            *_untaught(platform),
            *_unwatched(platform),
            *_unloaded(platform),
            *_unlike(platform),
            *_unmet(platform),
            *_interrupted(platform),
            *_gateways(platform),
            *_waiting(platform),
        ]
    rows = [{"about": each.about, "wrong": each.is_wrong, "words": each.words, "do": each.do} for each in found]
    if as_json:
        rows = [row | {"trace": each.trace} for row, each in zip(rows, found, strict=True)]
    show(rows, as_json=as_json, empty="nothing is wrong, and nothing waits for a person")
    for each in found:
        if with_trace and each.trace and not as_json:
            click.echo(f"\n{each.about}\n{each.trace}")
    if any(each.is_wrong for each in found):
        raise click.exceptions.Exit(1)


def _stumbles(platform: Platform) -> list[Trouble]:
    shown = {row.name for row in platform.loops.all(platform.context)}
    return [
        Trouble(
            about=f"loop {each.loop}",
            words=f"{each.words()}; {_then(each)}",
            do=f"noria loop retry {each.loop}",
            trace=each.trace,
        )
        for each in platform.loops.stumbles(platform.context)
        if each.loop in shown
    ]


def _then(found: Stumble) -> str:
    if found.retry_at is not None:
        return f"tried again at {found.retry_at:%Y-%m-%d %H:%M:%S}"
    return "set aside" if found.cycle is None else "set aside, and its cycle has failed"


def _in_vain(platform: Platform) -> list[Trouble]:
    """Return the loops whose newest cycles have failed, or come to nothing again and again, but for what stumbles say."""
    said = {(each.loop, each.words()) for each in platform.loops.stumbles(platform.context)}
    return [
        Trouble(
            about=f"loop {row.name}",
            words=found.words(),
            do=f"noria cycles {row.name}; when it is mended: noria loop trigger {row.name}",
        )
        for row in platform.loops.all(platform.context)
        for found in [platform.loops.streak(platform.context, row.name)]
        if found is not None and (row.name, found.last.words) not in said
    ]


def _clocks(platform: Platform) -> list[Trouble]:
    """Return that the clock was set back, and what was stored while it was ahead and counts only when it gets there."""
    now, found = platform.clock.now(), list[Trouble]()
    for row in platform.loops.all(platform.context):
        if row.set_back_at is None or now - row.set_back_at > _CLOCK_IS_NEWS:
            continue
        fact = platform.loops.set_back(platform.context, row)
        words = "the clock was set back" if fact is None else str(fact.payload["words"])
        found.append(Trouble(about=f"loop {row.name}", words=words, do="noria cycles", is_wrong=False))
    hidden = platform.removals.hidden(platform.context, Kind.DATASET)
    for ahead in platform.datasets.ahead(platform.context, now + _CLOCK_SKEW):
        if ahead.dataset in hidden:
            continue
        found.append(Trouble(about=f"dataset {ahead.dataset}", words=ahead.words(), do=ahead.hint()))
    return found


def _unturned(platform: Platform) -> list[Trouble]:
    """Return the loops that nobody turns."""
    found: list[Trouble] = []
    for row in platform.loops.all(platform.context):
        is_turned = platform.loops.is_turned(platform.context, row.name)
        if row.state is LoopState.PAUSED:
            do = f"noria loop resume {row.name}"
            found.append(Trouble(about=f"loop {row.name}", words="it is paused", do=do, is_wrong=False))
        if not is_turned:
            words = "no worker turns it: it was not started, or its file could not be loaded"
            found.append(Trouble(about=f"loop {row.name}", words=words, do="noria worker FILE; its output says why"))
    return found


def _untaught(platform: Platform) -> list[Trouble]:
    """Return the loops whose every cycle was stopped over its data, so that there is no model yet."""
    found: list[Trouble] = []
    for row in platform.loops.all(platform.context):
        settled = [each for each in platform.loops.cycles(platform.context, row.name) if each.outcome is not None]
        last = max(settled, key=lambda each: each.number, default=None)
        if last is None or any(each.outcome is not Outcome.QUARANTINED for each in settled):
            continue
        words = f"it has made no model yet: {last.words}"
        found.append(Trouble(about=f"loop {row.name}", words=words, do=f"noria cycles {row.name}"))
    return found


def _unwatched(platform: Platform) -> list[Trouble]:
    """Return the candidates on their way in that nobody looks at."""
    now, found = platform.clock.now(), list[Trouble]()
    for each in platform.rollouts.all(platform.context):
        if each.look_due is None or now <= each.look_due + _LATE_LOOKS * Canary.from_plain(each.spec).pause:
            continue
        words = f"{each.model}@{each.candidate} was to be looked at by {each.look_due:%Y-%m-%d %H:%M}"
        do = f"noria rollout abort {each.endpoint} --reason TEXT"
        found.append(Trouble(about=f"rollout at {each.endpoint}", words=words, do=do))
    return found


def _unloaded(platform: Platform) -> list[Trouble]:
    """Return the versions on routes that could not be loaded, or of which something is gone or of another library."""
    found: list[Trouble] = []
    routes = [
        platform.endpoints.route(platform.context, each.name) for each in platform.endpoints.all(platform.context)
    ]
    for model, number in sorted({(route.model, number) for route in routes for number in route.versions}):
        about, do = f"{model}@{number}", f"noria why {model}@{number}"
        loading = platform.endpoints.loading(platform.context, model, number)
        if loading is not None and loading.failed:
            words = f"a gateway could not load it: {loading.words}"
            found.append(Trouble(about=about, words=words, do=f"noria rollback {model}"))
        try:
            version = platform.registry.verified(platform.context, model, number)
        except CannotServe as problem:
            found.append(Trouble(about=about, words=problem.sentence, do=f"noria rollback {model}"))
            continue
        other = other_library(platform.registry.environment(platform.context, version))
        if other:
            found.append(Trouble(about=about, words=f"it was trained with {other}", do=do, is_wrong=False))
    return found


def _unlike(platform: Platform) -> list[Trouble]:
    """Return the endpoints whose versions were seen to answer otherwise than the model that was judged."""
    found: list[Trouble] = []
    for endpoint in platform.endpoints.all(platform.context):
        seen = platform.endpoints.rescoring(platform.context, endpoint.name)
        if seen is not None and seen.version in platform.endpoints.route(platform.context, endpoint.name).versions:
            do = f"noria rollback {endpoint.model}"
            found.append(Trouble(about=f"endpoint {endpoint.name}", words=seen.words, do=do))
    return found


def _unmet(platform: Platform) -> list[Trouble]:
    """Return the runs that wait for a worker which is not there."""
    return [
        Trouble(
            about=f"run {each.oldest}" if each.number == 1 else f"{each.number} runs, the oldest {each.oldest}",
            words=each.words(),
            do="noria work" if each.needs is None else "noria work, where executor, worker_gpus and worker_tags say so",
        )
        for each in platform.runs.queue.unmet(platform.context)
    ]


def _interrupted(platform: Platform) -> list[Trouble]:
    """Return the runs whose process is gone, but for those that go on with the run whose step has started them."""
    rooms, context = platform.runs, platform.context
    lost = rooms.list(context, state=RunState.INTERRUPTED, limit=_MOST_RUNS + 1)
    known = {run.id for run in lost}
    found = [_interruption(run) for run in lost[:_MOST_RUNS] if run.started_in not in known]
    if len(lost) > _MOST_RUNS:
        words = f"more than {_MOST_RUNS} runs are interrupted, and the newest are named here"
        found.append(Trouble(about="runs", words=words, do=f"noria runs --state {RunState.INTERRUPTED.value}"))
    return found


def _interruption(run: Run) -> Trouble:
    words = "it is interrupted: nobody executes it any more, and what it has finished stays"
    do = f"noria resume {run.id}, or noria cancel {run.id}"
    if run.priority is not None:
        do = f"noria work takes it up; or {do}"
    elif run.created_by.startswith(f"{ActorKind.SERVICE.value}:"):
        do = f"noria worker FILE takes it up with its loop; or {do}"
    return Trouble(about=f"run {run.id} of {run.pipeline}", words=words, do=do)


def _gateways(platform: Platform) -> list[Trouble]:
    """Return what keeps gateways of this machine from answering, or the log from taking anything."""
    return [Trouble(about=about, words=words, do=do) for about, words, do in gateway_troubles(platform)]


def _waiting(platform: Platform) -> list[Trouble]:
    """Return what waits for a person's word."""
    return [
        Trouble(
            about=f"review of loop {cycle.loop}",
            words=cycle.words,
            do=f"noria review approve {cycle.loop} --reason TEXT",
            is_wrong=False,
        )
        for cycle in platform.loops.reviews(platform.context)
    ]
