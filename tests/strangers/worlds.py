"""Invents users: a world is a team's data, its recipe, its clients and its accidents, all drawn from one source of chance.

`draw(chance)` takes a `random.Random`: seeded, so that a number names a world for ever, or hypothesis' own, so that a
world that breaks a law is made smaller.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)

NAMES = (
    "amount", "AMOUNT", "Zone", "a b", "ünï", "k.v", "1st", "score", "prediction", "x", "index", "row", "key", "weight",
    "epoch", "version", "date", "label", "request", "source", "position", "number",
)  # fmt: skip
ODD_NAMES = (
    "literal", "len", "select", "column_0", "'q'", 'say "x"', "a,b",
    "tab\there", "{x}", "%s", "null", "True", "n" * 200, "é" * 40, "at ", " at", "a/b", "-", "$", "#", "0",
)  # fmt: skip
NUMBERS = ("normal", "huge", "tiny", "count", "counter", "month", "weekday", "flag", "constant", "widening", "big_id")
TEXTS = ("category", "rotating", "words")
ESTIMATORS = {
    "logistic": "make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), LogisticRegression(max_iter=200))",
    "plain_logistic": "LogisticRegression(max_iter=200)",
    "tree": "DecisionTreeClassifier(max_depth=4, random_state=0)",
    "forest": "RandomForestClassifier(n_estimators=8, max_depth=5, random_state=0)",
    "boosting": "HistGradientBoostingClassifier(max_iter=12, random_state=0)",
}
REGRESSORS = {
    "ridge": "make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), Ridge())",
    "tree": "DecisionTreeRegressor(max_depth=4, random_state=0)",
    "forest": "RandomForestRegressor(n_estimators=8, max_depth=5, random_state=0)",
    "boosting": "HistGradientBoostingRegressor(max_iter=12, random_state=0)",
}


@dataclass(frozen=True)
class Column:
    """A column of the team's rows: what it is called, what it holds, and what share of it is missing."""

    name: str
    kind: str
    gaps: float
    empty_days: int
    """For how many days after the beginning nothing of it has come."""

    @property
    def is_number(self) -> bool:
        return self.kind in NUMBERS


@dataclass(frozen=True)
class World:
    """Everything that a team brings; `label_kind` is one of bool, int, float, text and three."""

    seed: int
    columns: tuple[Column, ...]
    key: str
    key_kind: str
    time: str
    label: str
    label_kind: str
    delay: timedelta
    delay_of_positives: timedelta
    days: int
    rows_a_day: int
    sources: tuple[str, ...]
    late: float
    corrected: float
    zone: str
    form: str
    recipe: str
    estimator: str
    trigger: str
    rollout: bool
    asked_a_day: int
    accidents: int
    """How often the process is killed on the way."""

    @property
    def is_regression(self) -> bool:
        return self.label_kind == "float"

    @property
    def is_binary(self) -> bool:
        return self.label_kind in ("bool", "int")

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The columns that the recipe reads."""
        if self.recipe in ("columns", "function"):
            return tuple(column for column in self.columns if column.is_number)
        return self.columns


def draw(chance: random.Random, *, seed: int = 0) -> World:
    """Return a world."""
    odd = chance.sample(ODD_NAMES, k=chance.choice((0, 0, 1, 4)))
    names = chance.sample(NAMES, k=chance.randint(5, 9)) + odd
    chance.shuffle(names)
    key, time, label, *others = names
    kinds = ["normal", *(chance.choice(NUMBERS + TEXTS) for _ in others[1:])]
    columns = [_column(chance, name, kind) for name, kind in zip(others, kinds, strict=True)]
    chance.shuffle(columns)
    label_kind = chance.choices(("bool", "int", "float", "text", "three"), weights=(5, 3, 3, 1, 1))[0]
    rows_a_day = chance.choice((1, 7, 20, 20, 60, 150, 700))
    delay = chance.choice((timedelta(minutes=3), timedelta(hours=7), DAY, 3 * DAY))
    estimator = chance.choice(tuple(REGRESSORS if label_kind == "float" else ESTIMATORS))
    return World(
        seed=seed,
        columns=tuple(columns),
        key=key,
        key_kind=chance.choice(("text", "padded", "int", "big", "hostile")),
        time=time,
        label=label,
        label_kind=label_kind,
        delay=delay,
        delay_of_positives=delay * chance.choice((1, 1, 1, 4)),
        days=_days(chance, rows_a_day),
        rows_a_day=rows_a_day,
        sources=tuple(chance.sample(("shop", "app", "partner/eu", "back office"), k=chance.choice((1, 1, 2, 3)))),
        late=chance.choice((0.0, 0.0, 0.1)),
        corrected=chance.choice((0.0, 0.0, 0.05)),
        zone=chance.choice(("UTC", "Asia/Kolkata", "America/New_York")),
        form=chance.choice(("polars", "polars", "pandas", "arrow", "parquet")),
        recipe=chance.choices(("columns", "function", "frame", "forgetful"), weights=(5, 2, 2, 1))[0],
        estimator=estimator,
        trigger=chance.choice(("labels", "labels", "rows", "arrival", "schedule", "drift")),
        rollout=chance.random() < 0.2,
        asked_a_day=chance.choice((0, 3, 8)),
        accidents=chance.choice((0, 0, 0, 0, 1, 2)),
    )


def of_seed(seed: int) -> World:
    """Return the world of a number, the same one for ever."""
    return draw(random.Random(seed), seed=seed)


def _days(chance: random.Random, rows_a_day: int) -> int:
    """Return how long a life is: slow streams live longer, quick ones are still small enough to play by the thousand."""
    if rows_a_day == 1:
        return chance.choice((20, 30))
    return chance.choice((8, 10, 14)) if rows_a_day <= 60 else 6


def _column(chance: random.Random, name: str, kind: str) -> Column:
    gaps = chance.choice((0.0, 0.0, 0.0, 0.05, 0.4)) if kind not in ("counter", "big_id") else 0.0
    return Column(name=name, kind=kind, gaps=gaps, empty_days=chance.choice((0, 0, 0, 0, 3)))
