"""Noria: continuous training for Python.

Everything public is here: `import noria as nr`. Importing it loads nothing heavy; each name is fetched when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from noria.version import __version__

if TYPE_CHECKING:
    from noria.boot import Platform as Platform
    from noria.boot import open_home as open  # noqa: A004, F401 # pyright: ignore[reportUnusedImport] - nr.open(...) is what people say
    from noria.core.clock import SimulatedClock as SimulatedClock
    from noria.core.errors import NoriaError as NoriaError
    from noria.datasets.model import Dataset as Dataset
    from noria.evaluation.spec import Evaluation as Evaluation
    from noria.evaluation.spec import Gate as Gate
    from noria.guards.poisoning import check_poisoning as check_poisoning
    from noria.guards.quality import check_quality as check_quality
    from noria.guards.schemas import check_schema as check_schema
    from noria.guards.shaping import check_feedback_loop as check_feedback_loop
    from noria.loop.spec import Budget as Budget
    from noria.loop.spec import Loop as Loop
    from noria.loop.spec import Review as Review
    from noria.loop.triggers import Trigger as Trigger
    from noria.loop.triggers import all_of as all_of
    from noria.loop.triggers import any_of as any_of
    from noria.loop.triggers import data_arrival as data_arrival
    from noria.loop.triggers import drift as drift
    from noria.loop.triggers import event as event
    from noria.loop.triggers import manual as manual
    from noria.loop.triggers import metric_drop as metric_drop
    from noria.loop.triggers import new_labels as new_labels
    from noria.loop.triggers import new_rows as new_rows
    from noria.loop.triggers import schedule as schedule
    from noria.loop.triggers import upstream as upstream
    from noria.pipelines import Failure as Failure
    from noria.pipelines import Secret as Secret
    from noria.pipelines import branch as branch
    from noria.pipelines import pipeline as pipeline
    from noria.pipelines import secret as secret
    from noria.pipelines import step as step
    from noria.pipelines import value as value
    from noria.registry.model import Model as Model
    from noria.registry.model import columns as columns
    from noria.rollouts.spec import Canary as Canary
    from noria.runs.recorder import log_metric as log_metric
    from noria.runs.recorder import log_param as log_param
    from noria.runs.recorder import progress as progress

_HOMES = {
    "open": ("noria.boot", "open_home"),
    "Platform": ("noria.boot", "Platform"),
    "SimulatedClock": ("noria.core.clock", "SimulatedClock"),
    "NoriaError": ("noria.core.errors", "NoriaError"),
    "Dataset": ("noria.datasets.model", "Dataset"),
    "Evaluation": ("noria.evaluation.spec", "Evaluation"),
    "Gate": ("noria.evaluation.spec", "Gate"),
    "check_schema": ("noria.guards.schemas", "check_schema"),
    "check_quality": ("noria.guards.quality", "check_quality"),
    "check_poisoning": ("noria.guards.poisoning", "check_poisoning"),
    "check_feedback_loop": ("noria.guards.shaping", "check_feedback_loop"),
    "Budget": ("noria.loop.spec", "Budget"),
    "Loop": ("noria.loop.spec", "Loop"),
    "Review": ("noria.loop.spec", "Review"),
    "Canary": ("noria.rollouts.spec", "Canary"),
    "Model": ("noria.registry.model", "Model"),
    "columns": ("noria.registry.model", "columns"),
    "log_metric": ("noria.runs.recorder", "log_metric"),
    "log_param": ("noria.runs.recorder", "log_param"),
    "progress": ("noria.runs.recorder", "progress"),
    **{
        name: ("noria.pipelines", name)
        for name in ("step", "pipeline", "value", "branch", "Failure", "Secret", "secret")
    },
    **{
        name: ("noria.loop.triggers", name)
        for name in (
            "Trigger",
            "schedule",
            "new_rows",
            "new_labels",
            "data_arrival",
            "drift",
            "metric_drop",
            "event",
            "manual",
            "upstream",
            "any_of",
            "all_of",
        )
    },
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 # pyright: ignore[reportUnsupportedDunderAll] - a tested list of strings


def __getattr__(name: str) -> object:
    """Fetch a public name from the room where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module 'noria' has no attribute {name!r}")
    room, inside = _HOMES[name]
    found = getattr(import_module(room), inside)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
