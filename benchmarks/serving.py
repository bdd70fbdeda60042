"""One-row predictions over HTTP at 16 clients: the gateway beside a bare ASGI app with the same ONNX session.

Server CPU for each request is what is compared: the loader shares the machine, so requests a second say less.
Budget: the gateway within twice the bare app.
"""

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

import noria as nr
from noria.registry.model import Trained
from noria.runs.model import Artifact
from noria.serving.model import Variant

CLIENTS, SECONDS, ROUNDS, FEATURES = 16, 4.0, 3, 30
NAMES = [f"feature_{number}" for number in range(FEATURES)]
BARE = """
import json, socket, sys
import numpy as np, onnxruntime, uvicorn

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
names = json.loads(sys.argv[2])

async def app(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    row = json.loads(body)["row"]
    table = np.array([[row[name] for name in names]], dtype=np.float32)
    score = float(session.run([session.get_outputs()[-1].name], {"X": table})[0][0, 1])
    answer = json.dumps({"score": score}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})

listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen(2048)
print(f"on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
uvicorn.Server(config).run(sockets=[listening])
"""


def furnished(home):
    chance = np.random.default_rng(0)
    table = pl.DataFrame({name: chance.normal(size=4_000) for name in NAMES})
    reads = nr.columns(*NAMES)
    labels = reads(table)[:, :5].sum(axis=1) + chance.normal(size=4_000) > 0
    model = nr.Model(HistGradientBoostingClassifier(max_iter=100).fit(reads(table), labels), preprocess=reads)
    encoded = home.codecs.encode(model)
    artifact = Artifact(codec=encoded.codec, blob=home.blobs.put(encoded.payload), digest=encoded.digest)
    prepared = home.preparer.prepare(model, table, features=NAMES, functions=[])
    print(f"  served as {prepared.words}")
    home.datasets.create(home.context, nr.Dataset("rows", key="id", time="at", label="y"))
    trained = Trained(artifact=artifact, run="r", snapshot="s", trained_through=home.clock.now(), code="0" * 64)

    def work(connection):
        version = home.registry.register_in(connection, home.context, "m", trained)
        home.endpoints.serve_in(connection, home.context, version, prepared)

    home.database.write(work)
    home.endpoints.create(home.context, "m", model="m", dataset="rows")
    one = (Variant(version=1, weight=1.0),)
    home.endpoints.set_route(home.context, "m", expected_epoch=0, variants=one, reason="benchmark")
    return home.blobs.get(prepared.blob), table.row(0, named=True)


def started(command):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return process, int(re.search(r":(\d+)", process.stdout.readline().partition("http://")[2])[1])


def cpu_of(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(port, path, body):
    request = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    end, latencies, failed = time.perf_counter() + SECONDS, [], 0

    async def client():
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            begun = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
            latencies.append(time.perf_counter() - begun)
            failed += not head.startswith(b"HTTP/1.1 200")
        writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return latencies, failed


def main():
    with tempfile.TemporaryDirectory() as folder:
        print(
            f"one row of {FEATURES} features, gradient boosting, {CLIENTS} clients, {ROUNDS} rounds of {SECONDS:.0f} s"
        )
        with nr.open(Path(folder) / "home") as home:
            onnx, row = furnished(home)
        model, bare = Path(folder) / "model.onnx", Path(folder) / "bare.py"
        model.write_bytes(onnx)
        bare.write_text(BARE)
        noria = [sys.executable, "-u", "-m", "noria", "gateway", "--home", str(Path(folder) / "home"), "--port", "0"]
        servers = {
            "noria gateway": (*started(noria), "/endpoints/m/predict"),
            "bare ASGI app": (*started([sys.executable, str(bare), str(model), json.dumps(NAMES)]), "/"),
        }
        try:
            compare(servers, json.dumps({"row": row}).encode())
        finally:
            for process, _, _ in servers.values():
                process.terminate()
                process.wait()
                process.stdout.close()


def compare(servers, body):
    found = {name: [] for name in servers}
    for _ in range(ROUNDS):
        for name, (process, port, path) in servers.items():
            before = cpu_of(process)
            latencies, failed = asyncio.run(load(port, path, body))
            cpu = (cpu_of(process) - before) / len(latencies)
            found[name].append((cpu, len(latencies) / SECONDS, *np.quantile(latencies, [0.5, 0.99]), failed))
    median = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    for name, (cpu, rate, p50, p99, failed) in median.items():
        print(
            f"  {name}: CPU {cpu * 1e6:5.0f} us a request, {rate:6,.0f}/s, p50 {p50 * 1e3:.2f} p99 {p99 * 1e3:.1f} ms, failed {failed:.0f}"
        )
    ratio = median["noria gateway"][0] / median["bare ASGI app"][0]
    print(f"  the gateway spends {ratio:.2f} times the CPU of the bare app (budget 2)")


if __name__ == "__main__":
    main()
