"""Frames, columns and indexes of pandas that Arrow does not say in full: each part by itself, and so as it was given."""

from functools import cache, lru_cache
from typing import Any

from noria.adapters.codecs.described import Description
from noria.adapters.codecs.pandas_arrays import (
    describe_array,
    describe_index,
    make_array,
    make_index,
    pandas,
)
from noria.core.errors import Invalid

_INDEXES = frozenset(
    {
        *("Index", "RangeIndex", "MultiIndex", "DatetimeIndex", "TimedeltaIndex", "PeriodIndex", "IntervalIndex"),
        "CategoricalIndex",
    }
)
_ARRAYS = frozenset(
    {
        *("IntegerArray", "FloatingArray", "BooleanArray", "StringArray", "ArrowStringArray", "Categorical"),
        *("DatetimeArray", "PeriodArray", "IntervalArray", "SparseArray", "ArrowExtensionArray"),
    }
)
_KINDS = frozenset({"DataFrame", "Series"}) | _INDEXES | _ARRAYS
_MASKED = frozenset({"BooleanDtype", *(f"{sign}Int{bits}Dtype" for sign in ("", "U") for bits in (8, 16, 32, 64))})
_UNITS = frozenset({"s", "ms", "us", "ns"})
_LEVEL = "__index_level_"
"""How PyArrow calls an index without a name among the columns."""


def is_kind(kind: type[Any]) -> bool:
    """Say whether it is a type of pandas' that is described; pandas is not loaded to find out."""
    return kind.__name__ in _KINDS and kind.__module__.partition(".")[0] == "pandas"


def is_needed(value: Any) -> bool:  # noqa: ANN401 - pandas is not loaded here
    """Say whether a value has something that would come back from Arrow as something else."""
    name = type(value).__name__
    if name not in {"DataFrame", "Series"}:
        return True
    if value.attrs or not value.flags.allows_duplicate_labels:
        return True
    if name == "Series":
        names_stay = value.name is None or _is_name(value.name)
        return not (names_stay and _index_stays(value.index, {value.name}) and _stays(value.dtype))
    columns = value.columns
    return not (
        _names_stay(columns) and _index_stays(value.index, columns) and all(map(_stays, set(value.dtypes.tolist())))
    )


def describe(value: Any) -> Description:  # noqa: ANN401 - one of pandas'
    """Return a value in parts. Raises `Invalid` when one of them is not pandas' own, or would not come back."""
    told = _described(value)
    made = make(told)
    lost = _difference(value, made)
    if lost is not None:
        raise Invalid(f"its {lost} would not come back as it is", hint="reset it, or return a simpler frame")
    return told


def make(told: Description) -> Any:  # noqa: ANN401 - one of pandas'
    """Return a value from its parts."""
    match told["kind"]:
        case "Index":
            return make_index(told["index"])
        case "Array":
            return make_array(told["array"])
        case _:
            frame = _frame(told)
            made = frame if told["kind"] == "DataFrame" else frame.iloc[:, 0].rename(told["name"])
            made.attrs = told["attrs"]
            return made.set_flags(allows_duplicate_labels=told["duplicates"])


def _described(value: Any) -> Description:  # noqa: ANN401 - see describe
    name = type(value).__name__
    if name in _INDEXES:
        return {"kind": "Index", "index": describe_index(value)}
    if name in _ARRAYS:
        return {"kind": "Array", "array": describe_array(value)}
    frame = value.to_frame(name="value") if name == "Series" else value
    told: Description = {
        "kind": name,
        "index": describe_index(value.index),
        "attrs": dict(value.attrs),
        "duplicates": value.flags.allows_duplicate_labels,
    }
    names = [value.name] if name == "Series" else list(value.columns)
    told |= {"name": value.name} if name == "Series" else {"columns": describe_index(value.columns)}
    return told | _columns(frame, names)


def _columns(frame: Any, names: list[Any]) -> Description:  # noqa: ANN401 - a frame
    """Return the columns in parts: those that Arrow says in full together, each other one by itself."""
    stays = [_stays(kind) for kind in frame.dtypes.tolist()]
    others = [place for place, does in enumerate(stays) if not does]
    return {
        "together": _together(frame, [place for place, does in enumerate(stays) if does]),
        "others": [[place, f"column {place}, {names[place]!r}"] for place in others],
        **{f"column {place}, {names[place]!r}": _column(frame, place, names[place]) for place in others},
    }


def _together(frame: Any, stay: list[int]) -> Any:  # noqa: ANN401 - a frame
    """Return some columns as a frame that Arrow says in full; None for none of them."""
    if not stay:
        return None
    together = frame.iloc[:, stay].set_axis([str(place) for place in stay], axis=1)
    together = together.set_axis(pandas().RangeIndex(len(frame)), axis=0)
    together.attrs = {}
    return together.set_flags(allows_duplicate_labels=True)


def _column(frame: Any, place: int, name: object) -> Description:  # noqa: ANN401 - a frame
    column = frame.iloc[:, place]
    try:
        return describe_array(column.array if not hasattr(column.dtype, "char") else column.to_numpy())
    except Invalid as problem:
        raise Invalid(f"{problem.sentence}, in column {name!r}", hint=problem.hint) from problem


