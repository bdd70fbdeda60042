"""What the parameters of a function are annotated with, as far as that can be known."""

import typing
from collections.abc import Callable
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, NewType, Union, cast, get_args, get_origin

_WRAPPERS = (typing.Final, typing.ClassVar, typing.Required, typing.NotRequired)


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function's parameters; one that cannot be resolved here is left out.

    That is a name that is only imported for type checkers, or is local to another function.
    """
    names = getattr(function, "__globals__", {})
    try:
        found = typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - annotations are any code
        found = _one_by_one(function, names)
    found.pop("return", None)
    return found


def _one_by_one(function: Callable[..., Any], names: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        written = dict(function.__annotations__)
    except Exception:  # noqa: BLE001 - see annotations_of
        return found
    for name, annotation in written.items():
        try:
            found |= typing.get_type_hints(
                SimpleNamespace(__annotations__={name: annotation}), globalns=names, include_extras=True
            )
        except Exception:  # noqa: BLE001, S112 - see annotations_of
            continue
    return found


def unwrapped(annotation: Any) -> Any:  # noqa: ANN401 - whatever stands after the colon
    """Return what an annotation comes to without `Annotated`, `NewType`, `Final` and aliases around it."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated or origin in _WRAPPERS:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def members_of(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401 - see unwrapped
    """Return the members of a union, each unwrapped; of anything else itself."""
    found = unwrapped(annotation)
    if get_origin(found) in {Union, UnionType}:
        return tuple(member for each in get_args(found) for member in members_of(each))
    return (found,)


def spelled(annotation: Any) -> str:  # noqa: ANN401 - see unwrapped
    """Spell an annotation as it is written.

    >>> spelled(int), spelled(list[int]), spelled(int | None), spelled(None)
    ('int', 'list[int]', 'int | None', 'None')
    """
    found = annotation.__supertype__ if isinstance(annotation, NewType) else annotation
    if found is None or found is NoneType:
        return "None"
    members = members_of(found)
    if len(members) > 1:
        return " | ".join(map(spelled, members))
    found = unwrapped(found)
    if isinstance(found, type) and not get_args(found):
        return cast("type[Any]", found).__qualname__.rpartition(".")[2]
    return str(found).replace("typing.", "").replace("collections.abc.", "")
