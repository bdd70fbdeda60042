"""Laws of a run: steps in order, each result committed, errors in words, values as they were."""

import math

import numpy as np
import polars as pl
import pytest

import noria.pipelines as nr
from noria.core.context import Actor, Context
from noria.core.errors import BadPipeline, Conflict, Denied, Invalid, NotFound, StepFailed
from noria.runs.recorder import log_metric, log_param


@nr.step
def inc(x: int) -> int:
    return x + 1


@nr.step
def add(a, b=0):
    return a + b


@nr.pipeline
def chain(n: int = 200):
    x = 0
    for _ in range(n):
        x = inc(x)
    return x


def test_the_chain_of_the_readme_runs_as_written(any_house, ann):
    run = any_house.runs().run(ann, chain, params={"n": 200})

    assert run.state == "succeeded"
    assert run.result == 200
    assert len(any_house.runs().attempts(ann, run.id)) == 200


def test_a_run_that_is_read_again_is_the_same_with_its_result(house, ann):
    run = house.runs().run(ann, chain, params={"n": 3})

    again = house.runs().get(ann, run.id)

    assert again == run
    assert again.result == 3


def test_a_pipeline_may_return_references_inside_collections_and_nothing_at_all(runs, ann):
    @nr.pipeline
    def many():
        return {"a": inc(1), "b": [inc(2), 7], "c": (inc(3),)}

    @nr.pipeline
    def none():
        inc(1)

    assert runs.run(ann, many).result == {"a": 2, "b": [3, 7], "c": (4,)}
    run = runs.run(ann, none)
    assert run.result is None
    assert [attempt.step for attempt in runs.attempts(ann, run.id)] == ["inc"]


def test_references_are_given_to_steps_inside_collections(runs, ann):
    @nr.step
    def total(numbers, more):
        return sum(numbers) + more["x"]

    @nr.pipeline
    def fan_in():
        return total([inc(i) for i in range(3)], {"x": inc(10)})

    assert runs.run(ann, fan_in).result == 17


def test_value_waits_and_makes_the_pipeline_a_program(runs, ann):
    @nr.pipeline
    def program(start):
        x = start
        while nr.value(x) < 5:
            x = inc(x)
        return x

    run = runs.run(ann, program, params={"start": 2})

    assert run.result == 5
    assert len(runs.attempts(ann, run.id)) == 3


def test_value_executes_only_what_is_needed(runs, ann):
    seen = []

    @nr.step
    def note(name):
        seen.append(name)
        return name

    @nr.pipeline
    def lazy():
        note("later")
        nr.value(note("now"))

    runs.run(ann, lazy)

    assert seen == ["now", "later"]


@pytest.mark.parametrize(("x", "answer", "steps"), [(1, 2, ["inc", "branch/then/inc"]), (-1, None, ["inc"])])
def test_of_a_branch_only_the_way_taken_is_executed(runs, ann, x, answer, steps):
    @nr.pipeline
    def fork(x):
        return nr.branch(inc(x), lambda: inc(1))

    run = runs.run(ann, fork, params={"x": x})

    assert run.result == answer
    assert [attempt.step for attempt in runs.attempts(ann, run.id)] == steps


def test_the_result_of_a_branch_goes_on_into_steps_and_branches(runs, ann):
    @nr.pipeline
    def fork(x):
        first = nr.branch(inc(x), lambda: inc(10), lambda: 5)
        return nr.branch(add(first, -5), lambda: {"more": add(first, 1)}, lambda: "none")

    assert runs.run(ann, fork, params={"x": 0}).result == {"more": 12}
    assert runs.run(ann, fork, params={"x": -1}).result == "none"


def test_a_pipeline_inside_a_pipeline_has_a_place_of_its_own_in_the_path(runs, ann):
    @nr.pipeline
    def outer():
        return add(chain(2), chain(1))

    run = runs.run(ann, outer)

    assert run.result == 3
    steps = [attempt.step for attempt in runs.attempts(ann, run.id)]
    assert steps == ["chain/inc", "chain/inc#2", "chain#2/inc", "add"]


def test_a_step_called_in_a_step_is_just_its_function(runs, ann):
    @nr.step
    def outer(x):
        return inc(inc(x))

    @nr.pipeline
    def whole():
        return outer(1)

    run = runs.run(ann, whole)

    assert run.result == 3
    assert [attempt.step for attempt in runs.attempts(ann, run.id)] == ["outer"]


def test_what_one_step_does_to_its_input_no_other_step_sees(runs, ann):
    @nr.step
    def numbers():
        return [1, 2]

    @nr.step
    def spoil(items):
        items.append(3)
        return len(items)

    @nr.pipeline
    def shared():
        items = numbers()
        return [spoil(items), spoil(items), spoil(items)]

    assert runs.run(ann, shared).result == [3, 3, 3]


