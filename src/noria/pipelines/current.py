"""Whether a pipeline is being drawn right now, in this thread."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from noria.pipelines.model import Ref
    from noria.pipelines.steps import Step


class Draws(Protocol):
    """What a call of a step needs of the drawing that it stands in."""

    def call(self, step: "Step[..., Any]", arguments: Mapping[str, object]) -> "Ref":
        """Draw the call and return a reference to its result."""
        ...


drawing: ContextVar[Draws | None] = ContextVar("noria_drawing", default=None)
"""The drawing that calls of steps are added to; None outside a pipeline, and inside a running step."""
