"""Holds a loaded version against its golden rows before it may answer."""

import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future

from noria.core.errors import CannotServe, NoriaError, NotFound
from noria.registry.model import Model
from noria.runs.model import Artifact
from noria.serving import golden, queries
from noria.serving.golden import Golden
from noria.serving.running import Row, Scorer, Scores
from noria.store.blobs import Blobs
from noria.store.database import Database

_log = logging.getLogger("noria.serving")


class Prover:
    """Proves models that are loaded in this process, whoever loads them; a loader asks it for each."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def __call__(self, model: Model, artifact: Artifact) -> None:
        """Hold a model against the golden rows of all versions of this artifact; raises `CannotServe`.

        An artifact of no version, and one whose golden rows are not there, is believed.
        """
        for version, digest in self._database.read(lambda c: queries.golden_of(c, artifact.blob)):
            try:
                rows = golden.decoded(self._blobs.get(digest))
            except NoriaError as problem:
                _log.warning("%s is not held against its golden rows: %s", version, problem.sentence)
                continue
            golden.check(rows, golden.asking_model(model, dict(rows.inputs)), within=golden.EXACT, who=version)

    def erase(self, project: str, model: str, keys: Collection[str], *, dry_run: bool = False) -> int:
        """Take what was made of rows of these keys out of the golden rows of a model's versions; return how many."""
        count = 0
        for _, digest in self._database.read(lambda c: queries.all_golden(c, project, model)):
            try:
                before = golden.decoded(self._blobs.get(digest))
            except NotFound:  # dropped by an erasure that was cut short, or by other hands
                continue
            after = before.without(keys)
            count += len(before.rows) - len(after.rows)
            if dry_run or len(after.rows) == len(before.rows):
                continue
            put = self._blobs.put(after.encoded())
            self._database.write(lambda c, old=digest, new=put: queries.set_golden(c, project, old, new))
            if not self._database.read(lambda c, old=digest: queries.is_golden(c, old)):
                self._blobs.drop(digest)
        return count


def proved(scorer: Scorer, rows: Golden, *, within: float, who: str) -> Scorer:
    """Return a scorer that gives the golden rows their scores: this one, or one that refuses what the model refuses.

    Raises `CannotServe` when neither does.
    """
    try:
        golden.check(rows, lambda asked: scorer.submit(asked).result(), within=within, who=who)
    except CannotServe:
        if not rows.refused_without:
            raise
    else:
        return scorer
    guarded = WholeRows(scorer, rows.refused_without)
    golden.check(rows, lambda asked: guarded.submit(asked).result(), within=within, who=who)
    return guarded


class WholeRows:
    """A scorer that gives rows no score that lack a column without which the model itself gives none."""

    def __init__(self, scorer: Scorer, needed: frozenset[str]) -> None:
        self._scorer = scorer
        self._needed = tuple(needed)

    def submit(self, rows: Sequence[Row]) -> "Future[Scores]":
        """Score the rows that lack nothing; see the port."""
        lacking = [self._lacks(row) for row in rows]
        if not any(lacking):
            return self._scorer.submit(rows)
        answer: Future[Scores] = Future()
        try:
            whole = [row for row, lacks in zip(rows, lacking, strict=True) if not lacks]
            scores = iter(self._scorer.submit(whole).result() if whole else ())
            answer.set_result([None if lacks else next(scores) for lacks in lacking])
        except NoriaError as problem:
            answer.set_exception(problem)
        return answer

    @property
    def trouble(self) -> str | None:
        """Return why the scorer cannot answer just now."""
        return self._scorer.trouble

    @property
    def deaths(self) -> int:
        """Return how often what runs the scorer died."""
        return self._scorer.deaths

    def close(self) -> None:
        """Close the scorer."""
        self._scorer.close()

    def _lacks(self, row: Mapping[str, object]) -> bool:
        return any(row.get(name) is None for name in self._needed)
