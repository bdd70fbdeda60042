"""How pages spell what they all show: moments, and links to cycles and versions."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A word, and where it leads."""

    words: str
    to: str


def cycle_link(cycle: str, *, words: str) -> Link:
    """Return a link to a cycle's page."""
    return Link(words=words, to=f"/cycles/{quote(cycle, safe='')}")


def version_link(model: str, number: int) -> Link:
    """Return a link to a version's page, named as commands name it."""
    return Link(words=f"{model}@{number}", to=f"/models/{quote(model, safe='')}/versions/{number}")


def moment(at: datetime) -> str:
    """Return a moment to the minute."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
