"""Laws of drawing: calls become references, misuse is told with the way out, outside a pipeline functions are functions."""

import asyncio
import copy
import functools
import os

import numpy as np
import pytest

import noria.pipelines as nr
from noria.core.errors import BadPipeline, Invalid, NotFound
from noria.pipelines.drawing import Drawing
from noria.pipelines.references import find, module_name


@nr.step
def inc(x: int, by: int = 1) -> int:
    """Add."""
    return x + by


@nr.pipeline
def chain(n=2):
    x = 0
    for _ in range(n):
        x = inc(x)
    return x


def drawn(pipeline, **params):
    drawing = Drawing()
    return drawing, pipeline.draw(drawing, pipeline.bind(params))


@pytest.fixture
def reference():
    return drawn(chain)[1]


def test_outside_a_pipeline_steps_and_pipelines_are_their_functions():
    assert inc(1) == 2
    assert chain(5) == 5
    assert nr.value(3) == 3
    assert nr.branch(0, lambda: 1, lambda: 2) == 2
    assert nr.branch(0, lambda: 1) is None
    assert (inc.__name__, inc.__doc__) == ("inc", "Add.")


def test_a_node_is_named_by_its_call_path_its_step_and_its_ordinal():
    @nr.pipeline
    def outer():
        nr.branch(chain(1), lambda: chain(1))
        return chain(2)

    drawing, _ = drawn(outer)

    assert [node.id for node in drawing.nodes] == [
        "chain/inc",
        "branch/then/chain/inc",
        "chain#2/inc",
        "chain#2/inc#2",
    ]
    assert drawing.nodes[1].guards == (("branch", True),)


def test_defaults_are_arguments_like_others():
    drawing, _ = drawn(chain, n=1)

    assert drawing.nodes[0].arguments == {"x": 0, "by": 1}


async def awaiting(reference):
    return await reference


@pytest.mark.parametrize(
    ("use", "how"),
    [
        (bool, "as a condition"),
        (list, "in a loop or unpacked"),
        (len, "as a collection"),
        (str, "as text"),
        (int, "in a calculation"),
        (np.asarray, "like this"),
        (lambda r: r[0], "as a collection"),
        (lambda r: 1 in r, "as a collection"),
        (lambda r: r + 1, "in a calculation"),
        (lambda r: 1 - r, "in a calculation"),
        (lambda r: -r, "in a calculation"),
        (lambda r: r == 1, "in a comparison"),
        (lambda r: r < 1, "in a comparison"),
        (lambda r: f"{r}", "as text"),
        (lambda r: r.shape, "for its attribute 'shape'"),
        (lambda r: r(), "like this"),
        (lambda r: range(r), "in a calculation"),
        (lambda r: next(r), "like this"),
        (os.fspath, "like this"),
        (lambda r: asyncio.run(awaiting(r)), "like this"),
    ],
)
def test_a_reference_is_never_taken_for_its_value(reference, use, how):
    with pytest.raises(
        BadPipeline, match=f"the result of step 'inc#2' is not known yet and cannot be used {how}"
    ) as caught:
        use(reference)

    assert "nr." in caught.value.hint


def test_a_reference_can_be_shown_and_kept_in_sets(reference):
    assert repr(reference) == "<reference to the result of step 'inc#2'>"
    assert {reference: 1}[reference] == 1
    assert not hasattr(reference, "__wrapped__")


def test_a_reference_of_another_run_is_refused(reference):
    @nr.pipeline
    def leaks():
        return inc(reference)

    @nr.pipeline
    def returns():
        return [reference]

    for pipeline in (leaks, returns):
        with pytest.raises(BadPipeline, match="a reference of another run"):
            drawn(pipeline)


def test_value_needs_a_run_and_may_not_stand_in_a_branch():
    @nr.pipeline
    def asks():
        return nr.value(inc(1))

    @nr.pipeline
    def hides():
        return nr.branch(inc(1), lambda: nr.value(inc(2)))

    with pytest.raises(BadPipeline, match="only being drawn"):
        drawn(asks)
    with pytest.raises(BadPipeline, match="this side may never be taken"):
        drawn(hides)


