"""The five policies: one dataset, one recipe, one window; they differ in when they train and what they promote."""

from datetime import timedelta

import noria as nr
from noria.cli.demo.recipe import FLIGHTS, TICK_HOUR, train

_WINDOW = timedelta(days=84)
_UNHELD = nr.Evaluation(metrics=("auc", "log_loss"), holdout=None)


def all_policies() -> list[nr.Loop]:
    """Return the loops in the order in which they are shown."""
    return [
        _ungated("never", nr.manual()),
        _ungated("monthly", nr.schedule(f"0 {TICK_HOUR} 1 * *")),
        _ungated("weekly", nr.schedule(f"0 {TICK_HOUR} * * 1")),
        _ungated("drift", nr.drift(psi=0.2, over="7d")),
        noria(),
    ]


def _ungated(name: str, when: nr.Trigger) -> nr.Loop:
    return nr.Loop(name, dataset=FLIGHTS, train=train, when=when, evaluate=_UNHELD, gate=None, window=_WINDOW)


def noria() -> nr.Loop:
    """Return the loop that judges what it trains; its settings were chosen on January to April."""
    return nr.Loop(
        "noria",
        dataset=FLIGHTS,
        train=train,
        when=nr.any_of(nr.new_labels(13_000), nr.metric_drop("auc", by=0.05)),
        evaluate=nr.Evaluation(metrics=("auc", "log_loss"), slices=("origin", "carrier"), holdout="7d"),
        gate=nr.Gate("log_loss", margin=0.01),
        window=_WINDOW,
        cooldown="7d",
    )
