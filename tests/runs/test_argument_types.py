"""Laws of arguments that are not what they are annotated with: a clear failure before the step works, unless told otherwise."""

import pytest

import noria.pipelines as nr
from noria.core.errors import Invalid
from noria.runs.model import RunState

called = []


@nr.step(retries=3, backoff_seconds=0)
def doubles(n: int, *more: int, times: float = None) -> int:  # noqa: RUF013 - that is the point
    called.append(n)
    return n * 2


@nr.step(check_types=False)
def takes_all(n: int):
    return n


@nr.step
def gives(value):
    return value


@nr.pipeline
def wrong(value):
    return doubles(gives(value))


@nr.pipeline
def wrong_in_more(value):
    return doubles(1, gives(value))


@nr.pipeline
def of_a_list(values: list[int]):
    return doubles.map(values)


@nr.pipeline
def unchecked(value):
    return takes_all(gives(value))


@nr.pipeline(check_types=False)
def loose(n: int):
    return takes_all(n)


@pytest.fixture(autouse=True)
def forget():
    called.clear()


@pytest.mark.parametrize("pipeline", [wrong, wrong_in_more])
def test_a_step_is_not_called_with_another_type_than_it_says_nor_tried_again(runs, ann, pipeline):
    run = runs.run(ann, pipeline, params={"value": "7"})

    assert run.state is RunState.FAILED
    assert "was not called: " in run.error
    assert "is annotated int, and was given" in run.error
    assert called == []
    assert len([attempt for attempt in runs.attempts(ann, run.id) if attempt.step == "doubles"]) == 1


def test_what_fits_runs_as_before_also_a_default_that_the_annotation_does_not_allow(runs, ann):
    assert runs.run(ann, wrong, params={"value": True}).result == 2
    assert runs.run(ann, of_a_list, params={"values": [1, 2]}).result == [2, 4]


def test_params_of_a_pipeline_are_refused_before_a_run_is_made(runs, ann):
    with pytest.raises(Invalid, match="'values' is annotated list\\[int\\], and was given \\[1, '2'\\]"):
        runs.run(ann, of_a_list, params={"values": [1, "2"]})
    with pytest.raises(Invalid, match="pipeline 'of_a_list'"):
        runs.submit(ann, of_a_list, params={"values": "12"})

    assert runs.list(ann) == ()


def test_a_step_a_pipeline_and_a_home_can_be_told_to_take_anything(house, ann):
    runs = house.runs()
    assert runs.run(ann, unchecked, params={"value": "7"}).result == "7"
    assert runs.run(ann, loose, params={"n": "7"}).result == "7"

    assert house.runs(check_types=False).run(ann, wrong, params={"value": "7"}).result == "77"
