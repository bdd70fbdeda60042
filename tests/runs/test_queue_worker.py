"""Laws of `noria work`: each run in a process of its own, with the code that it was submitted with; no run hangs."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import noria as nr
from noria.cli import files
from noria.cli.queue_worker import QueueWorker
from noria.core.errors import BadPipeline
from noria.settings import Settings

SHOP = """
import multiprocessing.util
import os
import subprocess
import sys
import time
from pathlib import Path

import noria as nr
import shop_prices

@nr.step
def price(x):
    return x * shop_prices.FACTOR

@nr.step
def crash(x):
    os.kill(os.getpid(), 9)

@nr.step
def long(x, folder):
    place = Path(folder)
    if (place / "may_end").exists():
        return x
    if (place / "child").exists():
        (place / "child").write_text(str(subprocess.Popen(["sleep", "600"]).pid))
    (place / "new").write_text(str(os.getpid()))
    (place / "new").rename(place / "begun")
    time.sleep(600)

@nr.step
def ignores(folder):
    place = Path(folder)
    (place / "new").write_text(str(os.getpid()))
    (place / "new").rename(place / "begun")
    while True:
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            (place / "ignored").touch()

@nr.pipeline
def stubborn(folder):
    return ignores(folder)

@nr.step(tags=["fast-disk"], timeout_seconds=60)
def stored(x):
    return x

@nr.pipeline
def priced(x):
    return price(x)

@nr.step
def leave(how):
    {"sys.exit": sys.exit, "os._exit": os._exit}[how](0)

@nr.pipeline
def exiting(how):
    return leave(how)

@nr.pipeline
def crashing():
    return crash(price(1))

@nr.pipeline
def lasting(folder):
    return long(price(1), folder)

@nr.step
def ends_and_is_killed(folder):
    with (Path(folder) / "calls").open("a") as calls:
        calls.write("called\\n")
    multiprocessing.util.Finalize(None, os.kill, (os.getpid(), 9), exitpriority=1)
    raise ValueError("no")

@nr.pipeline
def ended(folder):
    return ends_and_is_killed(folder)

@nr.pipeline
def kept(x):
    return stored(price(x))

@nr.pipeline
def found_late(x):
    return globals()["sto" + "red"](price(x))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def any_home(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "home") if request.param == "sqlite" else request.getfixturevalue("postgresql_address")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "home")


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Write the user's two modules, and return what loads them as they are then."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "queued_shop.py").write_text(SHOP)

    def load(factor=10):
        (folder / "shop_prices.py").write_text(f"FACTOR = {factor}\n")
        sys.modules.pop("shop_prices", None)
        return files.load(folder / "queued_shop.py")

    yield load
    for name in ("queued_shop", "shop_prices"):
        sys.modules.pop(name, None)


@contextmanager
def worker_of(home, **settings):
    with nr.open(home, settings=Settings(**settings)) as platform:
        worker = QueueWorker(platform, told=threading.Event(), hurry=threading.Event())
        with worker.attending():
            yield worker


def work(home, **settings):
    with worker_of(home, **settings) as worker:
        return worker.execute_all()


def until(is_so, *, seconds=60):
    ends = time.monotonic() + seconds
    while not is_so() and time.monotonic() < ends:
        time.sleep(0.02)
    assert is_so()


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_two_versions_of_a_module_both_run_right_on_a_worker_that_has_another_one(any_home, shop, tmp_path):
    with nr.open(any_home) as platform:
        runs, ann = platform.runs, platform.context
        old = runs.submit(ann, shop(10).priced, params={"x": 1})
        new = runs.submit(ann, shop(20).priced, params={"x": 1})
        for name in ("queued_shop.py", "shop_prices.py"):
            (tmp_path / name).write_text("raise RuntimeError('not the code of any run')")
            (tmp_path / "code" / name).unlink()

        assert work(any_home) == 2

        assert [runs.get(ann, run.id).result for run in (old, new)] == [10, 20]
        assert old.bundle != new.bundle


def test_a_missing_or_damaged_bundle_fails_its_run_in_words_and_no_other(home, shop, tmp_path):
    with nr.open(home) as platform:
        runs, ann = platform.runs, platform.context
        lost, damaged, whole = (runs.submit(ann, shop(n).priced, params={"x": 1}) for n in (1, 2, 3))
        platform.blobs.drop(lost.bundle)
        (tmp_path / "home" / "blobs" / damaged.bundle[:2] / damaged.bundle).write_bytes(b"")

        assert work(home) == 3

        lost, damaged, whole = (runs.get(ann, run.id) for run in (lost, damaged, whole))
        assert (lost.state, damaged.state, whole.result) == ("failed", "failed", 3)
        assert lost.error.startswith("no bundle named")
        assert "submit the run, again" in lost.error
        assert "is damaged (restore it from a backup)" in damaged.error