def test_frames_and_arrays_are_given_by_reference_and_come_back_equal(any_house, ann):
    @nr.step
    def double(rows, factor):
        return rows.with_columns(x=pl.col("x") * factor[0])

    @nr.pipeline
    def scale(rows, factor):
        with pytest.raises(BadPipeline, match="parameter 'rows' is not known yet"):
            len(rows)
        return double(rows, factor)

    run = any_house.runs().run(ann, scale, params={"rows": pl.DataFrame({"x": [1, 2]}), "factor": np.array([2, 3])})

    assert run.error is None
    assert any_house.runs().get(ann, run.id).result.equals(pl.DataFrame({"x": [2, 4]}))


class Rows:
    """An input that counts how often it is loaded."""

    def __init__(self, digest):
        self.digest = digest
        self.loads = 0

    def load(self):
        self.loads += 1
        return pl.DataFrame({"x": [1, 2, 3]})


@nr.step(cache=True)
def height(rows):
    return rows.height


@nr.pipeline
def measure(rows):
    return height(rows)


def test_an_input_is_loaded_only_when_a_step_really_runs(runs, ann):
    first, second, other = Rows("a"), Rows("a"), Rows("b")

    results = [runs.run(ann, measure, params={"rows": rows}).result for rows in (first, second, other)]

    assert results == [3, 3, 3]
    assert (first.loads, second.loads, other.loads) == (1, 0, 1)


def test_an_input_that_cannot_be_loaded_fails_the_run_by_the_step_that_needed_it(runs, ann):
    class Broken(Rows):
        def load(self):
            raise OSError("disk on fire")

    run = runs.run(ann, measure, params={"rows": Broken("broken")})

    assert run.error == "step 'height' cannot be given its arguments: OSError: disk on fire"


def test_nan_is_an_argument_and_a_result_like_any_other(runs, ann):
    @nr.step
    def same(x):
        log_metric("loss", math.nan)
        return x

    @nr.pipeline
    def echo(x):
        return [same(x)]

    first, second = (runs.run(ann, echo, params={"x": math.nan}, key="nan") for _ in range(2))

    assert first.id == second.id
    assert math.isnan(second.result[0])
    assert math.isnan(runs.metrics(ann, first.id)[0].value)


def test_a_step_that_raises_fails_the_run_in_a_sentence_and_the_result_raises_with_the_cause(house, ann):
    @nr.step
    def bad(x):
        raise ValueError(f"no {x}\nsecond line")

    @nr.pipeline
    def fails(x):
        inc(1)
        return inc(bad(x))

    run = house.runs().run(ann, fails, params={"x": 7})

    assert run.state == "failed"
    assert run.error == "step 'bad' raised ValueError: no 7"
    assert run.failed_step == "bad"
    with pytest.raises(StepFailed, match="raised ValueError: no 7") as caught:
        _ = run.result
    assert isinstance(caught.value.__cause__, ValueError)
    failed = house.runs().attempts(ann, run.id)[-1]
    assert failed.state == "failed"
    assert "second line" in failed.error
    assert "in bad" in failed.error
    assert "executing.py" not in failed.error
    assert [(kind, told["error"]) for kind, told in house.facts()] == [("run.failed", run.error)]


def test_a_value_that_no_codec_carries_fails_the_run_by_its_step_and_is_not_tried_again(runs, ann):
    @nr.step(retries=3)
    def odd():
        return object()

    @nr.pipeline
    def whole():
        return odd()

    run = runs.run(ann, whole)

    assert run.error == "step 'odd' returned what cannot be kept: no codec carries a builtins.object"
    assert len(runs.attempts(ann, run.id)) == 1


def test_a_step_whose_argument_cannot_be_stored_fails_the_run_by_its_name(runs, ann):
    @nr.pipeline
    def whole():
        return inc(object())

    assert runs.run(ann, whole).error == (
        "step 'inc' cannot be given its arguments: no codec carries a builtins.object"
    )


def test_a_pipeline_that_raises_or_returns_something_unknown_is_a_failed_run(runs, ann):
    @nr.pipeline
    def raises():
        inc(1)
        raise RuntimeError("in the pipeline")

    @nr.pipeline
    def unknown():
        return object()

    line = raises.function.__code__.co_firstlineno + 3
    assert runs.run(ann, raises).error == f"pipeline 'raises', line {line}: RuntimeError: in the pipeline"
    assert "no codec carries a builtins.object" in runs.run(ann, unknown).error


