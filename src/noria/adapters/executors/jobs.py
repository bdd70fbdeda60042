"""What Kubernetes is asked for: the manifest of the Job that executes one try of a step."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noria.core.errors import Invalid
from noria.runs.executors import Call

TRY = "noria/try"
MESSAGE_FILE = "/dev/termination-log"
_CHILD = "noria.adapters.executors.kubernetes_child"
_STARTING_SECONDS = 300
_KEPT_SECONDS = 600
_ENDING_SECONDS = 1
"""Between the signal that a process with the number 1 does not hear, as the step's is in its pod, and the one that ends it."""
_USER = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where Jobs are made, and of what: see the settings `kubernetes_...`."""

    image: str
    blobs: str
    namespace: str = "default"
    service_account: str = ""
    secret: str = ""
    volume_claim: str = ""


Manifest = dict[str, Any]


def place_of(**said: str) -> Place:
    """Return the place that the settings name.

    Raises:
        Invalid: pods would have no image, or could not reach the blobs.

    """
    if not said["image"]:
        raise Invalid("Kubernetes needs an image for steps", hint="set kubernetes_image in noria.toml")
    if "://" in said["blobs"]:
        return Place(**said)
    if not (said["blobs"] and said["volume_claim"]):
        raise Invalid(
            "pods cannot reach blobs in a folder of this machine",
            hint='set blobs = "s3://bucket/prefix", or blobs to a shared folder and kubernetes_volume_claim to its claim',
        )
    return Place(**{**said, "blobs": str(Path(said["blobs"]).absolute())})


def manifest(call: Call, place: Place, *, name: str, asked: str) -> Manifest:
    """Return the Job of one try; `asked` is the blob that says what is to be done.

    The child ends a step that takes too long, to the fraction of a second. `activeDeadlineSeconds` ends one that lets
    nothing else run, and stands on the pod so that waiting for a node does not count.
    """
    labels = _labels(call, name)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": place.namespace,
            "labels": labels,
            "annotations": {"noria/id": call.id},
        },
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": _pod(call, place, asked)},
        },
    }


def _pod(call: Call, place: Place, asked: str) -> Manifest:
    needs = call.step.needs
    pod: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _ENDING_SECONDS,
        "automountServiceAccountToken": bool(place.service_account),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(call, place, asked)],
    }
    if place.service_account:
        pod["serviceAccountName"] = place.service_account
    if place.volume_claim:
        pod["volumes"] = [{"name": "blobs", "persistentVolumeClaim": {"claimName": place.volume_claim}}]
    if needs.tags:
        pod["nodeSelector"] = {f"noria/{tag}": "true" for tag in needs.tags}
    if needs.timeout_seconds is not None:
        pod["activeDeadlineSeconds"] = math.ceil(needs.timeout_seconds) + _STARTING_SECONDS
    return pod


def _container(call: Call, place: Place, asked: str) -> Manifest:
    container: Manifest = {
        "name": "step",
        "image": place.image,
        "command": ["python", "-m", _CHILD, place.blobs, asked, MESSAGE_FILE],
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "PYTHONUNBUFFERED", "value": "1"}],  # noqa: S108 - a pod's own
        "resources": _resources(call),
        "terminationMessagePath": MESSAGE_FILE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if place.secret:
        container["envFrom"] = [{"secretRef": {"name": place.secret}}]
    if place.volume_claim:
        container["volumeMounts"] = [{"name": "blobs", "mountPath": place.blobs}]
    return container


def _resources(call: Call) -> Manifest:
    needs = call.step.needs
    wanted = {"cpu": f"{needs.cpus:g}"}
    if needs.memory_bytes is not None:
        wanted["memory"] = str(needs.memory_bytes)
    if needs.gpus:
        wanted["nvidia.com/gpu"] = f"{needs.gpus:g}"
    return {"requests": wanted, "limits": wanted}


def _labels(call: Call, name: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/managed-by": "noria",
        TRY: name,
        "noria/run": _label(call.run),
        "noria/step": _label(call.id),
        "noria/attempt": str(call.attempt),
    }


def _label(text: str) -> str:
    """Return a text as a label may be; the exact one stands in an annotation."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:63].strip("_.-")
