"""What executing a run needs of the platform."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from noria.core.clock import Clock, Stopwatch
from noria.runs.executors import Executor
from noria.runs.holding import Holder
from noria.runs.model import Prices
from noria.runs.values import Values
from noria.store.database import Database
from noria.store.patience import Patience


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What executing needs of the platform."""

    database: Database
    patience: Patience
    values: Values
    holder: Holder
    executor: Executor
    clock: Clock
    stopwatch: Stopwatch
    sleep: Callable[[float], None] | None
    """What waits before the next try of a step; without it a run waits no longer than it goes on."""
    chance: random.Random
    prices: Prices
    check_types: bool = True
    """Whether what steps are given is held against their annotations."""
