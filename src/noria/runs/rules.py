"""Pure decisions of the engine: what arguments come to, when to try again, what may be reused."""

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType

from noria.core import digests
from noria.core.errors import CodeChanged, Conflict, LeaseLost, NoriaError
from noria.core.masking import masked
from noria.pipelines.model import Cached, Needs, Retry
from noria.pipelines.references import reference_to
from noria.runs.model import Attempt, AttemptState, Prices, Run, RunState

_LONGEST_WAIT_SECONDS = 300.0
_LONG = 10_000
_MOST_LOST = 3
_LONGEST_SENTENCE = 500
_LONGEST_TRACEBACK = 16_000
_BEGINNING = 4_000
_ENGINE = {"noria.runs.engine", "noria.runs.inprocess", "noria.pipelines.drawing", "noria.pipelines.signatures"}


def arguments_digest(pipeline: str, given: Mapping[str, str]) -> str:
    """Return the digest of a pipeline's name and its arguments, each by its own digest."""
    return digests.of_parts(
        [pipeline.encode(), *(text.encode() for name in sorted(given) for text in (name, given[name]))]
    )


def is_reused(cached: Cached, default: Cached, *, made_at: datetime | None, now: datetime) -> bool:
    """Say whether a cached result of that age may stand for a step, by the step's policy or else the pipeline's."""
    policy = default if cached is None else cached
    if isinstance(policy, timedelta):
        return made_at is not None and abs(now - made_at) <= policy  # a clock that was ahead may have made it
    return bool(policy)


def inputs_digest(arguments: Mapping[str, str]) -> str:
    """Return the digest of a step's arguments, each by its own digest, in the order of the parameters."""
    return digests.of_parts([text.encode() for pair in arguments.items() for text in pair])


def cache_key(step: str, *, code: str, inputs: str, environment: Mapping[str, str]) -> str:
    """Return what a result is found by in every run of the project."""
    declared = [text.encode() for name in sorted(environment) for text in (name, environment[name])]
    return digests.of_parts([step.encode(), code.encode(), inputs.encode(), *declared])


def tries_again(
    retry: Retry, *, tried: int, problem: Exception, kinds: Sequence[str] = (), is_lost: bool = False
) -> bool:
    """Say whether a step that raised in its `tried`th try, or was lost with its machine, gets another one.

    `kinds` are the types of an error that was raised in another process, for it may have come here as another one.
    """
    is_named = isinstance(problem, retry.retry_on) or any(reference_to(kind) in kinds for kind in retry.retry_on)
    return (tried <= retry.retries and is_named) or (is_lost and tried <= _MOST_LOST)


def kinds_of(problem: BaseException) -> tuple[str, ...]:
    """Return the names of an error's type and of all that it derives from."""
    return tuple(reference_to(kind) for kind in type(problem).__mro__)


def failures(attempts: Iterable[Attempt], *, after: datetime | None) -> dict[tuple[str, str], list[Attempt]]:
    """Return what has failed since a moment, by the step and its inputs, in order."""
    failed: dict[tuple[str, str], list[Attempt]] = {}
    for attempt in attempts:
        if attempt.state is AttemptState.FAILED and (after is None or attempt.started_at > after):
            failed.setdefault((attempt.step, attempt.inputs), []).append(attempt)
    return failed


def wait_seconds(retry: Retry, *, tried: int, chance: float) -> float:
    """Return how long to wait before the next try: twice as long each time, give or take a half by `chance` in [0, 1).

    >>> wait_seconds(Retry(backoff_seconds=2.0), tried=3, chance=0.5)
    8.0
    """
    return min(retry.backoff_seconds * 2.0 ** (tried - 1), _LONGEST_WAIT_SECONDS) * (0.5 + chance)