def test_a_run_whose_process_dies_has_failed_in_words_and_the_next_one_goes_on(home, shop):
    with nr.open(home) as platform:
        runs, ann = platform.runs, platform.context
        crashing = runs.submit(ann, shop().crashing)
        after = runs.submit(ann, shop().priced, params={"x": 2})

        assert work(home) == 2

        crashed = runs.get(ann, crashing.id)
        assert (crashed.state, runs.get(ann, after.id).result) == ("failed", 20)
        assert crashed.error.startswith("its process died (killed by SIGKILL)")
        assert f"noria resume {crashing.id}" in crashed.error
        assert [attempt.step for attempt in runs.attempts(ann, crashing.id)] == ["price"]


def test_a_run_that_has_ended_is_not_executed_again_when_its_process_is_killed(home, shop, tmp_path):
    with nr.open(home) as platform:
        run = platform.runs.submit(platform.context, shop().ended, params={"folder": str(tmp_path)})

        work(home)

        run = platform.runs.get(platform.context, run.id)
        assert (run.state, run.error) == ("failed", "step 'ends_and_is_killed' raised ValueError: no")
        assert (tmp_path / "calls").read_text() == "called\n"


def test_a_run_whose_process_is_killed_goes_on_in_a_new_one_from_its_last_finished_step(any_home, shop, tmp_path):
    with nr.open(any_home) as platform, worker_of(any_home) as worker:
        runs, ann = platform.runs, platform.context
        run = runs.submit(ann, shop().lasting, params={"folder": str(tmp_path)})
        (tmp_path / "child").touch()
        thread = threading.Thread(target=worker.execute_all)
        thread.start()
        until((tmp_path / "begun").exists)

        (tmp_path / "may_end").touch()
        os.kill(int((tmp_path / "begun").read_text()), signal.SIGKILL)
        thread.join(60)

        assert runs.get(ann, run.id).state == "succeeded"
        assert [attempt.step for attempt in runs.attempts(ann, run.id)] == ["price", "long"]
        assert not is_running(int((tmp_path / "child").read_text()))


@pytest.mark.parametrize(
    ("how", "said"), [("sys.exit", "step 'leave' raised SystemExit: 0"), ("os._exit", "its process died (status 0)")]
)
def test_a_step_that_exits_fails_its_run_and_keeps_no_worker_busy(home, shop, how, said):
    with nr.open(home) as platform:
        run = platform.runs.submit(platform.context, shop().exiting, params={"how": how})

        assert work(home) == 1

        exited = platform.runs.get(platform.context, run.id)
        assert (exited.state, exited.error.startswith(said)) == ("failed", True), exited.error


def test_a_step_that_says_nothing_is_ended_when_its_run_is_cancelled(any_home, shop, tmp_path):
    with nr.open(any_home) as platform, worker_of(any_home) as worker:
        runs, ann = platform.runs, platform.context
        run = runs.submit(ann, shop().lasting, params={"folder": str(tmp_path)})
        thread = threading.Thread(target=worker.execute_all)
        thread.start()
        until((tmp_path / "begun").exists)

        begun = time.monotonic()
        runs.cancel(ann, run.id)
        thread.join(60)

        assert time.monotonic() - begun < 20
        assert runs.get(ann, run.id).state == "cancelled"
        assert not is_running(int((tmp_path / "begun").read_text()))


def test_a_worker_that_is_told_to_end_gives_its_run_back_and_another_goes_on_at_once(any_home, shop, tmp_path):
    with nr.open(any_home) as platform:
        runs, ann = platform.runs, platform.context
        run = runs.submit(ann, shop().lasting, params={"folder": str(tmp_path)})
        with worker_of(any_home) as worker:
            thread = threading.Thread(target=worker.execute_all)
            thread.start()
            until((tmp_path / "begun").exists)
            worker._told.set()
            thread.join(60)
        assert runs.get(ann, run.id).state == "interrupted"
        (tmp_path / "may_end").touch()

        assert work(any_home) == 1

        assert runs.get(ann, run.id).result == 10
        assert [attempt.step for attempt in runs.attempts(ann, run.id)] == ["price", "long"]


def test_a_worker_that_is_killed_takes_the_process_of_its_run_along_and_another_goes_on(home, shop, tmp_path):
    with nr.open(home) as platform:
        run = platform.runs.submit(platform.context, shop().lasting, params={"folder": str(tmp_path)})
        killed = noria("work", "--home", home, folder=tmp_path)
        until((tmp_path / "begun").exists)

        killed.kill()
        killed.wait(60)

        until(lambda: not is_running(int((tmp_path / "begun").read_text())))
        (tmp_path / "may_end").touch()
        assert work(home) == 1
        assert platform.runs.get(platform.context, run.id).result == 10
        killed.stdout.close()


