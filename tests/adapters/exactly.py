"""Whether two values are the same one: equal, of the same types down to every cell, and in the same order."""

import dataclasses
import functools
import inspect
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import datetime, time
from decimal import Decimal
from types import SimpleNamespace

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic


def same(one, other):
    """Say whether two values are the same."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    compare = next((compare for kinds, compare in _COMPARED if isinstance(one, kinds)), None)
    if compare is None and dataclasses.is_dataclass(one):
        compare = _objects
    if compare is not None:
        return compare(one, other)
    if type(one) is Decimal:
        return repr(one) == repr(other)
    if type(one) is int:
        return one == other
    return repr(one) == repr(other) and (one is other or bool(one == other) or one != one)  # noqa: PLR0124 - NaN


def _items(one, other):
    return len(one) == len(other) and all(map(same, one, other))


def _dicts(one, other):
    return _items(list(one), list(other)) and _items(list(one.values()), list(other.values()))


def _defaults(one, other):
    return one.default_factory is other.default_factory and _dicts(one, other)


def _sets(one, other):
    left = list(other)
    for item in one:
        found = next((place for place, twin in enumerate(left) if same(item, twin)), None)
        if found is None:
            return False
        del left[found]
    return not left


def _moments(one, other):
    return (
        one == other
        and one.fold == other.fold
        and one.utcoffset() == other.utcoffset()
        and one.tzname() == other.tzname()
        and same(one.tzinfo, other.tzinfo)
    )


def _arrays(one, other):
    if one.dtype != other.dtype or one.dtype.str != other.dtype.str or one.shape != other.shape:
        return False
    if one.dtype.hasobject:
        return _items(one.ravel().tolist(), other.ravel().tolist())
    return np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


def _masked(one, other):
    return (
        _arrays(one.data, other.data)
        and same(one.mask, other.mask)
        and same(one.fill_value, other.fill_value)
        and one.hardmask == other.hardmask
    )


def _kinds(one, other):
    return type(one) is type(other) and one == other and repr(one) == repr(other)


def _columns(one, other):
    if not _kinds(one.dtype, other.dtype):
        return False
    if isinstance(one.dtype, pd.CategoricalDtype):
        return same(one.dtype.categories, other.dtype.categories) and _items(list(one.codes), list(other.codes))
    return _items(list(one), list(other))


def _indexes(one, other):
    if isinstance(one, pd.MultiIndex):
        return (
            _items(list(one.names), list(other.names))
            and _items(list(one.levels), list(other.levels))
            and _items(list(one), list(other))
        )
    return (
        same(one.name, other.name)
        and getattr(one, "freq", None) == getattr(other, "freq", None)
        and _columns(one.array, other.array)
    )


def _series(one, other):
    return (
        same(one.name, other.name)
        and same(one.index, other.index)
        and _columns(one.array, other.array)
        and _described(one, other)
    )


def _frames(one, other):
    return (
        same(one.index, other.index)
        and same(one.columns, other.columns)
        and all(_columns(one.iloc[:, place].array, other.iloc[:, place].array) for place in range(one.shape[1]))
        and _described(one, other)
    )


def _described(one, other):
    return same(one.attrs, other.attrs) and one.flags == other.flags


def _of_polars(one, other):
    if isinstance(one, pl.DataFrame):
        return (
            one.schema == other.schema
            and one.height == other.height
            and all(map(_of_polars, one.iter_columns(), other.iter_columns()))
        )
    return repr(one.dtype) == repr(other.dtype) and one.name == other.name and same(one.to_list(), other.to_list())


def _of_arrow(one, other):
    if isinstance(one, pa.Table | pa.RecordBatch):
        return one.schema.equals(other.schema, check_metadata=True) and same(one.to_pylist(), other.to_pylist())
    return one.type == other.type and same(one.to_pylist(), other.to_pylist())


def _objects(one, other):
    return _dicts(_state(one), _state(other))


def _state(value):
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if isinstance(value, pydantic.BaseModel):
        more = (value.__pydantic_fields_set__, value.__pydantic_extra__, value.__pydantic_private__)
        return dict(value.__dict__) | {"more": more}
    if hasattr(value, "__dict__"):
        remembered = {"__orig_class__", *(name for name in dir(type(value)) if _is_cached(type(value), name))}
        return {name: item for name, item in vars(value).items() if name not in remembered}
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if hasattr(value, field.name)}


def _is_cached(kind, name):
    return isinstance(inspect.getattr_static(kind, name), functools.cached_property)


_COMPARED = [
    (str | bytes | bytearray, lambda one, other: one == other),
    (defaultdict, _defaults),
    (dict | OrderedDict | Counter, _dicts),
    (list | tuple, _items),
    (deque, lambda one, other: one.maxlen == other.maxlen and _items(one, other)),
    (set | frozenset, _sets),
    (np.ma.MaskedArray, _masked),
    (np.ndarray, _arrays),
    (np.generic, lambda one, other: one.dtype == other.dtype and repr(one) == repr(other)),
    (pd.Timestamp, lambda one, other: one.unit == other.unit and _moments(one, other)),
    (pd.Timedelta, lambda one, other: one.unit == other.unit and one == other),
    (datetime | time, _moments),
    (pd.DataFrame, _frames),
    (pd.Series, _series),
    (pd.Index, _indexes),
    (pd.api.extensions.ExtensionArray, _columns),
    (pl.DataFrame | pl.Series, _of_polars),
    (pa.Table | pa.RecordBatch | pa.Array | pa.ChunkedArray, _of_arrow),
    (SimpleNamespace | msgspec.Struct | pydantic.BaseModel, _objects),
]
