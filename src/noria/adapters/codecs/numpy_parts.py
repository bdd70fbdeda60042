"""Arrays of NumPy that npy does not say in full: of Python objects, masked ones, matrices and records."""

import math
from typing import Any, cast

from noria.adapters.codecs.described import Description
from noria.core.errors import Invalid

_VIEWS = frozenset({"matrix", "recarray", "chararray"})
_MASKED = frozenset({"numpy.ma", "numpy.ma.core"})


def is_kind(kind: type[Any]) -> bool:
    """Say whether it is a type of arrays that may have to be described; NumPy is not loaded to find out."""
    if kind.__name__ == "MaskedArray":
        return kind.__module__ in _MASKED
    module, name = kind.__module__, kind.__name__
    return module.partition(".")[0] == "numpy" and (name == "ndarray" or name in _VIEWS)


def is_needed(array: Any) -> bool:  # noqa: ANN401 - NumPy is not loaded here
    """Say whether an array is more than its numbers: one of Python objects, or of a class of its own."""
    return type(array).__name__ != "ndarray" or bool(array.dtype.hasobject)


def describe(array: Any) -> Description:  # noqa: ANN401 - see is_needed
    """Return an array in parts. Raises `Invalid` for records that hold Python objects."""
    import numpy as np  # noqa: PLC0415 - whoever has an array has loaded it

    name = type(array).__name__
    if name == "MaskedArray":
        return {
            "kind": "masked",
            "data": np.asarray(array.data),
            "mask": None if array.mask is np.ma.nomask else array.mask,
            "fill": array.fill_value,
            "hard": array.hardmask,
        }
    if array.dtype.char != "O" and array.dtype.hasobject:
        raise Invalid(
            f"no codec carries an array of type {array.dtype}, whose items lie elsewhere in memory",
            hint="give it a type of fixed size, such as array.astype(str), or use a frame",
        )
    if name in _VIEWS:
        bare = array.view(np.ndarray)
        is_record = bare.dtype.type is np.record
        return {
            "kind": name,
            "record": is_record,
            "data": bare.view(_bare(bare.dtype)) if is_record else bare,
        }
    return {"kind": "objects", "shape": list(array.shape), "cells": array.ravel().tolist()}


def _bare(kind: Any) -> Any:  # noqa: ANN401 - a type of records
    import numpy as np  # noqa: PLC0415 - see describe

    return np.dtype((np.void, kind))


def make(told: Description) -> object:
    """Return an array from its parts."""
    import numpy as np  # noqa: PLC0415 - see describe

    kind = told["kind"]
    if kind == "masked":
        mask = np.ma.nomask if told["mask"] is None else told["mask"]
        return np.ma.MaskedArray(told["data"], mask=mask, fill_value=told["fill"], hard_mask=told["hard"])
    if kind in _VIEWS:
        data = told["data"]
        bare = data.view(np.dtype((np.record, data.dtype))) if told["record"] else data
        return bare.view(getattr(np.char if kind == "chararray" else np, kind))
    return of_cells(told["cells"], told["shape"])


def of_cells(cells: list[Any], shape: list[int] | None = None) -> Any:  # noqa: ANN401 - an array
    """Return an array of Python objects, whatever they are: a list in a cell stays one."""
    import numpy as np  # noqa: PLC0415 - see describe

    if shape is not None and math.prod(shape) != len(cells):
        raise Invalid("these bytes are no array: its cells are not as many as its shape says")
    flat = cast("Any", np).empty(len(cells), dtype=object)
    for place, cell in enumerate(cells):
        flat[place] = cell
    return flat if shape is None else flat.reshape(shape)
