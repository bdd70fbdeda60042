"""Steps as Kubernetes Jobs: one Job is one try, which gets its call from the blobs and leaves its outcome there.

So neither arguments nor results pass through this process or the API server: the blobs are in S3, Google, Azure, or on
a volume that this process and the pods share.
"""

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any, cast

import msgspec

from noria.adapters.executors import jobs, pods
from noria.adapters.executors.kubernetes_child import artifact_of, heard, packed_artifact
from noria.adapters.executors.packing import Packed
from noria.adapters.executors.sending import Sender, received, tell, unsent
from noria.core.clock import Stopwatch
from noria.core.codecs import Encoded
from noria.core.errors import Invalid, NotInstalled, Unavailable
from noria.core.ids import Ids
from noria.runs import rules
from noria.runs.executors import Call, Offers, Outcome, closed
from noria.runs.model import Artifact
from noria.runs.recorder import Recorder
from noria.runs.values import Value, Values

_REFUSALS = {400, 401, 403, 404, 405, 409, 422}
_SILENT_SECONDS = 60.0
_PENDING_HINT = (
    "see `kubectl get events`, and the settings kubernetes_image, kubernetes_namespace and kubernetes_secret"
)


class Kubernetes:
    """Executes tries as Jobs of one namespace."""

    name = "kubernetes"

    def __init__(
        self,
        values: Values,
        place: jobs.Place,
        client: Any,  # noqa: ANN401 - an ApiClient of the official client, which has no types
        *,
        ids: Ids,
        watch: Stopwatch,
        offers: Offers | None = None,
        look_every_seconds: float = 1.0,
        pending_seconds: float = 600.0,
    ) -> None:
        api = _kubernetes().client
        self._values = values
        self._place = place
        self._jobs = api.BatchV1Api(client)
        self._pods = api.CoreV1Api(client)
        self._refusal: type[Exception] = api.ApiException
        self._silences = (OSError, import_module("urllib3.exceptions").HTTPError)
        self._ids = ids
        self._watch = watch
        self._look_every_seconds = look_every_seconds
        self._pending_seconds = pending_seconds
        self._sender = Sender(values.codecs)
        self._running: set[str] = set()
        self._closed = threading.Event()
        self.offers = offers or Offers(ends_steps=True, limits_memory=True)

    def execute(self, call: Call) -> Outcome:
        """Make a Job of the try and follow it to its end; one that has to be given up is deleted."""
        try:
            asked = self._asked(call)
        except Exception as problem:  # noqa: BLE001 - whatever fetching a user's arguments raises
            return unsent(problem)
        name = self._ids.new("try").replace("_", "-")
        body = jobs.manifest(call, self._place, name=name, asked=asked)
        self._running.add(name)
        try:
            self._ask(self._jobs.create_namespaced_job, self._place.namespace, body)
            return self._follow(call, name)
        except BaseException as problem:
            self._delete(name)
            if isinstance(problem, Invalid):
                return Outcome(problem=pods.refused(problem.sentence, problem.hint))
            raise
        finally:
            self._running.discard(name)

    def close(self) -> None:
        """Delete the Jobs that still run."""
        self._closed.set()
        for name in tuple(self._running):
            self._delete(name)

    def _asked(self, call: Call) -> str:
        """Leave a try among the blobs, and return the digest of it."""
        needs = call.step.needs
        if needs.gpus != int(needs.gpus):
            raise Invalid(f"gpus={needs.gpus:g}: Kubernetes gives whole ones", hint="ask for a whole number")
        asked, bundle = self._sender.packed(call, self._put), self._sender.code(call.step).bundle
        if bundle is not None:
            asked = replace(asked, bundle=self._values.blobs.put(bundle))
        return self._values.blobs.put(msgspec.msgpack.encode(asked))

    def _put(self, value: Encoded | Artifact) -> Packed:
        return packed_artifact(self._values.put(value) if isinstance(value, Encoded) else value)

    def _follow(self, call: Call, name: str) -> Outcome:
        """Look at a Job's pod again and again until it has ended, or has to be given up."""
        begun = heard_at = self._watch.wall()
        listening, pod = _Listening(call.told), None
        while not self._closed.wait(self._look_every_seconds):
            call.stop.within_a_step()
            try:
                seen, pod = pod, self._pod(name)
                if pod is not None and pods.has_begun(pod):
                    self._listen(listening, pod)
                heard_at = self._watch.wall()
            except Unavailable:
                if self._watch.wall() - heard_at > _SILENT_SECONDS:
                    raise
                continue
            waited = self._watch.wall() - begun
            outcome = self._outcome(call, pod, was_there=seen is not None, waited=waited)
            if outcome is not None:
                if pod is None or not pods.has_ended(pod):
                    self._delete(name)
                return outcome
        raise closed()

    def _outcome(self, call: Call, pod: pods.Pod | None, *, was_there: bool, waited: float) -> Outcome | None:
        """Return how a try ended, None while it has not."""
        if pod is None and was_there:
            return Outcome(problem=pods.lost("its pod was deleted"), wall_seconds=waited)
        if pod is None or not (pods.has_begun(pod) or pods.has_ended(pod)):
            if waited > self._pending_seconds or (pod is not None and pods.is_hopeless(pod)):
                return Outcome(problem=pods.refused(pods.why_pending(pod), _PENDING_HINT))
            return None
        if not pods.has_ended(pod):
            return None
        left = pods.outcome_of(pod)
        if left is None:
            return Outcome(problem=pods.ended_badly(pod, call.step.needs), wall_seconds=waited)
        ended = msgspec.msgpack.decode(self._values.blobs.get(left))
        return received(ended, call.told, self._values.codecs, get=self._kept)

    def _kept(self, packed: Packed) -> Value:
        return self._values.stored(artifact_of(packed))

    def _pod(self, name: str) -> pods.Pod | None:
        """Return the pod of a Job; None before there is one, and after it was deleted."""
        found = self._ask(self._pods.list_namespaced_pod, self._place.namespace, label_selector=f"{jobs.TRY}={name}")
        return found.items[0] if found.items else None

    def _listen(self, listening: "_Listening", pod: pods.Pod) -> None:
        """Hear what a pod's log says; one that has just gone, or may not be read, says nothing."""
        name, namespace = pod.metadata.name, self._place.namespace
        with contextlib.suppress(Invalid):
            answer = self._ask(self._pods.read_namespaced_pod_log, name, namespace, _preload_content=False)
            listening.hear(answer.data.decode("utf-8", "replace"), is_whole=pods.has_ended(pod))

    def _delete(self, name: str) -> None:
        """End a Job and its pod; one that is gone is fine, and one that cannot be reached ends by its own deadline."""
        with contextlib.suppress(Invalid, Unavailable):
            self._ask(
                self._jobs.delete_namespaced_job,
                name,
                self._place.namespace,
                propagation_policy="Background",
            )

    def _ask(self, verb: Callable[..., Any], *args: object, **options: object) -> Any:  # noqa: ANN401 - see Pod
        """Ask the API server. Raises `Invalid` when it refuses, `Unavailable` when it cannot answer now."""
        try:
            return verb(*args, **options)
        except self._refusal as problem:
            status, reason = int(cast("Any", problem).status or 0), cast("Any", problem).reason
            words = f"Kubernetes answered {status} {reason}: {_answer(problem)}"
            if status in _REFUSALS:
                raise Invalid(
                    words, hint="see the settings kubernetes_..., and what the service account may do"
                ) from problem
            raise Unavailable(words) from problem
        except self._silences as problem:
            raise Unavailable(f"Kubernetes cannot be reached: {rules.sentence(problem)}") from problem


