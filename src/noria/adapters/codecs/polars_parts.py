"""Frames and columns of Polars that hold Python objects: the objects one by one, the rest as frames are kept."""

from typing import Any

from noria.adapters.codecs.described import Description


def is_kind(kind: type[Any]) -> bool:
    """Say whether it is a type of frames or series; Polars is not loaded to find out."""
    return kind.__name__ in {"DataFrame", "Series"} and kind.__module__.partition(".")[0] == "polars"


def is_needed(value: Any) -> bool:  # noqa: ANN401 - Polars is not loaded here
    """Say whether a column is one of Python objects."""
    kinds = [value.dtype] if type(value).__name__ == "Series" else value.dtypes
    return any(
        kind.__name__ == "Object" if isinstance(kind, type) else type(kind).__name__ == "Object" for kind in kinds
    )


def describe(value: Any) -> Description:  # noqa: ANN401 - see is_needed
    """Return a frame, or the frame of a column, in parts."""
    import polars as pl  # noqa: PLC0415 - whoever has a frame has loaded it

    frame = value.to_frame() if isinstance(value, pl.Series) else value
    objects = [column.name for column in frame.iter_columns() if column.dtype == pl.Object]
    return {
        "kind": type(value).__name__,
        "columns": frame.columns,
        "frame": frame.drop(objects),
        **{f"column {name!r}": frame[name].to_list() for name in objects},
    }


def make(told: Description) -> object:
    """Return a frame or a column from its parts."""
    import polars as pl  # noqa: PLC0415 - see describe

    rest: pl.DataFrame = told["frame"]
    columns = [
        rest[name] if name in rest.columns else pl.Series(name, told[f"column {name!r}"], dtype=pl.Object)
        for name in told["columns"]
    ]
    return columns[0] if told["kind"] == "Series" else pl.DataFrame(columns)
