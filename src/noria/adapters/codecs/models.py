"""Models: an estimator by its own codec, and its preprocess as columns, or by the name and the code of a function."""

from collections.abc import Callable
from types import FunctionType
from typing import Any, cast

from noria.adapters.codecs.framing import framed, header_of, split
from noria.core import digests
from noria.core.codecs import Codecs, Encoded
from noria.core.errors import CodeChanged, Invalid, NoriaError
from noria.core.payloads import Payload
from noria.pipelines.code import code_digest
from noria.pipelines.references import find, reference_to
from noria.pipelines.steps import Step
from noria.registry.model import Columns, Model


class Models:
    """`nr.Model`. No code is stored: whoever reads a model imports its preprocess, and its digest must be the same."""

    name = "model"

    def __init__(self, estimators: Codecs) -> None:
        self._estimators = estimators

    def carries(self, kind: type[Any]) -> bool:
        """Say whether it is the type of models."""
        return issubclass(kind, Model)

    def accepts(self, value: object) -> bool:
        """Say whether it is a model."""
        return isinstance(value, Model)

    def encode(self, value: object) -> Payload:
        """Return a header in JSON and the estimator's bytes."""
        assert isinstance(value, Model)
        estimator = self._estimator(value)
        told = {"estimator": estimator.codec, "digest": estimator.digest, "preprocess": _described(value.preprocess)}
        return framed(told, [estimator.payload])

    def decode(self, payload: Payload) -> object:
        """Read the model and import its preprocess.

        Raises:
            CodeChanged: the preprocess does something else than when the model was trained.
            NotFound: it cannot be imported here.

        """
        header, rest = split(payload, "model")
        estimator = self._estimators.decode(header["estimator"], rest)
        return Model(estimator, preprocess=_imported(header["preprocess"]))

    def digest(self, value: object, payload: Payload) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of the estimator's content and the preprocess's code."""
        return digests.of_json(header_of(payload, "model")[0])

    def _estimator(self, model: Model) -> Encoded:
        try:
            return self._estimators.encode(model.estimator)
        except Invalid as problem:
            if not problem.sentence.startswith("no codec"):
                raise
            kind = cast("type[Any]", type(model.estimator))
            raise Invalid(
                f"no codec carries an estimator of type {kind.__module__}.{kind.__qualname__}",
                hint="use an estimator of scikit-learn",
            ) from problem


def _described(preprocess: Callable[..., Any] | None) -> dict[str, Any] | None:
    if preprocess is None:
        return None
    if isinstance(preprocess, Columns):
        return {"columns": list(preprocess.names)}
    name = getattr(preprocess, "__qualname__", "")
    if not isinstance(cast("object", preprocess), FunctionType | Step) or "<" in name:
        raise Invalid(
            f"the preprocess {name or preprocess!r} cannot be found again by its name",
            hint="define it with def at the top of a module",
        )
    return {"reference": reference_to(preprocess), "code": code_digest(preprocess)}


def _imported(described: dict[str, Any] | None) -> Callable[..., Any] | None:
    if described is None:
        return None
    if "columns" in described:
        return Columns(tuple(described["columns"]))
    try:
        function: object = find(described["reference"])
    except NoriaError:
        raise
    except Exception as problem:
        raise CodeChanged(
            f"{described['reference']} cannot be imported: {type(problem).__name__}: {problem}",
            hint="mend its module, or bring the old code back",
        ) from problem
    if not isinstance(function, FunctionType | Step):
        raise CodeChanged(f"{described['reference']} is a function no more", hint="bring the old code back")
    if code_digest(cast("Callable[..., Any]", function)) != described["code"]:
        raise CodeChanged(
            f"the code of {described['reference']} is not what this model was trained with",
            hint="bring the old code back, or train the model again with the new one",
        )
    return cast("Callable[..., Any]", function)
