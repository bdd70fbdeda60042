"""The user's modules where a try is executed: from the bundle that was sent with it, before any other of their names."""

import io
import sys
import zipfile
from collections.abc import Sequence
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from types import ModuleType

from noria.core import digests


class _Bundle(MetaPathFinder, ExecutionLoader):
    """Finds and loads the modules of one bundle; it leaves nothing on the disk."""

    def __init__(self, payload: bytes, digest: str) -> None:
        self.digest = digest
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            self._sources = {name: archive.read(name).decode() for name in archive.namelist()}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG002 - the finder's protocol
    ) -> ModuleSpec | None:
        """Return how to load a module of the bundle, None for any other."""
        if self._place(fullname) is None:
            is_only_here = self._is_namespace(fullname) and PathFinder.find_spec(fullname, path) is None
            return ModuleSpec(fullname, None, is_package=True) if is_only_here else None
        spec = spec_from_loader(fullname, self, origin=self.get_filename(fullname))
        if spec is not None:
            spec.has_location = True  # so that tracebacks and digests of code find its source
        return spec

    def get_source(self, fullname: str) -> str:
        """Return a module's source."""
        return self._sources[self._place(fullname) or ""]

    def get_filename(self, fullname: str) -> str:
        """Return what tracebacks call a module's file."""
        return f"bundle-{self.digest[:12]}/{self._place(fullname)}"

    def is_package(self, fullname: str) -> bool:
        """Say whether a module is a package."""
        return (self._place(fullname) or "").endswith("__init__.py")

    def forget(self) -> None:
        """Let go of what was loaded from the bundle."""
        sys.meta_path.remove(self)
        for name, module in tuple(sys.modules.items()):
            if getattr(module, "__loader__", None) is self or (self._is_namespace(name) and not _file_of(module)):
                del sys.modules[name]

    def _is_namespace(self, module: str) -> bool:
        """Say whether a module is a folder of others, without a source of its own."""
        folder = f"{module.replace('.', '/')}/"
        return self._place(module) is None and any(place.startswith(folder) for place in self._sources)

    def _place(self, module: str) -> str | None:
        path = module.replace(".", "/")
        return next((place for place in (f"{path}.py", f"{path}/__init__.py") if place in self._sources), None)


def _file_of(module: ModuleType) -> str | None:
    return getattr(module, "__file__", None)


def enter(bundle: bytes | None) -> None:
    """Let this process import the modules of a bundle from now on, and no longer those of the one before."""
    digest = "" if bundle is None else digests.of_bytes(bundle)
    present = next((finder for finder in sys.meta_path if isinstance(finder, _Bundle)), None)
    if present is not None and present.digest == digest:
        return
    if present is not None:
        present.forget()
    if bundle is not None:
        wanted = _Bundle(bundle, digest)
        for name in tuple(sys.modules):
            if wanted.find_spec(name) is not None:
                del sys.modules[name]  # one of that name that this process has found elsewhere
        sys.meta_path.insert(0, wanted)
