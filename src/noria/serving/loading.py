"""Loads versions to be served: ONNX into this process, anything else into a process of its own, each proven."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from noria.core.errors import CannotServe, Corrupt, NoriaError, NotFound
from noria.registry.model import ModelVersion
from noria.serving import golden, proving
from noria.serving.golden import Golden
from noria.serving.model import Servable, ServableKind
from noria.serving.running import OnnxOpener, Scorer
from noria.store.blobs import Blobs
from noria.store.bundles import Bundles

ProcessOpener = Callable[[ModelVersion, bytes, Path | None, Mapping[str, str], Golden | None], Scorer]
"""Starts a process with a version's artifact, its bundle's folder, its inputs and golden rows; waits until it is ready.

The process holds itself against the golden rows, also when it is started again.
"""
_NO_GOLDEN = "no golden rows: it was registered without any, so its scores are believed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A loaded version: what scores rows, what it runs as, and what there is to say of that."""

    scorer: Scorer
    kind: ServableKind
    words: str


class Runtime:
    """Opens scorers. Loading takes seconds, and is done before a version gets its first request."""

    def __init__(self, blobs: Blobs, bundles: Bundles, *, onnx: OnnxOpener, process: ProcessOpener) -> None:
        self._blobs = blobs
        self._bundles = bundles
        self._onnx = onnx
        self._process = process

    def open(self, version: ModelVersion, servable: Servable | None, *, inputs: Mapping[str, str]) -> Opened:
        """Return a loaded version, ready to score rows, that has given its golden rows the scores of the judged model.

        ONNX that does not, or cannot be loaded here, is left for the model itself.

        Raises:
            NotFound: its bytes, its bundle or its preprocess are not there.
            Invalid: it cannot be loaded.
            CannotServe: the model itself gives other scores here than it was judged by.

        """
        rows, words = self._golden(servable)
        if servable is not None and servable.kind is ServableKind.ONNX:
            try:
                scorer = self._converted(version, servable, rows)
                return Opened(scorer=scorer, kind=ServableKind.ONNX, words=words)
            except NoriaError as problem:
                words = f"served as trained, not as ONNX: {problem.sentence}; {words}"
        folder = None if version.bundle is None else self._bundles.unpacked(version.bundle)
        scorer = self._process(version, self._blobs.get(version.artifact.blob), folder, inputs, rows)
        return Opened(scorer=scorer, kind=ServableKind.NATIVE, words=words)

    def _converted(self, version: ModelVersion, servable: Servable, rows: Golden | None) -> Scorer:
        if not servable.is_ordered:
            raise CannotServe("the record of an earlier Noria does not tell the order of its columns")
        if servable.blob is None or rows is None:
            raise CannotServe("nothing tells whether its conversion says what the model does")
        scorer = self._onnx(self._blobs.get(servable.blob), tuple(servable.inputs), str(version))
        try:
            return proving.proved(scorer, rows, within=golden.ROUNDED, who=f"the ONNX of {version}")
        except BaseException:
            scorer.close()
            raise

    def _golden(self, servable: Servable | None) -> tuple[Golden | None, str]:
        """Return a version's golden rows, and what there is to say of them; None where there are none any more."""
        if servable is None or servable.golden is None:
            return None, _NO_GOLDEN
        try:
            rows = golden.decoded(self._blobs.get(servable.golden))
        except (NotFound, Corrupt) as problem:
            return None, f"its golden rows cannot be read, so its scores are believed: {problem.sentence}"
        return rows, f"it gives {len(rows.rows)} golden rows the scores that it was judged by"
