"""`noria gateway`: answers predictions and takes feedback over HTTP."""

import click

from noria.boot import open_home
from noria.core.clock import MachineStopwatch
from noria.server.gateway.app import Gateway
from noria.server.gateway.table import Table
from noria.server.guard import Guard, names_in
from noria.server.listening import INSECURE, Limits, address, listen, serve
from noria.serving.presence import announced
from noria.settings import read_settings


@click.command()
@click.option("--home", default=None, help="Folder or postgresql:// address; else NORIA_HOME, noria.toml, or .noria")
@click.option("--host", default=None, help="Address to listen on; 127.0.0.1 if neither this nor the setting says more.")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port; 7879 if nothing says otherwise.")
@click.option("--insecure", is_flag=True, help=INSECURE)
def gateway(home: str | None, host: str | None, port: int | None, insecure: bool) -> None:  # noqa: FBT001 - click's flag
    """Answer predictions and take feedback until SIGTERM; any number may share a home.

    What was begun when the signal comes is answered, and what was logged is synced.
    """
    settings = read_settings()
    host = settings.host if host is None else host
    port = settings.gateway_port if port is None else port
    listening = listen(host, port, option="--port", insecure=insecure or settings.insecure)
    stopwatch = MachineStopwatch()
    with open_home(home) as platform:
        platform.model_processes.warm()
        table = Table(platform, stopwatch=stopwatch)
        try:
            table.start()
            click.echo(f"predictions on {address(listening)}")
            app = Gateway(platform, table, stopwatch=stopwatch)
            guarded = Guard(app, hosts=names_in(settings.hosts), most_bytes=None, refused=app.refused)
            with announced(platform.log.folder, address(listening), disk=platform.log.disk):
                serve(guarded, listening, limits=Limits.of(settings))
        finally:
            table.close()
    click.echo("the gateway has ended")
