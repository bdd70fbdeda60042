"""Steps whose annotation says that their result cannot be kept: they are refused before they work."""

from typing import Any
from weakref import WeakKeyDictionary

from noria.core.annotations import never_carried, returned
from noria.core.codecs import Codecs
from noria.core.errors import Invalid
from noria.pipelines.steps import Step
from noria.runs.executors import Problem

_known: WeakKeyDictionary[Step[Any, Any], str | None] = WeakKeyDictionary()


def unkept(step: Step[..., Any], codecs: Codecs) -> Problem | None:
    """Say in words that no codec carries what a step is annotated to return; None where one may."""
    if step not in _known:
        _known[step] = never_carried(returned(step.function), codecs.carries)
    kind = _known[step]
    if kind is None:
        return None
    words = f"returns what cannot be kept, by its annotation: no codec carries a {kind}"
    hint = (
        "return plain values, frames, arrays, models or paths; make connections, locks and iterators inside each step"
    )
    return Problem(words=words, cause=Invalid(words, hint=hint), may_pass=False)