def test_a_branch_takes_functions():
    with pytest.raises(BadPipeline, match="takes two functions"):
        nr.branch(1, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        (((1,), {"bye": 2}), "step 'inc' has no parameter 'bye'", "did you mean 'by'?"),
        (((), {}), "missing a required argument: 'x'", "inc(x, by=1)"),
        (((1, 2, 3), {}), "too many positional arguments", "inc(x, by=1)"),
    ],
)
def test_a_call_that_does_not_fit_is_told_with_how_it_is_written(arguments, says, hint):
    @nr.pipeline
    def wrong():
        return inc(*arguments[0], **arguments[1])

    with pytest.raises(BadPipeline) as caught:
        drawn(wrong)

    assert says in caught.value.sentence
    assert hint in caught.value.hint


def test_parameters_are_given_by_name_and_unknown_or_missing_ones_are_told():
    @nr.pipeline
    def takes(rows, learning_rate=0.1):
        return rows

    assert takes.parameters == ("rows", "learning_rate")
    assert takes.bind({"rows": 1}) == {"rows": 1, "learning_rate": 0.1}
    with pytest.raises(BadPipeline, match="has no parameter 'learning_rat'") as caught:
        takes.bind({"rows": 1, "learning_rat": 1})
    assert caught.value.hint == "did you mean 'learning_rate'?"
    with pytest.raises(BadPipeline, match="pipeline 'takes' needs a value for 'rows'"):
        takes.bind({})


class Thing:
    def method(self):
        return 1


async def later():
    return 1


def stream():
    yield 1


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (lambda x: x, "a lambda cannot be a step"),
        (Thing, "not on a Thing"),
        (3, "not on a int"),
        (functools.partial(chain.function, 1), "not on a partial"),
        (Thing.method, "is a method"),
        (later, "is async"),
        (stream, "yields"),
    ],
)
def test_a_step_is_a_plain_function(what, says):
    with pytest.raises(BadPipeline, match=says):
        nr.step(what)


@pytest.mark.parametrize(
    "setting",
    [
        {"retries": -1},
        {"retries": 1.5},
        {"backoff_seconds": -1},
        {"backoff_seconds": "1s"},
        {"retry_on": [KeyboardInterrupt]},
        {"name": ""},
        {"retry_on": ValueError("x")},
        {"name": "a/b"},
        {"name": "fit[1]"},
        {"name": 3},
        {"cache": 3},
        {"timeout_seconds": "3"},
        {"memory_bytes": "2GB"},
        {"cpus": 0},
        {"gpus": -1},
        {"tags": "fast-disk"},
        {"environment": {"image": 7}},
        {"environment": "image"},
    ],
)
def test_a_setting_that_means_nothing_is_refused(setting):
    with pytest.raises(BadPipeline) as caught:
        nr.step(**setting)

    assert caught.value.hint


def test_a_setting_that_does_not_exist_is_told_with_the_nearest_one():
    with pytest.raises(BadPipeline, match="@step has no setting 'cpu'") as of_a_step:
        nr.step(cpu=3)
    with pytest.raises(BadPipeline, match="@pipeline has no setting 'retries'") as of_a_pipeline:
        nr.pipeline(retries=3)

    assert of_a_step.value.hint == "did you mean 'cpus'?"
    assert "each @step" in of_a_pipeline.value.hint


def test_a_pipeline_is_a_plain_function_with_named_parameters():
    with pytest.raises(BadPipeline, match="a lambda cannot be a pipeline"):
        nr.pipeline(lambda: 1)

    def free(*args):
        return args

    with pytest.raises(BadPipeline, match="parameters without a name"):
        nr.pipeline(free)


def test_steps_take_any_kind_of_parameter():
    @nr.step
    def wide(a, /, *rest, b=1, **more):
        return a, rest, b, more

    @nr.pipeline
    def whole():
        return wide(1, 2, 3, b=4, c=5)

    drawing, _ = drawn(whole)

    assert drawing.nodes[0].arguments == {"a": 1, "rest": (2, 3), "b": 4, "more": {"c": 5}}


def test_a_function_is_found_again_by_its_reference():
    assert inc.reference == f"{__name__}:inc"
    assert find(inc.reference) is inc
    assert module_name("a.b") == "a.b"
    with pytest.raises(NotFound, match="no function named"):
        find(f"{__name__}:gone")
    with pytest.raises(NotFound, match="no_such_module"):
        find("no_such_module:f")
    with pytest.raises(Invalid, match="local to a function"):
        find("a:f.<locals>.g")


def test_settings_of_a_step_stand_on_it():
    @nr.step(retries=2, retry_on=ValueError, cache=True, name="other")
    def f():
        return 1

    assert (f.name, f.cache, f.retry.retries, f.retry.retry_on) == ("other", True, 2, (ValueError,))
    assert copy.copy(f.retry) == f.retry
