"""Steps as Kubernetes Jobs: what is asked for, and what the states of a pod mean; on a small API server over HTTP."""

import json
import threading

import pytest
from executed_steps import add, demanding, large, runs_for_long, tried
from test_executors import is_running, only, until

from noria.adapters.codecs.frames import Frames
from noria.adapters.executors.jobs import Place, manifest, place_of
from noria.adapters.executors.kubernetes import _Listening
from noria.adapters.executors.kubernetes_child import heard
from noria.core.errors import Invalid, Unavailable
from noria.runs.executors import Call
from noria.runs.recorder import Recorder

PLACE = Place(
    image="registry/steps:7",
    blobs="s3://bucket/blobs",
    namespace="training",
    service_account="steps",
    secret="blobs-key",
    volume_claim="claim",
)


def job(place=PLACE):
    call = Call(step=demanding, arguments=dict, told=Recorder(), run="run_01", id="fit/demanding[3]", attempt=2)
    return manifest(call, place, name="try-1", asked="ab" * 32)


def test_a_job_asks_for_what_the_step_needs_and_is_tried_once():
    made = job()

    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    wanted = {"cpu": "1.5", "memory": "2000000000", "nvidia.com/gpu": "1"}
    assert container["resources"] == {"requests": wanted, "limits": wanted}
    assert container["image"] == "registry/steps:7"
    assert container["command"][:3] == ["python", "-m", "noria.adapters.executors.kubernetes_child"]
    assert (made["spec"]["backoffLimit"], made["spec"]["ttlSecondsAfterFinished"]) == (0, 600)
    assert (pod["restartPolicy"], pod["activeDeadlineSeconds"]) == ("Never", 331)
    assert pod["nodeSelector"] == {"noria/fast-disk": "true"}
    assert (pod["serviceAccountName"], made["metadata"]["namespace"]) == ("steps", "training")


def test_a_job_is_found_by_run_step_and_attempt():
    assert job()["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "noria",
        "noria/try": "try-1",
        "noria/run": "run_01",
        "noria/step": "fit-demanding-3",
        "noria/attempt": "2",
    }
    assert job()["metadata"]["annotations"] == {"noria/id": "fit/demanding[3]"}


def test_a_pod_is_nobody_special():
    pod = job()["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("version", ["1.29", "1.31", "1.33"])
def test_a_job_is_one_by_the_published_schemas(version):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")

    kubernetes_validate.validate(job(), version, strict=True)
    kubernetes_validate.validate(job(Place(image="i", blobs="s3://b/p")), version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job() | {"spec": {"backoffLimit": "none"}}, version, strict=True)


def test_blobs_that_pods_cannot_reach_are_refused_in_words():
    said = {"image": "i", "namespace": "n", "service_account": "", "secret": ""}

    with pytest.raises(Invalid, match="cannot reach blobs in a folder"):
        place_of(**said, blobs="", volume_claim="")
    with pytest.raises(Invalid, match="needs an image"):
        place_of(**(said | {"image": ""}), blobs="s3://b/p", volume_claim="")
    assert place_of(**said, blobs="/mnt/blobs", volume_claim="claim").blobs == "/mnt/blobs"


def test_the_log_of_a_pod_says_words_and_progress():
    assert heard('one\n\x1e[1.0, 2.0, "half"]\ntwo') == [
        ("words", "one\n"),
        ("progress", [1.0, 2.0, "half"]),
        ("words", "two"),
    ]
    assert heard("\x1enonsense\n") == [("words", ""), ("words", "\x1enonsense\n"), ("words", "")]


def test_neither_arguments_nor_results_are_read_by_the_run(house, kubernetes, ann, monkeypatch):
    def decode(*_):
        raise AssertionError("read where the run is")

    monkeypatch.setattr(Frames, "decode", decode)

    assert house.runs(executor=kubernetes).run(ann, large, params={"rows": 1000}).result == 3 * 1000 * 999 // 2


def test_what_the_api_refuses_is_said_in_its_words(house, kubernetes, kubernetes_cluster, ann):
    kubernetes_cluster.refuses = 403

    run = house.runs(executor=kubernetes).run(ann, only(add, 1))

    assert "found no place: Kubernetes answered 403" in run.error
    assert "the service account may not create jobs" in run.error


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "InvalidImageName"])
def test_a_pod_that_never_begins_is_given_up_and_its_job_deleted(house, kubernetes, kubernetes_cluster, ann, reason):
    kubernetes_cluster.waits = {"reason": reason, "message": "no such image"}

    run = house.runs(executor=kubernetes).run(ann, only(add, 1))

    assert run.error == f"step 'add' found no place: {reason}: no such image"
    assert len(kubernetes_cluster.deleted) == 1


