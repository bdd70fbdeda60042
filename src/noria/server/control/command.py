"""`noria server`: the control API and the pages of a home."""

import click

from noria.boot import open_home
from noria.server.control.app import make_app
from noria.server.guard import names_in
from noria.server.listening import INSECURE, Limits, address, listen, serve
from noria.settings import read_settings


@click.command()
@click.option("--home", default=None, help="Folder or postgresql:// address; else NORIA_HOME, noria.toml, or .noria")
@click.option("--host", default=None, help="Address to listen on; 127.0.0.1 if neither this nor the setting says more.")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port; 7878 if nothing says otherwise.")
@click.option("--insecure", is_flag=True, help=INSECURE)
def server(home: str | None, host: str | None, port: int | None, insecure: bool) -> None:  # noqa: FBT001 - click's flag
    """Serve the control API and the pages until SIGTERM; any number may share a home."""
    settings = read_settings()
    host = settings.host if host is None else host
    port = settings.control_port if port is None else port
    listening = listen(host, port, option="--port", insecure=insecure or settings.insecure)
    with open_home(home) as platform:
        click.echo(f"pages and API on {address(listening)}")
        app = make_app(platform, hosts=names_in(settings.hosts))
        serve(app, listening, limits=Limits.of(settings))
    click.echo("the control process has ended")
