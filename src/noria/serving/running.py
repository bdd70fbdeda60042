"""The port to what runs a version: rows go in as they came over the wire, scores come out."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from noria.registry.model import Model

if TYPE_CHECKING:
    from concurrent.futures import Future

Row = Mapping[str, Any]
Scores = list[float | None]
"""One score a row; None where the model gave no number."""


class Scorer(Protocol):
    """One loaded version; safe to share between threads."""

    def submit(self, rows: Sequence[Row]) -> "Future[Scores]":
        """Score rows now or soon. A column that a row lacks, and null, are missing values.

        The future raises `ModelFailed` when the model could not score these rows, `BadData` when a value cannot be
        handed to it, `TimedOut` when it took too long, and `Unavailable` when what runs it died with them twice or
        cannot be started. It always ends, whatever went wrong.
        """
        ...

    @property
    def trouble(self) -> str | None:
        """Return why it cannot answer just now, in words; None while it can, as far as is known."""
        ...

    @property
    def deaths(self) -> int:
        """Return how often what runs it died, hung, or failed in a way that was not foreseen."""
        ...

    def close(self) -> None:
        """Let go of the model once what was submitted is answered; calling it twice is fine."""
        ...


Converter = Callable[[Model, Sequence[str]], bytes]
"""Turns a model that reads these columns as numbers into ONNX; raises `Invalid` when it cannot be."""
OnnxOpener = Callable[[bytes, Sequence[str], str], Scorer]
"""Loads ONNX that reads these columns; the last argument is what to call the version in errors."""
