"""Bundles of users' modules: kept as blobs, unpacked into folders from which other processes import them."""

import io
import shutil
import tempfile
import zipfile
from pathlib import Path

from noria.core.errors import NotFound
from noria.store.blobs import Blobs


class Bundles:
    """Unpacks bundles into a folder, each once."""

    def __init__(self, blobs: Blobs, folder: Path) -> None:
        self._blobs = blobs
        self._folder = folder

    def unpacked(self, digest: str) -> Path:
        """Return a folder with the modules of a bundle; it is made once, whole or not at all.

        Raises:
            NotFound: the bundle is no longer among the blobs.
            Corrupt: its bytes are not what was stored.

        """
        place = self._folder / digest
        if place.exists():
            return place
        payload = self._payload(digest)
        self._folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=self._folder))
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            archive.extractall(made)
        try:
            made.rename(place)
        except OSError:  # another process was first
            shutil.rmtree(made)
        return place

    def _payload(self, digest: str) -> bytes:
        try:
            return self._blobs.get(digest)
        except NotFound as problem:
            hint = "restore the blobs from a backup; or train the version, or submit the run, again"
            raise NotFound("bundle", digest, hint=hint) from problem
