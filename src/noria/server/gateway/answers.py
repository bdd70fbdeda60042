"""Rows answered by the versions of a live endpoint, each answer logged before it is given, and shadows after it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from noria.boot import Platform
from noria.core.clock import Stopwatch
from noria.core.errors import BadData, NoriaError, NotStored, TimedOut
from noria.server.gateway.bodies import Row
from noria.server.gateway.metrics import Metrics
from noria.server.gateway.table import Live
from noria.serving import asking, rules
from noria.serving.asking import Asked, Scored
from noria.serving.model import Prediction
from noria.serving.running import Scores

_MOST_SHADOWS = 256
_SAID_EVERY_SECONDS = 5.0
_log = logging.getLogger("noria.gateway")


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer a row, and whether they stand in the log."""

    answers: list[Prediction]
    is_logged: bool


class Answers:
    """Answers rows; a version on trial that fails is stood in for, and no shadow stops an answer."""

    def __init__(self, platform: Platform, metrics: Metrics, *, project: str, stopwatch: Stopwatch) -> None:
        self._log = platform.log
        self._ids = platform.ids
        self._metrics = metrics
        self._project = project
        self._stopwatch = stopwatch
        self._patience = platform.settings.answer_seconds
        self._answers_unlogged = platform.settings.answer_unlogged
        self._said_at: float | None = None
        self._shadows: set[Future[Scores]] = set()

    async def answer(self, live: Live, rows: Sequence[Row], asked: Sequence[Asked]) -> "Answered":
        """Return one answer a row in their order, each logged with the failures that came before it.

        Raises `NotStored` when the log cannot be written, unless the settings want answers all the same.
        """
        turns: dict[int, list[int]] = {}
        for place, one in enumerate(asked):
            turns.setdefault(rules.version_for(live.route, one.key), []).append(place)
        answers: list[Prediction | None] = [None] * len(asked)
        records: list[Prediction] = []
        try:
            for chosen, places in turns.items():
                mine = [rows[place] for place in places]
                made = await self._answered(live, chosen, mine, [asked[place] for place in places], records)
                for place, answer in zip(places, made, strict=True):
                    answers[place] = answer
        except BaseException:
            self._try_to_log(live, records)
            raise
        refusal = self._try_to_log(live, records)
        if refusal is not None and not self._answers_unlogged:
            raise refusal
        return Answered([answer for answer in answers if answer is not None], is_logged=refusal is None)

    async def _answered(
        self,
        live: Live,
        chosen: int,
        rows: Sequence[Row],
        asked: Sequence[Asked],
        records: list[Prediction],
    ) -> list[Prediction]:
        """Return the answers of the version whose turn it is, or of the first that can stand in for it."""
        failures: list[NoriaError] = []
        refused: list[Prediction] = []
        for version in rules.stand_ins(live.route, chosen):
            begun = self._stopwatch.wall()
            try:
                scored = await self._scored(live, version, rows, begun)
            except NoriaError as raised:
                failed = self._records(live, asked, self._failure(version, raised, len(rows), begun))
                (refused if isinstance(raised, BadData) else records).extend(failed)
                failures.append(raised)
                continue
            made = self._records(live, asked, scored, tokens=[one.request for one in asked])
            records += (*refused, *made)
            return made
        raise failures[0]

    async def _scored(self, live: Live, version: int, rows: Sequence[Row], begun: float) -> Scored:
        loaded = live.versions[version]
        missing = loaded.reader.missing(rows)
        scoring = loaded.scorer.submit(rows)
        scores = scoring.result() if scoring.done() else await self._waited(live, version, scoring)
        latency = 1000 * (self._stopwatch.wall() - begun)
        return Scored(version=version, scores=scores, missing=missing, latency_ms=latency)

    async def _waited(self, live: Live, version: int, scoring: Future[Scores]) -> Scores:
        """Wait for scores, but not for ever: whatever runs the version may hang."""
        try:
            return await asyncio.wait_for(asyncio.wrap_future(scoring), self._patience)
        except TimeoutError:
            self._metrics.count("noria_timeouts_total", endpoint=live.endpoint.name, version=version)
            raise TimedOut(
                f"{live.endpoint.model}@{version} did not answer within {self._patience:g} seconds",
                hint="ask again, with fewer rows at once; answer_seconds says how long is waited",
            ) from None

    def _failure(self, version: int, raised: BaseException, count: int, begun: float) -> Scored:
        words = raised.sentence if isinstance(raised, NoriaError) else f"{type(raised).__name__}: {raised}"
        latency = 1000 * (self._stopwatch.wall() - begun)
        nothing: list[float | None] = [None] * count
        return Scored(version=version, scores=nothing, missing=[0] * count, latency_ms=latency, error=words)

    def _records(
        self, live: Live, asked: Sequence[Asked], scored: Scored, *, is_shadow: bool = False,
        tokens: Sequence[str] = (),
    ) -> list[Prediction]:  # fmt: skip
        """Return records of what a version said; `tokens` are of their ids, fresh ones if not given."""
        ids = [rules.stamped(live.endpoint, token) for token in tokens or [self._ids.new("p")[2:] for _ in asked]]
        kind = "noria_predictions_total" if scored.error is None else "noria_prediction_errors_total"
        role = "shadow" if is_shadow else "live"
        self._metrics.count(kind, len(asked), endpoint=live.endpoint.name, version=scored.version, role=role)
        return asking.predictions(asked, scored, ids=ids, is_shadow=is_shadow)

    def _try_to_log(self, live: Live, records: Sequence[Prediction]) -> NotStored | None:
        """Write records so that they survive kill -9; a disk that refuses is counted and said, and returned."""
        if not records:
            return None
        try:
            self._log.predicted(self._project, live.endpoint.name, records)
        except NotStored as problem:
            self._metrics.count("noria_log_errors_total", endpoint=live.endpoint.name)
            self._say(live.endpoint.name, len(records), problem)
            return problem
        return None

    def _say(self, endpoint: str, count: int, problem: NotStored) -> None:
        """Say it once in a while: on a disk that is full nobody wants a line for each request."""
        now = self._stopwatch.wall()
        if self._said_at is None or now - self._said_at >= _SAID_EVERY_SECONDS:
            self._said_at = now
            _log.error("%d records of endpoint %s were not logged: %s", count, endpoint, problem.sentence)

    def ask_shadows(self, live: Live, rows: Sequence[Row], asked: Sequence[Asked]) -> None:
        """Let shadows see what was answered. When they fall behind, they miss requests, and nobody waits for them."""
        for version in live.route.shadows:
            begun = self._stopwatch.wall()
            try:
                missing = live.versions[version].reader.missing(rows)
                scoring = live.versions[version].scorer.submit(rows) if len(self._shadows) < _MOST_SHADOWS else None
            except Exception as raised:  # noqa: BLE001 - the answer is given, and a shadow's failure is a record
                failed = self._failure(version, raised, len(rows), begun)
                self._try_to_log(live, self._records(live, asked, failed, is_shadow=True))
                continue
            if scoring is not None:
                self._shadows.add(scoring)
                scoring.add_done_callback(self._shadowed(live, version, asked, missing, begun))

    def _shadowed(
        self, live: Live, version: int, asked: Sequence[Asked], missing: Sequence[int], begun: float
    ) -> Callable[[Future[Scores]], None]:
        def done(scoring: Future[Scores]) -> None:
            self._shadows.discard(scoring)
            raised = scoring.exception()
            if raised is None:
                latency = 1000 * (self._stopwatch.wall() - begun)
                scored = Scored(version=version, scores=scoring.result(), missing=missing, latency_ms=latency)
            else:
                scored = self._failure(version, raised, len(asked), begun)
            self._try_to_log(live, self._records(live, asked, scored, is_shadow=True))

        return done
