"""Puts an estimator together again from its pieces. Every name is known to be trusted before anything is made."""

import base64
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from noria.adapters.codecs import making, trust
from noria.adapters.codecs.dismantling import MARK, Tree
from noria.core.errors import Invalid

_CHANCES = frozenset({"MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"})


class Assembly:
    """What has been made of the pieces so far."""

    def __init__(self, names: list[str], arrays: list[NDArray[Any]]) -> None:
        for name in names:
            trust.check(name)
        self._names = names
        self._arrays = arrays
        self._made: list[Any] = []

    def read(self, tree: Tree) -> Any:  # noqa: ANN401 - any part of an estimator
        """Return what a tree tells."""
        if type(tree) is list:
            return [self.read(item) for item in cast("list[Any]", tree)]
        if type(tree) is not dict:
            return tree
        told = cast("dict[str, Any]", tree)
        if MARK not in told:
            return {key: self.read(item) for key, item in told.items()}
        return _READERS[told[MARK]](self, told)

    def same(self, told: dict[str, Any]) -> Any:  # noqa: ANN401 - see read
        """Return an object that was met before."""
        return self._made[told["v"]]

    def named(self, told: dict[str, Any]) -> Any:  # noqa: ANN401 - see read
        """Return a function or a type."""
        return trust.value_named(self._names[int(told["v"])])

    def array(self, told: dict[str, Any]) -> Any:  # noqa: ANN401 - see read
        """Return an array."""
        self._made.append(self._arrays[told["v"]])
        return self._made[-1]

    def objects(self, told: dict[str, Any]) -> Any:  # noqa: ANN401 - see read
        """Return an array of objects."""
        number = self._begin()
        flat: NDArray[Any] = np.empty(len(told["v"]), dtype=object)
        for place, item in enumerate(told["v"]):
            flat[place] = self.read(item)
        self._made[number] = flat.reshape(told["shape"])
        return self._made[number]

    def chance(self, told: dict[str, Any]) -> Any:  # noqa: ANN401 - see read
        """Return a source of random numbers that goes on where it stood."""
        number = self._begin()
        state: Any = self.read(told["v"])
        kind: Any = state["bit_generator"] if making.is_plain(state) else None
        if type(kind) is not str or kind not in _CHANCES:
            raise Invalid("these bytes are no estimator: a source of random numbers of no known kind")
        bits = getattr(np.random, kind)()
        made = np.random.Generator(bits) if told[MARK] == "chance" else np.random.RandomState(bits)
        if isinstance(made, np.random.RandomState):
            made.set_state(state)
        else:
            made.bit_generator.state = state
        self._made[number] = made
        return made

    def object(self, told: dict[str, Any]) -> Any:  # noqa: ANN401 - see read
        """Return an object as its type makes it, in its state."""
        kind = trust.type_named(self._names[int(told["type"])])
        number = self._begin()
        made = self._made[number] = making.make(kind, told[MARK], self.read(told["args"]))
        making.restore(made, self.read(told.get("state")))
        if issubclass(kind, dict):
            made.update(self.pairs(told["items"]))
        return made

    def pairs(self, told: list[Any]) -> dict[Any, Any]:
        """Return a dictionary."""
        return {self.key(key): self.read(item) for key, item in told}

    def key(self, tree: Tree) -> Any:  # noqa: ANN401 - see read
        """Return what is a key, or in a set. Raises `Invalid` for what is compared by code."""
        key = self.read(tree)
        if not making.is_key(key):
            raise Invalid(f"these bytes are no estimator: a {type(key).__name__} as a key")
        return key

    def _begin(self) -> int:
        """Take the next number, in the order in which things were met when they were dismantled."""
        self._made.append(None)
        return len(self._made) - 1


def dtype_of(descr: Any) -> "np.dtype[Any]":  # noqa: ANN401 - a text, or the fields as JSON spells them
    """Return the type of an array from its description."""
    if isinstance(descr, str):
        return np.dtype(descr)
    return npy.descr_to_dtype([_field(*told) for told in descr])


def _field(name: Any, kind: Any, shape: list[int] | None = None) -> tuple[Any, ...]:  # noqa: ANN401 - see dtype_of
    inner = kind if isinstance(kind, str) else [_field(*told) for told in kind]
    return (name, inner) if shape is None else (name, inner, tuple(shape))


def _masked(assembly: Assembly, told: dict[str, Any]) -> Any:  # noqa: ANN401 - see Assembly.read
    data, mask, fill_value = (assembly.read(part) for part in told["v"])
    if type(data) is not np.ndarray or not making.is_plain([mask, fill_value]):
        raise Invalid("these bytes are no estimator: a masked array of what is none")
    return np.ma.MaskedArray(data, mask=mask, fill_value=fill_value)


def _number(assembly: Assembly, told: dict[str, Any]) -> Any:  # noqa: ANN401 - see Assembly.read
    array = assembly.read(told["v"])
    if not making.is_array(array):
        raise Invalid("these bytes are no estimator: a number in what is no array")
    return array[()]


_READERS: Mapping[str, Callable[[Assembly, dict[str, Any]], Any]] = {
    "float": lambda _, told: float(told["v"]),
    "tuple": lambda assembly, told: tuple(assembly.read(item) for item in told["v"]),
    "set": lambda assembly, told: {assembly.key(item) for item in told["v"]},
    "frozenset": lambda assembly, told: frozenset(assembly.key(item) for item in told["v"]),
    "dict": lambda assembly, told: assembly.pairs(told["v"]),
    "slice": lambda assembly, told: slice(*(assembly.read(item) for item in told["v"])),
    "bytes": lambda _, told: base64.b64decode(told["v"]),
    "number": _number,
    "dtype": lambda _, told: dtype_of(told["v"]),
    "masked": _masked,
    "same": Assembly.same,
    "named": Assembly.named,
    "array": Assembly.array,
    "objects": Assembly.objects,
    "chance": Assembly.chance,
    "legacy chance": Assembly.chance,
    "new": Assembly.object,
    "called": Assembly.object,
}
