"""`noria doctor`: what is wrong, what waits for a person, and which command helps."""

from dataclasses import dataclass

import click

from noria.boot import Platform
from noria.cli.output import home_option, json_option, opened, show
from noria.loop.model import LoopState, Outcome, Stumble
from noria.rollouts.spec import Canary

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
            *_unturned(platform),
            *_untaught(platform),
            *_unwatched(platform),
            *_unmet(platform),
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
    return [
        Trouble(
            about=f"loop {each.loop}",
            words=f"{each.words()}; {_then(each)}",
            do=f"noria loop retry {each.loop}",
            trace=each.trace,
        )
        for each in platform.loops.stumbles(platform.context)
    ]


def _then(found: Stumble) -> str:
    if found.retry_at is not None:
        return f"tried again at {found.retry_at:%Y-%m-%d %H:%M:%S}"
    return "set aside" if found.cycle is None else "set aside, and its cycle has failed"


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
