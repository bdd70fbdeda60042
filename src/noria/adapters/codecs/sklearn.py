"""scikit-learn estimators as their state: a tree in JSON and arrays behind it, which are read without running any of it."""

import logging
import math
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from noria.adapters.codecs import trust
from noria.adapters.codecs.arrays import content_of, without_gaps
from noria.adapters.codecs.framing import framed, split
from noria.core.codecs import too_deep
from noria.core.errors import Invalid, NoriaError, NotInstalled
from noria.core.payloads import Payload, aligned, places

_log = logging.getLogger("noria.codecs")

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
        """Read the estimator.

        Raises `Invalid` when the bytes name a type that is not trusted, and none is made then; or when its numbers
        would lead scikit-learn's compiled code astray.
        """
        try:
            here = str(import_module("sklearn").__version__)
        except ModuleNotFoundError as problem:
            raise NotInstalled("scikit-learn", "sklearn") from problem
        from noria.adapters.codecs import ranges  # noqa: PLC0415 - see encode
        from noria.adapters.codecs.assembling import Assembly  # noqa: PLC0415 - see encode

        header, rest = split(payload, "estimator")
        before = _written_with(header["tree"])
        try:
            found = Assembly(header["names"], _arrays(header["arrays"], rest)).read(header["tree"])
            ranges.check(found)
        except Exception as problem:
            if before in {None, here}:
                raise
            said = problem.sentence if isinstance(problem, NoriaError) else f"{type(problem).__name__}: {problem}"
            raise _of_another(before, here, said) from problem
        if before not in {None, here}:
            lacking = _lacking(ranges.parts_of(found))
            if lacking:
                raise _of_another(before, here, f"it lacks {', '.join(lacking[:5])}")
            _log.warning(
                "a %s was written with scikit-learn %s, and is read with %s", type(found).__name__, before, here
            )
        return found

    def digest(self, value: object, payload: Payload) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of the bytes, which are the only ones that the state has."""
        return payload.digest


def _written_with(tree: Any) -> str | None:  # noqa: ANN401 - a tree in JSON
    """Return the version of scikit-learn that an estimator was written with, if it says so."""
    state: Any = cast("dict[str, Any]", tree).get("state") if isinstance(tree, dict) else None
    found: Any = cast("dict[str, Any]", state).get("_sklearn_version") if isinstance(state, dict) else None
    return found if isinstance(found, str) else None


def _lacking(parts: Iterable[object]) -> list[str]:
    """Return the parameters that estimators have in this scikit-learn, and had not in the one that wrote them."""
    found: set[str] = set()
    for part in parts:
        kind = cast("Any", type(part))
        if trust.is_estimator(kind):
            found |= {f"{kind.__name__}.{name}" for name in kind._get_param_names() if name not in vars(part)}  # noqa: SLF001 - its only list of them
    return sorted(found)


def _of_another(before: str | None, here: str, words: str) -> Invalid:
    return Invalid(
        f"it was written with scikit-learn {before}, and scikit-learn {here} cannot read it: {words}",
        hint=f"pip install scikit-learn=={before}, or train the model again",
    )


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
