"""Run one command and say what it and everything it started used: `python metering.py SECONDS COMMAND...` (Linux).

It adopts what the command leaves behind, ends that, and counts it too. One line of JSON: wall and CPU seconds, the most
memory that all its processes held together (shared pages are counted in each), the exit code, and the last line of JSON
that the command printed.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

ADOPT = 36  # PR_SET_CHILD_SUBREAPER
PAGE = os.sysconf("SC_PAGE_SIZE")


def below(process):
    """Return the ids of all processes below one."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found, parents = [], [process]
    while parents:
        direct = children.get(parents.pop(), [])
        found += direct
        parents += direct
    return found


def memory(processes):
    held = 0
    for process in processes:
        with suppress(OSError):
            held += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    return held


def end_all(me):
    """End what is left, and wait for it, so that its CPU is counted."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        for process in below(me):
            with suppress(OSError):
                os.kill(process, how)
        until = time.monotonic() + 5
        while below(me) and time.monotonic() < until:
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.05)


def main():
    """Run the command and print one line."""
    seconds, command = float(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(ADOPT, 1, 0, 0, 0)
    peak, over = 0, threading.Event()

    def look():
        nonlocal peak
        while not over.wait(0.05):
            peak = max(peak, memory(below(os.getpid())))

    looking = threading.Thread(target=look)
    looking.start()
    begun = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        code, said, words = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        code, said, words = None, "", f"no end after {seconds:.0f} s"
    wall = time.perf_counter() - begun
    over.set()
    looking.join()
    end_all(os.getpid())
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = next((json.loads(line) for line in reversed(said.splitlines()) if line.startswith('{"result"')), None)
    print(
        json.dumps(
            {
                "code": code,
                "wall": wall,
                "cpu": used.ru_utime + used.ru_stime,
                "peak_mb": peak / 2**20,
                "told": told,
                "words": words.strip()[-300:],
            }
        )
    )


if __name__ == "__main__":
    main()
