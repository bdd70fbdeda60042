"""What a drawn pipeline is made of: calls of steps, choices between two ways, and large parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from noria.pipelines.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A parameter of the run that is known by its digest: a frame, an array, a model, an `Input`."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of two results, by a condition that is known only when the run gets there."""

    id: str
    condition: object
    then: object
    otherwise: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Each:
    """A step called once for each item of a list: which list, under which parameter, and what a failed item means."""

    items: object
    over: str
    concurrency: int = 1
    goes_on: bool = False


class Node(Struct, frozen=True, kw_only=True):
    """A call of a step: `id` is its call path, the step's name and its ordinal among such calls."""

    id: str
    step: Step[..., Any]
    arguments: Mapping[str, object]
    guards: tuple[tuple[str, bool], ...] = ()
    """The choices that it stands under, by id, and the side of each."""
    each: Each | None = None
    """The list that it goes over, when it is a map; `arguments` are then what all items share."""
