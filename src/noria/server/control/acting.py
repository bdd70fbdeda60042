"""Who acts in a request, and on which platform: the one place that tokens will come into."""

from typing import Annotated

from fastapi import Depends, Request

from noria.boot import Platform
from noria.core.addresses import is_loopback
from noria.core.context import Context
from noria.core.errors import Invalid, NoriaError

ACTOR = "noria-actor"
"""The header in which a caller on this machine says on whose behalf it acts."""
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
"""What a proxy adds: whoever asked it is not on this machine, though the proxy may be."""
_MOST_LETTERS = 100


class NotBelieved(NoriaError):
    """A caller names an actor from where nothing proves the name."""

    code = "not-believed"
    status = 403


def platform_of(request: Request) -> Platform:
    """Return the platform that the app was made for."""
    return request.app.state.platform


def context_of(request: Request) -> Context:
    """Return who acts, in which project.

    Without a word it is the actor of the settings, as on the command line. A caller on this machine may name another
    person in the header `Noria-Actor`, who then needs a role of their own; from elsewhere, or through a proxy, the
    header is refused: nothing proves the name.
    """
    platform = platform_of(request)
    names = request.headers.getlist(ACTOR)
    if not names:
        return platform.context
    is_here = request.client is not None and is_loopback(request.client.host)
    if not is_here or any(name in request.headers for name in _FORWARDED):
        raise NotBelieved(
            "the header Noria-Actor is not believed: it did not come straight from this machine",
            hint="leave it out, or ask from the machine that the server runs on",
        )
    named = names[0]
    if len(names) > 1 or not named.strip() or len(named) > _MOST_LETTERS or not named.isprintable() or ":" in named:
        raise Invalid("the header Noria-Actor names nobody", hint="give a name, for example 'Noria-Actor: ann'")
    return platform.acting_as(named)


Home = Annotated[Platform, Depends(platform_of)]
Acting = Annotated[Context, Depends(context_of)]
