"""Takes an estimator to pieces: a tree of plain values, arrays, and a table of the types and functions that it names.

Only what `trust` knows gets into the table. An object that is met twice is named the second time, so that it is one
object again. The same state has the same tree, wherever it is.
"""

import base64
import copyreg
import math
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from noria.adapters.codecs import making, trust
from noria.core.errors import Invalid

MARK = "$"
Tree = Any
"""What JSON spells; a dictionary with the mark is one of the things that JSON has no word for."""


class Dismantled:
    """The pieces of one object."""

    def __init__(self, value: object) -> None:
        self.arrays: list[NDArray[Any]] = []
        self._names: dict[str, int] = {}
        self._met: dict[int, tuple[int, object]] = {}
        self.tree = self.spell(value)

    @property
    def names(self) -> list[str]:
        """Return the names of the types and functions; the tree tells them by their numbers."""
        return list(self._names)

    def spell(self, value: Any) -> Tree:  # noqa: ANN401 - any part of an estimator
        """Return the tree of a part; raises `Invalid` for one that is not trusted."""
        kind = cast("type[Any]", type(value))
        if kind in _AS_JSON:
            return value
        spell = _SPELLERS.get(kind)
        return self._spell_other(value) if spell is None else spell(self, value)

    def spell_dict(self, value: dict[Any, Any]) -> Tree:
        """Return the tree of a dictionary; its order is kept."""
        if all(type(key) is str for key in value) and MARK not in value:
            return {key: self.spell(item) for key, item in value.items()}
        return {MARK: "dict", "v": self._pairs(value)}

    def spell_array(self, value: NDArray[Any]) -> Tree:
        """Return where an array stands among the arrays; its items, where it holds objects."""
        known = self._known(value)
        if known is not None:
            return known
        if value.dtype.hasobject:
            return {MARK: "objects", "shape": list(value.shape), "v": [self.spell(item) for item in value.ravel()]}
        self.arrays.append(value)
        return {MARK: "array", "v": len(self.arrays) - 1}

    def _spell_other(self, value: Any) -> Tree:  # noqa: ANN401 - see spell
        """Return the tree of what is told by more than its exact type."""
        if isinstance(value, np.generic):
            return {MARK: "number", "v": self.spell(np.asarray(cast("Any", value)))}
        if isinstance(value, np.dtype):
            return {MARK: "dtype", "v": npy.dtype_to_descr(cast("np.dtype[Any]", value))}
        if isinstance(value, _HANDED_ON):
            return {MARK: "named", "v": self._number(trust.name_of_value(value))}
        known = self._known(value)
        if known is not None:
            return known
        chance = _chance(value)
        return self._spell_object(value) if chance is None else {MARK: chance[0], "v": self.spell(chance[1])}

    def _spell_object(self, value: Any) -> Tree:  # noqa: ANN401 - see spell
        kind = cast("type[Any]", type(value))
        tree: dict[str, Any] = {"type": self._number(trust.name_of_type(kind))}
        make, arguments, state = cast("tuple[Any, tuple[Any, ...], Any]", (*value.__reduce_ex__(2), None)[:3])
        if isinstance(value, dict):
            making.check_made(kind, "called", [])
            return tree | {MARK: "called", "args": self.spell([]), "items": self._pairs(cast("dict[Any, Any]", value))}
        how, given = _made(kind, make, arguments)
        making.check_made(kind, how, given)
        making.check_state(kind, state)
        return tree | {MARK: how, "args": self.spell(given), "state": self.spell(making.state_of(kind, state))}

    def _pairs(self, value: dict[Any, Any]) -> Tree:
        return [[self.spell_key(key), self.spell(item)] for key, item in value.items()]

    def spell_key(self, value: Any) -> Tree:  # noqa: ANN401 - see spell
        """Return the tree of a key, or of what is in a set."""
        if not making.is_key(value):
            raise Invalid(
                f"the estimator holds a {type(value).__name__} as a key", hint="use texts or numbers for keys"
            )
        return self.spell(value)

    def _number(self, name: str) -> int:
        return self._names.setdefault(name, len(self._names))

    def _known(self, value: object) -> Tree:
        """Return which object it is, if it was met; else keep it, also so that no other gets its address."""
        known = self._met.get(id(value))
        if known is not None:
            return {MARK: "same", "v": known[0]}
        self._met[id(value)] = (len(self._met), value)
        return None


def _chance(value: object) -> tuple[str, dict[str, Any]] | None:
    """Return where a source of random numbers stands; None for anything else."""
    if isinstance(value, np.random.RandomState):
        return "legacy chance", dict(value.get_state(legacy=False))
    if isinstance(value, np.random.Generator):
        return "chance", dict(value.bit_generator.state)
    return None


def _made(kind: type[Any], make: Any, arguments: tuple[Any, ...]) -> tuple[str, list[Any]]:  # noqa: ANN401 - a function of some kind
    """Say how an object is made again, told by how pickle would make it, and of what."""
    name = getattr(make, "__name__", "")
    if make is kind:
        return "called", [*arguments]
    if arguments and arguments[0] is kind:
        if make is getattr(copyreg, "__newobj__", None) or name == "newObj":
            return "new", [*arguments[1:]]
        if name == f"__pyx_unpickle_{kind.__name__}" and not arguments[-1]:  # Cython's own, of one without a state
            return "called", []
    raise trust.refused(f"{kind.__module__}.{kind.__qualname__}")


def _spell_masked(pieces: Dismantled, value: Any) -> Tree:  # noqa: ANN401 - NumPy's types of it are of no help
    return {MARK: "masked", "v": [pieces.spell(part) for part in (value.data, value.mask, value.fill_value)]}


def _spell_set(pieces: Dismantled, value: set[Any] | frozenset[Any]) -> Tree:
    """Return the tree of a set; its order is chance, and that of its items' spellings is not."""
    return {MARK: type(value).__name__, "v": [pieces.spell_key(item) for item in sorted(value, key=repr)]}


_AS_JSON = frozenset({type(None), bool, int, str})
_HANDED_ON: tuple[type[Any], ...] = (
    type,
    np.ufunc,
    FunctionType,
    BuiltinFunctionType,
    cast("type[Any]", type(np.mean)),
)
_SPELLERS: Mapping[type, Callable[[Dismantled, Any], Tree]] = {
    float: lambda _, value: value if math.isfinite(value) else {MARK: "float", "v": repr(value)},
    list: lambda pieces, value: [pieces.spell(item) for item in value],
    tuple: lambda pieces, value: {MARK: "tuple", "v": [pieces.spell(item) for item in value]},
    slice: lambda pieces, value: {MARK: "slice", "v": [pieces.spell(i) for i in (value.start, value.stop, value.step)]},
    bytes: lambda _, value: {MARK: "bytes", "v": base64.b64encode(value).decode()},
    dict: Dismantled.spell_dict,
    set: _spell_set,
    frozenset: _spell_set,
    np.ndarray: Dismantled.spell_array,
    np.ma.MaskedArray: _spell_masked,
}
