"""One contract for all executors that can run here, and what only some of them can do.

Ray and Kubernetes are skipped where they are not installed: `make test-ray` and `make test-kubernetes` have them.
"""

import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from threading import Thread

import polars as pl
import pytest
from executed_steps import (
    add,
    both_cores,
    dies,
    ends_with,
    exits,
    fails,
    fails_oddly,
    fails_speechless,
    fan,
    fills,
    frames,
    greedy,
    groups,
    has_processes,
    is_refused,
    large,
    logs_a_lock,
    models,
    odd,
    overwritten,
    popped,
    returns_what_only_it_can_read,
    side_by_side,
    sleeps,
    starts_what_takes_too_long,
    told,
    tried,
    waits_long,
    waits_too_long,
)

import noria.pipelines as nr
from noria.adapters.executors.processes import Processes
from noria.boot import open_home
from noria.core.clock import MachineStopwatch
from noria.core.errors import Invalid
from noria.runs.inprocess import InProcess
from noria.settings import Settings

APART = ["processes", "ray", "kubernetes"]


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_written_to(file):
    before = file.stat().st_size
    time.sleep(0.5)
    return file.stat().st_size != before


def until(is_so, *, seconds=20):
    ends = time.perf_counter() + seconds
    while not is_so() and time.perf_counter() < ends:
        time.sleep(0.02)
    return is_so()


def only(step, *args):
    @nr.pipeline
    def one():
        return step(*args)

    return one


@pytest.fixture(params=["in_process", *APART])
def runs(request, house):
    return house.runs(executor=request.getfixturevalue(request.param))


@pytest.fixture(params=APART)
def apart(request, house):
    return house.runs(executor=request.getfixturevalue(request.param))


def test_steps_are_executed_with_their_arguments(runs, ann):
    assert runs.run(ann, only(add, 2, 3)).result == 5


def test_items_of_a_map_are_executed_several_at_a_time(runs, ann):
    assert runs.run(ann, fan, params={"n": 20}).result == [x + 2 for x in range(20)]


def test_large_frames_go_from_step_to_step_also_inside_lists_and_dictionaries(runs, ann):
    rows = 200_000

    assert runs.run(ann, large, params={"rows": rows}).result == 3 * rows * (rows - 1) // 2


def test_frames_and_arrays_come_through(runs, ann):
    run = runs.run(ann, frames, params={"rows": pl.DataFrame({"x": [1.0, 2.0]})})

    assert run.result.equals(pl.DataFrame({"x": [3.0, 6.0]}))


def test_models_go_from_step_to_step_with_their_preprocess(runs, ann):
    pytest.importorskip("sklearn")
    rows = pl.DataFrame({"x": [1.0, 2.0, 3.0], "y": [2.0, 4.0, 6.0]})

    assert runs.run(ann, models, params={"rows": rows}).result == [2.0, 4.0, 6.0]


def test_what_a_step_tells_arrives(runs, ann):
    run = runs.run(ann, told, params={"x": 3})

    assert [(m.name, m.value) for m in runs.metrics(ann, run.id)] == [("x", 3.0)]
    assert ("tells", "p", "[3]") in [(p.step, p.name, p.words) for p in runs.params(ann, run.id)]
    assert [part.text for part in runs.logs(ann, run.id)] == ["hello 3\n"]
    assert [(p.done, p.words) for p in runs.progress(ann, run.id)] == [(1.0, "half")]


def test_what_a_step_raises_is_its_failure_with_its_traceback(runs, ann):
    run = runs.run(ann, only(fails, "k"))

    assert run.error == "step 'fails' raised KeyError: 'k'"
    assert isinstance(run.cause, KeyError)
    attempts = runs.attempts(ann, run.id)
    assert [a.state.value for a in attempts] == ["failed", "failed"]
    assert "raise KeyError(x)" in attempts[0].error


