"""What is trained and registered: models, versions, and the aliases that move between versions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from noria.core.errors import Invalid, NotFound
from noria.runs.model import Artifact

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

CHAMPION = "champion"
CHALLENGER = "challenger"
ANCHOR = "anchor"


@dataclass(frozen=True, slots=True)
class Columns:
    """A preprocess that is data and no code: these columns as a matrix of numbers, what is missing as NaN."""

    names: tuple[str, ...]

    def __call__(self, rows: "pl.DataFrame") -> "NDArray[np.float64]":
        """Return the columns of the rows, shape (rows, columns); raises `Invalid` for one that holds no numbers."""
        import polars as pl  # noqa: PLC0415 - declaring a model loads nothing heavy

        for name in self.names:
            if name not in rows.columns:
                raise NotFound("column", name, known=rows.columns)
            kind = rows.schema[name]
            if not kind.is_numeric() and kind not in {pl.Boolean(), pl.Null()}:
                raise Invalid(
                    f"column {name!r} holds {kind}, not numbers",
                    hint="leave it out of nr.columns, or write the preprocess as a function",
                )
        return pl.DataFrame([rows[name].cast(pl.Float64) for name in self.names]).to_numpy()


def columns(*names: str) -> Columns:
    """Return the preprocess that reads these columns as numbers; a model with it can be served without any code.

    Raises `Invalid` for no name, or one that comes twice.
    """
    if not names or len(set(names)) < len(names):
        raise Invalid(f"{list(names)} are no columns to read", hint="name one or more, each once")
    return Columns(names)


@dataclass(frozen=True, slots=True)
class Model:
    """An estimator with its preprocess: the same one in training, in the gate and live.

    `estimator` has scikit-learn's `predict_proba` or `predict`; `preprocess` is `nr.columns(...)`, or a plain function
    of a module, from rows (a Polars frame) to what the estimator reads.
    """

    estimator: Any
    preprocess: "Callable[[pl.DataFrame], Any] | None" = None

    def predict(self, rows: "pl.DataFrame") -> "NDArray[np.float64]":
        """Return one score a row, shape (n,): the probability of the positive class, or the value of a regressor.

        Raises `Invalid` for a classifier of more than two classes.
        """
        import numpy as np  # noqa: PLC0415 - declaring a model loads nothing heavy

        if rows.height == 0:
            return np.empty(0, dtype=np.float64)
        table = rows if self.preprocess is None else self.preprocess(rows)
        if not hasattr(self.estimator, "predict_proba"):
            return np.asarray(self.estimator.predict(table), dtype=np.float64)
        chances = np.asarray(self.estimator.predict_proba(table), dtype=np.float64)
        if chances.ndim != 2 or chances.shape[1] != 2:  # noqa: PLR2004 - rows by two classes
            raise Invalid(
                f"the estimator gives chances of shape {chances.shape}, not one for each of two classes",
                hint="train it on both classes, or on a label of two classes",
            )
        return chances[:, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a run has trained and is to be registered: the model, and where it comes from."""

    artifact: Artifact
    run: str
    snapshot: str
    trained_through: datetime
    code: str
    parent: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    bundle: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A registered result of training; `trained_through` is the end of the rows that it learned from."""

    id: str
    project: str
    model: str
    number: int
    artifact: Artifact
    run: str
    snapshot: str
    trained_through: datetime
    code: str
    environment: str
    parent: int | None
    params: Mapping[str, Any]
    created_at: datetime
    created_by: str
    bundle: str | None = None
    """The blob with the user's own modules that its preprocess needs; None when it needs none, or none were kept."""

    def __str__(self) -> str:
        return f"{self.model}@{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasState:
    """Where an alias points, None for nowhere yet; `epoch` counts its moves."""

    alias: str
    version: int | None
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One move of an alias: from where to where, when, by whom and why."""

    epoch: int
    before: int | None
    to: int | None
    at: datetime
    actor: str
    reason: str
    is_rollback: bool
