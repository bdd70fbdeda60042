"""Read what callers give as arrays of numbers, or say in words why that cannot be done."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noria.core.errors import Invalid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_HINT = "leave out or fill what is missing first; what cannot be read is never a score"


def numbers(values: ArrayLike, name: str) -> Floats:
    """Return one dimension of finite numbers, shape (n,); it may be empty."""
    found = numbers_or_nan(values, name)
    if not np.isfinite(found).all():
        raise Invalid(f"{name} hold NaN or infinity", hint=_HINT)
    return found


def numbers_or_nan(values: ArrayLike, name: str) -> Floats:
    """Return one dimension of numbers, shape (n,), NaN and infinity among them."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as problem:
        raise Invalid(f"{name} are not numbers: {problem}", hint=_HINT) from problem
    if found.ndim != 1:
        raise Invalid(
            f"{name} have {found.ndim} dimensions, not one", hint="give one array with one value for each row"
        )
    return found


def some_numbers(values: ArrayLike, name: str) -> Floats:
    """Return at least one finite number, shape (n,) with n > 0."""
    found = numbers(values, name)
    if not found.size:
        raise Invalid(f"{name} are empty", hint="there must be at least one row")
    return found


def counts(values: ArrayLike, name: str) -> Floats:
    """Return counts: finite, none of them negative, shape (n,)."""
    found = numbers(values, name)
    if (found < 0).any():
        raise Invalid(f"{name} hold a negative count", hint="a count starts at zero")
    return found


def of_equal_length(first: Floats, second: Floats, *, names: str) -> None:
    """Refuse two arrays that do not describe the same rows."""
    if first.shape != second.shape:
        raise Invalid(f"{names} are {first.size} and {second.size} long", hint="give one of each for every row")


def group_codes(groups: ArrayLike, rows: int) -> tuple[NDArray[np.generic], Ints]:
    """Return the distinct groups in order, shape (G,), and each row's place among them, shape (n,)."""
    given = np.asarray(groups)
    if given.shape != (rows,):
        raise Invalid(f"groups have the shape {given.shape}, not ({rows},)", hint="give one group for every row")
    names, codes = np.unique(given, return_inverse=True)
    return names, codes.astype(np.int64, copy=False)


def run_starts(ascending: Floats) -> Ints:
    """Return where each run of equal values begins, in a sorted array of shape (n,), n > 0."""
    return np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
