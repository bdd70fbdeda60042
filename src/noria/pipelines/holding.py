"""What an object of a library holds of the user's own code, somewhere inside."""

import re
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MemberDescriptorType, MethodType, SimpleNamespace
from typing import Any, cast

_MOST = 1000
_DEEPEST = 6
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LOOKED_INTO = (SimpleNamespace, partial)
"""Of Python's own objects these; what others hold, such as a logger all other loggers, is a matter of chance."""


def code_in(thing: object, is_own: Callable[[object], bool]) -> list[tuple[str, object]]:
    """Return the user's own functions, classes, modules and objects inside an object, by the paths that lead to them."""
    found: list[tuple[str, object]] = []
    seen, waiting = {id(thing)}, deque([("", thing, 0)])
    kept: list[object] = []  # so that no other thing gets its id
    while waiting and len(seen) < _MOST:
        path, inside, depth = waiting.popleft()
        kept.append(inside)
        for name, held in _safely_held(inside):
            if id(held) in seen:
                continue
            seen.add(id(held))
            if is_own(held):
                kept.append(held)
                found.append((f"{path}.{name}", held))
            elif depth < _DEEPEST:
                waiting.append((f"{path}.{name}", held, depth + 1))
    return found


def in_order(things: set[object] | frozenset[object]) -> list[object]:
    """Return what is in a set in an order that is the same in every process."""
    return sorted(things, key=lambda thing: _ADDRESS.sub("", repr(thing)))


def _safely_held(thing: object) -> list[tuple[str, object]]:
    try:
        return list(_held(thing))
    except Exception:  # noqa: BLE001 - whatever a library's object does when it is looked at
        return []


def _held(thing: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401 - any object
    if isinstance(thing, str | bytes | int | float | complex | type | None):
        return
    if isinstance(thing, Mapping):
        items = list(cast("Mapping[object, object]", thing).items())[:_MOST]
        yield from ((key if isinstance(key, str) else _ADDRESS.sub("", repr(key)), held) for key, held in items)
    elif isinstance(thing, list | tuple | deque):
        yield from ((str(place), held) for place, held in enumerate(list(cast("list[object]", thing))[:_MOST]))
    elif isinstance(thing, set | frozenset):
        yield from ((str(place), held) for place, held in enumerate(in_order(cast("set[object]", thing))[:_MOST]))
    elif isinstance(thing, MethodType):
        yield from (("function", thing.__func__), ("object", thing.__self__))
    else:
        yield from sorted(_fields(cast("object", thing)).items())


def _fields(thing: object) -> dict[str, object]:
    """Return the attributes that an object itself has, in a dictionary or in slots."""
    kind = type(thing)
    top = kind.__module__.partition(".")[0]
    is_of_python = top in sys.stdlib_module_names and not issubclass(kind, _LOOKED_INTO)
    if is_of_python or (top == "noria" and kind.__module__ != "noria.registry.model"):
        return {}
    found: dict[str, object] = {}
    for name, slot in ((name, slot) for parent in kind.__mro__ for name, slot in vars(parent).items()):
        if isinstance(slot, MemberDescriptorType) and not name.startswith("__"):
            try:
                found[name] = getattr(thing, name)
            except Exception:  # noqa: BLE001, S112 - an empty slot, or whatever a library's object does
                continue
    own: object = getattr(thing, "__dict__", None)
    if isinstance(own, dict):
        found |= {name: held for name, held in cast("dict[object, object]", own).items() if isinstance(name, str)}
    return found