def must_be_same(run: Run, asked_for: Run) -> None:
    """Raise `Conflict` unless a run under the same key was started with the same pipeline and arguments.

    A pipeline that was moved to another module is the same, and so is one whose code was changed where it stands.
    """
    if run.reference != asked_for.reference and run.code != asked_for.code:
        raise Conflict(
            f"the key {run.key!r} is that of run {run.id}, of the pipeline {run.reference}, and not of {asked_for.reference}",
            hint="use another key",
        )
    if run.arguments != asked_for.arguments:
        raise Conflict(
            f"the key {run.key!r} is that of run {run.id}, of pipeline {run.pipeline!r} with other arguments",
            hint="use another key, or the same arguments",
        )


def inner_key(run: Run, *, step: str, nth: int) -> str:
    """Return the key of a run that a step starts without one: what it starts again, tried again, is the same run."""
    told = digests.of_parts(text.encode() for text in (step, run.reference, run.arguments, str(nth)))
    return f"{run.started_in}/{told[:32]}"


def is_of_other_code(ended: Run, now: Run) -> bool:
    """Say whether a run has succeeded by code that its pipeline no longer has."""
    return ended.state is RunState.SUCCEEDED and ended.code != now.code


def key_with_code(run: Run) -> str:
    """Return the key of a run that is started anew because its code has changed."""
    return f"{run.key}/{run.code[:32]}"


def must_have_code(step: str, *, finished: str, now: str, run: str) -> None:
    """Raise `CodeChanged` unless a finished step's code is what it was."""
    if finished != now:
        raise CodeChanged(
            f"step {step!r} finished in run {run} with other code, or constants that it reads, than it has now",
            hint="bring them back, start a new run, or keep the result: runs.resume(context, id, allow_changed_code=True)",
        )


def needs_of_all(needs: Iterable[Needs]) -> Needs | None:
    """Return what a worker must have to execute steps one by one; None where any worker will do.

    >>> needs_of_all([Needs(cpus=2), Needs(gpus=1, tags=("eu",))])
    Needs(timeout_seconds=None, memory_bytes=None, cpus=2.0, gpus=1.0, tags=('eu',))
    >>> needs_of_all([Needs()]) is None
    True
    """
    found = [Needs(), *needs]
    seconds = [float(each.timeout_seconds) for each in found if each.timeout_seconds is not None]
    whole = Needs(
        timeout_seconds=max(seconds, default=None),
        memory_bytes=max((each.memory_bytes for each in found if each.memory_bytes is not None), default=None),
        cpus=max(float(each.cpus) for each in found),
        gpus=max(float(each.gpus) for each in found),
        tags=tuple(sorted({tag for each in found for tag in each.tags})),
    )
    return None if whole == Needs() else whole


def needed(needs: Needs | None) -> str:
    """Spell what a run needs of a worker.

    >>> needed(Needs(gpus=1, tags=("eu",)))
    "gpus=1, tag 'eu'"
    """
    if needs is None:
        return ""
    amounts = {"timeout_seconds": needs.timeout_seconds, "memory_bytes": needs.memory_bytes, "gpus": needs.gpus}
    amounts["cpus"] = needs.cpus if needs.cpus > 1 else None
    spelled = [
        f"{name}={amount:g}" if amount < _LONG else f"{name}={amount:,}" for name, amount in amounts.items() if amount
    ]
    return ", ".join([*spelled, *(f"tag {tag!r}" for tag in needs.tags)])


def ends_for_all(problem: BaseException) -> bool:
    """Say whether what was raised out of a submitted run would be so for whoever went on with it."""
    return not (isinstance(problem, NoriaError) and (problem.retriable or isinstance(problem, LeaseLost)))


def must_have_bundle(run: Run, bundle: str | None) -> None:
    """Raise `CodeChanged` unless these are the modules that a run was submitted with."""
    if run.bundle != bundle:
        raise CodeChanged(
            f"run {run.id} was submitted with other code than this process has",
            hint="noria work executes it with its own; or submit it again",
        )


