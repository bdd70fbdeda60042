"""What only a real cluster does: it schedules, pulls images, keeps limits and takes pods away.

Skipped without KUBERNETES_TEST_CONFIG; docs/executors.md says what it and the others are.
"""

import re
import threading

import pytest
from executed_steps import add, enormous, fills_at_once, holds_the_interpreter, waits_long
from test_executors import is_written_to, only, until

from conftest import REAL, real_kubernetes
from noria.core.errors import Unavailable

pytestmark = pytest.mark.skipif(not REAL, reason="there is no cluster: see KUBERNETES_TEST_CONFIG")


@pytest.fixture
def run_with(house, values, ann):
    """Run a pipeline by an executor with other settings than usual."""

    def run(pipeline, **settings):
        executors = real_kubernetes(values, **settings)
        ended = house.runs(executor=next(executors)).run(ann, pipeline)
        next(executors, None)
        return ended

    return run


def test_an_image_that_is_not_there_is_said(run_with):
    run = run_with(only(add, 1), image="noria.invalid/there-is-none:1")

    assert re.search("found no place: (ErrImagePull|ImagePullBackOff): ", run.error)


def test_what_no_node_has_is_said(run_with):
    assert "found no place: Unschedulable: " in run_with(only(enormous)).error


def test_a_service_account_that_is_not_there_is_said(run_with):
    assert "found no place: no pod was made of its Job" in run_with(only(add, 1), service_account="there-is-none").error


def test_a_secret_that_is_not_there_is_said_at_once(run_with):
    assert "found no place: CreateContainerConfigError: " in run_with(only(add, 1), secret="there-is-none").error


def test_a_namespace_in_which_no_jobs_may_be_made_is_said(run_with):
    assert "found no place: Kubernetes answered 40" in run_with(only(add, 1), namespace="there-is-none").error


def test_a_step_that_takes_too_much_memory_at_once_is_ended_by_its_node(house, kubernetes, ann):
    assert house.runs(executor=kubernetes).run(ann, only(fills_at_once)).error == (
        "step 'fills_at_once' raised MemoryError: it took more than 300,000,000 bytes and was ended"
    )


def test_a_step_that_lets_nothing_else_run_is_ended_by_its_node(house, kubernetes, ann, monkeypatch):
    monkeypatch.setattr("noria.adapters.executors.jobs._STARTING_SECONDS", 4)

    assert house.runs(executor=kubernetes).run(ann, only(holds_the_interpreter)).error == (
        "step 'holds_the_interpreter' raised TimeoutError: it took longer than 0.5 s and was ended"
    )


@pytest.fixture
def running(house, kubernetes, ann, shared):
    """Start a long step in a thread; return the thread, and how its run ends."""
    ended = []

    def go():
        try:
            house.runs(executor=kubernetes).run(ann, only(waits_long, str(shared / "beats")))
        except Unavailable as problem:
            ended.append(problem.sentence)

    thread = threading.Thread(target=go)
    thread.start()
    assert until((shared / "beats").exists, seconds=60)
    return thread, ended


def test_a_job_that_somebody_deletes_is_made_again(running, kubernetes, shared):
    thread, ended = running
    (first,) = kubernetes._running

    kubernetes._delete(first)
    assert until(lambda: kubernetes._running and first not in kubernetes._running, seconds=60)
    (shared / "beats").unlink()
    assert until((shared / "beats").exists, seconds=60)
    kubernetes.close()
    thread.join(60)

    assert ended == ["the executor is closed"]


def test_closing_ends_the_pods_that_run(running, kubernetes, shared):
    thread, ended = running

    kubernetes.close()
    thread.join(60)

    assert ended == ["the executor is closed"]
    assert until(lambda: not is_written_to(shared / "beats"))
