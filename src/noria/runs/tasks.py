"""What a run is asked to do next, and what has come of it."""

from typing import Any

from msgspec import Struct

from noria.pipelines.steps import Step
from noria.runs.executors import Arguments, Problem
from noria.runs.values import Value

Taken = tuple[Value | None, Problem | None]


class Task(Struct, frozen=True, kw_only=True):
    """A step whose inputs are known; `arguments` fetches their values, fresh ones each time."""

    id: str
    step: Step[..., Any]
    inputs: str
    arguments: Arguments
    goes_on: bool = False
    """Whether its failure is a value that the run goes on with."""
