"""Columns and indexes of pandas in parts, so that each comes back with its type: objects cell by cell, the rest as arrays."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

from noria.adapters.codecs import arrow
from noria.adapters.codecs.described import Description
from noria.adapters.codecs.numpy_parts import of_cells
from noria.adapters.codecs.plain import contents_of
from noria.core.errors import Invalid

_MASKED = frozenset({"IntegerArray", "FloatingArray", "BooleanArray"})
_TEXTS = frozenset({str, type(None)})
_SMALL = frozenset({str, bytes, float, bool, type(None)})
_LEAST, _MOST, _SPELLED = -(1 << 63), (1 << 64) - 1, 10**100


def pandas() -> Any:  # noqa: ANN401 - an optional module, without types here
    """Return pandas."""
    return import_module("pandas")


def describe_array(array: Any) -> Description:  # noqa: ANN401 - one of pandas' or NumPy's
    """Return a column in parts. Raises `Invalid` for a type that is not pandas' own."""
    import numpy as np  # noqa: PLC0415 - whoever has pandas has loaded it

    kind = array.dtype
    if isinstance(kind, np.dtype):
        return _cells(array) if kind.hasobject else {"kind": "numpy", "v": np.asarray(array)}
    if type(array).__module__.partition(".")[0] != "pandas":
        raise _strange(kind)
    if type(array).__name__ in _MASKED:
        data, missing = array._data, array._mask  # noqa: SLF001 - pandas has no other way to tell both
        hidden = np.where(missing, np.zeros(1, data.dtype), data)
        return {"kind": "masked", "dtype": str(kind), "v": hidden, "missing": np.asarray(missing)}
    describe = _DESCRIBE.get(type(kind).__name__)
    if describe is None:
        raise _strange(kind)
    return describe(array)


def make_array(told: Description) -> Any:  # noqa: ANN401 - one of pandas' or NumPy's
    """Return a column from its parts."""
    return _MAKE[told["kind"]](told)


def describe_index(index: Any) -> Description:  # noqa: ANN401 - one of pandas'
    """Return an index in parts. Raises `Invalid` for a frequency that has no name."""
    match type(index).__name__:
        case "RangeIndex":
            return {"kind": "range", "v": range(index.start, index.stop, index.step), "name": index.name}
        case "MultiIndex":
            return {
                "kind": "levels",
                "levels": [describe_index(level) for level in index.levels],
                "codes": list(index.codes),
                "names": list(index.names),
            }
        case _:
            return {"kind": "index", "v": describe_array(_content(index)), "name": index.name} | _frequency(index)


def make_index(told: Description) -> Any:  # noqa: ANN401 - one of pandas'
    """Return an index from its parts."""
    pd = pandas()
    match told["kind"]:
        case "range":
            return pd.RangeIndex(told["v"], name=told["name"])
        case "levels":
            levels = [make_index(level) for level in told["levels"]]
            made = pd.MultiIndex(levels=levels, codes=[list(codes) for codes in told["codes"]], verify_integrity=False)
            return made.set_names(told["names"])
        case _:
            array = make_array(told["v"])
            index = pd.Index(array, dtype=array.dtype, name=told["name"], copy=False)
            return index.__class__(index, freq=told["freq"], name=told["name"]) if "freq" in told else index


def _content(index: Any) -> Any:  # noqa: ANN401 - an array
    import numpy as np  # noqa: PLC0415 - see describe_array

    return index.to_numpy() if isinstance(index.dtype, np.dtype) else index.array


def _frequency(index: Any) -> Description:  # noqa: ANN401 - see describe_index
    frequency = getattr(index, "freq", None)
    if frequency is None or type(index).__name__ == "PeriodIndex":
        return {}
    name: str = frequency.freqstr
    try:
        again = import_module("pandas.tseries.frequencies").to_offset(name)
    except ValueError:
        again = None
    if again != frequency or type(again) is not type(frequency):
        raise Invalid(f"an index with the frequency {name} cannot be kept", hint="set index.freq = None")
    return {"freq": name}


def _strange(kind: object) -> Invalid:
    return Invalid(f"no codec carries columns of type {kind}", hint="give it a type of pandas: frame.astype({...})")


def _cells(array: Any) -> Description:  # noqa: ANN401 - an array of objects
    cells = array.tolist() if array.ndim == 1 else list(array)
    kinds = set(map(type, cells))
    if str in kinds and kinds <= _TEXTS:
        return {"kind": "texts", "v": _as_texts(cells)}
    if not kinds <= _SMALL:
        _refuse_large(cells)
    return {"kind": "cells", "v": cells}


def _refuse_large(cells: list[Any]) -> None:
    """Raise `Invalid` for an integer that no column of numbers holds, here or wherever the frame goes next."""
    seen, waiting = set[int](), [cells]
    while waiting:
        for item in contents_of(waiting.pop()):
            if type(item) is int:
                if not _LEAST <= item <= _MOST:
                    raise Invalid(
                        f"an integer of more than 64 bits, {item if abs(item) < _SPELLED else 'a very long one'}",
                        hint="keep it as a text, or as a decimal.Decimal",
                    )
            elif id(item) not in seen:
                seen.add(id(item))
                waiting.append(cast("Any", item))


