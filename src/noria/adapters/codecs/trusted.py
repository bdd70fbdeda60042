"""The exact lists of what a stored estimator may name: modules of estimators, types inside them, what they hand on.

Each is a room, and the names in it.
"""

from collections.abc import Iterable, Mapping

_ESTIMATORS = {
    "sklearn": "calibration discriminant_analysis dummy isotonic kernel_approximation kernel_ridge multiclass multioutput"
    " naive_bayes pipeline random_projection",
    "sklearn.cluster": "_affinity_propagation _agglomerative _bicluster _birch _bisect_k_means _dbscan _kmeans _mean_shift"
    " _optics _spectral",
    "sklearn.cluster._hdbscan": "hdbscan",
    "sklearn.compose": "_column_transformer _target",
    "sklearn.covariance": "_elliptic_envelope _empirical_covariance _graph_lasso _robust_covariance _shrunk_covariance",
    "sklearn.cross_decomposition": "_pls",
    "sklearn.decomposition": "_dict_learning _factor_analysis _fastica _incremental_pca _kernel_pca _lda _nmf _pca"
    " _sparse_pca _truncated_svd",
    "sklearn.ensemble": "_bagging _forest _gb _iforest _stacking _voting _weight_boosting",
    "sklearn.ensemble._hist_gradient_boosting": "binning gradient_boosting",
    "sklearn.feature_extraction": "_dict_vectorizer _hash image text",
    "sklearn.feature_selection": "_from_model _rfe _sequential _univariate_selection _variance_threshold",
    "sklearn.frozen": "_frozen",
    "sklearn.gaussian_process": "_gpc _gpr",
    "sklearn.impute": "_base _knn",
    "sklearn.linear_model": "_base _bayes _coordinate_descent _huber _least_angle _logistic _omp _passive_aggressive"
    " _perceptron _quantile _ransac _ridge _stochastic_gradient _theil_sen",
    "sklearn.linear_model._glm": "glm",
    "sklearn.manifold": "_classical_mds _isomap _locally_linear _mds _spectral_embedding _t_sne",
    "sklearn.mixture": "_bayesian_mixture _gaussian_mixture",
    "sklearn.model_selection": "_classification_threshold _search _search_successive_halving",
    "sklearn.neighbors": "_classification _graph _kde _lof _nca _nearest_centroid _regression _unsupervised",
    "sklearn.neural_network": "_multilayer_perceptron _rbm",
    "sklearn.preprocessing": "_data _discretization _encoders _function_transformer _label _polynomial _target_encoder",
    "sklearn.semi_supervised": "_label_propagation _self_training",
    "sklearn.svm": "_classes",
    "sklearn.tree": "_classes",
}
_LOSSES = (
    "AbsoluteError ExponentialLoss HalfBinomialLoss HalfGammaLoss HalfMultinomialLoss HalfPoissonLoss HalfSquaredError"
    " HalfTweedieLoss HalfTweedieLossIdentity HuberLoss PinballLoss"
)
_INSIDE = {
    "collections": "OrderedDict",
    "functools": "partial",
    "sklearn._loss._loss": " ".join(f"Cy{loss}" for loss in _LOSSES.split()),
    "sklearn._loss.link": "HalfLogitLink IdentityLink Interval LogLink LogitLink MultinomialLogit",
    "sklearn._loss.loss": _LOSSES,
    "sklearn.calibration": "_CalibratedClassifier",
    "sklearn.cluster._birch": "_CFNode _CFSubcluster",
    "sklearn.cluster._bisect_k_means": "_BisectingTree",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
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
_FUNCTIONS = {
    "sklearn.cluster._kmeans": "_kmeans_single_elkan _kmeans_single_lloyd",
    "sklearn.feature_selection": "chi2 f_classif f_oneway f_regression mutual_info_classif mutual_info_regression"
    " r_regression",
    "sklearn.metrics": "accuracy_score adjusted_mutual_info_score adjusted_rand_score average_precision_score"
    " balanced_accuracy_score brier_score_loss cohen_kappa_score completeness_score coverage_error"
    " d2_absolute_error_score d2_brier_score d2_log_loss_score d2_pinball_score d2_tweedie_score dcg_score"
    " explained_variance_score f1_score fbeta_score fowlkes_mallows_score hamming_loss hinge_loss homogeneity_score"
    " jaccard_score label_ranking_average_precision_score label_ranking_loss log_loss matthews_corrcoef max_error"
    " mean_absolute_error mean_absolute_percentage_error mean_gamma_deviance mean_pinball_loss mean_poisson_deviance"
    " mean_squared_error mean_squared_log_error mean_tweedie_deviance median_absolute_error mutual_info_score"
    " ndcg_score normalized_mutual_info_score precision_score r2_score rand_score recall_score roc_auc_score"
    " root_mean_squared_error root_mean_squared_log_error top_k_accuracy_score v_measure_score zero_one_loss",
    "sklearn.metrics._scorer": "negative_likelihood_ratio positive_likelihood_ratio",
    "sklearn.utils.validation": "check_array",
}
_HANDED_ON = _FUNCTIONS | {
    "builtins": "bool dict float int list object set str tuple",
    "numpy": "absolute arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil cos cosh degrees exp exp2 expm1 fabs floor"
    " isfinite isinf isnan log log10 log1p log2 max mean median min negative radians reciprocal rint sign sin sinh sqrt"
    " square tan tanh trunc bool bool_ bytes_ complex128 complex64 datetime64 float16 float32 float64 int16 int32 int64"
    " int8 longdouble object_ str_ timedelta64 uint16 uint32 uint64 uint8",
    "scipy.special": "erf expit gammaln logit",
}


def _spelled(rooms: Mapping[str, str]) -> Iterable[str]:
    return (f"{room}.{name}" for room, names in rooms.items() for name in names.split())


HOMES = frozenset(_spelled(_ESTIMATORS))
"""Modules of scikit-learn that define estimators; no other module is imported to look for one."""
TYPES = frozenset(_spelled(_INSIDE))
"""Types that estimators hold inside."""
FUNCTIONS = frozenset(_spelled(_FUNCTIONS))
"""Functions that calculate from their arguments, and do nothing else; a `partial` is of one of them."""
VALUES = frozenset(_spelled(_HANDED_ON))
"""Functions and types that estimators hold as they are. Reading an estimator calls none of them."""