def test_an_error_that_cannot_be_sent_says_the_same(runs, ann):
    assert "Own: 1 2" in runs.run(ann, only(fails_oddly)).error
    assert "Speechless: (it cannot say what)" in runs.run(ann, only(fails_speechless)).error


def test_only_errors_of_the_named_types_are_tried_again(runs, ann, shared):
    assert isinstance(runs.run(ann, only(tried, str(shared / "right"), "right")).cause, ConnectionError)
    assert isinstance(runs.run(ann, only(tried, str(shared / "wrong"), "wrong")).cause, ValueError)

    named = runs.run(ann, only(tried, str(shared / "named"), "named")).cause
    assert (isinstance(named, ConnectionError), str(named)) == (True, "named again")

    assert (shared / "right").read_text() == "xxx"
    assert (shared / "named").read_text() == "xxx"
    assert (shared / "wrong").read_text() == "x"


REFUSALS = {
    "plain": "Refused: plain",
    "lock": "WithLock: lock",
    "more": "WithMore: 503 at the store",
    "of itself": "OfItself: says of itself",
    "local": "Local: local",
    "argument": "Refused: ('argument', <unlocked _thread.lock object at",
    "unwilling": "Unwilling: unwilling",
    "forgetful": "Forgetful: forgetful",
    "mute": "Mute: (it cannot say what)",
    "large": "Refused: xxx",
    "caused": "Refused: caused",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_an_error_is_tried_again_by_the_types_that_it_has_where_it_is_raised(runs, ann, shared, kind):
    run = runs.run(ann, only(is_refused, str(shared / "tries"), kind))

    assert (shared / "tries").read_text() == "xx"
    assert f"step 'is_refused' raised {REFUSALS[kind]}" in run.error
    attempts = runs.attempts(ann, run.id)
    assert ["raise refusal(kind)" in attempt.error for attempt in attempts] == [True, True]
    assert kind != "caused" or "the cause" in attempts[0].error


def test_an_error_that_cannot_be_pickled_comes_back_as_what_it_was_where_it_can_be_made_again(apart, ann, shared):
    lock = apart.run(ann, only(is_refused, str(shared / "one"), "lock")).cause
    more = apart.run(ann, only(is_refused, str(shared / "two"), "more")).cause

    assert (type(lock).__name__, lock.args) == ("WithLock", ("lock",))
    assert (type(more).__name__, str(more), more.where) == ("WithMore", "503 at the store", "the store")


def test_a_group_of_errors_is_one_in_every_process(runs, ann, shared):
    run = runs.run(ann, only(groups, str(shared / "tries")))

    assert (shared / "tries").read_text() == "xx"
    first, inner = run.cause.exceptions
    assert (type(first).__name__, str(first)) == ("WithLock", "first")
    assert [str(error) for error in inner.exceptions] == ["second"]
    assert "second" in runs.attempts(ann, run.id)[0].error


@pytest.mark.parametrize("kind", ["exit", "own", "stop"])
def test_what_is_no_error_of_the_named_types_is_not_tried_again_in_any_process(runs, ann, shared, kind):
    run = runs.run(ann, only(ends_with, str(shared / "tries"), kind))

    assert (shared / "tries").read_text() == "x"
    assert "enough" in run.error


def test_what_only_its_process_can_read_is_the_failure_of_its_step(processes, house, ann):
    runs = house.runs(executor=processes)

    logged = runs.run(ann, only(logs_a_lock))
    returned = runs.run(ann, only(returns_what_only_it_can_read))

    assert "step 'logs_a_lock' logged a param that cannot be sent back by its process" in logged.error
    assert "returned what cannot be read by the run's process" in returned.error


def test_each_item_each_try_and_the_caller_have_arguments_of_their_own(runs, ann, shared):
    params = {"rounds": 500}

    run = runs.run(ann, popped, params={"params": params, "file": str(shared / "tries")})

    assert run.result == [[[0, 500], [1, 500]], [[2, 3]]]
    assert params == {"rounds": 500}


def test_a_step_that_writes_to_its_file_changes_no_other_steps(runs, ann):
    assert runs.run(ann, overwritten, params={"text": "as it was"}).result == [
        "as it was",
        "as it was",
        ["as it was"] * 2,
    ]


def test_a_value_that_nobody_can_keep_fails_its_step(runs, ann):
    assert "step 'odd' returned what cannot be" in runs.run(ann, only(odd)).error


def test_a_step_that_needs_more_than_there_is_is_refused_in_words(runs, ann):
    run = runs.run(ann, only(greedy))

    assert "step 'greedy' needs what the executor" in run.error
    assert "gpus=1: it has 0; tag 'fast-disk': it has none such" in run.error
    assert runs.attempts(ann, run.id) == ()


def test_a_process_of_its_own_is_one(apart, ann):
    assert apart.run(ann, told, params={"x": 1}).result != os.getpid()


def test_a_step_that_takes_too_long_is_ended(apart, ann):
    begun = time.perf_counter()
    run = apart.run(ann, only(sleeps, 60))

    assert run.error == "step 'sleeps' raised TimeoutError: it took longer than 0.5 s and was ended"
    assert time.perf_counter() - begun < 30
    assert apart.run(ann, only(sleeps, 0)).result == "slept"


def test_nothing_of_a_step_that_was_ended_runs_on(apart, ann, shared):
    assert "TimeoutError" in apart.run(ann, only(waits_too_long, str(shared / "beats"))).error

    assert until(lambda: not is_written_to(shared / "beats"))


def test_what_a_step_has_started_is_ended_with_it(processes, house, ann, tmp_path):
    runs = house.runs(executor=processes)
    assert "TimeoutError" in runs.run(ann, only(starts_what_takes_too_long, str(tmp_path / "process"))).error

    process = int((tmp_path / "process").read_text())
    assert until(lambda: not is_running(process))


def test_a_step_may_have_processes_of_its_own(apart, ann):
    assert apart.run(ann, only(has_processes)).result == [1, 2]


def test_a_cancelled_run_ends_within_its_step_and_nothing_of_that_runs_on(apart, ann, shared):
    ended = deque()
    run = Thread(target=lambda: ended.append(apart.run(ann, only(waits_long, str(shared / "beats")))))
    run.start()
    assert until((shared / "beats").exists, seconds=60)

    begun = time.perf_counter()
    apart.cancel(ann, apart.list(ann)[0].id)
    run.join(60)

    assert time.perf_counter() - begun < 20
    assert ended[0].state == "cancelled"
    assert apart.attempts(ann, ended[0].id) == ()
    assert until(lambda: not is_written_to(shared / "beats"))
    assert apart.run(ann, only(add, 1)).result == 2


def test_a_step_that_takes_too_much_memory_is_ended(apart, ann):
    assert apart.run(ann, only(fills, 10)).result == 10_000_000
    assert apart.run(ann, only(fills, 400)).error == (
        "step 'fills' raised MemoryError: it took more than 300,000,000 bytes and was ended"
    )


def test_a_step_that_exits_fails_and_hangs_nothing(runs, ann):
    assert runs.run(ann, only(exits)).error == "step 'exits' raised SystemExit: enough"


def test_a_process_that_dies_fails_its_step_and_no_other(apart, ann):
    assert apart.run(ann, only(dies)).error.startswith("step 'dies' was lost: its process died")
    assert apart.run(ann, only(add, 1)).result == 2


@pytest.mark.parametrize("kind", [InProcess, Processes])
def test_steps_that_need_all_cores_are_not_executed_side_by_side(house, ann, tmp_path, kind):
    executor = kind(MachineStopwatch(), cpus=2)

    run = house.runs(executor=executor).run(ann, side_by_side, params={"file": str(tmp_path / "file"), "n": 4})
    executor.close()

    assert run.error is None
    assert (tmp_path / "file").read_text() == "+-" * 4


def test_what_a_step_starts_itself_runs_on_the_cores_that_it_holds(house, ann, tmp_path):
    runs = house.runs(executor=InProcess(MachineStopwatch(), cpus=2))

    @nr.step(cpus=2)
    def outer(n):
        return runs.run(ann, fan, params={"n": n}).result

    assert runs.run(ann, only(outer, 4)).result == [2, 3, 4, 5]


def test_a_step_that_needs_more_cores_than_there_are_is_told_which_setting_says_so(house, ann):
    run = house.runs(executor=InProcess(MachineStopwatch(), cpus=1)).run(ann, only(both_cores, "file"))

    assert "cpus=2: it has 1" in run.error
    assert "worker_cpus" in run.cause.hint


def test_what_this_process_cannot_do_is_refused_before_it_is_tried(house, ann):
    run = house.runs().run(ann, only(sleeps, 0))

    assert run.error == (
        "step 'sleeps' needs what the executor 'in-process' cannot give: timeout_seconds=0.5: it cannot end a step"
    )
    assert "processes" in run.cause.hint


def test_a_step_that_no_other_process_can_find_is_refused_in_words(apart, ann):
    @nr.step
    def local():
        return 1

    assert "step 'local' is local to a function" in apart.run(ann, only(local)).error


def test_an_executor_that_cannot_be_made_says_what_to_set(tmp_path):
    def open_with(**settings):
        return open_home(tmp_path / "home", settings=Settings(**settings))

    with pytest.raises(Invalid) as unknown:
        open_with(executor="kubernets")
    with pytest.raises(Invalid) as imageless:
        open_with(executor="kubernetes")

    assert unknown.value.hint == "did you mean 'kubernetes'?"
    assert imageless.value.hint == "set kubernetes_image in noria.toml"


SCRIPT = """
import noria as nr
from noria.settings import Settings

@nr.step
def one(x):
    return x + 1

@nr.pipeline
def whole():
    return one(1)

def main():
    with nr.open("home", settings=Settings(executor="processes")) as home:
        run = home.run(whole)
        print(run.error or run.result)
"""


@pytest.mark.parametrize(("end", "said"), [("if __name__ == '__main__':\n    main()", "2"), ("main()", "__main__")])
def test_a_script_is_executed_by_processes_and_one_without_a_guard_is_told_so(tmp_path, end, said):
    (tmp_path / "script.py").write_text(f"{SCRIPT}\n\n{end}\n")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert said in done.stdout, done.stderr


ORPHANING = """
import os, time
from pathlib import Path
import noria as nr
from noria.settings import Settings

def opened():
    return nr.open("home", settings=Settings(executor="processes"))

@nr.step
def one(x):
    return x + 1

@nr.pipeline
def inner(x):
    return one(x)

@nr.step
def starts_a_run(x):
    with opened() as home:
        return home.run(inner, params={"x": x}).result

@nr.step
def goes_on(x):
    Path("process").write_text(str(os.getpid()))
    time.sleep(60)

@nr.pipeline
def whole():
    return goes_on(starts_a_run(1))

if __name__ == "__main__":
    with opened() as home:
        home.run(whole, key="whole")
"""


def test_a_run_that_is_killed_takes_its_steps_processes_along_and_knows_which_runs_they_started(tmp_path):
    (tmp_path / "script.py").write_text(ORPHANING)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, env=environment) as process:
        assert until(lambda: (tmp_path / "process").exists() and (tmp_path / "process").read_text(), seconds=60)
        step = int((tmp_path / "process").read_text())
        assert is_running(step)
        process.kill()

    assert until(lambda: not is_running(step))
    with open_home(tmp_path / "home") as home:
        inner, whole = home.runs.list(home.context)
        assert (inner.result, inner.started_in) == (2, whole.id)
