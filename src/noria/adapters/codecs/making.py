"""How each trusted type is made, and what state it may be given: the only calls into a library that stored bytes cause.

Most are made empty, and their fields are put into their `__dict__`. A few are called, or restore themselves by a
`__setstate__` of their own: those are given plain values and arrays alone, which are looked at before. So no method is
ever called of something that the bytes describe.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

import numpy as np

from noria.adapters.codecs import trust
from noria.adapters.codecs.trusted import TYPES
from noria.core.errors import Invalid

_HINT = "is it scikit-learn's own, as `fit` has left it?"
_ATOMS = frozenset({type(None), bool, int, float, str, bytes, slice})
_TREE_FIELDS = {"max_depth", "node_count", "nodes", "values"}
VERSION = "_sklearn_version"
"""Where an estimator's state says which scikit-learn wrote it."""
_ADDRESS = "_stop_words_id"
"""Where the vectorizers of texts keep the `id` of their stop words; without it they look at them once more."""


def make(kind: type[Any], how: str, arguments: Any) -> Any:  # noqa: ANN401 - an object of that type
    """Return an object without its state. Raises `Invalid` for a way that is not the type's own."""
    check_made(kind, how, arguments)
    return kind(*arguments) if how == "called" else cast("Any", kind).__new__(kind)


def restore(made: Any, state: Any) -> None:  # noqa: ANN401 - see make
    """Give an object its state. Raises `Invalid` for one that its type cannot have."""
    kind = cast("type[Any]", type(made))
    check_state(kind, state)
    if trust.is_estimator(kind) and VERSION in (state or {}):  # whoever reads it tells of another version, in words
        state = {**state, VERSION: import_module("sklearn").__version__}
    if trust.is_estimator(kind) or trust.name_of_type(kind) in _STATES:
        made.__setstate__(state)
    elif state is not None:
        cast("dict[str, Any]", vars(made)).update(state)


def check_made(kind: type[Any], how: str, arguments: Any) -> None:  # noqa: ANN401 - whatever was read
    """Raise `Invalid` unless a type is made in that way, of such arguments."""
    own, fits = "called", _CALLED.get(trust.name_of_type(kind))
    if fits is None:
        own, fits = "new", _are_none
    if how != own or not _exactly(arguments, list) or not fits(arguments):
        raise Invalid(f"a {kind.__qualname__} is not made in this way", hint=_HINT)


def check_state(kind: type[Any], state: Any) -> None:  # noqa: ANN401 - see check_made
    """Raise `Invalid` unless a type may be given such a state."""
    fits = _STATES.get(trust.name_of_type(kind), _are_fields_of_estimator if trust.is_estimator(kind) else _may_be)
    if not fits(state) or (fits is _are_fields_of_estimator and not _restores_plainly(kind)):
        raise _unfit(kind)


def state_of(kind: type[Any], state: Any) -> Any:  # noqa: ANN401 - see check_made
    """Return what of a state is content: an address is not, nor is how often a tree of neighbours was asked."""
    if trust.name_of_type(kind) in _NEIGHBOURS:
        return (*state[:7], 0, 0, 0, 0, *state[11:])
    if _exactly(state, dict) and _ADDRESS in state:
        return {name: value for name, value in state.items() if name != _ADDRESS}
    return state


def is_key(value: Any) -> bool:  # noqa: ANN401 - see check_made
    """Say whether it may be a key, or in a set: hashing and comparing it calls nothing that was read."""
    if _exactly(value, tuple) or _exactly(value, frozenset):
        return all(map(is_key, value))
    return type(value) in _ATOMS or _is_of_numpy(value)


def is_plain(value: Any) -> bool:  # noqa: ANN401 - see check_made
    """Say whether it is made of plain values and arrays alone."""
    if any(_exactly(value, kind) for kind in (list, tuple, set, frozenset)):
        return all(map(is_plain, value))
    if _exactly(value, dict):
        return all(is_plain(part) for pair in value.items() for part in pair)
    return type(value) in _ATOMS or is_array(value) or _is_of_numpy(value) or isinstance(value, type)


def is_array(value: Any) -> bool:  # noqa: ANN401 - see check_made
    """Say whether it is an array, and not of objects."""
    return _exactly(value, np.ndarray) and not value.dtype.hasobject


def _is_of_numpy(value: Any) -> bool:  # noqa: ANN401 - see check_made
    return isinstance(value, np.dtype) or (isinstance(value, np.generic) and not cast("Any", value).dtype.hasobject)


def _exactly(value: Any, kind: type[Any]) -> bool:  # noqa: ANN401 - see check_made
    return type(value) is kind


