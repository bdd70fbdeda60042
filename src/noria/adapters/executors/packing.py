"""What crosses to another machine and back, as plain values and bytes: no pickle, so reading it runs no code.

A value is encoded by its codec and left at a place (in Ray's object store, among the blobs). One that is kept already
is left where it is, also inside a list, a tuple or a dictionary, which is packed item by item then. An error is packed
as its type's name, its arguments and its attributes, as far as they are plain, with the names of the types that it is of.
"""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from noria.core.codecs import Codecs, Encoded
from noria.core.masking import without_secrets
from noria.pipelines.references import find, reference_to
from noria.runs import rules
from noria.runs.executors import Problem
from noria.runs.model import Artifact
from noria.runs.values import Several, Value

_DEEPEST = 8
"""How far errors in the arguments of errors, as groups have them, are followed."""

Packed = dict[str, Any]
Put = Callable[[Encoded | Artifact], Packed]
"""Leaves an encoded value, or one that is stored already, where the other side gets it; returns what leads there."""
Get = Callable[[Packed], object]
"""Gets the value that such a thing leads to."""


def pack(value: object, codecs: Codecs, put: Put) -> Packed:
    """Pack a value, or a structure with kept values in it. Raises `Invalid` when no codec carries a part of it."""
    if isinstance(value, Value):
        return {"at": put(value.artifact)} if value.is_stored else pack(value.take(), codecs, put)
    if isinstance(value, Several):
        return {"list": [pack(item, codecs, put) for item in value.values]}
    if not _holds_kept(value):
        return {"at": put(codecs.encode(value))}
    if isinstance(value, dict):
        pairs = cast("dict[object, object]", value).items()
        return {"dict": [[pack(key, codecs, put), pack(item, codecs, put)] for key, item in pairs]}
    return {type(value).__name__: [pack(item, codecs, put) for item in cast("list[object]", value)]}


def _holds_kept(structure: object) -> bool:
    if isinstance(structure, Value | Several):
        return True
    if type(structure) is dict:
        return any(_holds_kept(item) for item in cast("dict[object, object]", structure).values())
    return type(structure) in {list, tuple} and any(_holds_kept(item) for item in cast("list[object]", structure))


def unpack(packed: Packed, get: Get) -> Any:  # noqa: ANN401 - any value
    """Return what was packed."""
    ((kind, inner),) = packed.items()
    if kind == "at":
        return get(inner)
    if kind == "dict":
        return {unpack(key, get): unpack(item, get) for key, item in inner}
    items = [unpack(item, get) for item in inner]
    return tuple(items) if kind == "tuple" else items


def pack_problem(problem: Problem, codecs: Codecs) -> Packed:
    """Pack why a try failed, with the traceback of its error, and the types that it is of."""
    return {
        "words": rules.storable(problem.words),
        "may_pass": problem.may_pass,
        "kinds": rules.kinds_of(problem.cause),
        "error": _pack_error(problem.cause, codecs),
    }


def unpack_problem(packed: Packed, codecs: Codecs) -> Problem:
    """Return why a try failed; its error is of the type that was raised, wherever that can be imported here."""
    cause = _unpack_error(packed["error"], codecs)
    return Problem(
        words=packed["words"], cause=cause, may_pass=packed["may_pass"], kinds=tuple(packed.get("kinds", ()))
    )


def _pack_error(problem: BaseException, codecs: Codecs, *, depth: int = 0) -> Packed:
    return {
        "type": reference_to(type(problem)),
        "args": [_pack_part(part, codecs, depth=depth) for part in _arguments(problem)],
        "text": rules.text_of(problem),
        "attributes": {
            name: spelled for name, value in vars(problem).items() if (spelled := _plain(value, codecs)) is not None
        },
        "sentence": rules.sentence(problem),
        "traceback": rules.traceback_of(problem),
    }


def _arguments(problem: BaseException) -> tuple[object, ...]:
    """Return what an error was made of; of an `OSError`, its file too."""
    with contextlib.suppress(Exception):  # a type of the user's own may do anything here
        reduced = problem.__reduce__()
        if isinstance(reduced, tuple) and reduced[0] is type(problem) and isinstance(reduced[1], tuple):
            return cast("tuple[object, ...]", reduced[1])
    return problem.args


def _pack_part(value: object, codecs: Codecs, *, depth: int) -> Packed:
    """Pack an argument of an error: a plain value, the errors of a group, or else what it says of itself."""
    spelled = _plain(value, codecs)
    if spelled is not None:
        return {"plain": spelled}
    if depth < _DEEPEST and isinstance(value, BaseException):
        return {"error": _pack_error(value, codecs, depth=depth + 1)}
    if depth < _DEEPEST and type(value) in {list, tuple}:
        parts = [_pack_part(part, codecs, depth=depth + 1) for part in cast("list[object]", value)]
        return {type(value).__name__: parts}
    return {"words": f"<{type(value).__qualname__}>"}


def _unpack_part(packed: Packed, codecs: Codecs) -> object:
    ((kind, inner),) = packed.items()
    if kind == "plain":
        return codecs.decode("plain", inner)
    if kind == "error":
        return _unpack_error(inner, codecs)
    if kind == "words":
        return inner
    parts = [_unpack_part(part, codecs) for part in inner]
    return tuple(parts) if kind == "tuple" else parts


def _plain(value: object, codecs: Codecs) -> bytes | None:
    """Return a plain value's spelling; None for any other."""
    try:
        encoded = codecs.encode(without_secrets(value))
        return bytes(encoded.payload) if encoded.codec == "plain" else None
    except Exception:  # noqa: BLE001 - whatever is an attribute of an error
        return None


def _unpack_error(packed: Packed, codecs: Codecs) -> Exception:
    problem = _remade(packed, codecs) or RuntimeError(packed["sentence"])
    problem.add_note(rules.Elsewhere(packed["traceback"]))
    return problem


def made_again(kind: type[Exception], *arguments: object) -> Exception:
    """Make an error again without its constructor, which asks for something else than the arguments that it kept."""
    problem = kind.__new__(kind, *arguments)
    problem.args = arguments
    return problem


def _remade(packed: Packed, codecs: Codecs) -> Exception | None:
    """Make an error again, by its constructor or, where that wants something else, without; None unless it says the same."""
    try:
        kind = cast("type[Exception]", find(packed["type"]))
        arguments = tuple(_unpack_part(part, codecs) for part in packed["args"])
        attributes = {name: codecs.decode("plain", spelled) for name, spelled in packed["attributes"].items()}
    except Exception:  # noqa: BLE001 - whatever importing a user's module raises
        return None
    ways = [(kind, arguments), (partial(made_again, kind), arguments), (partial(made_again, kind), (packed["text"],))]
    for make, given in ways:
        with contextlib.suppress(Exception):  # a type of the user's own may do anything here
            problem = make(*given)
            vars(problem).update(attributes)
            if isinstance(cast("object", problem), Exception) and rules.sentence(problem) == packed["sentence"]:
                return problem
    return None