def usd(prices: Prices, *, cpu_seconds: float, wall_seconds: float, gpus: float) -> float | None:
    """Return what a try has cost: the CPU it used and the GPUs it kept; None where nobody has said a price.

    >>> usd(Prices(usd_per_cpu_hour=0.5, usd_per_gpu_hour=2.0), cpu_seconds=3600, wall_seconds=1800, gpus=2)
    2.5
    """
    if not (prices.usd_per_cpu_hour or prices.usd_per_gpu_hour):
        return None
    return (cpu_seconds * prices.usd_per_cpu_hour + wall_seconds * gpus * prices.usd_per_gpu_hour) / 3600


def is_part_of(step: str, whole: str) -> bool:
    """Say whether a step is the one named, an item of that map, or inside that nested pipeline.

    >>> is_part_of("fit[3]", "fit"), is_part_of("fit#2", "fit")
    (True, False)
    """
    return step == whole or step.startswith((f"{whole}[", f"{whole}/"))


def sentence(problem: BaseException) -> str:
    """Return an error as one line: its type and what it says; of our own only what it says."""
    said = (masked(problem.sentence) if isinstance(problem, NoriaError) else text_of(problem)).strip()
    line = said.splitlines()[0] if said else ""
    whole = (
        line
        if isinstance(problem, NoriaError)
        else f"{type(problem).__name__}: {line}"
        if line
        else type(problem).__name__
    )
    return storable(whole)[:_LONGEST_SENTENCE]


def text_of(problem: BaseException) -> str:
    """Return what an error says of itself, without secrets."""
    try:
        return masked(str(problem))
    except Exception:  # noqa: BLE001 - an error of a user's own kind may do anything here
        return "(it cannot say what)"


def as_exception(problem: BaseException) -> Exception:
    """Return what a step raised as an error that a run can go on with, such as when it calls `sys.exit`."""
    if isinstance(problem, Exception):
        return problem
    return RuntimeError(sentence(problem)).with_traceback(problem.__traceback__)


class Elsewhere(str):
    """The traceback of an error from the process in which it was raised, as a note of the error that came from there."""

    __slots__ = ()


def traceback_of(problem: BaseException) -> str:
    """Return an error with its traceback from the user's own function on; its two ends where it is very long.

    Of one that was raised in another process it is the traceback from there, which came along as a note.
    """
    inner = problem.__traceback__
    while inner is not None and inner.tb_frame.f_globals.get("__name__") in _ENGINE:
        inner = inner.tb_next
    notes: Sequence[object] = getattr(problem, "__notes__", None) or ()
    elsewhere = [note for note in notes if isinstance(note, Elsewhere)]
    whole = elsewhere[-1] if elsewhere and inner is None else _formatted(problem, inner)
    text = storable(whole)
    if len(text) <= _LONGEST_TRACEBACK:
        return text
    return f"{text[:_BEGINNING]}\n...\n{text[_BEGINNING - _LONGEST_TRACEBACK :]}"


def _formatted(problem: BaseException, inner: TracebackType | None) -> str:
    return "".join(traceback.format_exception(type(problem), problem, inner))


def without_secrets_of(problem: Exception) -> Exception:
    """Return an error; one in its place, with its traceback as a note, where a secret stands in what it says."""
    whole = _formatted(problem, problem.__traceback__)
    if masked(whole) == whole:
        return problem
    shown = RuntimeError(sentence(problem))
    shown.add_note(Elsewhere(traceback_of(problem)))
    return shown


def line_in(function: Callable[..., object], problem: BaseException) -> int | None:
    """Return the line of a function from which an error came; None when it came from elsewhere."""
    lines = [line for frame, line in traceback.walk_tb(problem.__traceback__) if frame.f_code is function.__code__]
    return lines[0] if lines else None


def storable(text: str) -> str:
    """Return a text without secrets, and without what a database refuses: NUL, and halves of characters."""
    return masked(text).replace("\x00", "\\0").encode("utf-8", "replace").decode()
