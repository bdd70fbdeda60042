"""What need not be executed: finished here before, or by the run that this one is a rerun of, or cached."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

from noria.pipelines.code import Looked, look_into
from noria.pipelines.model import Cached
from noria.pipelines.steps import Step
from noria.runs import queries, rules
from noria.runs.model import Artifact, Attempt, AttemptState, Hit, Run
from noria.runs.surroundings import Surroundings
from noria.runs.tasks import Taken, Task
from noria.store.database import Connection

Answer = TypeVar("Answer")

_log = logging.getLogger("noria.runs")
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True, kw_only=True)
class Finished:
    """What a run had finished before, and what its parent had: results by step and inputs."""

    attempts: Sequence[Attempt] = ()
    hits: Sequence[Hit] = ()
    inherited: Mapping[tuple[str, str], Hit] = field(default_factory=dict[tuple[str, str], Hit])
    resumed_at: datetime | None = None
    """When somebody asked last for it to go on: its steps had all their tries again."""
    results: dict[tuple[str, str], Attempt | Hit] = field(default_factory=dict[tuple[str, str], Attempt | Hit])

    def __post_init__(self) -> None:
        for done in (*self.attempts, *self.hits):
            if done.artifact is not None:
                self.results[done.step, done.inputs] = done


class Known:
    """Finds results of one run's steps where they are, and counts what those from the cache had cost."""

    def __init__(
        self,
        run: Run,
        around: Surroundings,
        *,
        finished: Finished,
        allow_changed_code: bool,
        cache: Cached,
        on_hit: Callable[[Hit], None],
    ) -> None:
        self._run = run
        self._around = around
        self._finished = finished
        self._allow_changed_code = allow_changed_code
        self._cache = cache
        self._on_hit = on_hit
        self._codes: dict[int, str] = {}
        self._charged = {(hit.source_run, hit.source_number) for hit in finished.hits}

    def find(self, task: Task, kept: Mapping[str, queries.Kept | None] | None = None) -> Taken | None:
        """Return the value of a step that was finished before, here or in the parent, or stands in the cache.

        `kept` is what `look_up` found for several steps at once.

        Raises:
            CodeChanged: the step was finished with other code, and nobody said to go on.

        """
        code = self.code(task.step)
        done = self._finished.results.get((task.id, task.inputs))
        if done is not None and done.artifact is not None:
            if not self._allow_changed_code:
                rules.must_have_code(task.id, finished=done.code, now=code, run=self._run.id)
            return self._around.values.stored(done.artifact), None
        hit = self._inherited(task, code) or self._hit(task, code, kept)
        if hit is None:
            return None
        self._on_hit(hit)
        return self._around.values.stored(hit.artifact), None

    def look_up(self, tasks: Sequence[Task]) -> dict[str, queries.Kept | None]:
        """Look in the cache for many steps at once."""
        keys = {task.id: self._cache_key(task) for task in tasks if self._policy(task.step)}
        if not keys:
            return {}
        project = self._run.project
        return self._read(lambda connection: {id_: queries.cached(connection, project, keys[id_]) for id_ in keys})

    def code(self, step: Step[..., Any]) -> str:
        """Return the digest of a step's code; it is taken once in a run."""
        known = self._codes.get(id(step))
        if known is None:
            looked = look_into(step.function)
            known = self._codes[id(step)] = looked.digest
            if looked.unfollowed:
                _tell_unfollowed(step.what, looked)
        return known

    def to_cache(self, task: Task, made: Attempt) -> queries.Cacheable | None:
        """Return what later runs may find a result by; None for a step that is not cached."""
        policy = self._policy(task.step)
        if not policy or made.state is not AttemptState.SUCCEEDED:
            return None
        stale = made.started_at - policy if isinstance(policy, timedelta) else _NEVER
        return self._cache_key(task), stale, made

    def _inherited(self, task: Task, code: str) -> Hit | None:
        found = self._finished.inherited.get((task.id, task.inputs))
        if found is None or (found.code != code and not self._allow_changed_code):
            return None
        return self._as_hit(task, code, found.source_run, found.source_number, found.cpu_seconds, found.artifact)

    def _hit(self, task: Task, code: str, kept: Mapping[str, queries.Kept | None] | None) -> Hit | None:
        if not self._policy(task.step):
            return None
        found = (self.look_up([task]) if kept is None else kept)[task.id]
        now = self._around.clock.now()
        if found is None or not rules.is_reused(task.step.cache, self._cache, made_at=found.made_at, now=now):
            return None
        return self._as_hit(task, code, found.run, found.number, found.cpu_seconds, found.artifact)

    def _as_hit(self, task: Task, code: str, run: str, number: int, cpu_seconds: float, artifact: Artifact) -> Hit:
        source = (run, number)
        charged = 0.0 if run == self._run.id or source in self._charged else cpu_seconds
        self._charged.add(source)
        return Hit(
            run=self._run.id,
            step=task.id,
            inputs=task.inputs,
            code=code,
            source_run=run,
            source_number=number,
            cpu_seconds=charged,
            artifact=artifact,
        )

    def _read(self, query: Callable[[Connection], Answer]) -> Answer:
        return self._around.patience.ask(lambda _: self._around.database.read(query))

    def _policy(self, step: Step[..., Any]) -> Cached:
        return self._cache if step.cache is None else step.cache

    def _cache_key(self, task: Task) -> str:
        step = task.step
        environment = step.environment
        return rules.cache_key(step.reference, code=self.code(step), inputs=task.inputs, environment=environment)


@cache
def _tell_unfollowed(step: str, looked: Looked) -> None:
    """Say, once in a process, that a step reaches code of which no change will be seen."""
    _log.warning(
        "%s reaches code that cannot be followed: %s. A change of that code is not seen: neither the cache nor a resumed "
        "run knows of it. Import it by its name, or say its version in the step's environment.",
        step,
        ", ".join(looked.unfollowed),
    )
