"""Who asks, and in which project: the first argument of every verb."""

from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    """What kind of actor acts: a person, or a process on its own behalf."""

    PERSON = "person"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A person or a service that may act; facts name it."""

    name: str
    kind: ActorKind = ActorKind.PERSON

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Who asks, and in which project; every verb takes one first."""

    actor: Actor
    project: str = "default"

    def acting_as(self, service: str) -> "Context":
        """Return the same project seen by one of Noria's own services, such as the loop's worker."""
        return Context(actor=Actor(name=service, kind=ActorKind.SERVICE), project=self.project)
