"""Bundles of users' modules: kept as blobs, unpacked where a model process imports them from."""

import io
import shutil
import tempfile
import zipfile
from pathlib import Path

from noria.core.errors import NotFound
from noria.store.blobs import Blobs


def unpacked(blobs: Blobs, digest: str, folder: Path) -> Path:
    """Return a folder with the modules of a bundle; it is made once, whole or not at all.

    Raises:
        NotFound: the bundle is no longer among the blobs.

    """
    place = folder / digest
    if place.exists():
        return place
    try:
        payload = blobs.get(digest)
    except NotFound as problem:
        raise NotFound(
            "bundle", digest, hint="restore the blobs from a backup, or train the version again"
        ) from problem
    folder.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder))
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        archive.extractall(made)
    try:
        made.rename(place)
    except OSError:  # another process was first
        shutil.rmtree(made)
    return place
