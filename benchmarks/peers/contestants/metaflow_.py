"""Metaflow with local datastore: a flow is a file of its own, and a run of it is a command."""

import re
import subprocess
import sys

from contest import HOME, N, Timed, contend, tell

FAN = """
from metaflow import FlowSpec, step
class Fan(FlowSpec):
    @step
    def start(self):
        self.items = list(range({n})); self.next(self.inc, foreach="items")
    @step
    def inc(self):
        self.value = self.input + 1; self.next(self.total)
    @step
    def total(self, inputs):
        self.sum = sum(one.value for one in inputs); self.next(self.end)
    @step
    def end(self): print("RESULT", self.sum)
if __name__ == "__main__": Fan()
"""
REAL = """
import work
from metaflow import FlowSpec, step
class Real(FlowSpec):
    @step
    def start(self):
        self.parts = {name: work.split(work.load(name)) for name in work.SETS}
        self.pairs = work.pairs(); self.next(self.train, foreach="pairs")
    @step
    def train(self):
        name, kind = self.input; self.model = work.train(self.parts[name], kind); self.next(self.evaluate)
    @step
    def evaluate(self):
        self.score = work.evaluate(self.model, self.parts[self.input[0]]); self.next(self.best)
    @step
    def best(self, inputs):
        self.found = work.best([one.score for one in inputs]); self.next(self.end)
    @step
    def end(self): print("RESULT", self.found)
if __name__ == "__main__": Real()
"""


def chained(body):
    lines = ["from contest import slow, traced", "from metaflow import FlowSpec, step", "class Chain(FlowSpec):"]
    lines += ["    @step", "    def start(self): self.x = 0; self.next(self.s0)"]
    for number in range(N):
        after = f"s{number + 1}" if number < N - 1 else "end"
        lines += ["    @step", f"    def s{number}(self): self.x = {body}; self.next(self.{after})"]
    lines += ["    @step", '    def end(self): print("RESULT", self.x)', 'if __name__ == "__main__": Chain()']
    return "\n".join(lines)


def run(source, *verb, splits=False):
    file = HOME / "flow.py"
    file.write_text(source)
    more = ["--max-num-splits", "2000", "--max-workers", "2"] if splits else []
    with Timed() as timed:
        done = subprocess.run(
            [sys.executable, file, "--no-pylint", *(verb or ["run"]), *more],
            cwd=HOME, capture_output=True, text=True, check=False,
        )  # fmt: skip
    found = re.findall(r"RESULT (.*)", done.stdout)
    if not found:
        raise SystemExit((done.stdout + done.stderr)[-300:])
    tell(int(found[-1]) if found[-1].isdigit() else found[-1], timed)


contend(
    chain=lambda: run(chained("self.x + 1")),
    fan=lambda: run(FAN.format(n=N), splits=True),
    cached=lambda: run(chained("traced(self.x)"), *(["resume", "end"] if (HOME / "flow.py").exists() else [])),
    real=lambda: run(REAL, splits=True),
    crash=lambda: run(chained("slow(self.x)"), *(["resume"] if "again" in sys.argv else [])),
)
