"""NumPy arrays in NumPy's own npy format, never with pickled objects in them, and read where they lie."""

import io
from typing import TYPE_CHECKING, Any, cast

from noria.core import digests
from noria.core.errors import Invalid
from noria.core.payloads import Payload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Arrays:
    """NumPy arrays of numbers, texts and dates."""

    name = "npy"

    def carries(self, kind: type[Any]) -> bool:
        """Say whether it is a type of arrays; NumPy is not loaded to find out."""
        return kind.__module__ == "numpy" and kind.__name__ in {"ndarray", "memmap"}

    def accepts(self, value: object) -> bool:
        """Say whether it is an array."""
        return self.carries(type(value))

    def encode(self, value: object) -> Payload:
        """Return the array's npy file; one that holds Python objects is refused."""
        from numpy.lib import format as npy  # noqa: PLC0415 - whoever has an array has loaded it

        array = without_gaps(cast("NDArray[Any]", value))
        if array.dtype.hasobject:
            raise Invalid(
                "an array of Python objects could only be pickled",
                hint="give it a type: array.astype(float), or a Polars frame",
            )
        header = io.BytesIO()
        if array.dtype.names is not None:  # a header of its own kind
            npy.write_array(header, array, allow_pickle=False)
            return Payload(header.getbuffer())
        npy.write_array_header_1_0(header, npy.header_data_from_array_1_0(array))
        by_columns = array.flags.f_contiguous and not array.flags.c_contiguous
        return Payload(header.getbuffer(), content_of(array.T if by_columns else array))

    def decode(self, payload: Payload) -> object:
        """Return the array; what is written to it goes to memory of its own, page by page."""
        import numpy as np  # noqa: PLC0415 - see encode
        from numpy.lib import format as npy  # noqa: PLC0415 - see encode

        content = payload.own()
        header = io.BytesIO(content[:_MOST_HEADER])
        try:
            if npy.read_magic(header) != (1, 0):
                return npy.read_array(io.BytesIO(content), allow_pickle=False)
            shape, by_columns, kind = npy.read_array_header_1_0(header)
            if kind.hasobject:  # what were numbers in the file would be addresses
                raise Invalid("these bytes are no array that is trusted: its items are Python objects")
            return np.ndarray(shape, kind, content, header.tell(), order="F" if by_columns else "C")
        except (TypeError, ValueError) as problem:
            raise Invalid(f"these bytes are no array: {problem}") from problem

    def digest(self, value: object, payload: Payload) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of type, shape and values; whether rows or columns come first in memory does not matter."""
        array = without_gaps(cast("NDArray[Any]", value))
        return digests.of_parts([_told_of(array.dtype), repr(array.shape).encode(), content_of(array)])


_MOST_HEADER = 1 << 16


def without_gaps(array: "NDArray[Any]") -> "NDArray[Any]":
    """Return an array in which nothing lies between the fields of its records; that would be chance."""
    import numpy as np  # noqa: PLC0415 - see Arrays.encode

    if array.dtype.names is None or array.dtype.hasobject:
        return array
    bare = np.zeros(array.shape, array.dtype)
    for field in array.dtype.names:
        bare[field] = without_gaps(array[field])
    return bare


def content_of(array: "NDArray[Any]") -> memoryview:
    """Return the bytes of an array, row by row, where it lies if it lies so."""
    import numpy as np  # noqa: PLC0415 - see Arrays.encode

    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _told_of(kind: "np.dtype[Any]") -> bytes:
    """Return the type of an array in words; that of records with the names of their fields."""
    from numpy.lib import format as npy  # noqa: PLC0415 - see Arrays.encode

    return kind.str.encode() if kind.names is None else repr(npy.dtype_to_descr(kind)).encode()
