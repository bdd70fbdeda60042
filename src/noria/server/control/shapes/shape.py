"""What all shapes share: frozen things at the HTTP border, read from the rooms' nouns."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_MOST_LETTERS = 2_000
_MOST_NUMBER = 2**31 - 1


def _sayable(text: str) -> str:
    """Refuse half of a surrogate pair, which is no text."""
    try:
        text.encode()
    except UnicodeEncodeError as problem:
        raise ValueError("half of a surrogate pair is no text") from problem
    return text


Text = Annotated[str, Field(min_length=1, max_length=_MOST_LETTERS, pattern="^[^\u0000]+$"), AfterValidator(_sayable)]
Name = Annotated[str, Field(min_length=1, max_length=255, pattern="^[^\u0000]+$"), AfterValidator(_sayable)]
Number = Annotated[int, Field(ge=1, le=_MOST_NUMBER)]


class Shape(BaseModel):
    """A frozen thing that is read from a noun's attributes."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Asked(Shape):
    """A body that a caller sends; a field that is not known is an error, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(Shape):
    """What went wrong (RFC 9457); `code` is stable, `hint` names the way out."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str


class Health(Shape):
    """The process answers, and so does its database."""

    status: str
    version: str


class Accepted(Shape):
    """It is told, and will be answered by a worker."""

    words: str


class Reasoned(Asked):
    """Why somebody asks for it; it stands in the record."""

    reason: Text
