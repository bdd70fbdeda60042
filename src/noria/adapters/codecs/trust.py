"""What a stored estimator may be made of; of a name that is not found here nothing is made.

No module is imported to look for a name but those of scikit-learn, SciPy and NumPy, and the three of Python named below.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any, cast

from noria.core.errors import Invalid

_LOSSES = (
    "AbsoluteError ExponentialLoss HalfBinomialLoss HalfGammaLoss HalfMultinomialLoss HalfPoissonLoss HalfSquaredError"
    " HalfTweedieLoss HalfTweedieLossIdentity HuberLoss PinballLoss"
)
_INSIDE = {
    "collections": "OrderedDict defaultdict",
    "functools": "partial",
    "scipy.interpolate._interpolate": "interp1d",
    "sklearn._loss._loss": " ".join(f"Cy{loss}" for loss in _LOSSES.split()),
    "sklearn._loss.link": "HalfLogitLink IdentityLink Interval LogLink LogitLink MultinomialLogit",
    "sklearn._loss.loss": _LOSSES,
    "sklearn.calibration": "_CalibratedClassifier _SigmoidCalibration",
    "sklearn.cluster._birch": "_CFNode _CFSubcluster",
    "sklearn.cluster._bisect_k_means": "_BisectingTree",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.gaussian_process._gpc": "_BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels": "CompoundKernel ConstantKernel DotProduct ExpSineSquared Exponentiation Matern"
    " PairwiseKernel Product RBF RationalQuadratic Sum WhiteKernel",
    "sklearn.linear_model._sgd_fast": "EpsilonInsensitive Hinge ModifiedHuber SquaredEpsilonInsensitive SquaredHinge",
    "sklearn.metrics._dist_metrics": "ChebyshevDistance64 EuclideanDistance64 ManhattanDistance64 MinkowskiDistance64",
    "sklearn.metrics._scorer": "_CurveScorer _MultimetricScorer _PassthroughScorer _Scorer",
    "sklearn.model_selection._split": "GroupKFold GroupShuffleSplit KFold LeaveOneGroupOut LeaveOneOut PredefinedSplit"
    " RepeatedKFold RepeatedStratifiedKFold ShuffleSplit StratifiedGroupKFold StratifiedKFold StratifiedShuffleSplit"
    " TimeSeriesSplit",
    "sklearn.neighbors._ball_tree": "BallTree",
    "sklearn.neighbors._kd_tree": "KDTree",
    "sklearn.neural_network._stochastic_optimizers": "AdamOptimizer SGDOptimizer",
    "sklearn.tree._tree": "Tree",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.utils._metadata_requests": "MetadataRequest MethodMetadataRequest",
} | {f"scipy.sparse._{kind}": f"{kind}_matrix {kind}_array" for kind in ("bsr", "coo", "csc", "csr", "dia", "lil")}
TRUSTED = frozenset(f"{module}.{name}" for module, names in _INSIDE.items() for name in names.split())
"""Types that estimators hold inside; beside them, scikit-learn's own estimators themselves are trusted.

None runs code of its caller's when it is made. What a `partial` would call must be trusted itself. Trees and sparse
matrices index memory by the numbers in them, so a forged one could read beyond it: bytes reach the codec only from
blobs, whose digest the database keeps.
"""

_CALCULATE = ("sklearn.metrics", "sklearn.feature_selection")
"""Rooms of scikit-learn whose public functions calculate from their arguments and do nothing else."""
_HANDED_ON = frozenset(
    f"builtins.{kind.__name__}" for kind in (bool, dict, float, int, list, object, set, str, tuple)
) | {
    "numpy.max",
    "numpy.mean",
    "numpy.median",
    "numpy.min",
    "sklearn.cluster._kmeans._kmeans_single_elkan",
    "sklearn.cluster._kmeans._kmeans_single_lloyd",
    "sklearn.utils.validation.check_array",
}


def name_of_type(kind: type[Any]) -> str:
    """Return the name under which a type is found again; raises `Invalid` for one that is not trusted."""
    return _checked(f"{_module(kind)}.{kind.__qualname__}", kind, type_named)


def name_of_value(value: Any) -> str:  # noqa: ANN401 - a function, or a type that is handed on
    """Return the name of a function or of a type that calculates; raises `Invalid` for one that is not trusted."""
    return _checked(_name(value), value, value_named)


def check(name: str) -> None:
    """Raise `Invalid` unless a name is trusted, as a type that may be made or as what may be handed on."""
    try:
        type_named(name)
    except Invalid:
        value_named(name)


@cache
def type_named(name: str) -> type[Any]:
    """Return the type that may be made; raises `Invalid` for any other name, which is not imported."""
    module, _, kind = name.rpartition(".")
    if name in TRUSTED:
        return cast("type[Any]", _inside(module, kind, name))
    if module.startswith("sklearn.") and "tests" not in module.split("."):
        found = _inside(module, kind, name)
        if isinstance(found, type) and found.__module__ == module and is_estimator(cast("type[Any]", found)):
            return cast("type[Any]", found)
    raise refused(name)


@cache
def value_named(name: str) -> Any:  # noqa: ANN401 - see name_of_value
    """Return the function or the type that may be handed on; raises `Invalid` for any other name."""
    room, _, said = name.rpartition(".")
    if name in _HANDED_ON:
        return _inside(room, said, name)
    if room == "numpy":
        found = _inside(room, said, name)
        if isinstance(found, _numpy().ufunc) or (isinstance(found, type) and issubclass(found, _numpy().generic)):
            return found
    if room == "scipy.special" and isinstance(found := _inside(room, said, name), _numpy().ufunc):
        return found
    if room in _CALCULATE and isinstance(found := _inside(room, said, name), FunctionType):
        return found
    raise refused(name)


def is_estimator(kind: type[Any]) -> bool:
    """Say whether it is a type of estimator; scikit-learn is not loaded to find out."""
    return any(base.__module__ == "sklearn.base" and base.__name__ == "BaseEstimator" for base in kind.__mro__)


def refused(name: str) -> Invalid:
    """Return what is raised for a name that is not trusted."""
    return Invalid(
        f"the estimator holds {name}, which is not trusted",
        hint="use scikit-learn's own types; put functions into nr.Model(estimator, preprocess=function)",
    )


def _checked(name: str, value: object, find: Callable[[str], object]) -> str:
    if find(name) is not value:
        raise refused(name)
    return name


def _module(kind: type[Any]) -> str:
    return "sklearn._loss._loss" if kind.__module__ == "_loss" else kind.__module__  # as some builds of it say


def _name(value: Any) -> str:  # noqa: ANN401 - see name_of_value
    name = cast("str", getattr(value, "__qualname__", None) or getattr(value, "__name__", repr(value)))
    if getattr(_numpy(), name, None) is value:
        return f"numpy.{name}"
    if isinstance(value, _numpy().ufunc):
        return f"scipy.special.{name}"
    module = str(getattr(value, "__module__", type(value).__module__))
    public = next((room for room in _CALCULATE if module.startswith(f"{room}.")), module)
    return f"{public}.{name}"


def _inside(module: str, name: str, full: str) -> object:
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as problem:
        raise Invalid(
            f"the estimator holds {full}, which is not there", hint="install the scikit-learn that it was written with"
        ) from problem


def _numpy() -> ModuleType:
    return import_module("numpy")