def test_a_param_that_cannot_be_kept_fails_the_run_and_leaves_none_open(runs, ann):
    @nr.pipeline
    def whole():
        log_param("odd", object())
        return inc(1)

    run = runs.run(ann, whole)

    assert run.error == "pipeline 'whole' logged a param that cannot be kept: no codec carries a builtins.object"
    assert [found.state for found in runs.list(ann)] == ["failed"]


def test_a_reference_used_as_a_value_fails_the_run_with_the_way_out(runs, ann):
    @nr.pipeline
    def whole():
        return 1 if inc(1) else 2

    run = runs.run(ann, whole)

    assert "the result of step 'inc' is not known yet and cannot be used as a condition" in run.error
    assert "nr.branch" in run.cause.hint


def test_a_program_may_catch_a_failed_step_and_go_another_way(runs, ann):
    @nr.step
    def bad():
        raise ValueError("no")

    @nr.pipeline
    def careful():
        try:
            return nr.value(bad())
        except StepFailed:
            return inc(1)

    run = runs.run(ann, careful)

    assert run.result == 2
    assert [attempt.state.value for attempt in runs.attempts(ann, run.id)] == ["failed", "succeeded"]


def test_an_unknown_or_missing_parameter_is_refused_before_a_run_is_made(runs, ann):
    with pytest.raises(BadPipeline, match="pipeline 'chain' has no parameter 'm'"):
        runs.run(ann, chain, params={"m": 3})
    with pytest.raises(BadPipeline, match="needs a value for 'rows'"):
        runs.run(ann, measure)
    with pytest.raises(BadPipeline, match="is no pipeline"):
        runs.run(ann, inc)
    with pytest.raises(Invalid, match="cannot take 'rows': no codec carries a builtins.object"):
        runs.run(ann, measure, params={"rows": object()})
    with pytest.raises(Invalid, match="'n' is annotated int, and was given '7', of type str"):
        runs.run(ann, chain, params={"n": "7"})

    assert runs.list(ann) == ()


def test_metrics_and_params_are_committed_with_the_attempt_that_told_them(any_house, ann):
    @nr.step(retries=1, backoff_seconds=0)
    def tells(x):
        log_param("depth", x)
        for loss in (0.5, 0.25):
            log_metric("loss", loss)
        log_metric("auc", np.float64(0.75), step=10)
        if not seen:
            seen.append(1)
            raise ValueError("once")
        return x

    @nr.pipeline
    def whole(x):
        log_metric("outside", 1)
        return tells(x)

    seen = []
    runs = any_house.runs()
    run = runs.run(ann, whole, params={"x": 3})

    told = [(m.attempt, m.step, m.name, m.position, m.value) for m in runs.metrics(ann, run.id)]
    assert told == [(0, "/", "outside", 0, 1.0)] + [
        (attempt, "tells", *rest)
        for attempt in (1, 2)
        for rest in (("auc", 10, 0.75), ("loss", 0, 0.5), ("loss", 1, 0.25))
    ]
    assert [(p.step, p.name, p.words) for p in runs.params(ann, run.id)] == [("", "x", "3"), ("tells", "depth", "3")]


def test_logging_outside_a_run_does_nothing_and_a_metric_is_a_number():
    log_metric("auc", 1)
    log_param("a", 1)
    with pytest.raises(Invalid, match="metric 'auc' is 'high', which is no number"):
        log_metric("auc", "high")


def test_cpu_and_wall_seconds_are_those_of_the_attempts(house, ann, watch):
    run = house.runs(stopwatch=watch).run(ann, chain, params={"n": 4})

    assert (run.wall_seconds, run.cpu_seconds, run.charged_cpu_seconds) == (4.0, 2.0, 2.0)


def test_runs_are_listed_the_newest_first(runs, ann):
    made = [runs.run(ann, chain, params={"n": n}).id for n in range(3)]

    assert [run.id for run in runs.list(ann)] == made[::-1]
    assert [run.id for run in runs.list(ann, limit=1)] == made[2:]
    assert runs.list(ann, state="failed") == ()
    assert len(runs.list(ann, pipeline="chain")) == 3


def test_a_run_that_is_not_there_and_one_that_runs_are_said_to_be_so(runs, ann):
    with pytest.raises(NotFound, match="no run named 'run_x'"):
        runs.get(ann, "run_x")

    @nr.pipeline
    def looks():
        return nr.value(look())

    @nr.step
    def look():
        with pytest.raises(Conflict, match="still running"):
            _ = runs.list(ann)[0].result
        return True

    assert runs.run(ann, looks).result is True


def test_who_may_not_start_runs_starts_none(runs):
    eve = Context(actor=Actor(name="eve"))

    with pytest.raises(Denied, match="may not start runs"):
        runs.run(eve, chain)
    with pytest.raises(Denied, match="may not read runs"):
        runs.list(eve)
