"""scikit-learn estimators by skops, which reads them by an exact list of types and never runs what it reads."""

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any, cast

from noria.core import digests
from noria.core.errors import Invalid, NotInstalled

if TYPE_CHECKING:
    from types import ModuleType

TRUSTED = frozenset(
    {
        "functools.partial",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils.validation.check_array",
    }
)
"""Types that skops does not trust by itself and that are scikit-learn's own, or that it uses inside.

None runs code when it is read; what a `partial` would call must be trusted itself. Trees index memory by the numbers in them, so a forged one could read beyond it: bytes
reach this codec only from blobs, whose digest the database keeps.
"""

_VOLATILE = frozenset({"__id__", "_skops_version", "protocol"})


class Estimators:
    """Estimators of scikit-learn; what others have built on it is refused until it has a codec of its own."""

    name = "skops"

    def accepts(self, value: object) -> bool:
        """Say whether it is an estimator; scikit-learn is not loaded to find out."""
        kinds = cast("type[Any]", type(value)).__mro__
        return any(kind.__module__ == "sklearn.base" and kind.__name__ == "BaseEstimator" for kind in kinds)

    def encode(self, value: object) -> bytes:
        """Return the estimator as skops writes it. Raises `Invalid` when it holds a type that will not be trusted."""
        skops = _skops()
        try:
            payload: bytes = skops.dumps(value, compression=zipfile.ZIP_STORED)
        except Exception as problem:
            raise Invalid(
                f"a {type(value).__name__} could not be written: {type(problem).__name__}: {problem}",
                hint="is it fitted, and made of scikit-learn's own parts?",
            ) from problem
        _refuse_untrusted(skops, payload)
        return payload

    def decode(self, payload: bytes) -> object:
        """Read the estimator. Raises `Invalid` when the bytes name a type that is not trusted; nothing of it is run."""
        skops = _skops()
        try:
            return skops.loads(payload, trusted=sorted(TRUSTED))  # which audits all of it before it makes anything
        except Exception:
            _refuse_untrusted(skops, payload)
            raise

    def digest(self, value: object, payload: bytes) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of types, parameters and arrays; skops gives one model other bytes each time."""
        with zipfile.ZipFile(io.BytesIO(payload)) as parts:
            names = {name: _of_part(name, parts.read(name)) for name in parts.namelist() if name != "schema.json"}
            schema: object = json.loads(parts.read("schema.json"))
        return digests.of_json(_steady(schema, names))


def _of_part(name: str, content: bytes) -> str:
    """Return the digest of a file of the archive; of an array by its fields, for what lies between them is chance."""
    import numpy as np  # noqa: PLC0415 - loaded with scikit-learn

    if not name.endswith(".npy"):
        return digests.of_bytes(content)
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return digests.of_bytes(content)
    fields = [np.ascontiguousarray(array[field]).tobytes() for field in array.dtype.names]
    return digests.of_parts([repr(array.dtype.descr).encode(), repr(array.shape).encode(), *fields])


def _steady(schema: Any, names: dict[str, str]) -> Any:  # noqa: ANN401 - JSON
    """Return the schema without addresses in memory, and with files named by what is in them."""
    if isinstance(schema, dict):
        fields = cast("dict[str, Any]", schema)
        return {key: _steady(item, names) for key, item in fields.items() if key not in _VOLATILE}
    if isinstance(schema, list):
        return [_steady(item, names) for item in cast("list[Any]", schema)]
    return names.get(schema, schema) if isinstance(schema, str) else schema


def _refuse_untrusted(skops: "ModuleType", payload: bytes) -> None:
    try:
        untrusted = sorted(set(skops.get_untrusted_types(data=payload)) - TRUSTED)
    except Exception as problem:
        raise Invalid(f"these bytes are no estimator: {type(problem).__name__}: {problem}") from problem
    if untrusted:
        raise Invalid(
            f"the estimator holds {untrusted[0]}, which is not trusted",
            hint="use scikit-learn's own types; put functions into nr.Model(estimator, preprocess=function)",
        )


def _skops() -> "ModuleType":
    try:
        import skops.io as skops  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs] - an optional extra, slow to load, that ships no stubs
    except ModuleNotFoundError as problem:
        raise NotInstalled("scikit-learn with skops", "sklearn") from problem
    return skops