def _unfit(kind: type[Any]) -> Invalid:
    return Invalid(f"a {kind.__qualname__} cannot have this state", hint=_HINT)


def _are_fields(state: Any) -> bool:  # noqa: ANN401 - see check_made
    return _exactly(state, dict) and all(type(name) is str and not name.startswith("__") for name in state)


def _may_be(state: Any) -> bool:  # noqa: ANN401 - see check_made
    return state is None or _are_fields(state)


def _are_fields_of_estimator(state: Any) -> bool:  # noqa: ANN401 - see check_made
    return _are_fields(state) and type(state.get(VERSION, "")) is str


def _restores_plainly(kind: type[Any]) -> bool:
    """Say whether an estimator has only the `__setstate__` of all: it looks at the version and keeps the fields."""
    return kind.__setstate__ is import_module("sklearn.base").BaseEstimator.__setstate__


def _are_none(arguments: list[Any]) -> bool:
    return not arguments


def _are_numbers(arguments: list[Any]) -> bool:
    return len(arguments) <= 1 and all(type(argument) is float for argument in arguments)


def _is_tree_made(arguments: list[Any]) -> bool:
    if [type(argument) for argument in arguments] != [int, np.ndarray, int]:
        return False
    features, classes, outputs = arguments
    return features >= 0 and classes.dtype == np.intp and classes.shape == (outputs,) and (classes > 0).all()


def _is_tree(state: Any) -> bool:  # noqa: ANN401 - see check_made
    return (
        _exactly(state, dict)
        and set(state) == _TREE_FIELDS
        and is_array(state["nodes"])
        and is_array(state["values"])
        and type(state["max_depth"]) is type(state["node_count"]) is int
        and state["node_count"] == len(state["nodes"])
    )


def _is_predictor(state: Any) -> bool:  # noqa: ANN401 - see check_made
    return _are_fields(state) and all(map(is_array, state.values()))


def _is_isotonic(state: Any) -> bool:  # noqa: ANN401 - see check_made
    return _are_fields_of_estimator(state) and is_plain(state)


def _is_of_neighbours(state: Any) -> bool:  # noqa: ANN401 - see check_made
    if not _exactly(state, tuple) or len(state) != 13:  # noqa: PLR2004 - its fields
        return False
    *arrays, weights = *state[:4], state[12]
    return (
        all(map(is_array, arrays))
        and all(type(count) is int for count in state[4:11])
        and trust.name_of_type(cast("type[Any]", type(state[11]))) in _DISTANCES
        and (weights is None or is_array(weights))
    )


def _is_distance(state: Any) -> bool:  # noqa: ANN401 - see check_made
    return (
        _exactly(state, tuple) and [type(part) for part in state] == [float, np.ndarray, np.ndarray] and is_plain(state)
    )


def _is_partial_made(arguments: list[Any]) -> bool:
    if len(arguments) == 1 and not trust.is_function(arguments[0]):
        raise trust.refused(f"a partial of {trust.said_of(arguments[0])}")
    return len(arguments) == 1


def _is_partial(state: Any) -> bool:  # noqa: ANN401 - see check_made
    return (
        _exactly(state, tuple)
        and [type(part) for part in state[1:]] in ([tuple, dict, dict], [tuple, dict, type(None)])
        and trust.is_function(state[0])
        and is_plain(state[1:])
        and not state[3]
        and all(type(name) is str for name in state[2])
    )


_DISTANCES = frozenset(name for name in TYPES if name.startswith("sklearn.metrics._dist_metrics."))
_NEIGHBOURS = frozenset({"sklearn.neighbors._ball_tree.BallTree", "sklearn.neighbors._kd_tree.KDTree"})
_NUMBERED = ("sklearn._loss._loss.", "sklearn.linear_model._sgd_fast.")
_CALLED: Mapping[str, Callable[[list[Any]], bool]] = {
    "collections.OrderedDict": _are_none,
    "functools.partial": _is_partial_made,
    "sklearn.tree._tree.Tree": _is_tree_made,
    "sklearn.utils._bunch.Bunch": _are_none,
} | {name: _are_numbers for name in TYPES if name.startswith(_NUMBERED)}
_STATES: Mapping[str, Callable[[Any], bool]] = (
    {
        "functools.partial": _is_partial,
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": _is_predictor,
        "sklearn.isotonic.IsotonicRegression": _is_isotonic,
        "sklearn.tree._tree.Tree": _is_tree,
    }
    | dict.fromkeys(_NEIGHBOURS, _is_of_neighbours)
    | dict.fromkeys(_DISTANCES, _is_distance)
)
