"""The user's own modules that some functions need, as one archive: what a model process imports, and nothing else.

What is installed is not in it: every process of a platform has the same packages. Modules are found by the imports
that stand in their sources, so one that is imported by a name made up at run time is not found, and neither is a
file that a module reads.
"""

import ast
import io
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from noria.pipelines.ownership import is_own
from noria.pipelines.parsing import parsing
from noria.pipelines.references import module_name

_EPOCH = (1980, 1, 1, 0, 0, 0)
_IMPORTERS = {"import_module", "__import__"}


def bundle_of(functions: Iterable[Callable[..., Any]]) -> bytes | None:
    """Return a zip of the modules that the functions reach, the same bytes for the same sources; None for none.

    Functions of installed packages need no bundle, and neither do objects that are no functions.
    """
    with parsing:
        sources = _sources(function.__module__ for function in functions if hasattr(function, "__module__"))
    if not sources:
        return None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(sources):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), sources[name])
    return buffer.getvalue()


def _sources(modules: Iterable[str]) -> dict[str, bytes]:
    """Return the source files of these modules and of all that they import, by their places in the archive."""
    waiting, seen, found = list(modules), set[str](), dict[str, bytes]()
    while waiting:
        name = waiting.pop()
        if name in seen or not is_own(name, ""):
            continue
        seen.add(name)
        file = _file_of(name)
        if file is None:
            continue
        source = file.read_bytes()
        found[_place(module_name(name), file)] = source
        waiting += _parents(name)
        waiting += imported_by(name, source, is_package=file.name == "__init__.py")
    return found


def _file_of(name: str) -> Path | None:
    loaded = sys.modules.get(name)
    file = getattr(loaded, "__file__", None) if loaded is not None else getattr(_spec(name), "origin", None)
    return Path(file) if file and file.endswith(".py") and Path(file).exists() else None


def _spec(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except (ImportError, ValueError):  # no such module, or a part of its name is none
        return None


def _place(name: str, file: Path) -> str:
    path = name.replace(".", "/")
    return f"{path}/__init__.py" if file.name == "__init__.py" else f"{path}.py"


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def imported_by(name: str, source: bytes | str, *, is_package: bool) -> Iterator[str]:
    """Yield the modules that a source may import, wherever the import stands, `import_module("package.module")` too."""
    package = name if is_package else name.rpartition(".")[0]
    for spelled, names in _imports_in(source):
        try:
            whole = resolve_name(spelled, package) if spelled.startswith(".") else spelled
        except ImportError:  # beyond the top
            continue
        yield whole
        yield from (f"{whole}.{one}" for one in names if _spec_under(whole, one))


@lru_cache(maxsize=1024)
def _imports_in(source: bytes | str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return each module name as written in the source, with the names imported from it."""
    return tuple(one for node in ast.walk(ast.parse(source)) for one in _imports_of(node))


def _imports_of(node: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    match node:
        case ast.Import():
            yield from ((alias.name, ()) for alias in node.names)
        case ast.ImportFrom():
            yield "." * node.level + (node.module or ""), tuple(alias.name for alias in node.names)
        case ast.Call(args=[ast.Constant(value=str(text)), *_]) if _called(node) in _IMPORTERS and text.strip("."):
            yield text, ()
        case _:
            return


def _called(node: ast.Call) -> str | None:
    return getattr(node.func, "attr", None) or getattr(node.func, "id", None)


def _spec_under(package: str, name: str) -> bool:
    return is_own(package, "") and _spec(f"{package}.{name}") is not None
