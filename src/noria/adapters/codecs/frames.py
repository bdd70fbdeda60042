"""Polars frames as Arrow IPC, known by their columns and values and not by how they are chunked."""

import io
from typing import TYPE_CHECKING

from noria.core.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

_KINDS = frozenset({"DataFrame", "LazyFrame", "Series"})


class Frames:
    """Polars frames; a lazy one is refused, for it is a plan and not yet values."""

    name = "arrow"

    def accepts(self, value: object) -> bool:
        """Say whether it is a frame, lazy or not, or a single column; Polars is not loaded to find out."""
        kind = type(value)
        return kind.__name__ in _KINDS and kind.__module__.partition(".")[0] == "polars"

    def encode(self, value: object) -> bytes:
        """Return the frame as an Arrow IPC file."""
        frame = _frame(value)
        buffer = io.BytesIO()
        frame.write_ipc(buffer, compression="lz4")
        return buffer.getvalue()

    def decode(self, payload: bytes) -> object:
        """Read the frame."""
        import polars as pl  # noqa: PLC0415 - a program without frames does not pay for it

        return pl.read_ipc(io.BytesIO(payload))

    def digest(self, value: object, payload: bytes) -> str:  # noqa: ARG002 - the port's signature
        """Return the logical digest of the frame."""
        from noria.datasets.frames import frame_digest  # noqa: PLC0415 - see decode

        return frame_digest(_frame(value))


def _frame(value: object) -> "pl.DataFrame":
    import polars as pl  # noqa: PLC0415 - whoever has a frame has loaded it

    if isinstance(value, pl.LazyFrame):
        raise Invalid("a LazyFrame is a plan, not values", hint="call .collect() on it first")
    if isinstance(value, pl.Series):
        raise Invalid("a Series has no codec of its own", hint="make it a frame: series.to_frame()")
    assert isinstance(value, pl.DataFrame)
    objects = [name for name, kind in value.schema.items() if kind == pl.Object]
    if objects:
        raise Invalid(f"column {objects[0]!r} holds Python objects", hint="cast it to a type of Polars first")
    return value
