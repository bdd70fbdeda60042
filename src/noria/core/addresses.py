"""Who can reach a socket: this machine alone, or others too."""

import socket
from ipaddress import ip_address

from noria.core.errors import Invalid


def must_be_private(bound: socket.socket) -> None:
    """Close a socket that other machines could reach, and raise `Invalid`: there are no accounts yet.

    The address that it is really bound to decides, whatever name it was given by.
    """
    host = bound.getsockname()[0]
    if is_loopback(host):
        return
    bound.close()
    raise Invalid(
        f"{host} can be reached from other machines, and whoever reaches it may do everything: there are no accounts yet",
        hint="listen on 127.0.0.1, or say --insecure (the setting insecure) where only a trusted network reaches it",
    )


def is_loopback(host: str) -> bool:
    """Say whether an IP address is one of this machine alone."""
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
