"""Verifies that what a version is made of is stored, whole, before the version may answer anybody."""

from noria.core.errors import CannotServe, Corrupt, NotFound
from noria.registry.model import ModelVersion
from noria.serving import queries
from noria.store.blobs import Blobs
from noria.store.database import Database


class Verifier:
    """Reads the bytes of a version's artifact, bundle and golden rows; a conversion that is gone is no hindrance."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def __call__(self, version: ModelVersion) -> None:
        """Raise `CannotServe` for a version of which something is gone, or is not what was stored."""
        servable = self._database.read(
            lambda c: queries.find_servable(c, version.project, version.model, version.number)
        )
        pieces = {
            "artifact": version.artifact.blob,
            "bundle of modules": version.bundle,
            "set of golden rows": None if servable is None else servable.golden,
        }
        for what, digest in pieces.items():
            if digest is None:
                continue
            try:
                self._blobs.payload(digest)
            except (NotFound, Corrupt) as problem:
                how = "gone" if isinstance(problem, NotFound) else "damaged"
                raise CannotServe(
                    f"{version} cannot answer: its {what} is {how} ({problem.sentence})",
                    hint="restore the blob from a backup, or train the version again",
                ) from problem