class _Listening:
    """What a pod's log has said so far: it is read whole at each look, and each part of it told once."""

    def __init__(self, told: Recorder) -> None:
        self._told = told
        self._heard = 0

    def hear(self, log: str, *, is_whole: bool) -> None:
        """Tell the lines that are new; the last one may not be whole while the pod runs."""
        end = len(log) if is_whole else log.rfind("\n") + 1
        for said in heard(log[self._heard : end]):
            tell(self._told, said)
        self._heard = max(end, self._heard)


def connected() -> Any:  # noqa: ANN401 - an ApiClient
    """Return a client for the cluster that this process runs in, or else the one of the user's kubeconfig."""
    kubernetes = _kubernetes()
    for load in (kubernetes.config.load_incluster_config, kubernetes.config.load_kube_config):
        with contextlib.suppress(kubernetes.config.ConfigException):
            load()
            return kubernetes.client.ApiClient()
    raise Unavailable(
        "there is no way to a Kubernetes cluster", hint="run inside one, or make a kubeconfig (kubectl config view)"
    )


def _kubernetes() -> Any:  # noqa: ANN401 - it has no types
    try:
        return import_module("kubernetes")
    except ModuleNotFoundError as problem:
        raise NotInstalled("the client of Kubernetes", "kubernetes") from problem


def _answer(problem: Exception) -> str:
    """Return the sentence in which the API server refused."""
    body = cast("Any", problem).body
    try:
        return str(json.loads(body)["message"])
    except (KeyError, TypeError, ValueError):
        return str(body or "")
