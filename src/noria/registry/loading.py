"""Loads stored models, and keeps the last few in memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import cast

from noria.core.codecs import Codecs
from noria.core.errors import Invalid
from noria.registry.model import Model
from noria.runs.model import Artifact
from noria.store.blobs import Blobs

_KEPT = 256
Prove = Callable[[Model, Artifact], None]
"""Raises `CannotServe` for a model that gives other scores here than it was judged by."""

MODEL_CODEC = "model"
"""The name of the codec that carries `nr.Model`."""


class Loader:
    """Reads models from blobs, each proven once; safe to share between threads."""

    def __init__(self, blobs: Blobs, codecs: Codecs, *, prove: Prove | None = None) -> None:
        self._blobs = blobs
        self._codecs = codecs
        self._prove = prove
        self._kept: OrderedDict[str, Model] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, artifact: Artifact) -> Model:
        """Return a stored model.

        Raises:
            Invalid: the artifact is none.
            CodeChanged: its preprocess is another one here.
            CannotServe: a version has golden rows, and it gives them other scores here than it was judged by.

        """
        with self._lock:
            known = self._kept.get(artifact.blob)
            if known is not None:
                self._kept.move_to_end(artifact.blob)
                return known
        if artifact.codec != MODEL_CODEC:
            raise Invalid(
                f"an artifact of codec {artifact.codec!r} is no model",
                hint="end the pipeline with nr.Model(estimator, preprocess=function)",
            )
        loaded = cast("Model", self._codecs.decode(artifact.codec, self._blobs.payload(artifact.blob)))
        if self._prove is not None:
            self._prove(loaded, artifact)
        with self._lock:
            self._kept[artifact.blob] = loaded
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return loaded
