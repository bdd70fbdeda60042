"""Finds what a stored estimator names; of a name that is not on one of the lists nothing is imported."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import FunctionType
from typing import Any, cast

from noria.adapters.codecs.trusted import FUNCTIONS, HOMES, TYPES, VALUES
from noria.core.errors import Invalid


def name_of_type(kind: type[Any]) -> str:
    """Return the name under which a type is found again; raises `Invalid` for one that is not trusted."""
    return _checked(f"{_module(kind)}.{kind.__qualname__}", kind, type_named)


def name_of_value(value: Any) -> str:  # noqa: ANN401 - a function, or a type that is handed on
    """Return the name of a function or of a type that is handed on; raises `Invalid` for one that is not trusted."""
    said = str(getattr(value, "__name__", type(value).__qualname__))
    full = f"{getattr(value, '__module__', type(value).__module__)}.{said}"
    places = [full] if full in VALUES else sorted(name for name in VALUES if name.rpartition(".")[2] == said)
    return next((name for name in places if value_named(name) is value), None) or _checked(full, value, value_named)


def check(name: str) -> None:
    """Raise `Invalid` unless a name is trusted, as a type that may be made or as what may be handed on."""
    try:
        type_named(name)
    except Invalid:
        value_named(name)


@cache
def type_named(name: str) -> type[Any]:
    """Return the type that may be made; raises `Invalid` for any other name.

    It is one of the list, or an estimator: a `BaseEstimator` that a module of the other list defines itself.
    """
    module, _, said = name.rpartition(".")
    if name in TYPES:
        return cast("type[Any]", _inside(module, said, name))
    if module in HOMES:
        found = _inside(module, said, name)
        if isinstance(found, type) and found.__module__ == module and is_estimator(cast("type[Any]", found)):
            return cast("type[Any]", found)
    raise refused(name)


@cache
def value_named(name: str) -> Any:  # noqa: ANN401 - see name_of_value
    """Return the function or the type that may be handed on; raises `Invalid` for any other name."""
    if name not in VALUES:
        raise refused(name)
    module, _, said = name.rpartition(".")
    return _inside(module, said, name)


def is_function(value: object) -> bool:
    """Say whether it is one of the functions that a `partial` may be of."""
    return type(value) is FunctionType and any(
        value_named(name) is value for name in FUNCTIONS if name.rpartition(".")[2] == value.__name__
    )


def said_of(value: object) -> str:
    """Return how a function is called, and of anything else its type; nothing of the value itself is asked."""
    return value.__qualname__ if type(value) is FunctionType else type(value).__qualname__


def is_estimator(kind: type[Any]) -> bool:
    """Say whether it is a type of estimator; scikit-learn is not loaded to find out."""
    return any(base.__module__ == "sklearn.base" and base.__name__ == "BaseEstimator" for base in kind.__mro__)


def refused(name: str) -> Invalid:
    """Return what is raised for a name that is not trusted."""
    return Invalid(
        f"the estimator holds {name}, which is not trusted",
        hint="use scikit-learn's own types; put functions into nr.Model(estimator, preprocess=function)",
    )


def _checked(name: str, value: object, find: Callable[[str], object]) -> str:
    if find(name) is not value:
        raise refused(name)
    return name


def _module(kind: type[Any]) -> str:
    return "sklearn._loss._loss" if kind.__module__ == "_loss" else kind.__module__  # as some builds of it say


def _inside(module: str, name: str, full: str) -> object:
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as problem:
        raise Invalid(
            f"the estimator holds {full}, which is not there", hint="install the scikit-learn that it was written with"
        ) from problem
