"""`noria server`: the control API and the pages of a home."""

import click

from noria.boot import open_home
from noria.server.control.app import make_app
from noria.server.control.guard import LOCAL_NAMES
from noria.server.listening import address, listen, serve
from noria.settings import read_settings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@click.option("--home", default=None, help="Folder or postgresql:// address; else NORIA_HOME, noria.toml, or .noria")
@click.option("--host", default=None, help="Address to listen on; 127.0.0.1 if neither this nor the setting says more.")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port; 7878 if nothing says otherwise.")
def server(home: str | None, host: str | None, port: int | None) -> None:
    """Serve the control API and the pages until SIGTERM; any number may share a home."""
    settings = read_settings()
    host = settings.host if host is None else host
    listening = listen(host, settings.control_port if port is None else port, option="--port")
    is_local = host in _LOOPBACK
    with open_home(home) as platform:
        click.echo(f"pages and API on {address(listening)}")
        if not is_local:
            click.echo("whoever reaches this address may change what is live: let only a trusted network reach it")
        serve(make_app(platform, hosts=LOCAL_NAMES if is_local else None), listening)
    click.echo("the control process has ended")