def test_a_worker_that_is_told_to_end_twice_ends_at_once(home, shop, tmp_path):
    with nr.open(home) as platform:
        run = platform.runs.submit(platform.context, shop().stubborn, params={"folder": str(tmp_path)})
        told = noria("work", "--home", home, folder=tmp_path)
        until((tmp_path / "begun").exists)

        told.send_signal(signal.SIGINT)
        until((tmp_path / "ignored").exists)
        begun = time.monotonic()
        told.send_signal(signal.SIGINT)
        said, _ = told.communicate(timeout=60)

        assert time.monotonic() - begun < 4  # the grace that a first signal gives is longer
        assert said == f"run {run.id} of stubborn was given back\n"
        assert not is_running(int((tmp_path / "begun").read_text()))


def test_a_worker_leaves_what_it_has_not_the_means_for_and_another_takes_it(any_home, shop):
    with nr.open(any_home) as platform:
        runs, ann = platform.runs, platform.context
        known = runs.submit(ann, shop().kept, params={"x": 1})
        asked = runs.submit(ann, shop().priced, params={"x": 2}, tags=["eu"])
        other = runs.submit(ann, shop().priced, params={"x": 3})
        assert [unmet.words() for unmet in runs.queue.unmet(ann)] == [
            "waits for a worker with timeout_seconds=60, tag 'fast-disk'",
            "waits for a worker with tag 'eu'",
            "waits for a worker",
        ]

        with worker_of(any_home, worker_tags="eu") as first:
            assert first.execute_all() == 2
            assert [unmet.oldest for unmet in runs.queue.unmet(ann)] == [known.id]
            with worker_of(any_home, executor="processes", worker_tags="fast-disk") as second:
                assert runs.queue.unmet(ann) == ()
                assert second.execute_all() == 1

        assert [runs.get(ann, run.id).result for run in (known, asked, other)] == [10, 20, 30]


def test_a_run_that_meets_a_step_beyond_its_worker_waits_for_another_with_what_it_has_finished(home, shop):
    with nr.open(home) as platform:
        runs, ann = platform.runs, platform.context
        run = runs.submit(ann, shop().found_late, params={"x": 1})
        assert run.needs is None

        assert work(home) == 1

        assert runs.get(ann, run.id).state == "queued"
        (unmet,) = runs.queue.unmet(ann)
        assert unmet.words() == "waits for a worker with timeout_seconds=60, tag 'fast-disk'"
        assert work(home, executor="processes", worker_tags="fast-disk") == 1
        assert runs.get(ann, run.id).result == 10
        assert [attempt.step for attempt in runs.attempts(ann, run.id)] == ["price", "stored"]


def test_a_run_of_what_no_other_process_can_find_is_refused_when_it_is_submitted(home):
    @nr.pipeline
    def local():
        return 1

    with nr.open(home) as platform, pytest.raises(BadPipeline, match="pipeline 'local' is local to a function"):
        platform.runs.submit(platform.context, local)


def noria(*words, folder, **options):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-m", "noria", *words],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        **options,
    )


def test_a_submitted_run_is_resumed_with_the_code_that_it_was_submitted_with(home, shop, tmp_path):
    with nr.open(home) as platform:
        run = platform.runs.submit(platform.context, shop(10).priced, params={"x": 1})
        platform.runs.cancel(platform.context, run.id)
        for name in ("queued_shop.py", "shop_prices.py"):
            (tmp_path / name).write_text("raise RuntimeError('not the code of the run')")

        said, _ = noria("resume", run.id, "--home", home, folder=tmp_path).communicate(timeout=60)

        assert "succeeded" in said
        assert platform.runs.get(platform.context, run.id).result == 10


def test_a_run_whose_command_is_told_to_end_is_given_back(home, shop, tmp_path):
    shop()
    command = noria(
        "run", "code/queued_shop.py:lasting", "-p", f"folder={tmp_path}", "--home", home,
        folder=tmp_path, stderr=subprocess.PIPE,
    )  # fmt: skip
    until((tmp_path / "begun").exists)

    command.send_signal(signal.SIGTERM)
    _, said = command.communicate(timeout=60)

    assert command.returncode == 130
    assert "is given back" in said
    with nr.open(home) as platform:
        (run,) = platform.runs.list(platform.context)
        assert run.state == "interrupted"
        with platform.database.engine.connect() as connection:
            expires_at = connection.exec_driver_sql(
                "SELECT expires_at FROM leases WHERE name LIKE 'run/%%'"
            ).scalar_one()
        assert str(expires_at).startswith("1970")
