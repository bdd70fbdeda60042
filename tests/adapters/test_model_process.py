"""Laws of model processes: the version's own modules, one answer for each request whatever dies, and batches."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge

import noria as nr
from noria.adapters.codecs import standard
from noria.adapters.model_process import ModelProcesses, Order, ProcessScorer
from noria.core.errors import BadData, Invalid, ModelFailed, NotFound, TimedOut, Unavailable
from noria.pipelines.bundles import bundle_of
from noria.settings import Settings
from noria.store.bundles import Bundles

SOURCE = """
import os, time
import polars as pl

class Odd(BaseException):
    def __str__(self):
        raise ValueError("and it cannot say why")

def table(rows):
    if (rows["x"] == 666).any():
        os._exit(3)
    if (rows["x"] == 13).any():
        raise ValueError("an unlucky number")
    if (rows["x"] == 998).any():
        raise SystemExit("a model that wants to end")
    if (rows["x"] == 999).any():
        raise Odd
    if (rows["x"] == 997).any():
        for number in range(3, 64):
            try:
                os.write(number, b"\\xff" * 64)
            except OSError:
                pass
    while (rows["x"] == 7).any() and not os.path.exists(str(rows["gate"][0])):
        time.sleep(0.005)
    rows = rows.with_columns(calls=pl.lit(float(rows.height)))
    return rows.select("x", "calls", threads=pl.lit(float(os.environ["OMP_NUM_THREADS"]))).to_numpy()
"""
INPUTS = {"x": "float", "gate": "text"}


@pytest.fixture(scope="module")
def order(tmp_path_factory):
    """What a process loads: a model whose preprocess lives in a module that only its bundle has."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "unlucky.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    import unlucky

    estimator = Ridge().fit(np.eye(3), [1.0, 2.0, 3.0])
    estimator.coef_, estimator.intercept_ = np.array([1.0, 1000.0, 1_000_000.0]), 0.0
    payload = bytes(standard().encode(nr.Model(estimator, preprocess=unlucky.table)).payload)
    from noria.store.blobs import open_blobs

    blobs = open_blobs(str(folder / "blobs"))
    bundle = Bundles(blobs, folder / "bundles").unpacked(blobs.put(bundle_of([unlucky.table])))
    sys.path.remove(str(folder))
    del sys.modules["unlucky"]
    return Order(version="m@1", codec="model", payload=payload, bundle=str(bundle), inputs=INPUTS)


@pytest.fixture(scope="module")
def processes():
    made = ModelProcesses(["sklearn.linear_model", "a_module_that_nobody_has"])
    yield made
    made.close()


@pytest.fixture(scope="module")
def scorer(order, processes):
    made = processes.start(order)
    yield made
    made.close()


def score(scorer, *values, gate=""):
    return scorer.submit([{"x": value, "gate": gate} for value in values])


def hold(scorer, gate):
    """Submit a row that keeps the process busy until the gate is there, and return when the process has it."""
    held = score(scorer, 7, gate=str(gate))
    while not scorer._waiting.empty() or not held.running():
        time.sleep(0.001)
    return held


def test_a_version_runs_its_own_modules_with_one_thread_in_a_process_of_its_own(scorer):
    (found,) = score(scorer, 5).result()

    assert found == 1_000_000 + 1_000 + 5
    assert scorer.process != os.getpid()


def test_a_process_that_is_killed_costs_no_request(scorer):
    before = scorer.process
    os.kill(before, signal.SIGKILL)

    answers = [score(scorer, number) for number in range(100, 120)]

    assert [round(answer.result()[0]) % 1_000 for answer in answers] == list(range(100, 120))
    assert scorer.process != before


def test_a_process_that_is_killed_in_the_middle_of_a_request_costs_no_request(scorer, tmp_path):
    gate = tmp_path / "gate"
    assert score(scorer, 1).result()
    held = hold(scorer, gate)
    others = [score(scorer, number) for number in range(30, 40)]

    os.kill(scorer.process, signal.SIGKILL)
    gate.touch()

    assert round(held.result()[0]) % 1_000 == 7
    assert [round(other.result()[0]) % 1_000 for other in others] == list(range(30, 40))


