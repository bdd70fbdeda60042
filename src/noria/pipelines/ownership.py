"""Which modules are the user's own, and which version an installed one has."""

import sys
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import PurePath

from noria.version import __version__

_INSTALLED = {"site-packages", "dist-packages"}
_DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "cv2": "opencv-python",
    "bs4": "beautifulsoup4",
}
"""Well-known packages whose distribution has another name; for any other such one all distributions are searched."""


def is_own(module: str, package: str) -> bool:
    """Say whether a module's code belongs to the user: in `package` itself, or not installed at all."""
    if module == "__main__" or (package and (module == package or module.startswith(f"{package}."))):
        return True
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == "noria":
        return False
    return _stands_outside(top) and _stands_outside(module)  # the top first: to find what is in it would import it


@cache
def version_of(module: str) -> str:
    """Return the distribution of an installed module and its version, such as `polars==1.30.0`."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return f"python=={sys.version_info.major}.{sys.version_info.minor}"
    if top == "noria":  # a checkout knows no distribution, and is the same code as the one installed elsewhere
        return f"noria+noria=={__version__}"
    for name in (_DISTRIBUTIONS.get(top), top):
        try:
            return f"{top}=={metadata.version(name)}" if name else _searched(top)
        except metadata.PackageNotFoundError:
            continue
    return _searched(top)


@cache
def _stands_outside(module: str) -> bool:
    origin = _origin(module)
    return origin is None or not _INSTALLED & set(PurePath(origin).parts)


def _origin(module: str) -> str | None:
    loaded = sys.modules.get(module)
    if loaded is not None:
        return getattr(loaded, "__file__", None)
    spec = _spec(module)
    return spec.origin if spec else None


def _spec(module: str) -> ModuleSpec | None:
    try:
        return find_spec(module)
    except (ImportError, ValueError):
        return None


def _searched(top: str) -> str:
    names = metadata.packages_distributions().get(top, ())
    return "+".join([top, *(f"{name}=={metadata.version(name)}" for name in sorted(set(names)))])
