"""Puts arguments under the names of a function's parameters, and says in words why they do not fit."""

import inspect
from collections.abc import Callable, Container, Mapping
from inspect import Parameter, Signature
from typing import Any

from noria.core.errors import BadPipeline, nearest

_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_BY_PLACE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def bind_call(
    what: str, signature: Signature, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> dict[str, Any]:
    """Return the arguments of a call by parameter, defaults included; `what` names the function in errors."""
    if not kwargs and len(args) == len(signature.parameters) and _takes_only(_BY_PLACE, signature):
        return dict(zip(signature.parameters, args, strict=True))
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as problem:
        unknown = [name for name in kwargs if name not in signature.parameters]
        if unknown:
            raise BadPipeline(
                f"{what} has no parameter {unknown[0]!r}", hint=nearest(unknown[0], signature.parameters)
            ) from None
        raise BadPipeline(f"{what}: {problem}", hint=f"it is written {spell(what, signature)}") from None
    bound.apply_defaults()
    return bound.arguments


def bind_named(what: str, signature: Signature, params: Mapping[str, object]) -> dict[str, Any]:
    """Return a value for each parameter from values by name, defaults included."""
    known = signature.parameters
    for name in params:
        if name not in known:
            raise BadPipeline(f"{what} has no parameter {name!r}", hint=nearest(name, known) or "it takes none")
    missing = [name for name, entry in known.items() if name not in params and entry.default is Parameter.empty]
    if missing:
        raise BadPipeline(
            f"{what} needs a value for {', '.join(map(repr, missing))}", hint=f'params={{"{missing[0]}": ...}}'
        )
    return {name: params.get(name, entry.default) for name, entry in known.items()}


def call(function: Callable[..., Any], signature: Signature, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - what a user's function returns
    """Call the function with arguments by parameter, as `bind_call` or `bind_named` returned them."""
    if _takes_only(_BY_NAME, signature):
        return function(**arguments)
    bound = inspect.BoundArguments(signature, dict(arguments))  # type: ignore[arg-type]  # the stubs ask for OrderedDict; a dict keeps its order
    return function(*bound.args, **bound.kwargs)


def takes_only_names(signature: Signature) -> bool:
    """Say whether every parameter can be given by its name."""
    return _takes_only(_BY_NAME, signature)


def _takes_only(kinds: Container[object], signature: Signature) -> bool:
    for entry in signature.parameters.values():  # noqa: SIM110 - every call of every step comes here, and a generator costs twice
        if entry.kind not in kinds:
            return False
    return True


def spell(what: str, signature: Signature) -> str:
    """Return the function's name and parameters as they are written, without types."""
    entries = [entry.replace(annotation=Parameter.empty) for entry in signature.parameters.values()]
    name = what.rpartition(" ")[2].strip("'")
    return f"{name}{Signature(entries)}"