def test_rows_that_kill_the_process_twice_fail_alone(scorer, tmp_path):
    gate = tmp_path / "gate"
    held = hold(scorer, gate)
    others = [score(scorer, number) for number in (40, 666, 41)]
    gate.touch()

    assert round(held.result()[0]) % 1_000 == 7
    with pytest.raises(Unavailable, match="died twice with these rows"):
        others[1].result()
    assert [round(other.result()[0]) % 1_000 for other in (others[0], others[2])] == [40, 41]


def test_rows_that_the_model_refuses_fail_alone(scorer, tmp_path):
    gate = tmp_path / "gate"
    held = hold(scorer, gate)
    others = [score(scorer, number) for number in (50, 13, 51)]
    gate.touch()
    wait([held])

    with pytest.raises(ModelFailed, match="ValueError: an unlucky number"):
        others[1].result()
    assert [round(other.result()[0]) % 1_000 for other in (others[0], others[2])] == [50, 51]


def test_what_waits_is_scored_together(scorer, tmp_path):
    gate = tmp_path / "gate"
    held = hold(scorer, gate)
    others = [score(scorer, number, number) for number in range(60, 68)]
    gate.touch()
    wait([held])

    sizes = {(round(other.result()[0]) - 1_000_000) // 1_000 for other in others}
    assert sizes == {16}


def test_many_who_ask_at_once_get_each_their_own(scorer):
    wrong = []

    def work(number):
        for turn in range(20):
            value = number * 20 + turn
            if value in (7, 13, 666):
                continue
            (found,) = score(scorer, value).result()
            if round(found) % 1_000 != value % 1_000:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 2**127, 10**400])
def test_a_number_of_over_64_bits_is_passed_over_where_nobody_reads_it_and_refused_where_somebody_does(scorer, number):
    unread = scorer.submit([{"x": 5, "gate": "", "note": number}])
    read = scorer.submit([{"x": 5, "gate": ""}, {"x": number, "gate": ""}])

    assert round(unread.result(20)[0]) % 1_000 == 5
    with pytest.raises(BadData, match="column 'x' of row 1 has a value that m@1 cannot be given"):
        read.result(20)
    assert score(scorer, 5).result(20)


@pytest.mark.parametrize(("value", "words"), [(998, "SystemExit: a model that wants to end"), (999, "Odd: ")])
def test_what_a_model_raises_is_said_whatever_it_is_and_its_process_goes_on(scorer, value, words):
    before = (score(scorer, 1).result(20), scorer.process)

    with pytest.raises(ModelFailed, match=words):
        score(scorer, value).result(20)

    assert (score(scorer, 1).result(20), scorer.process) == before


def test_garbage_instead_of_an_answer_replaces_the_process(scorer):
    before = scorer.deaths

    with pytest.raises(Unavailable):
        score(scorer, 997).result(30)

    assert scorer.deaths > before
    assert score(scorer, 5).result(20)
    assert scorer.trouble is None


def test_a_process_that_hangs_is_replaced_and_what_it_had_fails_in_time(order, processes, tmp_path):
    scorer = ProcessScorer(order, processes._forks, patience=0.5)
    try:
        assert score(scorer, 1).result(20)
        os.kill(scorer.process, signal.SIGSTOP)

        with pytest.raises(TimedOut, match="did not answer within 0.5 seconds"):
            score(scorer, 2).result(20)

        assert "did not answer" in scorer.trouble
        scorer._patience = 20.0
        assert score(scorer, 3).result(30)
        assert (scorer.trouble, scorer.deaths) == (None, 1)
    finally:
        scorer.close()


def test_a_machine_that_lacks_something_at_a_replacement_costs_requests_and_not_the_version(
    scorer, processes, monkeypatch
):
    def lacking():
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(processes._forks, "fork", lacking)
        os.kill(scorer.process, signal.SIGKILL)
        with pytest.raises(Unavailable, match="could not be started again: .*Too many open files"):
            score(scorer, 5).result(20)
        assert "Too many open files" in scorer.trouble

    for _ in range(400):  # nobody asks: it is tried again all the same
        if scorer.trouble is None:
            break
        time.sleep(0.05)
    assert (scorer.trouble, round(score(scorer, 5).result(20)[0]) % 1_000) == (None, 5)


