"""Loads versions to be served: ONNX into this process, anything else into a process of its own."""

from collections.abc import Callable, Mapping
from pathlib import Path

from noria.registry.model import ModelVersion
from noria.serving.model import Servable, ServableKind
from noria.serving.running import OnnxOpener, Scorer
from noria.store.blobs import Blobs
from noria.store.bundles import Bundles

ProcessOpener = Callable[[ModelVersion, bytes, Path | None, Mapping[str, str]], Scorer]
"""Starts a process with a version's artifact, the folder of its bundle and its inputs, and waits until it is ready."""


class Runtime:
    """Opens scorers. Loading takes seconds, and is done before a version gets its first request."""

    def __init__(self, blobs: Blobs, bundles: Bundles, *, onnx: OnnxOpener, process: ProcessOpener) -> None:
        self._blobs = blobs
        self._bundles = bundles
        self._onnx = onnx
        self._process = process

    def open(self, version: ModelVersion, servable: Servable | None, *, inputs: Mapping[str, str]) -> Scorer:
        """Return a loaded version, ready to score rows.

        Raises:
            NotFound: its bytes, its bundle or its preprocess are not there.
            Invalid: it cannot be loaded.
            NotInstalled: it is ONNX, and the extra is missing here.

        """
        if servable is not None and servable.kind is ServableKind.ONNX and servable.blob is not None:
            return self._onnx(self._blobs.get(servable.blob), tuple(servable.inputs), str(version))
        folder = None if version.bundle is None else self._bundles.unpacked(version.bundle)
        return self._process(version, self._blobs.get(version.artifact.blob), folder, inputs)
