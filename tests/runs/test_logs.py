"""Laws of what steps write: kept with the attempt, passed on as before, and never more than is good."""

import logging
import sys

import pytest

import noria.pipelines as nr
from noria.runs.logs import MOST_CHARACTERS
from noria.runs.recorder import progress

log = logging.getLogger("mine")


@nr.step(retries=1, backoff_seconds=0)
def speaks(name):
    print(f"hello {name}")
    sys.stderr.write("to the other stream\n")
    log.warning("look at %s", name)
    seen.append(name)
    if len(seen) == 1:
        raise ValueError("once")
    return name


seen = []


@nr.pipeline
def speak(name):
    print("the pipeline itself is no attempt")
    return speaks(name)


@pytest.fixture(autouse=True)
def forget():
    seen.clear()


def test_what_each_attempt_writes_is_kept_and_passed_on(any_house, ann, capsys):
    runs = any_house.runs()
    run = runs.run(ann, speak, params={"name": "ann"})

    said = "hello ann\nto the other stream\nWARNING mine: look at ann\n"
    assert [(part.step, part.attempt, part.text) for part in runs.logs(ann, run.id)] == [
        ("speaks", 1, said),
        ("speaks", 2, said),
    ]
    assert runs.logs(ann, run.id, step="other") == ()
    assert capsys.readouterr().out.count("hello ann\n") == 2


def test_the_streams_are_what_they_were_after_a_run(runs, ann):
    before = sys.stdout, sys.stderr, list(logging.root.handlers)
    runs.run(ann, speak, params={"name": "ann"})

    assert (sys.stdout, sys.stderr, logging.root.handlers) == before


def test_a_step_that_writes_a_hundred_megabytes_is_cut_with_a_sentence(house, ann, monkeypatch):
    class Nowhere:
        def write(self, text):
            return len(text)

    @nr.step
    def babbles():
        for _ in range(100):
            print("x" * 1_000_000)
        return 1

    @nr.pipeline
    def whole():
        return babbles()

    monkeypatch.setattr(sys, "stdout", Nowhere())
    runs = house.runs()
    run = runs.run(ann, whole)
    text = "".join(part.text for part in runs.logs(ann, run.id))

    assert run.result == 1
    assert len(text) < MOST_CHARACTERS + 200
    assert text.endswith("and the rest was not kept; return what is large\n")


def test_words_and_progress_are_seen_while_the_step_runs(any_house, ann):
    runs = any_house.runs()
    found = {}

    @nr.step
    def long():
        print("x" * 70_000)
        progress(1, 4, "epochs")
        id_ = runs.list(ann)[0].id
        found["log"] = "".join(part.text for part in runs.logs(ann, id_))
        found["progress"] = [(p.step, p.done, p.total, p.words) for p in runs.progress(ann, id_)]
        progress(4, 4)
        return 1

    @nr.pipeline
    def whole():
        return long()

    run = runs.run(ann, whole)

    assert found["log"].count("x") == 70_000
    assert found["progress"] == [("long", 1.0, 4.0, "epochs")]
    assert [(p.done, p.words) for p in runs.progress(ann, run.id)] == [(4.0, "")]


def test_a_step_that_tells_its_progress_is_a_plain_function_outside_a_run(capsys):
    @nr.step
    def counted():
        progress(1, 2)
        return "done"

    assert counted() == "done"
    assert capsys.readouterr() == ("", "")


def test_each_attempt_tells_its_peak_memory(runs, ann):
    run = runs.run(ann, speak, params={"name": "ann"})

    assert all(attempt.peak_bytes > 1_000_000 for attempt in runs.attempts(ann, run.id))
