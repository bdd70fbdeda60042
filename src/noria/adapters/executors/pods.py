"""What the status of a pod means for the try of a step that it executes, in words."""

import re
from typing import Any

from noria.core.errors import Invalid, Unavailable
from noria.pipelines.model import Needs
from noria.runs import rules
from noria.runs.executors import Problem

_DIGEST = re.compile(r"[0-9a-f]{64}")
_HOPELESS = {"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError"}
_LOST = {"Evicted", "NodeLost", "NodeShutdown", "Terminated", "Preempting"}

Pod = Any
"""A pod as the official client returns it, which has no types."""


def has_begun(pod: Pod) -> bool:
    """Say whether its container runs, or did."""
    state = _state(pod)
    return state is not None and (state.running is not None or state.terminated is not None)


def has_ended(pod: Pod) -> bool:
    """Say whether it has ended, well or not."""
    return pod.status.phase in {"Succeeded", "Failed"}


def is_leaving(pod: Pod) -> bool:
    """Say whether it was deleted, and is there until its node says that it has ended."""
    return pod.metadata.deletion_timestamp is not None


def outcome_of(pod: Pod) -> str | None:
    """Return the digest that the child left as its last word; None when it could not."""
    message = _message(pod)
    return message if _DIGEST.fullmatch(message) else None


def is_hopeless(pod: Pod) -> bool:
    """Say whether its container will never begin, however long one waits."""
    state = _state(pod)
    return state is not None and state.waiting is not None and state.waiting.reason in _HOPELESS


def why_pending(pod: Pod | None) -> str:
    """Say why a pod has not begun, as Kubernetes does."""
    if pod is None:
        return "no pod was made of its Job"
    state = _state(pod)
    if state is not None and state.waiting is not None:
        return _spelled(state.waiting)
    refused = [one for one in pod.status.conditions or () if one.status == "False" and one.message]
    return _spelled(refused[0]) if refused else "its pod waits"


def ended_badly(pod: Pod, needs: Needs) -> Problem:
    """Say why a pod ended without its child's last word."""
    state = _state(pod)
    ended = None if state is None else state.terminated
    if pod.status.reason == "DeadlineExceeded":
        return _raised(TimeoutError(f"it took longer than {needs.timeout_seconds or 0:g} s and was ended"))
    if is_disrupted(pod):
        return lost(f"its pod was taken away ({_why_disrupted(pod)})")
    if ended is not None and ended.reason == "OOMKilled":
        limit = "its node had" if needs.memory_bytes is None else f"{needs.memory_bytes:,} bytes"
        return _raised(MemoryError(f"it took more than {limit} and was ended"))
    if is_leaving(pod):
        return lost("its pod was deleted")
    status = "unknown" if ended is None else ended.exit_code
    last = _message(pod).strip().splitlines()[-1:]
    died = RuntimeError(": ".join([f"its process died (exit status {status})", *last]))
    return Problem(words=f"was lost: {died}", cause=died)


def is_disrupted(pod: Pod) -> bool:
    """Say whether the cluster took the pod away: evicted, preempted, its node drained or gone."""
    return pod.status.reason in _LOST or bool(_disruptions(pod))


def _why_disrupted(pod: Pod) -> str:
    return _spelled(pod.status if pod.status.reason in _LOST else _disruptions(pod)[0])


def _disruptions(pod: Pod) -> list[Any]:
    conditions = pod.status.conditions or ()
    return [one for one in conditions if one.type == "DisruptionTarget" and one.status == "True"]


def lost(words: str) -> Problem:
    """Say that a try was lost by no fault of its step."""
    cause = Unavailable(words, hint="it is tried again; see `kubectl get events` for the reason")
    return Problem(words=f"was lost: {words}", cause=cause, is_lost=True)


def refused(words: str, hint: str) -> Problem:
    """Say that the cluster will not execute a try."""
    return Problem(words=f"found no place: {words}", cause=Invalid(words, hint=hint), may_pass=False)


def _raised(cause: Exception) -> Problem:
    return Problem(words=f"raised {rules.sentence(cause)}", cause=cause)


def _state(pod: Pod) -> Any:  # noqa: ANN401 - see Pod
    """Return the state of its one container; None before there is any."""
    statuses = pod.status.container_statuses
    return statuses[0].state if statuses else None


def _message(pod: Pod) -> str:
    state = _state(pod)
    ended = None if state is None else state.terminated
    return "" if ended is None else (ended.message or "").strip()


def _spelled(told: Any) -> str:  # noqa: ANN401 - a condition, or a container's state
    return f"{told.reason}: {told.message}" if told.message else str(told.reason)
