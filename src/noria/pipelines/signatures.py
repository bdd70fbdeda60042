"""Puts arguments under the names of a function's parameters, and says in words why they do not fit."""

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from inspect import Parameter, Signature
from reprlib import Repr
from typing import Any, cast

from noria.core.errors import BadPipeline, Invalid, nearest
from noria.pipelines.annotations import annotations_of, spelled
from noria.pipelines.secrets import asks_for_secret
from noria.pipelines.type_checks import Check, check_of

_BY_NAME = {Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY}
_BY_PLACE = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}


class Parameters:
    """The parameters of a function, looked at once, for every call of every step asks; `what` names it in errors."""

    def __init__(self, what: str, function: Callable[..., Any]) -> None:
        self._what = what
        self._function = function
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
            self._must_have(name)
        missing = [name for name, entry in known.items() if name not in params and entry.default is Parameter.empty]
        if missing:
            raise BadPipeline(
                f"{self._what} needs a value for {', '.join(map(repr, missing))}",
                hint=f'params={{"{missing[0]}": ...}}, or -p {missing[0]}=...',
            )
        return {name: params.get(name, entry.default) for name, entry in known.items()}

    @cached_property
    def annotations(self) -> dict[str, Any]:
        """Return what the parameters are annotated with, those that can be resolved."""
        return annotations_of(self._function)

    @cached_property
    def _checks(self) -> tuple[tuple[str, Check], ...]:
        """Return what is checked of the arguments; looked at when the first call is about to be made."""
        found = (
            (entry, check_of(self.annotations.get(name, Any))) for name, entry in self._signature.parameters.items()
        )
        return tuple((entry.name, _for_all(entry, check)) for entry, check in found if check is not None)

    def misfit(self, arguments: Mapping[str, object]) -> str | None:
        """Say which argument is not what its parameter is annotated with; None when all are, as far as that is known."""
        for name, check in self._checks:
            if name in arguments and not check.fits(arguments[name]):
                wanted = self.annotations[name]
                given = _typed(arguments[name]) if asks_for_secret(wanted) else _described(arguments[name])
                return f"{name!r} is annotated {spelled(wanted)}, and was given {given}"
        return None

    def read(self, texts: Mapping[str, str], *, note: Callable[[str], object]) -> dict[str, object]:
        """Return the values that texts spell, by the annotations; `note` hears how a text was taken that is ambiguous.

        Raises:
            BadPipeline: a name is unknown.
            Invalid: a text is nothing that its parameter can take.

        """
        return {name: self._read(name, text, note) for name, text in texts.items()}

    def _read(self, name: str, text: str, note: Callable[[str], object]) -> object:
        from noria.pipelines.text_values import guessed, value_of  # noqa: PLC0415 - only for what is typed by hand

        self._must_have(name)

        def said(words: str) -> None:
            note(f"{name}: {words}")

        if name not in self.annotations:
            return guessed(text, note=said)
        try:
            return value_of(text, self.annotations[name], note=said)
        except Invalid as problem:
            raise Invalid(f"{self._what} cannot take {name}: {problem.sentence}", hint=problem.hint) from problem

    def _must_have(self, name: str) -> None:
        if name not in self._signature.parameters:
            raise BadPipeline(
                f"{self._what} has no parameter {name!r}",
                hint=nearest(name, self._signature.parameters) or "it takes none",
            )

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


def _for_all(entry: Parameter, check: Check) -> Check:
    """Return the check of what stands under a parameter's name, which for `*args` and `**kwargs` are many values.

    A default that is not what the annotation says, such as None, is fine wherever it is given.
    """
    if entry.kind is Parameter.VAR_POSITIONAL:
        return Check(lambda values: all(map(check.fits, values)))
    if entry.kind is Parameter.VAR_KEYWORD:
        return Check(lambda values: all(map(check.fits, values.values())))
    default = entry.default
    if default is Parameter.empty or check.fits(default):
        return check
    return Check(lambda value: check.fits(value) or (type(value) is type(default) and bool(value == default)))


def _described(value: object) -> str:
    """Say what a value is: a plain one as it is written, any other by its type."""
    by_type = _typed(value)
    plain = isinstance(value, str | int | float | bytes | list | tuple | dict | set | frozenset) or value is None
    return f"{_short.repr(cast('Any', value))}, {by_type.removeprefix('a value ')}" if plain else by_type


def _typed(value: object) -> str:
    return f"a value of type {type(value).__name__}"


_short = Repr()
_short.maxstring = _short.maxother = 60
