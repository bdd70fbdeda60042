"""NumPy arrays in NumPy's own npy format, never with pickled objects in them."""

import io
from typing import TYPE_CHECKING, Any, cast

from noria.core import digests
from noria.core.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Arrays:
    """NumPy arrays of numbers, texts and dates."""

    name = "npy"

    def accepts(self, value: object) -> bool:
        """Say whether it is an array; NumPy is not loaded to find out."""
        return type(value).__module__ == "numpy" and type(value).__name__ == "ndarray"

    def encode(self, value: object) -> bytes:
        """Return the array's npy file; one that holds Python objects is refused."""
        import numpy as np  # noqa: PLC0415 - whoever has an array has loaded it

        array = cast("NDArray[Any]", value)
        if array.dtype.hasobject:
            raise Invalid(
                "an array of Python objects could only be pickled",
                hint="give it a type: array.astype(float), or a Polars frame",
            )
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        return buffer.getvalue()

    def decode(self, payload: bytes) -> object:
        """Read the array."""
        import numpy as np  # noqa: PLC0415 - see encode

        try:
            return np.load(io.BytesIO(payload), allow_pickle=False)
        except ValueError as problem:
            raise Invalid(f"these bytes are no array: {problem}") from problem

    def digest(self, value: object, payload: bytes) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of type, shape and values; whether rows or columns come first in memory does not matter."""
        import numpy as np  # noqa: PLC0415 - see encode

        array = np.ascontiguousarray(cast("NDArray[Any]", value))
        shape = np.asarray(cast("NDArray[Any]", value)).shape
        return digests.of_parts([array.dtype.str.encode(), repr(shape).encode(), array.tobytes()])
