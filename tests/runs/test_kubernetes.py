"""Steps as Kubernetes Jobs: what is asked for, and what the states of a pod mean; on a small API server over HTTP."""

import json
import threading

import pytest
from executed_steps import add, breaks_storage, demanding, large, runs_for_long, speaks_twice, tried
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
    assert pod["terminationGracePeriodSeconds"] == 1
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


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("Evicted", "Evicted: The node was low on resource: memory."),
        ("EvictionByEvictionAPI", "EvictionByEvictionAPI: Eviction API: evicting"),
    ],
)
def test_a_pod_that_the_cluster_takes_away_is_no_fault_of_its_step(
    house, kubernetes, kubernetes_cluster, ann, tmp_path, reason, said
):
    thread, ended = running(house, kubernetes, ann, tmp_path)

    for _ in range(4):
        assert until(lambda: any(pod.process.poll() is None for pod in tuple(kubernetes_cluster.pods.values())))
        for pod in tuple(kubernetes_cluster.pods.values()):
            pod.kill(reason)
    thread.join(60)

    assert f"was lost: its pod was taken away ({said})" in ended[0].error
    assert len(kubernetes_cluster.manifests) == 4
    assert [made["metadata"]["labels"]["noria/attempt"] for made in kubernetes_cluster.manifests] == list("1234")


def test_a_pod_that_somebody_deletes_is_no_fault_of_its_step(house, kubernetes, kubernetes_cluster, ann, tmp_path):
    thread, ended = running(house, kubernetes, ann, tmp_path)

    (pod,) = kubernetes_cluster.pods.values()
    pod.leave()
    assert until(lambda: len(kubernetes_cluster.manifests) == 2)
    kubernetes.close()
    thread.join(60)

    assert ended == ["the executor is closed"]


def test_a_pod_whose_node_is_gone_is_not_waited_for(house, kubernetes, kubernetes_cluster, ann, tmp_path, monkeypatch):
    monkeypatch.setattr("noria.adapters.executors.kubernetes._LEAVING_SECONDS", 0.3)
    thread, ended = running(house, kubernetes, ann, tmp_path)

    (pod,) = kubernetes_cluster.pods.values()
    pod.is_cut_off = True
    pod.leave()
    assert until(lambda: len(kubernetes_cluster.manifests) == 2)
    kubernetes.close()
    thread.join(60)
    pod.kill()

    assert ended == ["the executor is closed"]


def test_closing_deletes_the_jobs_that_run(house, kubernetes, kubernetes_cluster, ann, tmp_path):
    thread, ended = running(house, kubernetes, ann, tmp_path)

    kubernetes.close()
    thread.join(60)

    assert ended == ["the executor is closed"]
    assert until(lambda: kubernetes_cluster.pods == {})
    assert until(lambda: not is_running(int((tmp_path / "process").read_text())))


def test_an_api_that_does_not_answer_is_worth_another_try(house, kubernetes, kubernetes_cluster, ann):
    kubernetes_cluster.server.shutdown()
    kubernetes_cluster.server.server_close()

    with pytest.raises(Unavailable, match="Kubernetes cannot be reached"):
        house.runs(executor=kubernetes).run(ann, only(add, 1))


def test_an_api_that_takes_a_question_and_is_silent_is_not_waited_for(
    house, kubernetes, kubernetes_cluster, ann, monkeypatch
):
    monkeypatch.setattr("noria.adapters.executors.kubernetes._ANSWER_SECONDS", (0.2, 0.2))
    kubernetes_cluster.is_silent = True

    with pytest.raises(Unavailable, match="Kubernetes cannot be reached"):
        house.runs(executor=kubernetes).run(ann, only(add, 1))


def test_a_job_of_which_no_pod_is_made_is_given_up_with_the_reason(house, kubernetes, kubernetes_cluster, ann):
    kubernetes_cluster.refuses_pods = 'Error creating: serviceaccount "steps" not found'

    run = house.runs(executor=kubernetes).run(ann, only(add, 1))

    assert run.error == (
        "step 'add' found no place: no pod was made of its Job: Error creating: serviceaccount \"steps\" not found"
    )


@pytest.mark.parametrize("status", [403, 500])
def test_a_log_that_cannot_be_read_hides_no_outcome(house, kubernetes, kubernetes_cluster, ann, status):
    kubernetes_cluster.refuses_logs = status
    runs = house.runs(executor=kubernetes)

    run = runs.run(ann, only(add, 1))

    assert run.result == 2
    (part,) = runs.logs(ann, run.id)
    assert part.text.startswith(f"(the end of this log could not be read: Kubernetes answered {status}")


def test_what_its_storage_does_to_a_step_is_said(house, kubernetes, kubernetes_cluster, ann, tmp_path):
    run = house.runs(executor=kubernetes).run(ann, only(breaks_storage, str(tmp_path / "blobs")))

    assert run.error.startswith(
        "step 'breaks_storage' was lost: its process died (exit status 1): the storage of blobs cannot be used: "
    )


def test_a_log_whose_beginning_its_node_has_thrown_away_is_heard_on(
    house, kubernetes, kubernetes_cluster, ann, tmp_path
):
    runs, ended = house.runs(executor=kubernetes), []
    file = tmp_path / "file"
    thread = threading.Thread(target=lambda: ended.append(runs.run(ann, only(speaks_twice, str(file)))))
    thread.start()
    assert until(lambda: runs.list(ann) and [part.text for part in runs.logs(ann, runs.list(ann)[0].id)])

    (pod,) = kubernetes_cluster.pods.values()
    pod.log.clear()
    file.touch()
    thread.join(60)

    assert "".join(part.text for part in runs.logs(ann, ended[0].id)) == "before\nafter\n"


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
    listening = _Listening(told, 0.0)

    heard_so_far = []
    for log, is_whole in [
        ("1 on", False),
        ("1 one\n2 tw", False),
        ("1 one\n2 two\n3 \x1e[1", False),
        ("2 two\n4 \n5 end", True),
    ]:
        listening.hear(log, now=10.0, is_whole=is_whole)
        heard_so_far.append(told.log.take())

    assert heard_so_far == ["", "one\n", "two\n", "\nend"]


def test_a_line_that_is_not_whole_is_asked_for_from_its_beginning():
    listening = _Listening(Recorder(), 0.0)

    asked_for = []
    for log, now in [("1 one\n", 10.0), ("2 tw", 20.0), ("2 two", 30.0), ("2 two\n", 40.0)]:
        listening.hear(log, now=now, is_whole=False)
        asked_for.append(listening.since(now))

    assert asked_for == [5, 15, 25, 5]


def test_each_try_is_a_job_of_its_own(house, kubernetes, kubernetes_cluster, ann, tmp_path):
    house.runs(executor=kubernetes).run(ann, only(tried, str(tmp_path / "tried"), "right"))

    names = [made["metadata"]["name"] for made in kubernetes_cluster.manifests]
    assert len(set(names)) == 3
    assert json.dumps(kubernetes_cluster.manifests)
