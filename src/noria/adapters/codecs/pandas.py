"""Frames and columns of pandas as Arrow IPC with pandas' own description: index, names and types come back."""

import json
from importlib import import_module
from typing import Any, cast

from noria.core import digests
from noria.core.errors import Invalid, NotInstalled

_KINDS = frozenset({"DataFrame", "Series"})
_SERIES = b"noria.series"
_DESCRIBED = ("index_columns", "column_indexes", "columns")


class PandasFrames:
    """pandas' frames and series; without `attrs`. Objects that Arrow has no type for are refused, never pickled."""

    name = "pandas"

    def accepts(self, value: object) -> bool:
        """Say whether it is one; pandas is not loaded to find out."""
        kind = type(value)
        return kind.__name__ in _KINDS and kind.__module__.partition(".")[0] == "pandas"

    def encode(self, value: object) -> bytes:
        """Return the value as an Arrow IPC file."""
        pa = _pyarrow()
        table, sink = _table(value), pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(sink, table.schema, options=options) as file:
            file.write_table(table)
        return sink.getvalue().to_pybytes()

    def decode(self, payload: bytes) -> object:
        """Read the frame or the series."""
        table = _pyarrow().ipc.open_file(payload).read_all()
        frame: Any = table.to_pandas()
        told = table.schema.metadata.get(_SERIES)
        if told is None:
            return frame
        series = frame.iloc[:, 0]
        return series if json.loads(told)["is_named"] else series.rename(None)

    def digest(self, value: object, payload: bytes) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of values, index and types; the versions of the libraries are not part of it."""
        import polars as pl  # noqa: PLC0415 - a program without frames does not pay for it

        from noria.datasets.frames import frame_digest  # noqa: PLC0415 - see above

        table = _table(value)
        metadata = table.schema.metadata
        told = json.loads(metadata[b"pandas"])
        described = digests.canonical_json([told[name] for name in _DESCRIBED])
        bare = cast("pl.DataFrame", cast("Any", pl).from_arrow(table.replace_schema_metadata(None)))
        return digests.of_parts([frame_digest(bare).encode(), described, metadata.get(_SERIES, b"")])


def _table(value: object) -> Any:  # noqa: ANN401 - a table of Arrow
    pa, frame, more = _pyarrow(), cast("Any", value), {}
    if type(value).__name__ == "Series":
        more = {_SERIES: json.dumps({"is_named": frame.name is not None}).encode()}
        frame = frame.to_frame()
    try:
        table = pa.Table.from_pandas(frame, preserve_index=None if len(frame.columns) else True)  # else no row is left
    except (pa.ArrowException, TypeError, ValueError) as problem:
        raise Invalid(
            f"this frame of pandas cannot be kept: {problem.args[0]}",
            hint="give columns of objects a type: frame.astype({...}), or frame.convert_dtypes()",
        ) from problem
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **more})


def _pyarrow() -> Any:  # noqa: ANN401 - an optional module, without stubs
    try:
        import_module("pyarrow.ipc")
        return import_module("pyarrow")
    except ImportError:
        raise NotInstalled("pyarrow, which carries frames of pandas,", "pandas") from None
