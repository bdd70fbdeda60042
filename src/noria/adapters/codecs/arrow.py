"""Tables of Arrow: read where they lie, and known by their columns and values, without loading Polars."""

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from noria.core import digests
from noria.core.digests import Buffer
from noria.core.errors import NotInstalled
from noria.core.payloads import Payload

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEXTS = ("string", "large_string", "string_view", "binary", "binary_view")

Table = Any
"""One of PyArrow's, which has no types here."""


def pyarrow() -> Any:  # noqa: ANN401 - an optional module, without stubs
    """Return PyArrow. Raises `NotInstalled`."""
    try:
        import_module("pyarrow.ipc")
        return import_module("pyarrow")
    except ImportError:
        raise NotInstalled("pyarrow, which carries frames of pandas,", "pandas") from None


def read(payload: Payload) -> Table:
    """Return the table in an Arrow IPC file; what is not compressed stays where the payload lies."""
    pa = pyarrow()
    return pa.ipc.open_file(pa.py_buffer(payload.view())).read_all()


def table_digest(table: Table) -> str:
    """Return the digest of a table's columns, types, categories and values; how it is chunked does not matter.

    Missing values and NaN are told apart; all NaN are one.
    """
    return digests.of_parts(_parts(table))


def _parts(table: Table) -> Iterator[Buffer]:
    yield str(table.num_rows).encode()
    for field, column in zip(table.schema, table.columns, strict=True):
        yield field.name.encode()
        yield str(field.type).encode()
        if pyarrow().types.is_dictionary(field.type):
            yield from _categories(column)
        yield from _values(_whole(column))


def _categories(column: Any) -> Iterator[Buffer]:  # noqa: ANN401 - one of PyArrow's
    """Yield the values that a column chooses from: their order is content, and so are those that it never chose."""
    pa = pyarrow()
    first = next(iter(column.unify_dictionaries().chunks), None)
    if first is not None:
        yield str(len(first.dictionary)).encode()
        yield from _values(_whole(pa.chunked_array([first.dictionary])))


def _whole(column: Any) -> Any:  # noqa: ANN401 - one of PyArrow's
    """Return a column as one array; texts are given the wide offsets that many of them need."""
    pa = pyarrow()
    types, kind = pa.types, column.type
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if any(getattr(types, f"is_{name}")(kind) for name in _TEXTS):
        column = column.cast(pa.large_binary())
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _values(array: Any) -> Iterator[Buffer]:  # noqa: ANN401 - see _whole
    import numpy as np  # noqa: PLC0415 - whoever has PyArrow's tables has loaded it

    types, kind = pyarrow().types, array.type
    yield np.packbits(array.is_null().to_numpy(zero_copy_only=False)).tobytes()
    if types.is_large_binary(kind):
        yield from _texts(array)
    elif types.is_floating(kind):
        numbers: NDArray[Any] = array.fill_null(0).to_numpy(zero_copy_only=False)
        missing = np.isnan(numbers)
        yield np.ascontiguousarray(np.where(missing, np.nan, numbers) if missing.any() else numbers).data
    elif types.is_primitive(kind):
        yield np.ascontiguousarray(_numbers(array)).data
    else:
        yield from (repr(value).encode() for value in array.to_pylist())


def _numbers(array: Any) -> "NDArray[Any]":  # noqa: ANN401 - see _whole
    pa = pyarrow()
    if pa.types.is_temporal(array.type):
        array = array.view(pa.int64() if array.type.bit_width == 64 else pa.int32())  # noqa: PLR2004 - bits
    return array.fill_null(False if pa.types.is_boolean(array.type) else 0).to_numpy(zero_copy_only=False)


def _texts(array: Any) -> Iterator[Buffer]:  # noqa: ANN401 - see _whole
    """Return how long each text is, then all of them; what a missing one would have lain over is left out."""
    import numpy as np  # noqa: PLC0415 - see _values

    full = array.fill_null(b"") if array.null_count else array
    _, offsets, content = full.buffers()
    if offsets is None:
        return
    ends: NDArray[Any] = np.frombuffer(offsets, np.int64, len(full) + 1, full.offset * 8)
    yield np.diff(ends).data
    yield memoryview(content if content is not None else b"")[int(ends[0]) : int(ends[-1])]
