"""`log_metric`, `log_param` and `progress`: what a step tells about itself."""

import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar

from msgspec import Struct, field

from noria.core.errors import Invalid
from noria.core.masking import masked, without_secrets
from noria.runs.logs import Log
from noria.runs.stopping import Stop, Stopped

_log = logging.getLogger("noria.runs")
_lock = threading.Lock()

Told = tuple[float, float | None, str]


class Recorder(Struct):
    """What one attempt has told so far, and which runs it has started; `run` and `step` say where it belongs."""

    run: str | None = None
    step: str = ""
    metrics: dict[tuple[str, int], float] = field(default_factory=dict[tuple[str, int], float])
    params: dict[str, object] = field(default_factory=dict[str, object])
    counts: dict[str, int] = field(default_factory=dict[str, int])
    log: Log = field(default_factory=Log)
    on_progress: Callable[[Told], None] | None = None
    started: dict[str, int] = field(default_factory=dict[str, int])
    stop: Stop | None = None
    is_over: bool = False
    """Whether the attempt has ended, so that nothing more of it is kept."""
    was_stopped: bool = False
    """Whether the attempt was told to end: whatever it came to then is not kept, for it may have caught that."""

    def heed(self, *, at_rest: bool = False) -> None:
        """Raise `Stopped` when the run is to end now, or, where the attempt is `at_rest`, also when it is to pause."""
        if self.stop is None:
            return
        try:
            (self.stop.between_steps if at_rest else self.stop.within_a_step)()
        except Stopped:
            self.was_stopped = True
            raise


recorder: ContextVar[Recorder | None] = ContextVar("noria_recorder", default=None)
"""Where the running attempt's telling goes; None outside a run."""


def log_metric(name: str, value: float, *, step: int | None = None) -> None:
    """Record a number under a name; `step` is its place in a series, the next one if not given.

    It is committed with the attempt's end, for a failed one too. Outside a run it does nothing, so that a step can be
    called and tested as the function that it is.
    """
    try:
        number = float(value)
    except (TypeError, ValueError) as problem:
        raise Invalid(
            f"metric {name!r} is {value!r}, which is no number", hint="log texts by nr.log_param"
        ) from problem
    current, name = _telling(), masked(name)
    if current is None:
        return None
    with _lock:  # the threads of a step tell for it
        if current.is_over:
            return _too_late(current, f"metric {name!r}")
        position = current.counts.get(name, 0) if step is None else int(step)
        current.counts[name] = max(position + 1, current.counts.get(name, 0))
        current.metrics[name, position] = number
    return None


def log_param(name: str, value: object) -> None:
    """Record a plain value that the step chose, such as a setting it found; outside a run it does nothing."""
    current, name = _telling(), masked(name)
    if current is None:
        return None
    with _lock:
        if current.is_over:
            return _too_late(current, f"param {name!r}")
        current.params[name] = without_secrets(value)
    return None


def progress(done: float, total: float | None = None, words: str = "") -> None:
    """Tell how far the running step is, such as `nr.progress(3, 10, "epochs")`; outside a run it does nothing.

    It is shown while the step runs (`noria run --watch`, `noria logs`), told at most once a second, and is no part of
    the result.
    """
    try:
        told = (float(done), None if total is None else float(total), masked(str(words)))
    except (TypeError, ValueError) as problem:
        raise Invalid(f"progress {done!r} of {total!r}, which are no numbers") from problem
    current = _telling()
    if current is not None and current.on_progress is not None and not current.is_over:
        current.on_progress(told)


def end(told: Recorder) -> None:
    """Take nothing more for an attempt: what its threads tell from now on is refused with a warning."""
    with _lock:
        told.is_over = True


def _too_late(current: Recorder, what: str) -> None:
    _log.warning("%s of step %r is not kept: a thread told it after the step had ended", what, current.step)


def _telling() -> Recorder | None:
    """Return where the running attempt's telling goes; a cancelled run ends here, in the midst of its step."""
    current = recorder.get()
    if current is not None:
        current.heed()
    return current