def running(house, executor, ann, tmp_path):
    """Start a long step in a thread; return the thread, and how its run ends."""
    ended = []

    def go():
        try:
            run = house.runs(executor=executor).run(ann, only(runs_for_long, str(tmp_path / "process")))
        except Unavailable as problem:
            ended.append(problem.sentence)
        else:
            ended.append(run)

    thread = threading.Thread(target=go)
    thread.start()
    assert until(lambda: (tmp_path / "process").exists() and (tmp_path / "process").read_text())
    return thread, ended


def test_a_pod_that_the_cluster_takes_away_is_no_fault_of_its_step(
    house, kubernetes, kubernetes_cluster, ann, tmp_path
):
    thread, ended = running(house, kubernetes, ann, tmp_path)

    for _ in range(4):
        assert until(lambda: any(pod.process.poll() is None for pod in tuple(kubernetes_cluster.pods.values())))
        for pod in tuple(kubernetes_cluster.pods.values()):
            pod.kill("Evicted")
    thread.join(60)

    assert "was lost: its pod was taken away (Evicted: The node was low on resource: memory.)" in ended[0].error
    assert len(kubernetes_cluster.manifests) == 4
    assert [made["metadata"]["labels"]["noria/attempt"] for made in kubernetes_cluster.manifests] == list("1234")


def test_closing_deletes_the_jobs_that_run(house, kubernetes, kubernetes_cluster, ann, tmp_path):
    thread, ended = running(house, kubernetes, ann, tmp_path)

    kubernetes.close()
    thread.join(60)

    assert ended == ["the executor is closed"]
    assert kubernetes_cluster.pods == {}
    assert until(lambda: not is_running(int((tmp_path / "process").read_text())))


def test_an_api_that_does_not_answer_is_worth_another_try(house, kubernetes, kubernetes_cluster, ann):
    kubernetes_cluster.server.shutdown()
    kubernetes_cluster.server.server_close()

    with pytest.raises(Unavailable, match="Kubernetes cannot be reached"):
        house.runs(executor=kubernetes).run(ann, only(add, 1))


def test_a_step_whose_bundle_is_gone_says_so(house, kubernetes, kubernetes_cluster, blobs, ann, monkeypatch):
    create = kubernetes_cluster.create

    def lose_bundles(body):
        for stored in tuple(blobs.all()):
            if blobs.get(stored.digest).startswith(b"PK"):
                blobs.drop(stored.digest)
        return create(body)

    monkeypatch.setattr(kubernetes_cluster, "create", lose_bundles)

    error = house.runs(executor=kubernetes).run(ann, only(add, 1)).error

    assert "step 'add' cannot be found by its process: no bundle named" in error
    assert "run the step again" in error


def test_a_line_is_told_once_and_when_it_is_whole():
    told = Recorder()
    listening = _Listening(told)

    heard_so_far = []
    for log, is_whole in [("on", False), ("one\ntw", False), ("one\ntwo\n\x1e[1", False), ("one\ntwo\nend", True)]:
        listening.hear(log, is_whole=is_whole)
        heard_so_far.append(told.log.take())

    assert heard_so_far == ["", "one\n", "two\n", "end"]


def test_each_try_is_a_job_of_its_own(house, kubernetes, kubernetes_cluster, ann, tmp_path):
    house.runs(executor=kubernetes).run(ann, only(tried, str(tmp_path / "tried"), "right"))

    names = [made["metadata"]["name"] for made in kubernetes_cluster.manifests]
    assert len(set(names)) == 3
    assert json.dumps(kubernetes_cluster.manifests)
