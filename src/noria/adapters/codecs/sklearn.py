"""scikit-learn estimators as their state: a tree in JSON and arrays behind it, which are read without running any of it."""

import math
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from noria.adapters.codecs import trust
from noria.adapters.codecs.arrays import content_of, without_gaps
from noria.adapters.codecs.framing import framed, split
from noria.core.codecs import too_deep
from noria.core.errors import Invalid, NoriaError, NotInstalled
from noria.core.payloads import Payload, aligned, places

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Estimators:
    """Estimators of scikit-learn; what others have built on it is refused until it has a codec of its own."""

    name = "estimator"

    def carries(self, kind: type[Any]) -> bool:
        """Say whether it is a type of estimators; scikit-learn is not loaded to find out."""
        return trust.is_estimator(kind)

    def accepts(self, value: object) -> bool:
        """Say whether it is an estimator."""
        return self.carries(type(value))

    def encode(self, value: object) -> Payload:
        """Return the estimator's state. Raises `Invalid` when it holds a type that will not be trusted."""
        from noria.adapters.codecs.dismantling import Dismantled  # noqa: PLC0415 - NumPy is loaded with scikit-learn

        try:
            pieces = Dismantled(value)
        except RecursionError:
            raise too_deep() from None
        except NoriaError:
            raise
        except Exception as problem:
            raise Invalid(
                f"a {type(value).__name__} could not be written: {type(problem).__name__}: {problem}",
                hint="is it fitted, and made of scikit-learn's own parts?",
            ) from problem
        arrays = [_stored(array) for array in pieces.arrays]
        header = {"names": pieces.names, "arrays": [told for told, _ in arrays], "tree": pieces.tree}
        return framed(header, [content for _, content in arrays])

    def decode(self, payload: Payload) -> object:
        """Read the estimator. Raises `Invalid` when the bytes name a type that is not trusted; none is made then."""
        try:
            import_module("sklearn")
        except ModuleNotFoundError as problem:
            raise NotInstalled("scikit-learn", "sklearn") from problem
        from noria.adapters.codecs.assembling import Assembly  # noqa: PLC0415 - see encode

        header, rest = split(payload, "estimator")
        return Assembly(header["names"], _arrays(header["arrays"], rest)).read(header["tree"])

    def digest(self, value: object, payload: Payload) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of the bytes, which are the only ones that the state has."""
        return payload.digest


def _stored(array: "NDArray[Any]") -> tuple[Mapping[str, Any], Payload]:
    """Return what an array is, and its content; what lies between the fields of a record is chance, and left out."""
    from numpy.lib import format as npy  # noqa: PLC0415 - see Estimators.encode

    array = without_gaps(array)
    by_columns = array.flags.f_contiguous and not array.flags.c_contiguous
    content = content_of(array.T if by_columns else array)
    told = {"dtype": npy.dtype_to_descr(array.dtype), "shape": array.shape, "order": "F" if by_columns else "C"}
    return told, Payload(content)


def _arrays(told: list[dict[str, Any]], rest: Payload) -> list["NDArray[Any]"]:
    import numpy as np  # noqa: PLC0415 - see Estimators.encode

    from noria.adapters.codecs.assembling import dtype_of  # noqa: PLC0415 - see above

    content = rest.own()
    kinds = [dtype_of(one["dtype"]) for one in told]
    sizes = [kind.itemsize * math.prod(one["shape"]) for kind, one in zip(kinds, told, strict=True)]
    if any(kind.hasobject for kind in kinds) or sum(map(aligned, sizes)) != rest.size:
        raise Invalid("these bytes are no estimator: its arrays are not what they are said to be")
    return [
        np.ndarray(one["shape"], kind, content, begin, order=one["order"])
        for one, kind, begin in zip(told, kinds, places(sizes), strict=True)
    ]
