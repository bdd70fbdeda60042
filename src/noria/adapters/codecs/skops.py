"""Estimators that an older Noria wrote with skops: they are still read, by an exact list of types, and no more written."""

from importlib import import_module
from typing import Any

from noria.core.errors import Invalid, NotInstalled
from noria.core.payloads import Payload

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
"""Types that skops does not trust by itself and that are scikit-learn's own, or that it uses inside."""


class SkopsEstimators:
    """Reads what is stored; accepts nothing to be written."""

    name = "skops"

    def carries(self, kind: type[Any]) -> bool:  # noqa: ARG002 - the port's signature
        """Say no."""
        return False

    def accepts(self, value: object) -> bool:  # noqa: ARG002 - the port's signature
        """Say no."""
        return False

    def encode(self, value: object) -> Payload:  # noqa: ARG002 - the port's signature
        """Raise `Invalid`, for nothing is accepted."""
        raise Invalid(
            "nothing is written with skops any more", hint="use the codec of estimators, which `standard` asks first"
        )

    def decode(self, payload: Payload) -> object:
        """Read the estimator. Raises `Invalid` when the bytes name a type that is not trusted; nothing of it is run."""
        from noria.adapters.codecs import ranges  # noqa: PLC0415 - NumPy is loaded with scikit-learn

        skops, content = _skops(), bytes(payload)
        try:
            untrusted = sorted(set(skops.get_untrusted_types(data=content)) - TRUSTED)
        except Exception as problem:
            raise Invalid(f"these bytes are no estimator: {type(problem).__name__}: {problem}") from problem
        if untrusted:
            raise Invalid(
                f"the estimator holds {untrusted[0]}, which is not trusted", hint="train the model again, and store it"
            )
        found = skops.loads(content, trusted=sorted(TRUSTED))
        ranges.check(found)
        return found

    def digest(self, value: object, payload: Payload) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of the bytes."""
        return payload.digest


def _skops() -> Any:  # noqa: ANN401 - an optional extra, slow to load, that ships no stubs
    try:
        return import_module("skops.io")
    except ModuleNotFoundError as problem:
        raise NotInstalled("skops, which this older model was written with,", "skops") from problem
