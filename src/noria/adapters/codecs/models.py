"""Models: an estimator by its own codec, and its preprocess as columns, or by the name and the code of a function."""

import json
import struct
from collections.abc import Callable
from types import FunctionType
from typing import Any, cast

from noria.core import digests
from noria.core.codecs import Codecs, Encoded
from noria.core.errors import CodeChanged, Invalid
from noria.pipelines.code import code_digest
from noria.pipelines.references import find, reference_to
from noria.pipelines.steps import Step
from noria.registry.model import Columns, Model

_LENGTH = struct.Struct(">I")


class Models:
    """`nr.Model`. No code is stored: whoever reads a model imports its preprocess, and its digest must be the same."""

    name = "model"

    def __init__(self, estimators: Codecs) -> None:
        self._estimators = estimators

    def accepts(self, value: object) -> bool:
        """Say whether it is a model."""
        return isinstance(value, Model)

    def encode(self, value: object) -> bytes:
        """Return a header in JSON and the estimator's bytes."""
        assert isinstance(value, Model)
        estimator = self._estimator(value)
        header = json.dumps(
            {"estimator": estimator.codec, "digest": estimator.digest, "preprocess": _described(value.preprocess)},
            sort_keys=True,
        ).encode()
        return _LENGTH.pack(len(header)) + header + estimator.payload

    def decode(self, payload: bytes) -> object:
        """Read the model and import its preprocess.

        Raises:
            CodeChanged: the preprocess does something else than when the model was trained.
            NotFound: it cannot be imported here.

        """
        header, rest = _split(payload)
        estimator = self._estimators.decode(header["estimator"], rest)
        return Model(estimator, preprocess=_imported(header["preprocess"]))

    def digest(self, value: object, payload: bytes) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of the estimator's content and the preprocess's code."""
        return digests.of_json(_split(payload)[0])

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


def _split(payload: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        start = _LENGTH.size + _LENGTH.unpack_from(payload)[0]
        return json.loads(payload[_LENGTH.size : start]), payload[start:]
    except (struct.error, ValueError) as problem:
        raise Invalid(f"these bytes are no model: {problem}") from problem


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
    function: object = find(described["reference"])
    if not isinstance(function, FunctionType | Step):
        raise CodeChanged(f"{described['reference']} is a function no more", hint="bring the old code back")
    if code_digest(cast("Callable[..., Any]", function)) != described["code"]:
        raise CodeChanged(
            f"the code of {described['reference']} is not what this model was trained with",
            hint="bring the old code back, or train the model again with the new one",
        )
    return cast("Callable[..., Any]", function)
