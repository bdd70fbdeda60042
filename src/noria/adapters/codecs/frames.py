"""Frames and columns of Polars as Arrow IPC, known by their columns and values and not by how they are chunked."""

import io
from typing import TYPE_CHECKING, cast

from noria.core import digests
from noria.core.errors import Invalid

if TYPE_CHECKING:
    import polars as pl


class Frames:
    """Polars frames; a lazy one is refused, for it is a plan and not yet values."""

    name = "arrow"

    def accepts(self, value: object) -> bool:
        """Say whether it is a frame, lazy or not; Polars is not loaded to find out."""
        return _is_of_polars(value, "DataFrame", "LazyFrame")

    def encode(self, value: object) -> bytes:
        """Return the frame as an Arrow IPC file."""
        return _written(_frame(value))

    def decode(self, payload: bytes) -> object:
        """Read the frame."""
        return _read(payload)

    def digest(self, value: object, payload: bytes) -> str:  # noqa: ARG002 - the port's signature
        """Return the logical digest of the frame."""
        return _digest(_frame(value))


class Columns:
    """Polars series, each as a frame of one column."""

    name = "arrow-series"

    def accepts(self, value: object) -> bool:
        """Say whether it is a series; Polars is not loaded to find out."""
        return _is_of_polars(value, "Series")

    def encode(self, value: object) -> bytes:
        """Return the frame of the column as an Arrow IPC file."""
        return _written(_frame(cast("pl.Series", value).to_frame()))

    def decode(self, payload: bytes) -> object:
        """Read the column."""
        return _read(payload).to_series()

    def digest(self, value: object, payload: bytes) -> str:  # noqa: ARG002 - the port's signature
        """Return the logical digest of the column, which is not that of a frame with it."""
        return digests.of_parts([b"series", _digest(cast("pl.Series", value).to_frame()).encode()])


def _is_of_polars(value: object, *names: str) -> bool:
    kind = type(value)
    return kind.__name__ in names and kind.__module__.partition(".")[0] == "polars"


def _written(frame: "pl.DataFrame") -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="lz4")
    return buffer.getvalue()


def _read(payload: bytes) -> "pl.DataFrame":
    import polars as pl  # noqa: PLC0415 - a program without frames does not pay for it

    return pl.read_ipc(io.BytesIO(payload))


def _digest(frame: "pl.DataFrame") -> str:
    from noria.datasets.frames import frame_digest  # noqa: PLC0415 - see _read

    return frame_digest(frame)


def _frame(value: object) -> "pl.DataFrame":
    import polars as pl  # noqa: PLC0415 - whoever has a frame has loaded it

    if isinstance(value, pl.LazyFrame):
        raise Invalid("a LazyFrame is a plan, not values", hint="call .collect() on it first")
    assert isinstance(value, pl.DataFrame)
    objects = [name for name, kind in value.schema.items() if kind == pl.Object]
    if objects:
        raise Invalid(f"column {objects[0]!r} holds Python objects", hint="cast it to a type of Polars first")
    return value
