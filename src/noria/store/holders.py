"""Names for processes that hold leases, such that a crashed one on this machine is known to be dead at once."""

import os
import socket
from pathlib import Path


def this_process() -> str:
    """Return this process's name: machine, boot and process-id space, process id, and when it started."""
    return f"{_machine()}/{os.getpid()}/{_started(os.getpid())}"


def is_dead(holder: str) -> bool:
    """Say whether the named process has surely ended; False for other machines and whenever there is doubt."""
    machine, _, rest = holder.rpartition("/")[0].rpartition("/")
    started = holder.rpartition("/")[2]
    if machine != _machine() or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's, or another process that has its number now
        pass
    return started not in {_started(int(rest)), "unknown"}


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    boot_id = boot.read_text().strip()[:8] if boot.exists() else "boot"
    try:
        processes = Path("/proc/self/ns/pid").readlink().name
    except OSError:
        processes = "pid"
    return f"{socket.gethostname()}/{boot_id}/{processes}"


def _started(process: int) -> str:
    try:
        after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "unknown"
    return "zombie" if after_name[0] == "Z" else after_name[19]
