"""What routes share: the errors that any of them may answer with, and how names and pages are asked for."""

from typing import Annotated, Any

from fastapi import Path, Query

from noria.server.control.shapes.shape import Name, Problem

API = "/api/v1"
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": words, "content": {"application/problem+json": {}}}
    for status, words in {
        400: "the body is no JSON",
        403: "the actor lacks a permission",
        404: "nothing has that name",
        409: "the world moved, or says otherwise",
        410: "it was retired",
        413: "the body is too large",
        422: "what was given cannot be used as it is",
        507: "the disk did not take what was to be kept",
        503: "busy or not reachable: try again",
    }.items()
}

WithRetired = Annotated[bool, Query(alias="retired", description="those that are retired, too")]
NameInPath = Annotated[str, Path(min_length=1, max_length=255)]
Limit = Annotated[int, Query(ge=1, le=500, description="how many at most")]
After = Annotated[Name | None, Query(description="the `next` of the page before")]
NameInQuery = Annotated[Name | None, Query()]
