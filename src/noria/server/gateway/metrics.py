"""What the gateway counts, as Prometheus reads it (text format 0.0.4)."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_HELP = {
    "noria_predictions_total": "Rows scored by endpoint, version and whether it was asked live or as a shadow.",
    "noria_prediction_errors_total": "Rows that a version could not score.",
    "noria_feedback_total": "Pieces of feedback that were acknowledged.",
    "noria_log_errors_total": "Requests whose records could not be logged.",
    "noria_timeouts_total": "Requests that a version did not answer in time.",
    "noria_failures_total": "Failures that were not foreseen: a bug, or a machine that lacks something.",
    "noria_requests_total": "Requests by route and HTTP status.",
}
_SECONDS = "noria_request_seconds"
Labels = tuple[tuple[str, object], ...]


class Metrics:
    """Counters and one histogram; used by one event loop, and by model processes' threads for shadows.

    No label comes from a client: each is a route, an endpoint or a version that there is, or a status.
    """

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, Labels], int] = defaultdict(int)
        self._buckets = [0] * (len(_BUCKETS) + 1)
        self._seconds = 0.0

    def count(self, name: str, by: int = 1, **labels: object) -> None:
        """Add to a counter."""
        self._counts[name, tuple(labels.items())] += by

    def took(self, seconds: float) -> None:
        """Note how long a predict request took."""
        self._buckets[bisect_left(_BUCKETS, seconds)] += 1
        self._seconds += seconds

    def text(self, scorers: Iterable["ScorerState"] = (), **gauges: float) -> str:
        """Return everything, with what runs the versions, and some gauges, as they are now."""
        return "\n".join([*self._counters(), *self._histogram(), *_scorers(list(scorers)), *_gauges(gauges)]) + "\n"

    def _counters(self) -> Iterator[str]:
        for name, words in _HELP.items():
            yield f"# HELP {name} {words}"
            yield f"# TYPE {name} counter"
            for (counted, labels), value in sorted(self._counts.items(), key=str):
                if counted == name:
                    yield f"{name}{_spelled(labels)} {value}"

    def _histogram(self) -> Iterator[str]:
        yield f"# HELP {_SECONDS} How long predict requests took."
        yield f"# TYPE {_SECONDS} histogram"
        total = 0
        for bound, count in zip((*_BUCKETS, "+Inf"), self._buckets, strict=True):
            total += count
            yield f'{_SECONDS}_bucket{{le="{bound}"}} {total}'
        yield f"{_SECONDS}_sum {self._seconds:.6f}"
        yield f"{_SECONDS}_count {total}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerState:
    """How what runs a version stands: why it cannot answer, and how often it failed since it was loaded."""

    endpoint: str
    version: int
    trouble: str | None
    deaths: int


def _scorers(states: Sequence[ScorerState]) -> Iterator[str]:
    yield "# HELP noria_scorer_deaths_total How often what runs a version died, hung or failed since it was loaded."
    yield "# TYPE noria_scorer_deaths_total counter"
    for state in states:
        yield f"noria_scorer_deaths_total{_spelled(_labels(state))} {state.deaths}"
    yield "# HELP noria_scorer_up Whether a version can answer, as far as is known."
    yield "# TYPE noria_scorer_up gauge"
    for state in states:
        yield f"noria_scorer_up{_spelled(_labels(state))} {int(state.trouble is None)}"


def _labels(state: ScorerState) -> Labels:
    return (("endpoint", state.endpoint), ("version", state.version))


def _gauges(gauges: dict[str, float]) -> Iterator[str]:
    for name, value in gauges.items():
        yield f"# TYPE noria_{name} gauge"
        yield f"noria_{name} {value:.3f}"


def _spelled(labels: Labels) -> str:
    escaped = (
        (key, str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for key, value in labels
    )
    inside = ",".join(f'{key}="{value}"' for key, value in escaped)
    return f"{{{inside}}}" if inside else ""
