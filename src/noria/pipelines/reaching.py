"""Which steps a pipeline may call, by the names that stand in its code: nothing is called to find out."""

from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, cast

from noria.pipelines.bodies import body_of
from noria.pipelines.drawing import Pipeline
from noria.pipelines.ownership import is_own
from noria.pipelines.parsing import parsing
from noria.pipelines.steps import Step


def steps_reached(pipeline: Pipeline[..., Any]) -> list[Step[..., Any]]:
    """Return the steps that a pipeline names, and those that pipelines and functions of the user's own name for it.

    Both sides of a branch count. A step that is found in another way (in a list, by a name made up at run time) is not.
    """
    waiting: list[object] = [pipeline]
    seen, found = set[int](), list[Step[..., Any]]()
    with parsing:
        while waiting:
            thing = waiting.pop()
            if id(thing) in seen:
                continue
            seen.add(id(thing))
            if isinstance(thing, Step):
                found.append(cast("Step[..., Any]", thing))
            elif isinstance(thing, Pipeline):
                waiting += _named_in(thing.function)
            elif isinstance(thing, FunctionType) and is_own(thing.__module__, ""):
                waiting += _named_in(thing)
    return found


def _named_in(function: Any) -> Iterator[object]:  # noqa: ANN401 - a function, which has no narrower type
    """Yield what stands under the names that a function uses, and in modules of the user's own that it uses."""
    body = body_of(function)
    for name in body.names:
        thing = function.__globals__.get(name)
        yield thing
        if isinstance(thing, ModuleType) and is_own(thing.__name__, ""):
            yield from (vars(thing).get(attribute) for attribute in body.attributes)
