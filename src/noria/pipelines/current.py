"""Whether a pipeline is being drawn right now, in this thread."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from noria.pipelines.model import Ref


class Draws(Protocol):
    """What a call of a step needs of the drawing that it stands in."""

    def call(self, step: Any, arguments: Mapping[str, object]) -> Ref:  # noqa: ANN401 - a Step, which knows this module
        """Draw the call and return a reference to its result."""
        ...

    def call_each(self, step: Any, items: object, shared: Mapping[str, object], **how: Any) -> Ref:  # noqa: ANN401 - see call
        """Draw a call for each item of a list and return a reference to the list of results."""
        ...


drawing: ContextVar[Draws | None] = ContextVar("noria_drawing", default=None)
"""The drawing that calls of steps are added to; None outside a pipeline, and inside a running step."""
