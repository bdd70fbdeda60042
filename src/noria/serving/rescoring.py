"""Scores a sample of live answers again with the model itself: what answers live is what was judged, or somebody is told."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from noria.core.context import Context
from noria.registry.loading import Loader
from noria.registry.service import Registry
from noria.serving import golden, log, queries
from noria.serving.compacted import PREDICTIONS
from noria.serving.log import Log
from noria.serving.model import Endpoint, Prediction, Rescoring, Servable, ServableKind
from noria.store.database import Connection, Database

_MOST_BYTES = 4 * 2**20
"""How much of a segment is read in one look, from its end; the rest of what has come is passed over."""
_MOST_ROWS = 256
_WHOLE = 2**32
KIND = "live:difference"
"""The kind of the signal that is raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at an endpoint's log: what stood before, what stands after it, and whether a version differs newly."""

    before: Rescoring | None
    after: Rescoring
    worst: float = 0.0
    is_new: bool = False


class Rescorer:
    """Compares a share of an endpoint's logged answers with what the model gives for the same rows.

    Which answers are in the sample is decided by their ids, so that whoever looks takes the same ones; how far the log
    was read is stored with the counts, so that none counts twice.
    """

    def __init__(self, database: Database, answers: Log, *, registry: Registry, loader: Loader, share: float) -> None:
        self._database = database
        self._log = answers
        self._registry = registry
        self._loader = loader
        self._share = share

    def look(self, context: Context, endpoint: Endpoint) -> Look | None:
        """Score what has come since the last look again; None when nothing has, or nothing is to be looked at."""
        folder = self._log.folder_of(context.project, endpoint.name)
        if self._share <= 0 or not folder.exists():
            return None
        before = self._database.read(lambda c: queries.rescoring(c, context.project, endpoint.name))
        ends = log.ends(folder, PREDICTIONS)
        known = (before or _nothing(endpoint)).positions
        after = {name: max(known.get(name, 0), end - _MOST_BYTES) for name, end in ends.items()}
        if all(after[name] >= end for name, end in ends.items()):
            return None
        found = log.records(folder, Prediction, after=after, until=ends)
        sample: dict[int, list[Prediction]] = {}
        for _, one in zip(range(_MOST_ROWS), self._sampled(record for _, _, record in found), strict=False):
            sample.setdefault(one.version, []).append(one)
        look = Look(before=before, after=replace(before or _nothing(endpoint), positions=ends))
        for version, records in sample.items():
            look = self._compared(context, endpoint, look, version, records)
        return look

    def keep_in(self, connection: Connection, context: Context, look: Look) -> None:
        """Store a look in the caller's transaction; raises `Stale` if somebody else has looked meanwhile."""
        queries.put_rescoring(connection, context.project, look.before, look.after)

    def _sampled(self, records: Iterator[Prediction]) -> Iterator[Prediction]:
        """Yield the answers of the sample; a shadow's, and an error's, are none."""
        for one in records:
            is_answer = not one.is_shadow and (one.error is None or one.score is not None)
            if is_answer and zlib.crc32(one.prediction.encode()) < self._share * _WHOLE:
                yield one

    def _compared(
        self, context: Context, endpoint: Endpoint, look: Look, number: int, records: list[Prediction]
    ) -> Look:
        """Return a look with one version's answers compared; a version without golden rows has nothing to be held to."""
        servable = self._database.read(lambda c: queries.find_servable(c, context.project, endpoint.model, number))
        if servable is None or servable.golden is None:
            return look
        distance = golden.apart(self._scores(context, servable, records), [one.score for one in records])
        is_rounded = servable.kind is ServableKind.ONNX
        within = golden.ROUNDED if is_rounded else golden.EXACT
        wrong = int(np.sum(~(distance <= within)))
        after = replace(look.after, checked=look.after.checked + len(records), differing=look.after.differing + wrong)
        if not wrong:
            return replace(look, after=after)
        worst = float(np.max(distance))
        far = f"by up to {worst:.2g}" if np.isfinite(worst) else "where one of both is no number"
        words = (
            f"{endpoint.model}@{number} answered {wrong:,} of {len(records):,} sampled rows at endpoint {endpoint.name}"
            f" otherwise than the model does, {far}"
        )
        is_new = look.after.version != number
        return Look(
            before=look.before,
            after=replace(after, version=number, words=words),
            worst=min(worst, float(np.finfo(np.float32).max)),
            is_new=is_new or look.is_new,
        )

    def _scores(self, context: Context, servable: Servable, records: list[Prediction]) -> list[float | None]:
        version = self._registry.version(context, servable.model, servable.version)
        ask = golden.asking_model(self._loader.load(version.artifact), servable.inputs)
        decode: Callable[[msgspec.Raw], dict[str, object]] = msgspec.json.decode
        with golden.quiet():
            return golden.said(ask, [decode(one.row) for one in records])


def _nothing(endpoint: Endpoint) -> Rescoring:
    return Rescoring(endpoint=endpoint.name, positions={})
