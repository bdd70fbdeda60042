"""Checks the numbers by which compiled code finds its way through an estimator that was read.

scikit-learn's compiled loops believe what `fit` has left: a child, a feature or an index out of range reads or writes
whatever lies there, and a circle of children never ends. So each is held against its range before anybody predicts.
Nothing that was read is called; its fields are looked at.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from noria.core.errors import Invalid

Fields = Mapping[str, Any]
_ATOMS = frozenset({type(None), bool, int, float, str, bytes, slice, partial})
"""What nothing is looked for in; looking into a partial would give it a dictionary, and so another digest."""


def parts_of(estimator: object) -> Iterator[object]:
    """Yield an estimator and everything inside it that is no plain value, each once."""
    waiting, met = [estimator], set[int]()
    while waiting:
        value = waiting.pop()
        if type(value) not in _ATOMS and id(value) not in met:
            met.add(id(value))
            waiting += _parts(value)
            yield value


def check(estimator: object) -> None:
    """Raise `Invalid` if anything inside an estimator would lead compiled code astray."""
    for value in parts_of(estimator):
        kind = cast("type[Any]", type(value))
        find = _CHECKS.get(f"{kind.__module__}.{kind.__qualname__}") or _CHECKS.get(kind.__module__)
        if find is not None:
            _run(find, value, kind)


def _run(find: Callable[[Any], None], value: object, kind: type[Any]) -> None:
    try:
        find(value)
    except Invalid:
        raise
    except Exception as problem:
        raise _astray(kind, f"{type(problem).__name__}: {problem}") from problem


def _parts(value: Any) -> list[Any]:  # noqa: ANN401 - anything that was read
    kind = cast("type[Any]", type(value))
    if kind in {list, tuple, set, frozenset}:
        return list(value)
    if kind is np.ndarray:
        return cast("list[Any]", value.ravel().tolist()) if value.dtype.hasobject else []
    values = cast("Callable[[Any], list[Any]]", getattr(dict, "values"))  # noqa: B009 - not the object's own, which would be called
    held = list(values(value)) if issubclass(kind, dict) else []
    return [*held, *_fields(value).values()]


def _fields(value: object) -> dict[str, Any]:
    try:
        return vars(value)
    except TypeError:
        return {}


def _astray(kind: type[Any], words: str) -> Invalid:
    return Invalid(
        f"a {kind.__qualname__} cannot be as its bytes say: {words}",
        hint="these bytes were changed, or written by other hands; train the model again, and store it",
    )


def _must(value: object, holds: Any, words: str) -> None:  # noqa: ANN401 - a truth of Python or NumPy
    if not bool(holds):
        raise _astray(cast("type[Any]", type(value)), words)


def _whole(owner: object, fields: Fields, name: str) -> int:
    """Return a field that has to be a whole number."""
    value = fields.get(name)
    _must(owner, type(value) is int or isinstance(value, np.integer), f"{name} is no whole number")
    return int(cast("Any", value))


def _array(owner: object, fields: Fields, name: str, *, kinds: str = "iufb") -> NDArray[Any]:
    """Return a field that has to be an array of such numbers."""
    value = fields.get(name)
    is_fit = type(value) is np.ndarray and cast("Any", value).dtype.kind in kinds
    _must(owner, is_fit, f"{name} is no array of numbers")
    return cast("NDArray[Any]", value)


def _listed(owner: object, fields: Fields, name: str) -> list[Any]:
    """Return what a field that has to be a list, or an array of objects, holds."""
    value = fields.get(name)
    if type(value) is np.ndarray:
        return cast("list[Any]", cast("Any", value).ravel().tolist())
    _must(owner, type(value) in {list, tuple}, f"{name} is no list")
    return list(cast("list[Any]", value))


def _width(owner: object, fields: Fields, name: str) -> tuple[int, int]:
    """Return the shape of a field that has to be a table, of an array or sparse."""
    value = fields.get(name)
    shape: Any = value.shape if type(value) is np.ndarray else _fields(value).get("_shape")
    is_fit = type(shape) is tuple and [type(size) for size in cast("Any", shape)] == [int, int]
    _must(owner, is_fit, f"{name} is no table")
    return cast("tuple[int, int]", shape)


def _classes(owner: object, fields: Fields, *, otherwise: int) -> int:
    """Return how many classes an estimator tells apart; of one that tells none, the number for that."""
    return len(_array(owner, fields, "classes_", kinds="iufbUSO")) if "classes_" in fields else otherwise


# --- trees


def _tree(tree: Any) -> None:  # noqa: ANN401 - scikit-learn's Tree
    state = tree.__getstate__()
    nodes = state["nodes"]
    depth = _branches(tree, nodes["left_child"], nodes["right_child"], is_leaf=nodes["left_child"] == -1)
    inner = nodes["feature"][nodes["left_child"] != -1]
    _must(tree, ((inner >= 0) & (inner < tree.n_features)).all(), "a node reads a feature that there is not")
    _must(tree, state["max_depth"] >= depth, "it is deeper than it is said to be")
    _must(tree, (nodes["n_node_samples"] >= 0).all(), "a node has seen fewer than no rows")
    _must(tree, (nodes["weighted_n_node_samples"] >= 0).all(), "a node has seen fewer than no rows")
    _must(
        tree, state["values"].shape == (len(nodes), tree.n_outputs, tree.max_n_classes), "its values have another shape"
    )


def _branches(owner: object, left: NDArray[Any], right: NDArray[Any], *, is_leaf: NDArray[Any]) -> int:
    """Return how deep a tree is. Its nodes stand in an order in which children follow their parents, each once."""
    count = len(left)
    _must(owner, count > 0, "it has no nodes")
    inner = np.flatnonzero(~is_leaf)
    children = np.concatenate([left[inner], right[inner]]).astype(np.int64)
    parents = np.concatenate([inner, inner])
    _must(owner, ((children > parents) & (children < count)).all(), "a child does not stand after its parent")
    _must(owner, len(np.unique(children)) == len(children) == count - 1, "a node is not the child of exactly one other")
    depth, level = 0, np.array([0])
    while (level := level[~is_leaf[level]]).size:
        level = np.concatenate([left[level], right[level]]).astype(np.int64)
        depth += 1
    return depth


def _decision_tree(estimator: Any) -> None:  # noqa: ANN401 - see check
    fields = _fields(estimator)
    if "tree_" in fields:
        tree = _tree_of(estimator, estimator)
        _must(estimator, _whole(estimator, fields, "n_outputs_") == tree.n_outputs, "its tree has other outputs")
        features = _whole(estimator, fields, "n_features_in_")
        _must(estimator, features == tree.n_features, "its tree reads another number of features")


def _tree_of(owner: object, estimator: object) -> Any:  # noqa: ANN401 - scikit-learn's Tree
    tree = _fields(estimator).get("tree_")
    _must(owner, _is_of(tree, "sklearn.tree._tree.Tree"), "one of its trees is none")
    return tree


def _forest(estimator: Any) -> None:  # noqa: ANN401 - see check
    fields = _fields(estimator)
    if "estimators_" in fields:
        features = _whole(estimator, fields, "n_features_in_")
        for each in _listed(estimator, fields, "estimators_"):
            read = _tree_of(estimator, each).n_features
            _must(estimator, read == features, "one of its trees reads another number of features")


def _boosting(estimator: Any) -> None:  # noqa: ANN401 - see check
    fields = _fields(estimator)
    if "estimators_" not in fields:
        return
    _forest(estimator)
    trees = fields["estimators_"]
    _must(estimator, type(trees) is np.ndarray and trees.ndim == 2, "its trees are no table")  # noqa: PLR2004 - rounds by classes
    classes = _classes(estimator, fields, otherwise=1)
    each = 1 if classes <= 2 else classes  # noqa: PLR2004 - one tree tells two classes apart
    named = _whole(estimator, fields, "n_trees_per_iteration_") if "n_trees_per_iteration_" in fields else each
    _must(estimator, trees.shape[1] == each == named, "it has trees for other classes")
    init = _fields(fields.get("init_"))
    begins = _classes(estimator, init, otherwise=each)
    _must(estimator, each in {1, begins}, "it begins with other classes")


def _bag_of_trees(estimator: Any) -> None:  # noqa: ANN401 - see check
    fields = _fields(estimator)
    if "estimators_" not in fields:
        return
    whole, each = _whole(estimator, fields, "n_features_in_"), _whole(estimator, fields, "_max_features")
    trees, read = (_listed(estimator, fields, name) for name in ("estimators_", "estimators_features_"))
    _must(estimator, len(trees) == len(read), "it has other trees than features for them")
    for tree, features in zip(trees, read, strict=True):
        names = _array(estimator, {"estimators_features_": features}, "estimators_features_", kinds="iu")
        _must(estimator, _tree_of(estimator, tree).n_features == len(names) == each, "a tree reads other features")
        _must(estimator, ((names >= 0) & (names < whole)).all(), "a tree reads a feature that there is not")


def _histogram_boosting(estimator: Any) -> None:  # noqa: ANN401 - see check
    fields = _fields(estimator)
    if "_predictors" not in fields:
        return
    mapped = _fields(fields.get("_bin_mapper"))
    count = _whole(estimator, fields, "n_features_in_")
    categorical = _array(estimator, mapped, "is_categorical_") != 0
    thresholds = _listed(estimator, mapped, "bin_thresholds_")
    _must(estimator, len(categorical) == len(thresholds) == count, "it reads another number of features")
    for each in _listed(estimator, fields, "_predictors"):
        for predictor in _listed(estimator, {"_predictors": each}, "_predictors"):
            _must(estimator, _is_of(predictor, f"{_HISTOGRAM}.predictor.TreePredictor"), "one of its trees is none")
            nodes = predictor.nodes
            read, asks = nodes["feature_idx"], nodes["is_categorical"] != 0
            inner = nodes["is_leaf"] == 0
            _must(predictor, ((read >= 0) & (read < count))[inner].all(), "a node reads a feature that there is not")
            _must(predictor, categorical[read[inner & asks]].all(), "a node asks for a category of a number")


def _predictor(predictor: Any) -> None:  # noqa: ANN401 - see check
    nodes = predictor.nodes
    _branches(predictor, nodes["left"], nodes["right"], is_leaf=nodes["is_leaf"] != 0)
    bits = [predictor.raw_left_cat_bitsets, predictor.binned_left_cat_bitsets]
    asked = nodes["bitset_idx"][(nodes["is_categorical"] != 0) & (nodes["is_leaf"] == 0)]
    for each in bits:
        _must(predictor, each.ndim == 2 and each.shape[1] == 8, "its categories are no bits")  # noqa: PLR2004 - 256 bits
        _must(predictor, (asked < len(each)).all(), "a node asks for a category that there is not")


# --- neighbours, vectors, clusters


def _neighbours(tree: Any) -> None:  # noqa: ANN401 - a BallTree or a KDTree
    data, order, nodes, bounds, _, levels, count, *_, distance, weights = tree.__getstate__()
    rows, features = data.shape
    _must(tree, levels >= 1 and count == 2**levels - 1 == len(nodes), "it has another number of nodes")
    _must(tree, order.shape == (rows,) and ((order >= 0) & (order < rows)).all(), "it names a row that there is not")
    begins, ends = nodes["idx_start"], nodes["idx_end"]
    _must(tree, ((begins >= 0) & (begins <= ends) & (ends <= rows)).all(), "a node names rows that there are not")
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    _must(tree, (2 * inner + 2 < count).all(), "a node has children that there are not")
    _must(tree, bounds.ndim == 3 and bounds.shape[1:] == (count, features), "its bounds are of other nodes")  # noqa: PLR2004 - kinds, nodes, features
    _must(tree, len(bounds) == (2 if type(tree).__name__.startswith("KD") else 1), "its bounds are of another kind")
    _must(tree, weights is None or weights.shape == (rows,), "it weighs other rows")
    own = np.asarray(distance.__getstate__()[1]).size
    _must(tree, own <= 1 or own == features, "its distance weighs other features")


def _by_neighbours(estimator: Any) -> None:  # noqa: ANN401 - see check
    fields = _fields(estimator)
    if fields.get("_fit_X") is None:
        return
    rows, features = _width(estimator, fields, "_fit_X")
    _must(estimator, features == _whole(estimator, fields, "n_features_in_"), "its rows have other features")
    _must(estimator, rows == _whole(estimator, fields, "n_samples_fit_"), "it has another number of rows")
    tree = fields.get("_tree")
    if tree is not None:
        _must(estimator, type(tree).__name__ in {"KDTree", "BallTree"}, "its tree is none")
        _must(estimator, tree.__getstate__()[0].shape == (rows, features), "its tree is of other rows")
    if fields.get("_y") is None:
        return
    labels = _array(estimator, fields, "_y")
    _must(estimator, len(labels) == rows, "it has labels of other rows")
    if type(fields.get("classes_")) is np.ndarray and labels.ndim == 1:
        known = (labels >= 0) & (labels < len(fields["classes_"]))
        _must(estimator, labels.dtype.kind in "iu" and known.all(), "a row is of a class that there is not")


def _vectors(estimator: Any) -> None:  # noqa: ANN401 - see check
    fields = _fields(estimator)
    if "_n_support" not in fields:
        return
    count, features = _width(estimator, fields, "support_vectors_")
    support = _array(estimator, fields, "_n_support", kinds="iu")
    classes = _classes(estimator, fields, otherwise=2)
    pairs = classes * (classes - 1) // 2
    _must(estimator, (support >= 0).all() and support.shape == (classes,), "it has other classes")
    whole = int(support.sum()) if "classes_" in fields else int(support[0])
    named = _array(estimator, fields, "support_").shape
    _must(estimator, whole == count and named in {(count,), (0,)}, "it has another number of vectors")
    weights = _width(estimator, fields, "_dual_coef_")
    _must(estimator, weights == (classes - 1, count), "it weighs other vectors")
    _must(estimator, features == _whole(estimator, fields, "n_features_in_"), "its vectors have other features")
    _must(estimator, _array(estimator, fields, "_intercept_").size == pairs, "it tells other classes apart")
    for name in ("_probA", "_probB"):
        _must(estimator, _array(estimator, fields, name).size in {0, pairs}, "it tells other classes apart")


def _clusters(estimator: Any) -> None:  # noqa: ANN401 - see check
    fields = _fields(estimator)
    if "cluster_centers_" in fields:
        _, features = _width(estimator, fields, "cluster_centers_")
        _must(estimator, features == _whole(estimator, fields, "n_features_in_"), "its centres have other features")


# --- sparse matrices


def _compressed(matrix: Any) -> None:  # noqa: ANN401 - see check
    fields = _fields(matrix)
    rows, columns = _width(matrix, {"shape": matrix}, "shape")
    data = _array(matrix, fields, "data", kinds="iufbc")
    if type(matrix).__name__.startswith("csc"):
        rows, columns = columns, rows
    if type(matrix).__name__.startswith("bsr"):
        _must(matrix, data.ndim == 3 and data.shape[1] > 0 and data.shape[2] > 0, "its data are no blocks")  # noqa: PLR2004 - blocks of two dimensions
        _, high, wide = data.shape
        _must(matrix, rows % high == columns % wide == 0, "its blocks do not fill it")
        rows, columns = rows // high, columns // wide
    pointers, places = (_array(matrix, fields, name, kinds="iu") for name in ("indptr", "indices"))
    _must(matrix, pointers.shape == (rows + 1,) and pointers[0] == 0, "its rows begin elsewhere")
    _must(matrix, (pointers[1:] >= pointers[:-1]).all(), "a row ends before it begins")
    _must(matrix, pointers[-1] <= len(places) and len(places) == len(data), "its rows end elsewhere")
    _must(matrix, ((places >= 0) & (places < columns)).all(), "it names a place that there is not")


def _coordinates(matrix: Any) -> None:  # noqa: ANN401 - see check
    fields = _fields(matrix)
    shape = _width(matrix, {"shape": matrix}, "shape")
    count = len(_array(matrix, fields, "data", kinds="iufbc"))
    places = _listed(matrix, fields, "coords") if "coords" in fields else [fields.get("row"), fields.get("col")]
    _must(matrix, len(places) == len(shape), "it has other dimensions")
    for place, size in zip(places, shape, strict=True):
        named = _array(matrix, {"coords": place}, "coords", kinds="iu")
        _must(matrix, len(named) == count, "it has other places than values")
        _must(matrix, ((named >= 0) & (named < size)).all(), "it names a place that there is not")


def _is_of(value: object, name: str) -> bool:
    kind = cast("type[Any]", type(value))
    return f"{kind.__module__}.{kind.__qualname__}" == name


_HISTOGRAM = "sklearn.ensemble._hist_gradient_boosting"
_CHECKS: Mapping[str, Callable[[Any], None]] = {
    "sklearn.tree._tree.Tree": _tree,
    "sklearn.tree._classes": _decision_tree,
    "sklearn.ensemble._forest": _forest,
    "sklearn.ensemble._gb": _boosting,
    "sklearn.ensemble._iforest": _bag_of_trees,
    f"{_HISTOGRAM}.predictor.TreePredictor": _predictor,
    f"{_HISTOGRAM}.gradient_boosting": _histogram_boosting,
    "sklearn.neighbors._ball_tree.BallTree": _neighbours,
    "sklearn.neighbors._kd_tree.KDTree": _neighbours,
    "sklearn.neighbors._classification": _by_neighbours,
    "sklearn.neighbors._regression": _by_neighbours,
    "sklearn.neighbors._unsupervised": _by_neighbours,
    "sklearn.neighbors._lof": _by_neighbours,
    "sklearn.svm._classes": _vectors,
    "sklearn.cluster._kmeans": _clusters,
    "sklearn.cluster._bisect_k_means": _clusters,
    "scipy.sparse._csr": _compressed,
    "scipy.sparse._csc": _compressed,
    "scipy.sparse._bsr": _compressed,
    "scipy.sparse._coo": _coordinates,
}
"""What is looked at, by the name of a type, or of a module for all types that it defines."""
