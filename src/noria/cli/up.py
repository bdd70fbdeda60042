"""`noria up`: the whole circle on this machine, in one terminal."""

import errno
import json
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import click

from noria.cli.signals import on_signals
from noria.cli.supervising import Program, Supervisor
from noria.core.addresses import must_be_private
from noria.core.clock import MachineStopwatch
from noria.core.errors import Invalid, NotFound, Unavailable
from noria.settings import Settings, read_settings

_LOOP_FILE = Path("loop.py")
_LOOK_EVERY_SECONDS = 0.05
_NAME_WIDTH = 7
_NAMES = {"server": "control", "gateway": "gateway"}


class _Speaker:
    """Says what happens, a line at a time: to people, or as JSON to programs."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._lock = threading.Lock()

    def line(self, process: str, text: str) -> None:
        """Pass on what a process said."""
        shown: dict[str, object] = {"event": "line", "process": process, "text": text}
        self._say(shown, f"{process.ljust(_NAME_WIDTH)} | {text}")

    def event(self, event: str, text: str, **more: object) -> None:
        """Say something of its own."""
        self._say({"event": event, **more}, text)

    def _say(self, shown: dict[str, object], text: str) -> None:
        with self._lock:
            click.echo(json.dumps(shown) if self._as_json else text)
            sys.stdout.flush()


@click.command()
@click.argument("file", type=click.Path(path_type=Path), nargs=-1)
@click.option("--home", default=None, help="Folder or postgresql:// address; else NORIA_HOME, noria.toml, or .noria")
@click.option("--port", type=click.IntRange(1, 65535), default=None, help="Port of pages and API; 7878.")
@click.option("--gateway-port", type=click.IntRange(1, 65535), default=None, help="Port of the gateway; 7879.")
@click.option("--insecure", is_flag=True, help="Let both servers listen beyond this machine, where NORIA_HOST says so.")
@click.option("--json", "as_json", is_flag=True, help="Say everything as lines of JSON.")
def up(
    file: tuple[Path, ...],
    home: str | None,
    port: int | None,
    gateway_port: int | None,
    insecure: bool,  # noqa: FBT001 - click's flags
    as_json: bool,  # noqa: FBT001 - see above
) -> None:
    """Run API and pages, gateway, and a worker for the loops of FILE (loop.py here, if not given), until Ctrl-C."""
    settings = read_settings()
    home = settings.home if home is None else home
    control = settings.control_port if port is None else port
    gateway = settings.gateway_port if gateway_port is None else gateway_port
    loop_files = _loop_files(file)
    insecure = insecure or settings.insecure
    _must_be_free(settings.host, control, option="--port", insecure=insecure)
    _must_be_free(settings.host, gateway, option="--gateway-port", insecure=insecure)
    if control == gateway:
        raise Invalid(f"both servers were given port {control}", hint="choose another: --gateway-port PORT")
    speaker = _Speaker(as_json=as_json)
    stopwatch = MachineStopwatch()
    begun = stopwatch.wall()
    servers = {"server": control, "gateway": gateway}
    programs = _programs(home, servers, loop_files=loop_files, insecure=insecure)
    supervisor = Supervisor(programs, said=speaker.line, ending=on_signals(), stopwatch=stopwatch)
    supervisor.start()
    if _is_up(supervisor, settings, control, gateway):
        _tell_ready(speaker, supervisor, settings, control=control, gateway=gateway, seconds=stopwatch.wall() - begun)
    supervisor.wait()
    speaker.event("ending", "ending: what was begun is finished or goes on at the next start")
    supervisor.end()
    if supervisor.failure is not None:
        raise Unavailable(supervisor.failure, hint="its last lines above say why; all others were ended in order")
    speaker.event("ended", "all processes have ended")


def _loop_files(named: tuple[Path, ...]) -> tuple[Path, ...]:
    for file in named:
        if not file.exists():
            raise NotFound("file", file, hint="noria init writes one to begin with")
    return named or ((_LOOP_FILE,) if _LOOP_FILE.exists() else ())


def _must_be_free(host: str, port: int, *, option: str, insecure: bool) -> None:
    """Raise `Unavailable` if nobody could listen there, `Invalid` if others could reach it and may not."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            taken = problem.errno == errno.EADDRINUSE
            words = f"port {port} of {host} is in use" if taken else f"cannot listen on {host}:{port}"
            raise Unavailable(words, hint=f"end what listens there, or choose another: {option} PORT") from problem
        if not insecure:
            must_be_private(probe)


def _programs(home: str, servers: Mapping[str, int], *, loop_files: tuple[Path, ...], insecure: bool) -> list[Program]:
    noria = [sys.executable, "-u", "-m", "noria", "--supervised"]
    more = ["--insecure"] if insecure else []
    found = [
        Program(name=_NAMES[server], command=[*noria, server, "--home", home, "--port", str(port), *more])
        for server, port in servers.items()
    ]
    if loop_files:
        # first: nothing is answered before it has trained, and it has the longest way to go
        found.insert(0, Program(name="worker", command=[*noria, "worker", *map(str, loop_files), "--home", home]))
    return found


def _is_up(supervisor: Supervisor, settings: Settings, *ports: int) -> bool:
    """Wait until each port answers; False if all ends before."""
    for port in ports:
        while not _answers(settings.host, port):
            if supervisor.wait(_LOOK_EVERY_SECONDS):
                return False
    return True


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _tell_ready(
    speaker: _Speaker, supervisor: Supervisor, settings: Settings, *, control: int, gateway: int, seconds: float
) -> None:
    pages, answers = f"http://{settings.host}:{control}", f"http://{settings.host}:{gateway}"
    words = (
        f"noria is up after {seconds:.1f} s\n"
        f"  pages and API  {pages}\n"
        f"  predictions    {answers}\n"
        "next, in another terminal:\n"
        f"  noria cycles\n"
        f"  curl {pages}/api/v1/loops\n"
        "Ctrl-C ends all of it"
    )
    processes = dict(supervisor.processes())
    speaker.event("ready", words, control=pages, gateway=answers, seconds=round(seconds, 3), processes=processes)
