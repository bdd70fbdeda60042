"""What stands in a module of the user's own that code has got hold of, be it loaded already or not."""

import linecache
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec, resolve_name
from types import ModuleType
from typing import Any

from noria.core import digests
from noria.pipelines.bodies import bound_in, source_without_docs
from noria.pipelines.bundles import imported_by
from noria.pipelines.ownership import is_own
from noria.pipelines.references import module_name

NOTHING = object()
"""Stands for what a module does not have."""


def imported(name: str) -> ModuleType | None:
    """Import a module, as the code that names it will; None for one that cannot be: an optional one, or a broken one."""
    try:
        return import_module(name)
    except (Exception, SystemExit):  # noqa: BLE001 - whatever importing a user's module raises
        return None


@cache
def is_found(name: str) -> bool:
    """Say whether there is a module of that name, though it may not be possible to import it."""
    try:
        top = name.partition(".")[0]
        return (top in sys.modules or find_spec(top) is not None) and find_spec(name) is not None
    except (Exception, SystemExit):  # noqa: BLE001 - a package that cannot be imported
        return False


def is_submodule(package: ModuleType, name: str) -> bool:
    """Say whether a name is that of a module inside a package, and nothing that the package itself assigns or imports.

    Such a one is an attribute of the package only when somebody has imported it.
    """
    if not hasattr(package, "__path__") or not isinstance(vars(package).get(name, package), ModuleType):
        return False
    whole = f"{package.__name__}.{name}"
    return (whole in sys.modules or is_found(whole)) and name not in bound_in(vars(package))


def member(module: ModuleType, name: str) -> object:
    """Return what a module has under a name, by its `__getattr__` too; `NOTHING` where it has none."""
    found = vars(module)
    if name in found:
        return found[name]
    if "__getattr__" not in found or name.startswith("__"):
        return NOTHING
    try:
        return getattr(module, name)
    except Exception:  # noqa: BLE001 - whatever a user's function raises
        return NOTHING


def modules_named(texts: Iterable[str], names: Mapping[str, Any]) -> Iterator[str]:
    """Yield the modules that texts name, relative ones in the package of the code that has them."""
    for text in texts:
        try:
            name = resolve_name(text, names.get("__package__") or "")
        except ImportError:
            continue
        if name in sys.modules or is_found(name):
            yield name


def source_digest(name: str) -> str:
    """Return the digest of a module's source and of all that it imports of the user's own; nothing of it is executed."""
    waiting, seen, found = [name], set[str](), dict[str, str]()
    while waiting:
        module = waiting.pop()
        if module in seen or not is_own(module, ""):
            continue
        seen.add(module)
        source, is_package = _source_of(module)
        found[module_name(module)] = source_without_docs(source)
        try:
            waiting += imported_by(module, source, is_package=is_package)
        except (SyntaxError, ValueError):
            continue
    return digests.of_parts(part.encode("utf-8", "surrogatepass") for pair in sorted(found.items()) for part in pair)


def _source_of(name: str) -> tuple[str, bool]:
    """Return a module's source, empty where there is none, and whether it is a package."""
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None):
        lines = linecache.getlines(loaded.__file__ or "", vars(loaded))
        return "".join(lines), hasattr(loaded, "__path__")
    spec = find_spec(name) if loaded is None and is_found(name) else None
    loader: Any = spec and spec.loader
    source: str | None = None
    try:
        source = loader.get_source(name)
    except (ImportError, OSError, AttributeError):
        source = ""
    return source or "", spec is not None and spec.submodule_search_locations is not None