def _frame(told: Description) -> Any:  # noqa: ANN401 - a frame
    pd, index = pandas(), make_index(told["index"])
    together = pd.DataFrame(index=index) if told["together"] is None else told["together"].copy(deep=False)
    together.index = index
    columns: dict[int, Any] = {int(name): together[name] for name in together.columns}
    for place, name in told["others"]:
        array = make_array(told[name])
        columns[place] = pd.Series(array, index=index, dtype=array.dtype, copy=False)
    if told["others"]:
        together = pd.DataFrame({place: columns[place] for place in sorted(columns)}, index=index, copy=False)
    if "columns" in told:
        together.columns = make_index(told["columns"])
    return together


def _difference(value: Any, made: Any) -> str | None:  # noqa: ANN401 - of pandas
    """Return what of a value differs from what was made of its parts, as far as types and names tell."""
    name = type(value).__name__
    if type(made) is not type(value) or (name in _ARRAYS and not _same_type(value.dtype, made.dtype)):
        return f"type {name}"
    if name in _ARRAYS:
        return None
    one, other = (value, made) if name in _INDEXES else (value.index, made.index)
    if name in _INDEXES or not _same_index(one, other):
        return None if _same_index(one, other) else "index"
    return _difference_in_columns(value, made)


def _difference_in_columns(value: Any, made: Any) -> str | None:  # noqa: ANN401 - frames, or series
    if type(value).__name__ == "Series":
        return None if _same_type(value.dtype, made.dtype) else f"type {value.dtype}"
    if not _same_index(value.columns, made.columns):
        return "names of columns"
    pairs = zip(value.columns, value.dtypes.tolist(), made.dtypes.tolist(), strict=True)
    return next((f"column {name!r}" for name, one, other in pairs if not _same_type(one, other)), None)


def _same_index(one: Any, other: Any) -> bool:  # noqa: ANN401 - indexes
    same = type(one) is type(other) and len(one) == len(other) and _same_type(one.dtype, other.dtype)
    if not same or getattr(one, "freq", None) != getattr(other, "freq", None):
        return False
    if one.nlevels > 1:
        return all(map(_same_index, one.levels, other.levels))
    return True


def _same_type(one: Any, other: Any) -> bool:  # noqa: ANN401 - types of columns
    return type(one) is type(other) and one == other and repr(one) == repr(other)


def _is_name(name: object) -> bool:
    return type(name) is str and not name.startswith(_LEVEL)


def _names_stay(columns: Any) -> bool:  # noqa: ANN401 - an index
    """Say whether the names of columns stay: texts, each once, which Arrow keeps, or a range, which is told beside."""
    if type(columns).__name__ == "RangeIndex":
        return columns.name is None and len(columns) > 0
    return (
        type(columns).__name__ == "Index"
        and len(columns) > 0
        and _same_type(columns.dtype, _type_of_names())
        and (columns.name is None or _is_name(columns.name))
        and columns.is_unique
        and all(map(_is_name, columns))
    )


@cache
def _type_of_names() -> Any:  # noqa: ANN401 - the type of an index
    """Return the type that names of columns have if nobody says another one: of texts, or of objects in an older pandas."""
    return pandas().Index(["a"]).dtype


def _index_stays(index: Any, columns: Any) -> bool:  # noqa: ANN401 - indexes
    """Say whether Arrow keeps an index with its type and its name."""
    if index.name is not None and (not _is_name(index.name) or index.name in columns):
        return False
    match type(index).__name__:
        case "RangeIndex":
            return True
        case "Index":
            return _stays(index.dtype) and getattr(index.dtype, "kind", "O") in "biuf" and hasattr(index.dtype, "char")
        case "DatetimeIndex" | "TimedeltaIndex":
            return index.freq is None and _stays(index.dtype)
        case _:
            return False


def _stays(kind: Any) -> bool:  # noqa: ANN401 - the type of a column
    """Say whether Arrow keeps every column of a type as it is."""
    if type(kind).__name__ == "CategoricalDtype":
        categories = kind.categories
        return type(categories).__name__ == "Index" and categories.name is None and _stays_as_category(categories.dtype)
    return _is_kept(kind)


@lru_cache(maxsize=256)
def _is_kept(kind: Any) -> bool:  # noqa: ANN401 - the type of a column, which holds no values
    name = type(kind).__name__
    if hasattr(kind, "char"):
        if kind.kind in "mM":
            return kind.isnative and kind.str.partition("[")[2].rstrip("]") in _UNITS
        return kind.kind in "biuf" and kind.isnative and kind.char != "g"
    if name == "StringDtype":
        return _same_type(kind, pandas().api.types.pandas_dtype(str(kind)))
    return name in _MASKED


def _stays_as_category(kind: Any) -> bool:  # noqa: ANN401 - the type of categories
    return _stays(kind) and (type(kind).__name__ == "StringDtype" or (hasattr(kind, "char") and kind.kind in "biuf"))
