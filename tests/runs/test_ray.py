"""Steps on a real Ray of several nodes: placed by what they need, gone on with when a node dies, ended when they must be."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from executed_steps import (
    begins,
    holds_the_interpreter,
    needs_together,
    on_tape,
    runs_for_long,
    side_by_side,
    twice_used,
)
from test_executors import SCRIPT, is_running, only, until

from noria.adapters.executors.ray import Ray
from noria.core.clock import MachineStopwatch
from noria.core.errors import Invalid, Unavailable

pytest.importorskip("ray")


@pytest.fixture
def nodes(ray_cluster):
    """Two more nodes, each with a core and the tag `fast-disk`; whatever is left of them is taken away again."""
    made = [ray_cluster.add_node(num_cpus=1, resources={"fast-disk": 1}) for _ in range(2)]
    ray_cluster.wait_for_nodes()
    yield made
    for node in made:
        if node in ray_cluster.worker_nodes:
            ray_cluster.remove_node(node)


def begun_in(folder):
    return [file.name for file in folder.iterdir()]


def test_a_run_whose_node_dies_in_the_middle_of_a_step_goes_on_on_the_other(
    house, ann, ray, ray_cluster, nodes, tmp_path
):
    folder = tmp_path / "begun"
    folder.mkdir()
    runs, ended = house.runs(executor=ray), []
    thread = threading.Thread(target=lambda: ended.append(runs.run(ann, only(begins, str(folder)))))
    thread.start()
    assert until(lambda: begun_in(folder), seconds=60)
    (first,) = begun_in(folder)

    ray_cluster.remove_node(next(node for node in nodes if node.node_id == first), allow_graceful=False)
    thread.join(120)

    (run,) = ended
    assert run.error is None
    assert run.result in {node.node_id for node in nodes} - {first}
    attempts = runs.attempts(ann, run.id)
    assert [attempt.state.value for attempt in attempts] == ["failed", "succeeded"]
    assert "its node of the Ray cluster was lost" in attempts[0].error


def test_tags_are_resources_of_nodes_and_what_no_node_has_is_refused(house, ann, ray, nodes):
    run = house.runs(executor=ray).run(ann, only(on_tape))

    assert "fast-disk" in ray.offers.tags
    assert run.error == "step 'on_tape' needs what the executor 'ray' cannot give: tag 'tape': it has none such"
    assert "ray start" in run.cause.hint


def test_what_no_node_has_together_is_refused_and_not_waited_for(house, ann, ray, nodes):
    run = house.runs(executor=ray).run(ann, only(needs_together))

    assert "found no place: no node of the Ray cluster has CPU 2, fast-disk 0.001 together" in run.error


def test_steps_that_need_all_cores_of_a_node_are_not_executed_side_by_side(house, ann, ray, tmp_path):
    run = house.runs(executor=ray).run(ann, side_by_side, params={"file": str(tmp_path / "file"), "n": 3})

    assert run.error is None
    assert (tmp_path / "file").read_text() == "+-" * 3


def test_a_large_result_is_in_the_object_store_already_when_the_next_step_wants_it(house, ann, ray, monkeypatch):
    import ray as real

    put, puts = real.put, []
    monkeypatch.setattr(real, "put", lambda value: puts.append(len(value)) or put(value))

    run = house.runs(executor=ray).run(ann, twice_used, params={"rows": 100_000})

    assert run.result == [100_000, 100_001, 100_000]
    assert len(puts) == 1  # the bundle


def test_a_step_that_lets_nothing_else_run_is_ended_all_the_same(house, ann, ray):
    run = house.runs(executor=ray).run(ann, only(holds_the_interpreter))

    assert run.error == ("step 'holds_the_interpreter' raised TimeoutError: it took longer than 0.5 s and was ended")


def test_closing_ends_what_runs(house, ann, ray, tmp_path):
    raised = []

    def go():
        try:
            house.runs(executor=ray).run(ann, only(runs_for_long, str(tmp_path / "process")))
        except Unavailable as problem:
            raised.append(problem.sentence)

    thread = threading.Thread(target=go)
    thread.start()
    assert until(lambda: (tmp_path / "process").exists() and (tmp_path / "process").read_text(), seconds=60)
    ray.close()
    thread.join(60)

    assert raised == ["the executor is closed"]
    assert until(lambda: not is_running(int((tmp_path / "process").read_text())))


def test_ray_client_is_refused_in_words(values):
    with pytest.raises(Invalid, match="Ray Client") as refused:
        Ray(values, watch=MachineStopwatch(), address="ray://head:10001")

    assert "ray_address" in refused.value.hint


@pytest.mark.parametrize(("end", "said"), [("if __name__ == '__main__':\n    main()", "2"), ("main()", "__main__")])
def test_a_script_is_executed_by_ray_and_one_without_a_guard_is_told_so(ray_cluster, tmp_path, end, said):
    script = SCRIPT.replace('executor="processes"', f'executor="ray", ray_address="{ray_cluster.address}"')
    (tmp_path / "script.py").write_text(f"{script}\n\n{end}\n")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert said in done.stdout, done.stderr
