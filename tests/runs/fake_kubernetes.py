"""A small Kubernetes for tests: an API server that takes Jobs over HTTP, and a kubelet that runs them as processes.

It does what the executor relies on: manifests are held against the published schemas, a pod's log and status can be
read while it runs, a pod that needs too much memory or time is killed as a kubelet would say it, deleting a Job kills
its process. Nothing of scheduling, images or security is here.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate

VERSION = "1.31"
_JOBS = re.compile(r"/apis/batch/v1/namespaces/(?P<namespace>[^/]+)/jobs(/(?P<name>[^/]+))?")
_PODS = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/pods(/(?P<name>[^/]+)/log)?")


class Pod:
    """One Job's pod: a process of this machine, and what a kubelet would say of it."""

    def __init__(self, job, folder):
        self.job = job
        self.spec = job["spec"]["template"]["spec"]
        self.message = folder / "termination-log"
        self.log = folder / "log"
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
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, *command[1:]], stdout=out, stderr=out, env=environment, cwd=self.log.parent
            )
        threading.Thread(target=self._watch, daemon=True).start()

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

    def status(self):
        code = None if self.process is None else self.process.poll()
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
        if state:
            status["containerStatuses"] = [
                {"name": "step", "image": "i", "imageID": "i", "ready": True, "restartCount": 0, "state": state}
            ]
        return status

    def _end_of_log(self):
        return self.log.read_text(errors="replace")[-2048:] if self.log.exists() else ""

    def as_json(self):
        labels = self.job["spec"]["template"]["metadata"]["labels"]
        name = f"{self.job['metadata']['name']}-x"
        return {"metadata": {"name": name, "labels": labels}, "spec": self.spec, "status": self.status()}


class FakeKubernetes:
    """The cluster: `address` is where its API answers; `refuses` and `waits` make it behave badly."""

    def __init__(self, folder):
        self.folder = folder
        self.pods: dict[str, Pod] = {}
        self.manifests = []
        self.deleted = []
        self.refuses = None
        self.waits = None
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
                name = _PODS.fullmatch(parts.path)["name"]
                if name is not None:
                    return self._answer(200, cluster.log(name))
                return self._answer(200, cluster.list(parse_qs(parts.query)["labelSelector"][0]))

            def _answer(self, status, body):
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
        pod = Pod(job, folder)
        if self.waits is None:
            pod.start()
        else:
            pod.waiting = self.waits
        self.pods[job["metadata"]["name"]] = pod
        return 201, job

    def delete(self, name):
        self.deleted.append(name)
        pod = self.pods.pop(name, None)
        if pod is None:
            return 404, {"kind": "Status", "message": "not found"}
        pod.kill()
        return 200, {"kind": "Status", "status": "Success"}

    def list(self, selector):
        key, _, value = selector.partition("=")
        found = [pod.as_json() for pod in tuple(self.pods.values())]
        return {"kind": "PodList", "items": [pod for pod in found if pod["metadata"]["labels"][key] == value]}

    def log(self, name):
        pod = self.pods.get(name.removesuffix("-x"))
        return pod.log.read_bytes() if pod is not None and pod.log.exists() else b""

    def close(self):
        for name in tuple(self.pods):
            self.delete(name)
        self.server.shutdown()
        self.server.server_close()


def _used_bytes(process):
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
