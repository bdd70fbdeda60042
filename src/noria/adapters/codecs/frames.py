"""Polars frames as Arrow IPC, known by their columns and values and not by how they are chunked."""

import io

import polars as pl

from noria.core.errors import Invalid
from noria.datasets.frames import frame_digest


class Frames:
    """Polars frames; a lazy one is refused, for it is a plan and not yet values."""

    name = "arrow"

    def accepts(self, value: object) -> bool:
        """Say whether it is a frame, lazy or not, or a single column."""
        return isinstance(value, pl.DataFrame | pl.LazyFrame | pl.Series)

    def encode(self, value: object) -> bytes:
        """Return the frame as an Arrow IPC file."""
        frame = _frame(value)
        buffer = io.BytesIO()
        frame.write_ipc(buffer, compression="lz4")
        return buffer.getvalue()

    def decode(self, payload: bytes) -> object:
        """Read the frame."""
        return pl.read_ipc(io.BytesIO(payload))

    def digest(self, value: object, payload: bytes) -> str:  # noqa: ARG002 - the port's signature
        """Return the logical digest of the frame."""
        return frame_digest(_frame(value))


def _frame(value: object) -> pl.DataFrame:
    if isinstance(value, pl.LazyFrame):
        raise Invalid("a LazyFrame is a plan, not values", hint="call .collect() on it first")
    if isinstance(value, pl.Series):
        raise Invalid("a Series has no codec of its own", hint="make it a frame: series.to_frame()")
    assert isinstance(value, pl.DataFrame)
    objects = [name for name, kind in value.schema.items() if kind == pl.Object]
    if objects:
        raise Invalid(f"column {objects[0]!r} holds Python objects", hint="cast it to a type of Polars first")
    return value
