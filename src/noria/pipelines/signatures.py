"""Puts arguments under the names of a function's parameters, and says in words why they do not fit."""

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any

from noria.core.errors import BadPipeline, nearest

_BY_NAME = {Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY}
_BY_PLACE = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}


class Parameters:
    """The parameters of a function, looked at once, for every call of every step asks; `what` names it in errors."""

    def __init__(self, what: str, function: Callable[..., Any]) -> None:
        self._what = what
        self._signature = inspect.signature(function)
        self.names = tuple(self._signature.parameters)
        kinds = {entry.kind for entry in self._signature.parameters.values()}
        self.are_given_by_name = kinds <= _BY_NAME
        """Whether every one can be given by its name."""
        self._are_given_by_place = kinds <= _BY_PLACE

    def bind_call(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, Any]:
        """Return the arguments of a call by parameter, defaults included."""
        if not kwargs and self._are_given_by_place and len(args) == len(self.names):
            return dict(zip(self.names, args, strict=True))
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as problem:
            unknown = [name for name in kwargs if name not in self.names]
            if unknown:
                raise BadPipeline(
                    f"{self._what} has no parameter {unknown[0]!r}", hint=nearest(unknown[0], self.names)
                ) from None
            raise BadPipeline(f"{self._what}: {problem}", hint=f"it is written {self.spelled()}") from None
        bound.apply_defaults()
        return bound.arguments

    def bind_named(self, params: Mapping[str, object]) -> dict[str, Any]:
        """Return a value for each parameter from values by name, defaults included."""
        known = self._signature.parameters
        for name in params:
            if name not in known:
                raise BadPipeline(
                    f"{self._what} has no parameter {name!r}", hint=nearest(name, known) or "it takes none"
                )
        missing = [name for name, entry in known.items() if name not in params and entry.default is Parameter.empty]
        if missing:
            raise BadPipeline(
                f"{self._what} needs a value for {', '.join(map(repr, missing))}",
                hint=f'params={{"{missing[0]}": ...}}, or -p {missing[0]}=...',
            )
        return {name: params.get(name, entry.default) for name, entry in known.items()}

    def first(self) -> str:
        """Return the one that a map gives its items to. Raises `BadPipeline` where there is none of its own."""
        first = next(iter(self._signature.parameters.values()), None)
        if first is None or first.kind not in _BY_PLACE:
            raise BadPipeline(
                f"{self._what} has no first parameter that a map could give its items to",
                hint="write one out, without * before it",
            )
        return first.name

    def call(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - what a user's function returns
        """Call a function that has them with arguments by parameter, as `bind_call` or `bind_named` returned them."""
        if self.are_given_by_name:
            return function(**arguments)
        bound = inspect.BoundArguments(self._signature, dict(arguments))  # type: ignore[arg-type]  # the stubs ask for OrderedDict; a dict keeps its order
        return function(*bound.args, **bound.kwargs)

    def spelled(self) -> str:
        """Return the function's name and parameters as they are written, without types."""
        entries = [entry.replace(annotation=Parameter.empty) for entry in self._signature.parameters.values()]
        name = self._what.rpartition(" ")[2].strip("'")
        return f"{name}{Signature(entries)}"
