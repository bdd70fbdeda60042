"""Frames and columns of pandas as Arrow IPC with pandas' own description: index, names and types come back."""

import json
from importlib import import_module
from typing import Any, cast

from noria.adapters.codecs import arrow
from noria.core import digests
from noria.core.errors import Invalid
from noria.core.payloads import Payload

_KINDS = frozenset({"DataFrame", "Series"})
_SERIES = b"noria.series"
_COLUMNS = b"noria.columns"
"""Where columns are numbered by a range; Arrow says their numbers one by one."""
_DESCRIBED = ("index_columns", "column_indexes", "columns")


class PandasFrames:
    """pandas' frames and series of the types that Arrow says in full; the others are described part by part."""

    name = "pandas"

    def carries(self, kind: type[Any]) -> bool:
        """Say whether it is a type of frames or series; pandas is not loaded to find out."""
        return kind.__name__ in _KINDS and kind.__module__.partition(".")[0] == "pandas"

    def accepts(self, value: object) -> bool:
        """Say whether it is one."""
        return self.carries(type(value))

    def encode(self, value: object) -> Payload:
        """Return the value as an Arrow IPC file."""
        pa = arrow.pyarrow()
        table, sink = _table(value), pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table)
        return Payload(memoryview(sink.getvalue()))

    def decode(self, payload: Payload) -> object:
        """Read the frame or the series, as a copy: pandas lets its owner write into it."""
        table = arrow.read(payload)
        frame: Any = table.to_pandas()
        columns = table.schema.metadata.get(_COLUMNS)
        if columns is not None:
            frame.columns = import_module("pandas").RangeIndex(*json.loads(columns))
        told = table.schema.metadata.get(_SERIES)
        if told is None:
            return frame
        series = frame.iloc[:, 0]
        return series if json.loads(told)["is_named"] else series.rename(None)

    def digest(self, value: object, payload: Payload) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of values, index and types; the versions of the libraries are not part of it."""
        table = arrow.read(payload)
        metadata = table.schema.metadata
        told = json.loads(metadata[b"pandas"])
        described = digests.canonical_json([told[name] for name in _DESCRIBED])
        return digests.of_parts([arrow.table_digest(table).encode(), described, metadata.get(_SERIES, b"")])


def _table(value: object) -> Any:  # noqa: ANN401 - a table of Arrow
    pa, frame, more = arrow.pyarrow(), cast("Any", value), {}
    if type(value).__name__ == "Series":
        more = {_SERIES: json.dumps({"is_named": frame.name is not None}).encode()}
        frame = frame.to_frame()
    elif type(frame.columns).__name__ == "RangeIndex":
        more = {_COLUMNS: json.dumps([frame.columns.start, frame.columns.stop, frame.columns.step]).encode()}
    try:
        table = pa.Table.from_pandas(frame, preserve_index=None if len(frame.columns) else True)  # else no row is left
    except (pa.ArrowException, TypeError, ValueError) as problem:
        raise Invalid(
            f"this frame of pandas cannot be kept: {problem.args[0]}",
            hint="give columns of objects a type: frame.astype({...}), or frame.convert_dtypes()",
        ) from problem
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **more})
