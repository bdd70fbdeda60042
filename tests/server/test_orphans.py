"""The law of a supervised process: when its parent is gone it ends, by force if it must, with all that it has started."""

import subprocess
import sys
import time
from pathlib import Path

from running import is_alive

PROGRAM = """
import os, signal, subprocess, sys, time
from noria.cli import orphans
os.setsid()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
orphans._GRACE_SECONDS = 0.1
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
orphans.end_with_parent()
print(child.pid, flush=True)
time.sleep(600)
"""


def test_who_does_not_hear_is_ended_by_force_with_its_children_when_the_parent_is_gone():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], **pipes) as process:
        child = int(process.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        process.stdin.close()
        process.wait(30)

    until = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_alive(child)
