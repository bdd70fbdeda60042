"""What a run starts with: its pipeline, what it is given as values known by their digests, and how both are stored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from noria.core.clock import Clock
from noria.core.context import Context
from noria.core.errors import BadPipeline, Conflict, Invalid, NoriaError
from noria.core.ids import Ids
from noria.pipelines.drawing import Pipeline
from noria.runs import rules
from noria.runs.model import Param, Run, RunState
from noria.runs.recorder import recorder
from noria.runs.values import Value, Values, words

AnyPipeline = Pipeline[..., Any]

_LONGEST_KEY = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """A run that has not begun, with what it is given."""

    run: Run
    given: Mapping[str, Value]
    stored: list[Param]


class Starts:
    """Makes fresh runs, and finds again what older ones were given."""

    def __init__(self, values: Values, ids: Ids, clock: Clock, *, check_types: bool = True) -> None:
        self._check_types = check_types
        self._values = values
        self._ids = ids
        self._clock = clock

    def fresh(self, context: Context, pipeline: AnyPipeline, params: Mapping[str, object], key: str | None) -> Fresh:
        """Return the run that somebody asks for. Raises `BadPipeline` or `Invalid` for what cannot be one."""
        if not isinstance(cast("object", pipeline), Pipeline):
            raise BadPipeline(f"{pipeline!r} is no pipeline", hint="put @nr.pipeline above the function")
        if key is not None and not 0 < len(key) <= _LONGEST_KEY:
            raise Invalid(f"a key of {len(key)} characters", hint=f"use 1 to {_LONGEST_KEY}")
        arguments = pipeline.bind(params)
        given = self._given(pipeline, arguments)
        run = self._new(context, pipeline, given, key)
        return Fresh(run=run, given=given, stored=_as_params(run, _spelled(arguments), given))

    def child(
        self,
        context: Context,
        parent: Run,
        pipeline: AnyPipeline,
        *,
        before: Mapping[str, Param],
        params: Mapping[str, object],
        from_step: str | None,
    ) -> Fresh:
        """Return a run with what its parent was given `before`, but for some params."""
        pipeline.bind({**before, **params})
        given = {name: self._values.stored(param.artifact) for name, param in before.items()}
        given |= self._given(pipeline, params)
        spelled = {name: param.words for name, param in before.items()} | _spelled(params)
        run = replace(self._new(context, pipeline, given, None), parent=parent.id, rerun_from=from_step)
        return Fresh(run=run, given=given, stored=_as_params(run, spelled, given))

    def given_again(
        self, run: Run, pipeline: AnyPipeline, *, before: Mapping[str, Param], params: Mapping[str, object]
    ) -> dict[str, Value]:
        """Return what a run was given, some of it given again. Raises `Conflict` if that is something else."""
        pipeline.bind({**before, **params})
        given = {name: self._values.stored(param.artifact) for name, param in before.items()}
        given |= self._given(pipeline, params)
        if rules.arguments_digest(run.pipeline, _digests(given)) != run.arguments:
            raise Conflict(
                f"run {run.id} was given other arguments", hint="a resumed run keeps its own; start a new one"
            )
        return given

    def _given(self, pipeline: AnyPipeline, arguments: Mapping[str, object]) -> dict[str, Value]:
        if self._check_types:
            pipeline.refuse_misfits(arguments)
        given: dict[str, Value] = {}
        for name, value in arguments.items():
            try:
                given[name] = self._values.given(value)
            except NoriaError as problem:
                if problem.retriable:
                    raise
                raise Invalid(
                    f"{pipeline.what} cannot take {name!r}: {problem.sentence}", hint=problem.hint
                ) from problem
        return given

    def _new(self, context: Context, pipeline: AnyPipeline, given: Mapping[str, Value], key: str | None) -> Run:
        around = recorder.get()
        return Run(
            id=self._ids.new("run"),
            project=context.project,
            pipeline=pipeline.name,
            reference=pipeline.reference,
            key=key,
            arguments=rules.arguments_digest(pipeline.name, _digests(given)),
            code=pipeline.code(),
            state=RunState.RUNNING,
            created_at=self._clock.now(),
            created_by=str(context.actor),
            started_in=None if around is None else around.run,
        )


def started_by_step(run: Run) -> Run:
    """Return a run without a key with one by which the step that starts it finds it again."""
    around = recorder.get()
    assert around is not None
    what = f"{run.reference} {run.arguments}"
    around.started[what] = around.started.get(what, 0) + 1
    return replace(run, key=rules.inner_key(run, step=around.step, nth=around.started[what]))


def _digests(given: Mapping[str, Value]) -> dict[str, str]:
    return {name: made.digest for name, made in given.items()}


def _spelled(arguments: Mapping[str, object]) -> dict[str, str]:
    return {name: words(value) for name, value in arguments.items()}


def _as_params(run: Run, spelled: Mapping[str, str], given: Mapping[str, Value]) -> list[Param]:
    return [
        Param(run=run.id, step="", name=name, words=rules.storable(spelled[name]), artifact=kept.artifact)
        for name, kept in given.items()
    ]
