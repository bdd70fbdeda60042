"""Loads the models of versions, and keeps the last few in memory."""

import threading
from collections import OrderedDict

from noria.core.codecs import Codecs
from noria.core.errors import Invalid
from noria.registry.model import Model, ModelVersion
from noria.store.blobs import Blobs

_KEPT = 16


class Loader:
    """Reads models from blobs; safe to share between threads."""

    def __init__(self, blobs: Blobs, codecs: Codecs) -> None:
        self._blobs = blobs
        self._codecs = codecs
        self._kept: OrderedDict[str, Model] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, version: ModelVersion) -> Model:
        """Return the version's model. Raises `Invalid` for an artifact that is none, `CodeChanged` from its codec."""
        with self._lock:
            known = self._kept.get(version.artifact.blob)
            if known is not None:
                self._kept.move_to_end(version.artifact.blob)
                return known
        loaded = self._codecs.decode(version.artifact.codec, self._blobs.get(version.artifact.blob))
        if not isinstance(loaded, Model):
            raise Invalid(f"{version} is a {type(loaded).__name__}, not a model", hint="register an nr.Model")
        with self._lock:
            self._kept[version.artifact.blob] = loaded
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return loaded
