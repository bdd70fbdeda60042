"""What crosses to another machine and back, as plain values and bytes: no pickle, so reading it runs no code.

A value is encoded by its codec and left at a place (in Ray's object store, among the blobs). One that is kept already
is left where it is, also inside a list, a tuple or a dictionary, which is packed item by item then. An error is packed as its type's name, its
arguments and its attributes, as far as they are plain.
"""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from noria.core.codecs import Codecs, Encoded
from noria.core.errors import Invalid
from noria.pipelines.references import find, reference_to
from noria.runs import rules
from noria.runs.executors import Problem
from noria.runs.model import Artifact
from noria.runs.values import Several, Value

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
    """Pack why a try failed, with the traceback of its error."""
    return {"words": problem.words, "may_pass": problem.may_pass, "error": _pack_error(problem.cause, codecs)}


def unpack_problem(packed: Packed, codecs: Codecs) -> Problem:
    """Return why a try failed; its error is of the type that was raised, wherever that can be imported here."""
    cause = _unpack_error(packed["error"], codecs)
    return Problem(words=packed["words"], cause=cause, may_pass=packed["may_pass"])


def _pack_error(problem: Exception, codecs: Codecs) -> Packed:
    arguments = _plain(problem.__reduce__()[1], codecs)  # of an OSError, its file too
    return {
        "type": reference_to(type(problem)),
        "args": arguments if arguments is not None else _plain((str(problem),), codecs),
        "attributes": {
            name: spelled for name, value in vars(problem).items() if (spelled := _plain(value, codecs)) is not None
        },
        "sentence": rules.sentence(problem),
        "traceback": rules.traceback_of(problem),
    }


def _plain(value: object, codecs: Codecs) -> bytes | None:
    """Return a plain value's spelling; None for any other."""
    try:
        encoded = codecs.encode(value)
    except Invalid:
        return None
    return bytes(encoded.payload) if encoded.codec == "plain" else None


def _unpack_error(packed: Packed, codecs: Codecs) -> Exception:
    problem = _remade(packed, codecs) or RuntimeError(packed["sentence"])
    problem.add_note(packed["traceback"])
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
        arguments = cast("tuple[object, ...]", codecs.decode("plain", packed["args"]))
        attributes = {name: codecs.decode("plain", spelled) for name, spelled in packed["attributes"].items()}
    except Exception:  # noqa: BLE001 - whatever importing a user's module raises
        return None
    for make in (kind, partial(made_again, kind)):
        with contextlib.suppress(Exception):  # a type of the user's own may do anything here
            problem = make(*arguments)
            vars(problem).update(attributes)
            if rules.sentence(problem) == packed["sentence"]:
                return problem
    return None