def test_what_nobody_foresaw_fails_the_request_and_the_thread_goes_on(scorer, monkeypatch):
    def broken(_rows):
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as patched:
        patched.setattr(scorer, "_ask", broken)
        with pytest.raises(Unavailable, match="could not be asked: RuntimeError: a bug of ours"):
            score(scorer, 5).result(20)
        assert "a bug of ours" in scorer.trouble

    assert score(scorer, 5).result(20)
    assert scorer.trouble is None


def test_closing_answers_what_was_submitted_and_ends_the_process(order, processes, tmp_path):
    scorer = processes.start(order)
    process, gate = scorer.process, tmp_path / "gate"
    held = [score(scorer, 7, gate=str(gate)), score(scorer, 8)]
    gate.touch()

    scorer.close()
    scorer.close()

    assert [round(answer.result()[0]) % 1_000 for answer in held] == [7, 8]
    assert subprocess.run(["ps", "-p", str(process)], capture_output=True, check=False).returncode != 0
    with pytest.raises(Unavailable):
        score(scorer, 1)


def test_a_version_without_its_bundle_says_what_is_missing(order, processes):
    lost = Order(version="m@1", codec="model", payload=order.payload, bundle=None, inputs=INPUTS)

    with pytest.raises(NotFound, match="no bundle named 'm@1'") as caught:
        processes.start(lost)

    assert "unlucky:table" in caught.value.hint


def test_a_bundle_that_is_no_longer_stored_says_so(blobs, tmp_path):
    with pytest.raises(NotFound, match="no bundle named '00") as caught:
        Bundles(blobs, tmp_path / "bundles").unpacked("00" * 32)

    assert "train the version, or submit the run, again" in caught.value.hint


def test_bytes_that_are_no_model_are_refused_when_it_is_loaded(processes):
    with pytest.raises(Invalid, match="m@1 cannot be loaded: these bytes are no model"):
        processes.start(Order(version="m@1", codec="model", payload=b"", bundle=None, inputs={}))


@pytest.fixture
def server_and_scorer(order):
    """A fork server with the modules that are preloaded without a word, and a version of it."""
    processes = ModelProcesses(Settings().model_preload.replace(",", " ").split())
    processes.warm()
    scorer = processes.start(order)
    yield processes, processes._forks._process, scorer
    scorer.close()
    processes.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_versions_are_forked_from_a_process_of_one_thread_that_has_the_modules(server_and_scorer):
    _, server, scorer = server_and_scorer

    maps = Path(f"/proc/{scorer.process}/maps").read_text()

    assert len(list(Path(f"/proc/{server.pid}/task").iterdir())) == 1
    assert "/sklearn/ensemble/" in maps


def test_versions_outlive_the_process_that_they_were_forked_from(server_and_scorer, order):
    processes, server, scorer = server_and_scorer

    server.kill()
    server.wait()
    other = processes.start(order)
    answers = [score(one, 5).result() for one in (scorer, other)]
    other.close()

    assert answers == [[1_001_005.0], [1_001_005.0]]


def test_rows_become_a_frame_of_the_kinds_that_the_version_reads():
    from noria.serving.asking import frame_of

    rows = [{"x": 1, "t": "2026-01-01T00:00:00Z", "n": 2.0}, {"x": None, "s": "three", "n": None}]
    found = frame_of(rows, {"x": "float", "t": "time", "s": "text", "n": "int", "b": "bool"})

    assert found.schema == {
        "x": pl.Float64,
        "t": pl.Datetime("us", "UTC"),
        "s": pl.String,
        "n": pl.Int64,
        "b": pl.Boolean,
    }
    assert found["x"].to_list() == [1.0, None]
    assert found["t"].null_count() == 1


def test_a_value_that_is_not_of_its_columns_kind_makes_no_frame():
    from noria.datasets.values import Misfit
    from noria.serving.asking import frame_of

    for value, kind in (("two", "float"), (3, "text"), (1, "bool"), ("2026-01-01T00:00:00", "time")):
        with pytest.raises(Misfit, match="column 'x'"):
            frame_of([{"x": value}], {"x": kind})
