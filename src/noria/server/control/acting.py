"""Who acts in a request, and on which platform: the one place that tokens will come into."""

from typing import Annotated

from fastapi import Depends, Request

from noria.boot import Platform
from noria.core.context import Context
from noria.core.errors import Invalid

ACTOR = "noria-actor"
"""The header in which a caller on this machine says on whose behalf it acts."""
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_MOST_LETTERS = 100


def platform_of(request: Request) -> Platform:
    """Return the platform that the app was made for."""
    return request.app.state.platform


def context_of(request: Request) -> Context:
    """Return who acts, in which project.

    Without a word it is the actor of the settings, as on the command line. A caller on this machine may name another
    person in the header `Noria-Actor`, who then needs a role of their own; from elsewhere the header says nothing.
    """
    platform = platform_of(request)
    named = request.headers.get(ACTOR)
    if named is None or request.client is None or request.client.host not in _LOOPBACK:
        return platform.context
    if not named.strip() or len(named) > _MOST_LETTERS or not named.isprintable() or ":" in named:
        raise Invalid("the header Noria-Actor names nobody", hint="give a name, for example 'Noria-Actor: ann'")
    return platform.acting_as(named)


Home = Annotated[Platform, Depends(platform_of)]
Acting = Annotated[Context, Depends(context_of)]
