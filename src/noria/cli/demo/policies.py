"""The five policies: one dataset, one recipe, one window; they differ in when they train and what they promote.

All settings were chosen on January to April, before May to December was scored.
"""

import noria as nr
from noria.cli.demo.recipe import FLIGHTS, TICK_HOUR, train

_UNHELD = nr.Evaluation(metrics=("auc", "log_loss"), holdout=None)


def all_policies() -> list[nr.Loop]:
    """Return the loops in the order in which they are shown."""
    return [
        _ungated("never", nr.manual()),
        _ungated("monthly", nr.schedule(f"0 {TICK_HOUR} 1 * *")),
        _ungated("weekly", nr.schedule(f"0 {TICK_HOUR} * * 1")),
        _ungated("drift", nr.drift(psi=0.25, over="28d"), cooldown="14d"),
        noria(),
    ]


def _ungated(name: str, when: nr.Trigger, *, cooldown: str = "0s") -> nr.Loop:
    return nr.Loop(
        name, dataset=FLIGHTS, train=train, when=when, guards=(), evaluate=_UNHELD, gate=None, cooldown=cooldown
    )


def noria() -> nr.Loop:
    """Return the loop that judges what it trains."""
    return nr.Loop(
        "noria",
        dataset=FLIGHTS,
        train=train,
        when=nr.schedule(f"0 {TICK_HOUR} * * 1"),
        evaluate=nr.Evaluation(metrics=("auc", "log_loss"), slices=("origin", "carrier"), holdout="7d", min_rows=2000),
        gate=nr.Gate("log_loss", margin=0.02, guards=(("auc", 0.02),), min_gain=0.0, max_slice_drop=0.05),
    )
