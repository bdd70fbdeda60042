"""Functions by `module:name`: how they are known in records, and found again in another process."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from noria.core.errors import BadPipeline, Invalid, NotFound

_MAIN = "__main__"
_MAINS = (_MAIN, "__mp_main__")
"""What a script that is run is called, and what it is called in a process of multiprocessing, which imports it."""


def module_name(module: str) -> str:
    """Return the name under which a module can be imported; a script's is that of its file.

    So a function is the same one whether its file was run or imported.
    """
    main = sys.modules.get(_MAIN)
    if module not in _MAINS or main is None:
        return module
    if main.__spec__ is not None:
        return main.__spec__.name.removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else _MAIN


def reference_to(function: Any) -> str:  # noqa: ANN401 - a function, or what wraps one
    """Return `module:qualified name`."""
    return f"{module_name(function.__module__)}:{function.__qualname__}"


def refuse_unless_found(function: Any, what: str) -> None:  # noqa: ANN401 - see reference_to
    """Raise `BadPipeline` when no other process can find a function by its reference."""
    if "<" in function.__qualname__:
        raise BadPipeline(
            f"{what} is local to a function, and no other process can find it", hint="define it at the top of a module"
        )
    if function.__module__ == _MAIN and not getattr(sys.modules[_MAIN], "__file__", None):
        raise BadPipeline(
            f"{what} was typed into a session, and no other process can find it",
            hint="write it to a file and import it from there",
        )


def find(reference: str) -> Any:  # noqa: ANN401 - whatever stands under the name
    """Return what stands under a reference; a script that is running is found without being run again.

    Raises:
        Invalid: a local name, which no other process can find.
        NotFound: the module cannot be imported here, or has no such name.

    """
    where, _, name = reference.partition(":")
    if "<" in name:
        raise Invalid(f"{name!r} is local to a function and cannot be found again", hint="define it in a module")
    found: Any = _module(where, reference)
    for part in name.split("."):
        if not hasattr(found, part):
            raise NotFound("function", reference, hint=f"was it renamed or removed from {where}?")
        found = getattr(found, part)
    return found


def _module(name: str, reference: str) -> ModuleType:
    main = sys.modules.get(_MAIN)
    if main is not None and module_name(_MAIN) == name:
        return main
    try:
        return import_module(name)
    except ModuleNotFoundError as problem:
        raise NotFound(
            "function", reference, hint=f"run it where {name!r} can be imported, for example in its folder"
        ) from problem
