"""What a person sees while the replay runs: a live table on a terminal, plain lines in a pipe."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self, cast

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from noria.ledger.model import FactKind
from noria.loop.turn import Turn

_KEPT_LINES = 10
_SPOKEN = {
    FactKind.CYCLE_OPENED: "opened",
    FactKind.DATA_STOPPED: "data stopped",
    FactKind.GATE_PASSED: "passed",
    FactKind.GATE_FAILED: "refused",
    FactKind.GATE_UNSURE: "unsure",
    FactKind.ROLLOUT_FINISHED: "promoted",
    FactKind.CYCLE_SETTLED: "settled",
}


@dataclass(slots=True, kw_only=True)
class Standing:
    """What is shown of one policy."""

    cycle: str = "-"
    state: str = "waits"
    why: str = ""
    champion: str = "-"
    promotions: int = 0
    refusals: int = 0
    auc: float | None = None
    log_loss: float | None = None


@dataclass(slots=True, kw_only=True)
class Seen:
    """All that is shown."""

    begins: datetime
    ends: datetime
    now: datetime
    policies: dict[str, Standing]
    lines: list[str] = field(default_factory=list[str])


class Screen(AbstractContextManager["Screen"]):
    """A table that changes in place on a terminal; a line for each decision in a pipe."""

    def __init__(self, console: Console, policies: list[str], *, begins: datetime, ends: datetime) -> None:
        self._console = console
        self._seen = Seen(begins=begins, ends=ends, now=begins, policies={name: Standing() for name in policies})
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last picture standing."""
        if self._live is not None:
            self._live.stop()

    def turned(self, turn: Turn) -> None:
        """Show that a loop has answered a fact."""
        spoken = _SPOKEN.get(turn.fact.kind)
        standing = self._seen.policies.get(turn.loop.name)
        if spoken is None or standing is None:
            return
        told = turn.fact.payload
        words = str(told.get("words") or "; ".join(_words(reason) for reason in told.get("reasons", ())))
        standing.cycle, standing.state = str(told.get("number", "-")), spoken
        if turn.fact.kind is FactKind.CYCLE_OPENED:
            standing.why = words
        if turn.fact.kind is FactKind.ROLLOUT_FINISHED:
            standing.champion, standing.promotions = str(told["version"]), standing.promotions + 1
        if turn.fact.kind is FactKind.CYCLE_SETTLED and told["outcome"] == "rejected":
            standing.refusals += 1
        if turn.fact.kind is not FactKind.CYCLE_SETTLED:
            self._say(f"{turn.fact.at:%d %b}  {turn.loop.name:<8} cycle {standing.cycle:>3} {spoken:<9} {words}")

    def day(self, now: datetime) -> None:
        """Show that a day has passed."""
        self._seen.now = now
        if self._live is not None:
            self._live.update(_drawn(self._seen))
        elif now.day == 1:
            self._console.print(
                f"{now:%Y-%m-%d}  " + "  ".join(_quality(n, s) for n, s in self._seen.policies.items()), soft_wrap=True
            )

    def quality(self, policy: str, *, auc: float, log_loss: float) -> None:
        """Show a policy's newest quality."""
        standing = self._seen.policies[policy]
        standing.auc, standing.log_loss = auc, log_loss

    def _say(self, line: str) -> None:
        self._seen.lines = [*self._seen.lines, line][-_KEPT_LINES:]
        if self._live is None:
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def _words(reason: object) -> str:
    return str(cast("list[object]", reason)[-1]) if isinstance(reason, list | tuple) else str(reason)


def _quality(name: str, standing: Standing) -> str:
    if standing.auc is None or standing.log_loss is None:
        return f"{name} -"
    return f"{name} {standing.auc:.3f}/{standing.log_loss:.3f}"


def _drawn(seen: Seen) -> Group:
    done = (seen.now - seen.begins) / (seen.ends - seen.begins)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("policy", "AUC", "log loss", "champion", "promoted", "refused", "cycle", "state", "triggered by"):
        table.add_column(column, no_wrap=column != "triggered by")
    for name, row in seen.policies.items():
        quality = ("-", "-") if row.auc is None or row.log_loss is None else (f"{row.auc:.3f}", f"{row.log_loss:.3f}")
        counts = (row.champion, str(row.promotions), str(row.refusals), row.cycle, row.state, row.why)
        table.add_row(Text(name, style="bold cyan" if name == "noria" else ""), *quality, *counts)
    bar = ProgressBar(total=1.0, completed=done, width=40)
    head = Text(f"{seen.now:%A %d %B %Y}, simulated", style="bold")
    lines = Text("\n".join(seen.lines), style="dim", no_wrap=True, overflow="ellipsis")
    return Group(head, bar, Text(), table, Text(), lines)
