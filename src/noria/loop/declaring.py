"""Refuses a loop whose parts are not what they must be, where it is written: in words, with an example of what is meant."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

from noria.core.errors import Invalid
from noria.datasets.model import Dataset
from noria.evaluation.spec import Evaluation, Gate
from noria.guards.spec import Guard
from noria.loop.triggers import MetricDrop, Trigger
from noria.pipelines import Pipeline, Step
from noria.rollouts.spec import Canary

Expected = tuple[tuple[type, ...], str, str]
"""Of which kinds a part may be, what that is called, and an example."""
_NOTHING = type(None)
_PARTS: Mapping[str, Expected] = {
    "name": ((str,), "a text", 'name="late-flights"'),
    "dataset": ((Dataset,), "a dataset", 'dataset=nr.Dataset("flights", key="id", time="scheduled_at", label="late")'),
    "train": ((Pipeline,), "a pipeline", "a function with @nr.pipeline above its def"),
    "when": ((Trigger,), "a trigger", 'when=nr.schedule("0 3 * * *"), or nr.new_labels(1000)'),
    "guards": ((Sequence,), "a list of guards", "guards=[nr.check_schema(), nr.check_quality()]"),
    "evaluate": ((Evaluation,), "an evaluation", 'evaluate=nr.Evaluation(metrics=["auc"], holdout="7d")'),
    "gate": ((Gate, _NOTHING), "a gate", 'gate=nr.Gate("auc", margin=0.01), or None'),
    "rollout": ((Canary, _NOTHING), "a canary", "rollout=nr.Canary(), or None"),
    "window": ((str, timedelta, _NOTHING), "a duration", 'window="90d"'),
    "cooldown": ((str, timedelta), "a duration", 'cooldown="6h"'),
    "min_rows": ((int,), "a whole number", "min_rows=100"),
    "params": ((Mapping,), "params by their names", 'params={"learning_rate": 0.1}'),
    "model": ((str,), "a text", 'model="late-flights"'),
}


def must_be_of_kind(loop: object, more: Mapping[str, Expected]) -> None:
    """Raise `Invalid` for the first part of a loop that is of another kind than it must be."""
    for name, (kinds, wanted, example) in {**_PARTS, **more}.items():
        value = getattr(loop, name)
        if not isinstance(value, kinds) or (name == "guards" and isinstance(value, str)) or isinstance(value, bool):
            raise Invalid(f"{name}={_shown(value)} of a loop is not {wanted}", hint=f"for example {example}")
    for guard in cast("Any", loop).guards:
        if not isinstance(guard, Guard):
            raise Invalid(
                f"guards of a loop has {_shown(guard)}, which is no guard", hint=f"for example {_PARTS['guards'][2]}"
            )


def must_take(train: Pipeline[..., Any], params: Mapping[str, Any]) -> None:
    """Raise `Invalid` unless the pipeline takes rows first, `BadPipeline` unless the params are those that it needs."""
    if not train.parameters:
        raise Invalid(
            f"pipeline {train.name!r} takes no rows", hint=f"give it a first parameter: def {train.name}(rows)"
        )
    rows = train.parameters[0]
    if rows in params:
        raise Invalid(f"params of a loop gives {rows!r}, which is what takes its rows", hint="leave it out")
    train.bind({rows: None, **params})


def must_be_measured(when: Trigger, evaluate: Evaluation, gate: Gate | None) -> None:
    """Raise `Invalid` for a metric whose drop is waited for and that no gate ever measures."""
    for leaf in when.leaves():
        if not isinstance(leaf, MetricDrop):
            continue
        if gate is None:
            raise Invalid(
                f"metric_drop({leaf.metric!r}) compares with what the gate has measured, and the loop has no gate",
                hint=f'give it one: gate=nr.Gate("{leaf.metric}")',
            )
        if leaf.metric not in (*gate.watched, *evaluate.metrics):
            raise Invalid(
                f"metric_drop({leaf.metric!r}) waits for a metric that the evaluation does not measure",
                hint=f"add it: Evaluation(metrics={[*evaluate.metrics, leaf.metric]})",
            )


def _shown(value: object) -> str:
    if isinstance(value, Step):
        return f"{value.name} (a step)"
    if callable(value) and hasattr(value, "__name__"):
        return f"{value.__name__} (a plain function)"
    return repr(value)[:80]
