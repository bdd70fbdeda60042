"""The first pages: loops and where they are in their circle, what waits for a person, decisions, a cycle, a version; no script needed."""

from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from noria.server.control.acting import Acting, Home
from noria.server.control.pages import attending, seeing
from noria.server.control.shapes.shape import Number

_HERE = FilePath(__file__).parent
_SAFE = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
_templates = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True)

pages = APIRouter(include_in_schema=False)


@pages.get("/")
def index(home: Home, context: Acting) -> Response:
    """Show all loops, what waits for a person, candidates on their way in, and the last decisions."""
    return _page(
        "index.html",
        loops=seeing.loops(home, context),
        asked=attending.asked(home, context),
        ways_in=attending.ways_in(home, context),
        decisions=seeing.decisions(home, context),
    )


@pages.get("/cycles/{cycle}")
def cycle_page(home: Home, context: Acting, cycle: str) -> Response:
    """Show one turn of a loop with its evidence."""
    return _page("cycle.html", cycle=seeing.cycle(home, context, cycle))


@pages.get("/models/{name}/versions/{number}")
def version_page(home: Home, context: Acting, name: str, number: Annotated[Number, Path()]) -> Response:
    """Show why a version exists."""
    return _page("version.html", version=seeing.version(home, context, name, number))


@pages.get("/noria.css")
def style() -> Response:
    """Return the pages' style."""
    return Response((_HERE / "noria.css").read_bytes(), media_type="text/css", headers={"cache-control": "no-cache"})


def _page(template: str, **seen: Any) -> Response:  # noqa: ANN401 - what a template shows
    return HTMLResponse(_templates.get_template(template).render(**seen), headers=_SAFE)
