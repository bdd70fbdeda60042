"""Finds loops, pipelines and datasets in a user's Python file."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from noria.cli.broken_files import must_be_readable, said_in_words
from noria.core.errors import Invalid, NotFound

Kind = TypeVar("Kind")


def load(path: Path) -> ModuleType:
    """Run the file as a module named after it, with its folder on the path, as `python FILE` would have it."""
    must_be_readable(path)
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise Invalid(f"{path} is no Python file", hint="its name should end in .py")
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        with said_in_words(path):
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(path.stem, None)
        raise
    return module


def all_of(module: ModuleType, kind: type[Kind]) -> dict[str, Kind]:
    """Return the module's values of a kind, by the names they have there."""
    return {name: value for name, value in vars(module).items() if isinstance(value, kind)}


def one_of(module: ModuleType, kind: type[Kind], name: str | None, *, what: str) -> Kind:
    """Return the value of that name, or the only one of its kind."""
    found = all_of(module, kind)
    if name is not None:
        if name not in found:
            raise NotFound(what, name, known=found)
        return found[name]
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise Invalid(
            f"{module.__name__}.py has {len(found)} of kind {what} ({names})", hint=f"name one, as in FILE:{what}"
        )
    return next(iter(found.values()))


def split(target: str) -> tuple[Path, str | None]:
    """Split `file.py:name`."""
    file, separator, name = target.rpartition(":")
    return (Path(file), name) if separator and file.endswith(".py") else (Path(target), None)
