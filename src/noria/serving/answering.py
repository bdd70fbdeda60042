"""Answers inside this process, without HTTP: the version whose turn a key is, its shadows, and the log."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noria.core.clock import Stopwatch
from noria.core.context import Context
from noria.core.errors import ModelFailed, NotStored
from noria.core.ids import Ids
from noria.datasets.model import Dataset
from noria.registry.loading import Loader
from noria.registry.model import ModelVersion
from noria.registry.service import Registry
from noria.serving import asking, rules
from noria.serving.asking import Asked, Scored
from noria.serving.log import Log
from noria.serving.model import Answer, Endpoint, Prediction, Route

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Some rows for one endpoint, with the route by which they are answered and the inputs that count as features."""

    context: Context
    endpoint: Endpoint
    dataset: Dataset
    route: Route
    rows: "pl.DataFrame"
    asked: Sequence[Asked]
    inputs: Mapping[int, Mapping[str, str]]


class Answerer:
    """Runs versions natively in this process: for tests, replays and scripts. Servers have the gateway for it."""

    def __init__(self, registry: Registry, loader: Loader, log: Log, *, stopwatch: Stopwatch, ids: Ids) -> None:
        self._registry = registry
        self._loader = loader
        self._log = log
        self._stopwatch = stopwatch
        self._ids = ids
        self._versions: dict[tuple[str, str, int], ModelVersion] = {}

    def answer(self, question: Question) -> list[Answer]:
        """Answer every row, then let the shadows see them; no shadow makes it fail.

        A version on trial that fails is answered for by the one it is tried against; both are in the log.

        Raises:
            Unavailable: the endpoint has no version to answer with.
            ModelFailed: the version failed, and there is none to stand in for it.
            NotStored: the log could not be written; what is in no log was not answered.

        """
        records: list[Prediction] = []
        try:
            answers = [record for part in self._live(question, records) for record in part]
            for version in question.route.shadows:
                scored = self._scored(question, version, question.rows)
                records += self._records(question, question.asked, scored, is_shadow=True)
        except BaseException:
            with contextlib.suppress(NotStored):
                self._log.predicted(question.context.project, question.endpoint.name, records)
            raise
        self._log.predicted(question.context.project, question.endpoint.name, records)
        place = {one.request: number for number, one in enumerate(question.asked)}
        answers.sort(key=lambda record: place[record.request])
        return [
            Answer(prediction=record.prediction, version=record.version, score=record.score, epoch=question.route.epoch)
            for record in answers
        ]

    def _live(self, question: Question, records: list[Prediction]) -> Iterator[list[Prediction]]:
        """Yield each live version's answers, and keep the record of all of them, failures too."""
        turns: dict[int, list[int]] = {}
        for place, one in enumerate(question.asked):
            turns.setdefault(rules.version_for(question.route, one.key), []).append(place)
        for chosen, places in turns.items():
            asked = [question.asked[place] for place in places]
            yield self._answered(question, chosen, question.rows[places], asked, records)

    def _answered(
        self, question: Question, chosen: int, rows: "pl.DataFrame", asked: Sequence[Asked], records: list[Prediction]
    ) -> list[Prediction]:
        """Return the answers of the version whose turn it is, or of the first one that can stand in for it."""
        failures: list[Exception] = []
        for version in rules.stand_ins(question.route, chosen):
            scored = self._scored(question, version, rows)
            tokens = [one.request for one in asked] if scored.cause is None else []
            made = self._records(question, asked, scored, tokens=tokens)
            records += made
            if scored.cause is None:
                return made
            failures.append(scored.cause)
        raise ModelFailed(f"{question.endpoint.model}@{chosen}", str(failures[0])) from failures[0]

    def _scored(self, question: Question, version: int, rows: "pl.DataFrame") -> Scored:
        """Let a version score rows; what it raises is part of what it said."""
        inputs = question.inputs[version]
        missing = asking.missing_in(rows, inputs)
        begun = self._stopwatch.wall()
        try:
            model = self._loader.load(self._version(question, version).artifact)
            scores, error = asking.finite(model.predict(asking.conformed(rows, inputs))), None
        except Exception as problem:  # noqa: BLE001 - users' code may raise anything
            scores, error = [None] * rows.height, problem
        return Scored(
            version=version,
            scores=scores,
            missing=missing,
            latency_ms=1000 * (self._stopwatch.wall() - begun),
            error=None if error is None else f"{type(error).__name__}: {error}",
            cause=error,
        )

    def _records(
        self, question: Question, asked: Sequence[Asked], scored: Scored, *, is_shadow: bool = False,
        tokens: Sequence[str] = (),
    ) -> list[Prediction]:  # fmt: skip
        """Return records of what a version said; `tokens` are of their ids, fresh ones if not given."""
        fresh = tokens or [self._ids.new("p").removeprefix("p_") for _ in asked]
        ids = [rules.stamped(question.endpoint, token) for token in fresh]
        return asking.predictions(asked, scored, ids=ids, is_shadow=is_shadow)

    def _version(self, question: Question, number: int) -> ModelVersion:
        place = (question.context.project, question.endpoint.model, number)
        if place not in self._versions:
            found = self._registry.version(question.context, question.endpoint.model, number)
            self._versions[place] = found
        return self._versions[place]
