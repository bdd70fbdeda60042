"""A small Kubernetes for tests: an API server that takes Jobs over HTTP, and a kubelet that runs them as processes.

It does what the executor relies on: manifests are held against the published schemas, a pod's log and status can be
read while it runs, a pod that needs too much memory or time is killed as a kubelet would say it, deleting a Job ends
its process, which does not hear the first signal, as one with the number 1 does not. Nothing of scheduling, images or
security is here; what a real cluster did otherwise than this one did is here now.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate

VERSION = "1.31"
_JOBS = re.compile(r"/apis/batch/v1/namespaces/(?P<namespace>[^/]+)/jobs(/(?P<name>[^/]+))?")
_PODS = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/(?P<kind>pods|events)(/(?P<name>[^/]+)/log)?")
_GRACE_SECONDS = 30


class Pod:
    """One Job's pod: a process of this machine, and what a kubelet would say of it."""

    def __init__(self, job, folder):
        self.job = job
        self.spec = job["spec"]["template"]["spec"]
        self.message = folder / "termination-log"
        self.log = []
        self.folder = folder
        self.deleted_at = None
        self.is_cut_off = False
        self.reason, self.killed_for = None, None
        self.waiting = None
        self.process = None
        self.began = time.monotonic()

    def start(self):
        container = self.spec["containers"][0]
        inside = container["terminationMessagePath"]
        command = [str(self.message) if word == inside else word for word in container["command"]]
        environment = os.environ | {one["name"]: one["value"] for one in container["env"]}
        environment["PYTHONPATH"] = str(Path(__file__).parents[2] / "src")
        self.process = subprocess.Popen(
            [sys.executable, *command[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=self.folder,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def _read(self):
        with self.process.stdout as out:
            for line in out:
                self.log.append((time.time(), line.decode("utf-8", "replace")))

    def said(self, since_seconds, *, is_stamped):
        since = time.time() - since_seconds
        lines = [(datetime.fromtimestamp(at, UTC), line) for at, line in self.log if at >= since]
        stamp = "{:%Y-%m-%dT%H:%M:%S.%fZ} {}" if is_stamped else "{1}"
        return "".join(stamp.format(at, line) for at, line in lines)

    def _watch(self):
        limit = int(self.spec["containers"][0]["resources"]["limits"].get("memory", 0))
        deadline = self.spec.get("activeDeadlineSeconds")
        while self.process.poll() is None:
            if limit and _used_bytes(self.process.pid) > limit:
                self.kill("OOMKilled")
            if deadline and time.monotonic() - self.began > deadline:
                self.kill("DeadlineExceeded")
            time.sleep(0.02)

    def kill(self, reason=None):
        self.killed_for = self.killed_for or reason
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def leave(self):
        """Be deleted: the process has its time to end itself, and the pod is there until its node says that it has."""
        self.deleted_at = "2026-01-01T00:00:00Z"
        grace = self.spec.get("terminationGracePeriodSeconds", _GRACE_SECONDS)
        if self.process is not None and not self.is_cut_off:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
            self.kill()

    def status(self):
        code = None if self.process is None else self.process.poll()
        if code is not None:
            self._reader.join()
        if self.process is None:
            phase, state = "Pending", {"waiting": self.waiting} if self.waiting else {}
        elif code is None:
            phase, state = "Running", {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        else:
            message = self.message.read_text() if self.message.exists() else self._end_of_log()
            reason = "OOMKilled" if self.killed_for == "OOMKilled" else "Completed" if code == 0 else "Error"
            ended = {"exitCode": code if code >= 0 else 128 - code, "reason": reason, "message": message}
            phase, state = "Succeeded" if code == 0 else "Failed", {"terminated": ended}
        status = {"phase": phase, "conditions": []}
        if self.killed_for in {"DeadlineExceeded", "Evicted"}:
            status |= {"reason": self.killed_for, "message": "The node was low on resource: memory."}
        if self.killed_for == "EvictionByEvictionAPI":
            status["conditions"] = [
                {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": self.killed_for,
                    "message": "Eviction API: evicting",
                }
            ]
        if state:
            status["containerStatuses"] = [
                {"name": "step", "image": "i", "imageID": "i", "ready": True, "restartCount": 0, "state": state}
            ]
        return status

    def _end_of_log(self):
        return "".join(line for _, line in self.log)[-2048:]

    def as_json(self):
        labels = self.job["spec"]["template"]["metadata"]["labels"]
        name = f"{self.job['metadata']['name']}-x"
        metadata = {"name": name, "labels": labels}
        if self.deleted_at is not None:
            metadata["deletionTimestamp"] = self.deleted_at
        return {"metadata": metadata, "spec": self.spec, "status": self.status()}


class FakeKubernetes:
    """The cluster: `address` is where its API answers.

    It behaves badly by `refuses` (a status that Jobs are answered with), `refuses_pods` (why no pod is made of a Job),
    `refuses_logs` (a status that logs are answered with), `waits` (why pods do not begin) and `is_silent`.
    """

    def __init__(self, folder):
        self.folder = folder
        self.pods: dict[str, Pod] = {}
        self.manifests = []
        self.deleted = []
        self.refuses = self.refuses_pods = self.refuses_logs = None
        self.waits = None
        self.is_silent = False
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(*cluster.create(body))

            def do_DELETE(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self._answer(*cluster.delete(_JOBS.fullmatch(urlsplit(self.path).path)["name"]))

            def do_GET(self):
                parts = urlsplit(self.path)
                asked, query = _PODS.fullmatch(parts.path), parse_qs(parts.query)
                if asked["kind"] == "events":
                    return self._answer(200, cluster.events())
                if asked["name"] is not None:
                    return self._answer(*cluster.log(asked["name"], query))
                return self._answer(200, cluster.list(query["labelSelector"][0]))

            def _answer(self, status, body):
                while cluster.is_silent:
                    time.sleep(0.05)
                payload = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(body, bytes) else "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def create(self, job):
        if self.refuses is not None:
            return self.refuses, {"kind": "Status", "message": "the service account may not create jobs"}
        kubernetes_validate.validate(job, VERSION, strict=True)
        self.manifests.append(job)
        folder = self.folder / job["metadata"]["name"]
        folder.mkdir(parents=True)
        if self.refuses_pods is not None:
            return 201, job
        pod = Pod(job, folder)
        if self.waits is None:
            pod.start()
        else:
            pod.waiting = self.waits
        self.pods[job["metadata"]["name"]] = pod
        return 201, job

    def delete(self, name):
        self.deleted.append(name)
        pod = self.pods.get(name)
        if pod is None:
            return 404, {"kind": "Status", "message": "not found"}
        threading.Thread(target=self._collect, args=(name, pod), daemon=True).start()
        return 200, {"kind": "Status", "status": "Success"}

    def _collect(self, name, pod):
        pod.leave()
        self.pods.pop(name, None)

    def list(self, selector):
        key, _, value = selector.partition("=")
        found = [pod.as_json() for pod in tuple(self.pods.values())]
        return {"kind": "PodList", "items": [pod for pod in found if pod["metadata"]["labels"][key] == value]}

    def log(self, name, query):
        if self.refuses_logs is not None:
            return self.refuses_logs, {"kind": "Status", "message": "dial tcp 10.0.0.7:10250: connection refused"}
        pod = self.pods.get(name.removesuffix("-x"))
        if pod is None:
            return 404, {"kind": "Status", "message": "not found"}
        since_seconds = float(query.get("sinceSeconds", ["1e9"])[0])
        return 200, pod.said(since_seconds, is_stamped="true" in query.get("timestamps", ())).encode()

    def events(self):
        happened = {"involvedObject": {}, "metadata": {}, "reason": "FailedCreate", "message": self.refuses_pods}
        return {"kind": "EventList", "items": [happened] if self.refuses_pods else []}

    def close(self):
        self.is_silent = False
        for pod in tuple(self.pods.values()):
            pod.kill()
            pod.status()
        self.server.shutdown()
        self.server.server_close()


def _used_bytes(process):
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