def _as_texts(cells: list[Any]) -> Any:  # noqa: ANN401 - an array of PyArrow
    pa = arrow.pyarrow()
    return pa.chunked_array([pa.array(cells, pa.large_string())])


def _of_texts(texts: Any) -> list[Any]:  # noqa: ANN401 - see _as_texts
    return texts.to_pylist()


def _describe_category(array: Any) -> Description:  # noqa: ANN401 - see describe_array
    kind = array.dtype
    return {
        "kind": "category",
        "v": array.codes,
        "categories": describe_index(kind.categories),
        "ordered": kind.ordered,
    }


def _make_category(told: Description) -> Any:  # noqa: ANN401 - see describe_array
    pd = pandas()
    kind = pd.CategoricalDtype(make_index(told["categories"]), ordered=told["ordered"])
    return pd.Categorical.from_codes(told["v"], dtype=kind)


def _describe_moments(array: Any) -> Description:  # noqa: ANN401 - see describe_array
    return {"kind": "moments", "v": array.asi8.view(f"M8[{array.dtype.unit}]"), "zone": array.dtype.tz}


def _make_moments(told: Description) -> Any:  # noqa: ANN401 - see describe_array
    return pandas().DatetimeIndex(told["v"]).tz_localize("UTC").tz_convert(told["zone"]).array


def _describe_strings(array: Any) -> Description:  # noqa: ANN401 - see describe_array
    pd = pandas()
    missing = array.isna()
    cells = [None if gone else text for text, gone in zip(array.tolist(), missing, strict=True)]
    is_nan = getattr(array.dtype, "na_value", pd.NA) is not pd.NA
    return {"kind": "strings", "v": _as_texts(cells), "storage": array.dtype.storage, "nan": is_nan}


def _make_strings(told: Description) -> Any:  # noqa: ANN401 - see describe_array
    pd = pandas()
    more = {"na_value": float("nan")} if told["nan"] else {}
    kind = pd.StringDtype(storage=told["storage"], **more)
    cells = of_cells(_of_texts(told["v"]))
    return pd.array(cells, dtype=kind)


def _describe_periods(array: Any) -> Description:  # noqa: ANN401 - see describe_array
    return {"kind": "periods", "v": array.asi8, "dtype": str(array.dtype)}


def _make_periods(told: Description) -> Any:  # noqa: ANN401 - see describe_array
    pd = pandas()
    return pd.arrays.PeriodArray(told["v"], dtype=pd.api.types.pandas_dtype(told["dtype"]))


def _describe_intervals(array: Any) -> Description:  # noqa: ANN401 - see describe_array
    left, right = describe_index(array.left), describe_index(array.right)
    return {"kind": "intervals", "left": left, "right": right, "closed": array.closed}


def _make_intervals(told: Description) -> Any:  # noqa: ANN401 - see describe_array
    left, right = make_index(told["left"]), make_index(told["right"])
    return pandas().arrays.IntervalArray.from_arrays(left, right, closed=told["closed"])


def _describe_sparse(array: Any) -> Description:  # noqa: ANN401 - see describe_array
    dense = describe_array(array.to_dense())
    return {"kind": "sparse", "v": dense, "fill": array.fill_value, "of": array.kind}


def _make_sparse(told: Description) -> Any:  # noqa: ANN401 - see describe_array
    dense, pd = make_array(told["v"]), pandas()
    kind = pd.SparseDtype(dense.dtype, told["fill"])
    return pd.arrays.SparseArray(dense, fill_value=told["fill"], kind=told["of"], dtype=kind)


def _make_masked(told: Description) -> Any:  # noqa: ANN401 - see describe_array
    kind = pandas().api.types.pandas_dtype(told["dtype"])
    return kind.construct_array_type()(told["v"], told["missing"])


_DESCRIBE: Mapping[str, Callable[[Any], Description]] = {
    "CategoricalDtype": _describe_category,
    "DatetimeTZDtype": _describe_moments,
    "StringDtype": _describe_strings,
    "PeriodDtype": _describe_periods,
    "IntervalDtype": _describe_intervals,
    "SparseDtype": _describe_sparse,
    "ArrowDtype": lambda array: {"kind": "arrow", "v": array.__arrow_array__()},
}
_MAKE: Mapping[str, Callable[[Description], Any]] = {
    "numpy": lambda told: told["v"],
    "cells": lambda told: of_cells(told["v"]),
    "texts": lambda told: of_cells(_of_texts(told["v"])),
    "masked": _make_masked,
    "category": _make_category,
    "moments": _make_moments,
    "strings": _make_strings,
    "periods": _make_periods,
    "intervals": _make_intervals,
    "sparse": _make_sparse,
    "arrow": lambda told: pandas().arrays.ArrowExtensionArray(told["v"]),
}
