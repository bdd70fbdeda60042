"""`POST /api/v1/events`: CloudEvents 1.0 over HTTP, in the structured and in the binary mode.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, cast
from urllib.parse import unquote

import msgspec
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from noria.core.errors import Invalid
from noria.loop.model import Event
from noria.server.control.acting import Acting, Home
from noria.server.control.shapes.loops import Heard

_MOST_LEVELS = 64
_FLATTER = f"send at most {_MOST_LEVELS} levels"
_STRUCTURED = "application/cloudevents+json"
_Named = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern="^[^\u0000]*$")]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes of CloudEvents 1.0 that Noria reads; extensions may be there, and are passed over."""

    specversion: str
    id: _Named
    source: _Named
    type: _Named
    subject: Annotated[str, msgspec.Meta(max_length=2000, pattern="^[^\u0000]*$")] | None = None
    time: _Time | None = None
    data: Any = None
    data_base64: str | None = None

    def as_event(self) -> Event:
        """Return the noun; raises `Invalid` for another version of CloudEvents."""
        if self.specversion != "1.0":
            raise Invalid(f"this is CloudEvents {self.specversion!r}", hint="send specversion 1.0")
        data = self.data if self.data_base64 is None else {"data_base64": self.data_base64}
        if _is_deeper(data, _MOST_LEVELS):
            raise Invalid(f"the data of the event is nested more than {_MOST_LEVELS} levels deep", hint=_FLATTER)
        if self.time is not None:
            _must_have_utc(self.time)
        return Event(id=self.id, source=self.source, type=self.type, subject=self.subject, time=self.time, data=data)


_string = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^\u0000]*$"}
_EXAMPLE = {"specversion": "1.0", "id": "1", "source": "/shop/catalogue", "type": "com.example.refreshed"}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "a CloudEvent as JSON; or, in binary mode, its data, with the attributes in ce- headers",
        "content": {
            _STRUCTURED: {
                "schema": {
                    "type": "object",
                    "required": ["specversion", "id", "source", "type"],
                    "properties": {
                        "specversion": {"const": "1.0"},
                        "id": _string,
                        "source": _string,
                        "type": _string,
                        "subject": {"type": "string", "maxLength": 2000, "pattern": "^[^\u0000]*$"},
                        "time": {"type": "string", "format": "date-time"},
                        "data": {},
                        "data_base64": {"type": "string"},
                    },
                    "example": _EXAMPLE,
                },
            },
        },
    },
}

events = APIRouter(prefix="/api/v1", tags=["events"])


@events.post("/events", status_code=202, summary="Tell of an event", openapi_extra=_BODY)
async def receive_event(request: Request, home: Home, context: Acting) -> Heard:
    """Take note of an event; loops that wait for its type are asked. The same source and id again is the same event."""
    event = read(request.headers, await request.body())
    is_new = await run_in_threadpool(home.loops.receive, context, event)
    return Heard(id=event.id, source=event.source, is_new=is_new)


def read(headers: Mapping[str, str], body: bytes) -> Event:
    """Return the event of a request; raises `Invalid` for one that CloudEvents 1.0 does not allow."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == _STRUCTURED:
            return msgspec.json.decode(body, type=CloudEvent).as_event()
        if "ce-specversion" in headers:
            told = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
            told.pop("data", None)
            return msgspec.convert({**told, "data": _data(kind, body)}, CloudEvent, strict=False).as_event()
    except RecursionError as problem:
        raise Invalid("the event is nested too deeply", hint=_FLATTER) from problem
    except msgspec.MsgspecError as problem:
        raise Invalid(
            f"this is no CloudEvent: {problem}", hint="it needs specversion, id, source and type"
        ) from problem
    raise Invalid(
        f"{kind or 'no content type'} tells of no event",
        hint=f"send Content-Type: {_STRUCTURED}, or the headers ce-specversion, ce-id, ce-source and ce-type",
    )


def _must_have_utc(moment: datetime) -> None:
    """Raise `Invalid` for a moment whose UTC has no date, such as 0001-01-01T00:00:00+01:00."""
    try:
        moment.astimezone(UTC)
    except OverflowError as problem:
        raise Invalid(f"the time {moment.isoformat()} has no date in UTC", hint="years go from 1 to 9999") from problem


def _is_deeper(value: Any, levels: int) -> bool:  # noqa: ANN401 - any plain value
    """Say whether a plain value has lists or objects inside each other, more than so many."""
    within: list[Any] = [value]
    for _ in range(levels):
        within = [each for one in within for each in _parts(one)]
        if not within:
            return False
    return any(isinstance(one, dict | list) for one in within)


def _parts(value: Any) -> list[Any]:  # noqa: ANN401 - any plain value
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value).values())
    return cast("list[Any]", value) if isinstance(value, list) else []


def _data(kind: str, body: bytes) -> Any:  # noqa: ANN401 - whatever plain value the sender gave
    if not body:
        return None
    if kind == "application/json" or kind.endswith("+json"):
        return msgspec.json.decode(body)
    return {"data_base64": msgspec.to_builtins(body)}
