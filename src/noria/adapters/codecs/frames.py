"""Frames and columns of Polars as Arrow IPC, known by their columns and values and not by how they are chunked.

They are written as they lie in memory, not compressed, so that they can be read where the file is mapped.
"""

import io
from typing import TYPE_CHECKING, Any, cast

from noria.adapters.codecs import arrow
from noria.core import digests
from noria.core.errors import Invalid, NotInstalled
from noria.core.payloads import Payload

if TYPE_CHECKING:
    import polars as pl

_LARGE_BYTES = 1 << 20
"""From here on it pays to load PyArrow."""


class Frames:
    """Polars frames; a lazy one is refused, for it is a plan and not yet values."""

    name = "arrow"

    def carries(self, kind: type[Any]) -> bool:
        """Say whether it is the type of frames; Polars is not loaded to find out."""
        return _is_of_polars(kind, "DataFrame")

    def accepts(self, value: object) -> bool:
        """Say whether it is a frame, lazy or not."""
        return _is_of_polars(type(value), "DataFrame", "LazyFrame")

    def encode(self, value: object) -> Payload:
        """Return the frame as an Arrow IPC file."""
        return _written(_frame(value))

    def decode(self, payload: Payload) -> object:
        """Read the frame."""
        return _read(payload)

    def digest(self, value: object, payload: Payload) -> str:  # noqa: ARG002 - the port's signature
        """Return the logical digest of the frame."""
        return _digest(_frame(value))


class Columns:
    """Polars series, each as a frame of one column."""

    name = "arrow-series"

    def carries(self, kind: type[Any]) -> bool:
        """Say whether it is the type of series; Polars is not loaded to find out."""
        return _is_of_polars(kind, "Series")

    def accepts(self, value: object) -> bool:
        """Say whether it is a series."""
        return self.carries(type(value))

    def encode(self, value: object) -> Payload:
        """Return the frame of the column as an Arrow IPC file."""
        return _written(_frame(cast("pl.Series", value).to_frame()))

    def decode(self, payload: Payload) -> object:
        """Read the column."""
        return _read(payload).to_series()

    def digest(self, value: object, payload: Payload) -> str:  # noqa: ARG002 - the port's signature
        """Return the logical digest of the column, which is not that of a frame with it."""
        return digests.of_parts([b"series", _digest(cast("pl.Series", value).to_frame()).encode()])


def _is_of_polars(kind: type[Any], *names: str) -> bool:
    return kind.__name__ in names and kind.__module__.partition(".")[0] == "polars"


def _written(frame: "pl.DataFrame") -> Payload:
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="uncompressed", record_batch_size=max(frame.height, 1))
    return Payload(buffer.getbuffer())


def _read(payload: Payload) -> "pl.DataFrame":
    """Read a frame, a large one where it lies: PyArrow can do that, and Polars takes over what lies there."""
    import polars as pl  # noqa: PLC0415 - a program without frames does not pay for it

    table = _table(payload) if payload.size >= _LARGE_BYTES else None
    try:
        if table is None:
            return pl.read_ipc(io.BytesIO(payload.view()))
        return cast("pl.DataFrame", cast("Any", pl).from_arrow(table, rechunk=False))
    except pl.exceptions.PanicException as problem:  # no Exception, so that nobody else would catch it
        raise Invalid(f"these bytes are no frame: {problem}") from None


def _table(payload: Payload) -> arrow.Table | None:
    """Return the table where it lies; None without PyArrow, and for integers of 128 bits, which it does not read."""
    try:
        return arrow.read(payload)
    except (NotInstalled, NotImplementedError):
        return None


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
