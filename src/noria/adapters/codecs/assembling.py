"""Puts an estimator together again from its pieces. Every name is known to be trusted before anything is made."""

import base64
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from noria.adapters.codecs import trust
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
        state: dict[str, Any] = self.read(told["v"])
        kind = str(state["bit_generator"])
        if kind not in _CHANCES:
            raise trust.refused(f"numpy.random.{kind}")
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
        made = self._made[number] = _make(kind, told[MARK], self.read(told["args"]))
        _restore(made, self.read(told.get("state")))
        for key, item in told.get("items", ()):
            made[self.read(key)] = self.read(item)
        return made

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


def _make(kind: type[Any], how: str, arguments: list[Any]) -> Any:  # noqa: ANN401 - see Assembly.read
    if how == "new":
        return kind.__new__(kind, *arguments)
    if trust.is_estimator(kind):
        raise Invalid(f"an estimator {kind.__qualname__} is made by its state alone")
    if how == "cython":
        return getattr(import_module(kind.__module__), f"__pyx_unpickle_{kind.__name__}")(kind, *arguments)
    return kind(*arguments)


def _restore(made: Any, state: Any) -> None:  # noqa: ANN401 - see Assembly.read
    if state is None:
        return
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
        return
    fields, slots = cast("tuple[dict[str, Any], dict[str, Any]]", state if type(state) is tuple else (state, {}))
    for name, value in ((fields or {}) | slots).items():
        object.__setattr__(made, name, value)


def _masked(assembly: Assembly, told: dict[str, Any]) -> Any:  # noqa: ANN401 - see Assembly.read
    data, mask, fill_value = (assembly.read(part) for part in told["v"])
    return np.ma.MaskedArray(data, mask=mask, fill_value=fill_value)


_READERS: Mapping[str, Callable[[Assembly, dict[str, Any]], Any]] = {
    "float": lambda _, told: float(told["v"]),
    "tuple": lambda assembly, told: tuple(assembly.read(item) for item in told["v"]),
    "set": lambda assembly, told: {assembly.read(item) for item in told["v"]},
    "frozenset": lambda assembly, told: frozenset(assembly.read(item) for item in told["v"]),
    "dict": lambda assembly, told: {assembly.read(key): assembly.read(item) for key, item in told["v"]},
    "slice": lambda assembly, told: slice(*(assembly.read(item) for item in told["v"])),
    "bytes": lambda _, told: base64.b64decode(told["v"]),
    "number": lambda assembly, told: assembly.read(told["v"])[()],
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
    "cython": Assembly.object,
}
