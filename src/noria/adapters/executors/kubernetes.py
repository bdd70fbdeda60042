"""Steps as Kubernetes Jobs: one Job is one try, which gets its call from the blobs and leaves its outcome there.

So neither arguments nor results pass through this process or the API server: the blobs are in S3, Google, Azure, or on
a volume that this process and the pods share.
"""

import contextlib
import json
import math
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
_LEAVING_SECONDS = 60.0
"""A pod that was to end so long ago is taken for lost: its node cannot be reached, and may never say how it ended."""
_ANSWER_SECONDS = (5.0, 10.0)
"""How long the API server may take to be reached, and to answer."""
_LAST_LOOKS = 5
_MARGIN_SECONDS = 5
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
        seen = _Seen(self._watch.wall())
        listening = _Listening(call.told, seen.at)
        while not self._closed.wait(self._look_every_seconds):
            call.stop.within_a_step()
            try:
                seen.see(self._pod(name), self._watch.wall())
            except Unavailable:
                if self._watch.wall() - seen.at > _SILENT_SECONDS:
                    raise
                continue
            if seen.pod is not None and pods.has_begun(seen.pod):
                self._listen(listening, seen.pod)
            outcome = self._outcome(call, name, seen)
            if outcome is not None:
                if seen.pod is None or not pods.has_ended(seen.pod):
                    self._delete(name)
                return outcome
        raise closed()

    def _outcome(self, call: Call, name: str, seen: "_Seen") -> Outcome | None:
        """Return how a try ended, None while it has not."""
        pod = seen.pod
        if pod is None and seen.was_there:
            return Outcome(problem=pods.lost("its pod was deleted"), wall_seconds=seen.waited)
        if pod is None or not (pods.has_begun(pod) or pods.has_ended(pod)):
            if seen.waited <= self._pending_seconds and not (pod is not None and pods.is_hopeless(pod)):
                return None
            why = self._why_no_pod(name) if pod is None else pods.why_pending(pod)
            return Outcome(problem=pods.refused(why, _PENDING_HINT))
        if pods.has_ended(pod):
            return self._ended(call, pod, seen.waited)
        if seen.leaving > _LEAVING_SECONDS:
            words = "its pod was deleted, and its node does not say that it has ended"
            return Outcome(problem=pods.lost(words), wall_seconds=seen.waited)
        return None

    def _ended(self, call: Call, pod: pods.Pod, waited: float) -> Outcome:
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

    def _why_no_pod(self, name: str) -> str:
        """Say why Kubernetes makes no pod of a Job, as far as its events may be read."""
        events: Any = None
        with contextlib.suppress(Invalid, Unavailable):
            selector = f"involvedObject.name={name},type=Warning"
            events = self._ask(self._pods.list_namespaced_event, self._place.namespace, field_selector=selector)
        why = f": {events.items[-1].message}" if events is not None and events.items else ""
        return f"no pod was made of its Job{why}"

    def _listen(self, listening: "_Listening", pod: pods.Pod) -> None:
        """Hear what is new in a pod's log. One that cannot be read hides no outcome: its step may be done long ago."""
        name, namespace, has_ended = pod.metadata.name, self._place.namespace, pods.has_ended(pod)
        unread = ""
        for _ in range(_LAST_LOOKS if has_ended else 1):
            now = self._watch.wall()
            options = {"timestamps": True, "since_seconds": listening.since(now), "_preload_content": False}
            try:
                answer = self._ask(self._pods.read_namespaced_pod_log, name, namespace, **options)
            except (Invalid, Unavailable) as problem:
                unread = problem.sentence
                if isinstance(problem, Invalid) or self._closed.wait(self._look_every_seconds):
                    break
            else:
                listening.hear(answer.data.decode("utf-8", "replace"), now=now, is_whole=has_ended)
                return
        if has_ended:
            listening.miss(unread)

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
            return verb(*args, _request_timeout=_ANSWER_SECONDS, **options)
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


class _Seen:
    """What has been seen of a Job's pod so far."""

    def __init__(self, begun: float) -> None:
        self.pod: pods.Pod | None = None
        self.was_there = False
        self.at = begun
        self._begun = begun
        self._leaving_since: float | None = None

    def see(self, pod: pods.Pod | None, at: float) -> None:
        """Take in how a pod looks now; None when there is none."""
        self.was_there = self.pod is not None
        self.pod, self.at = pod, at
        if self._leaving_since is None and pod is not None and pods.is_leaving(pod):
            self._leaving_since = at

    @property
    def waited(self) -> float:
        """Return how many seconds ago the Job was made."""
        return self.at - self._begun

    @property
    def leaving(self) -> float:
        """Return for how many seconds it has been about to end; 0 when nobody deleted it."""
        return 0.0 if self._leaving_since is None else self.at - self._leaving_since


class _Listening:
    """What a pod's log has said so far: each line is told once, by its time, for nodes throw away the first of many."""

    def __init__(self, told: Recorder, begun: float) -> None:
        self._told = told
        self._last = ""
        self._whole_at = begun

    def since(self, now: float) -> int:
        """Return how many seconds of the log may hold something new."""
        return math.ceil(now - self._whole_at) + _MARGIN_SECONDS

    def hear(self, log: str, *, now: float, is_whole: bool) -> None:
        """Tell the lines that are new; the last one may not be whole while the pod runs."""
        whole, newline, rest = log.rpartition("\n")
        lines = [f"{line}\n" for line in whole.split("\n")] if newline else []
        if not rest:
            self._whole_at = now
        elif is_whole:
            lines.append(rest)
        new = [line.split(" ", 1) for line in lines if line.partition(" ")[0] > self._last]
        if new:
            self._last = new[-1][0]
        for said in heard("".join(words for _, words in new)):
            tell(self._told, said)

    def miss(self, why: str) -> None:
        """Say that the end of the log could not be read."""
        tell(self._told, ("words", f"(the end of this log could not be read: {why})\n"))


def connected() -> Any:  # noqa: ANN401 - an ApiClient
    """Return a client for the cluster that this process runs in, or else the one of the user's kubeconfig."""
    kubernetes = _kubernetes()
    for load in (kubernetes.config.load_incluster_config, kubernetes.config.load_kube_config):
        with contextlib.suppress(kubernetes.config.ConfigException):
            found = kubernetes.client.Configuration()
            found.retries = False  # the executor asks again itself, and in between hears that a run is to end
            load(client_configuration=found)
            return kubernetes.client.ApiClient(found)
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
