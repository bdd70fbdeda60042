"""Laws of numbers that lead compiled code: one that is out of its range is refused in words before anybody predicts."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.neighbors import BallTree, KNeighborsClassifier
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

from noria.adapters.codecs import ranges, standard
from noria.adapters.codecs.framing import framed, split
from noria.core.errors import Invalid
from noria.core.payloads import Payload, aligned

CODECS = standard()
RNG = np.random.default_rng(5)
X = RNG.random((80, 3))
WITH_KINDS = np.c_[X[:, :2], RNG.integers(0, 4, 80)]
Y = (X[:, 0] + WITH_KINDS[:, 2] / 4 > 0.9).astype(int)


def refused(fitted):
    with pytest.raises(Invalid, match="cannot be as its bytes say"):
        ranges.check(fitted)


def forest():
    return RandomForestClassifier(2, max_depth=3, random_state=0).fit(X, Y)


def nodes_of(forest):
    return forest.estimators_[0].tree_.__getstate__()["nodes"]


@pytest.mark.parametrize("field", ["left_child", "right_child"])
@pytest.mark.parametrize("value", [10**6, -5, 2**62, 0])
def test_a_child_that_is_nowhere_or_leads_back_is_refused(field, value):
    made = forest()
    nodes_of(made)[field][0] = value

    refused(made)


@pytest.mark.parametrize(
    ("field", "value"),
    [("feature", 3), ("feature", -1), ("feature", 2**40), ("n_node_samples", -1), ("weighted_n_node_samples", -1.0)],
)
def test_a_node_of_features_or_rows_that_there_are_not_is_refused(field, value):
    made = forest()
    nodes_of(made)[field][0] = value

    refused(made)


def test_two_parents_of_one_node_and_a_circle_are_refused():
    shared, circle = forest(), forest()
    nodes = nodes_of(shared)
    nodes["right_child"][0] = nodes["left_child"][0]
    nodes_of(circle)["left_child"][nodes_of(circle)["left_child"][0]] = 0

    refused(shared)
    refused(circle)


@pytest.mark.parametrize("owner", [lambda made: made, lambda made: made.estimators_[0]])
@pytest.mark.parametrize("value", [1, 4, "3", None])
def test_a_forest_that_is_asked_with_fewer_features_than_its_trees_read_is_refused(owner, value):
    made = forest()
    owner(made).n_features_in_ = value

    refused(made)


def test_a_forest_of_what_are_no_trees_is_refused():
    made = forest()
    made.estimators_[1] = SVR()

    refused(made)


def test_forged_bytes_of_a_forest_are_refused_and_no_process_dies():
    payload = CODECS.encode(forest()).payload
    header, rest = split(Payload(bytes(payload)), "estimator")
    content = bytearray(rest.own())
    place = next(at for at, one in enumerate(header["arrays"]) if "left_child" in str(one["dtype"]))
    sizes = [_kind(one).itemsize * int(np.prod(one["shape"])) for one in header["arrays"][:place]]
    begin = sum(aligned(size) for size in sizes)
    content[begin : begin + 8] = (10**9).to_bytes(8, "little")
    code = (
        "import sys, numpy as np\nfrom noria.adapters.codecs import standard\n"
        "try:\n    standard().decode('estimator', sys.stdin.buffer.read()).predict_proba(np.ones((4, 3)))\n"
        "except Exception as problem:\n    print(type(problem).__name__, problem)"
    )
    forged = bytes(framed(header, [Payload(bytes(content))]))

    done = subprocess.run([sys.executable, "-c", code], input=forged, capture_output=True, check=False)

    assert done.returncode == 0
    assert done.stdout.startswith(b"Invalid a Tree cannot be as its bytes say")


def _kind(told):
    from noria.adapters.codecs.assembling import dtype_of

    return dtype_of(told["dtype"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("left", 10**6), ("right", 0), ("feature_idx", 3), ("feature_idx", -1), ("bitset_idx", 99)],
)
def test_gradient_boosting_by_histograms_is_held_to_its_ranges(field, value):
    made = HistGradientBoostingClassifier(max_iter=3, categorical_features=[2], random_state=0).fit(WITH_KINDS, Y)
    predictor = next(one for (one,) in made._predictors if (one.nodes["is_categorical"] != 0).any())
    place = int(np.flatnonzero(predictor.nodes["is_categorical"])[0])
    ranges.check(made)
    predictor.nodes[field][place] = value

    refused(made)


def test_a_node_that_asks_for_a_category_of_a_number_is_refused():
    made = HistGradientBoostingClassifier(max_iter=1).fit(X, Y)
    made._predictors[0][0].nodes["is_categorical"][0] = 1

    refused(made)


def boosted(change):
    made = GradientBoostingClassifier(n_estimators=2).fit(X, Y)
    change(made)
    return made


def fitted(made, change):
    change(made)
    return made


@pytest.mark.parametrize(
    "made",
    [
        boosted(lambda m: setattr(m, "estimators_", np.repeat(m.estimators_, 5, axis=1))),
        boosted(lambda m: setattr(m, "n_features_in_", 1)),
        fitted(IsolationForest(n_estimators=2, max_features=2).fit(X), lambda m: m.estimators_features_.__setitem__(0, np.array([0]))),
        fitted(IsolationForest(n_estimators=2, max_features=2).fit(X), lambda m: m.estimators_features_.__setitem__(0, np.array([0, 9]))),
        fitted(KNeighborsClassifier().fit(X, Y), lambda m: m._y.__setitem__(0, 7)),
        fitted(KNeighborsClassifier().fit(X, Y), lambda m: setattr(m, "_fit_X", X[:, :2])),
        fitted(KNeighborsClassifier(algorithm="kd_tree").fit(X, Y), lambda m: setattr(m, "_tree", BallTree(X[:, :2]))),
        fitted(SVC().fit(X, Y), lambda m: m._n_support.__setitem__(0, 9999)),
        fitted(SVC().fit(X, Y), lambda m: setattr(m, "support_vectors_", m.support_vectors_[:, :1])),
        fitted(SVC().fit(X, Y), lambda m: setattr(m, "_dual_coef_", m._dual_coef_[:, :1])),
        fitted(SVR().fit(X, Y), lambda m: m._n_support.__setitem__(0, 9999)),
        fitted(KMeans(2, n_init=1).fit(X), lambda m: setattr(m, "cluster_centers_", m.cluster_centers_[:, :1])),
        fitted(DecisionTreeClassifier().fit(X, Y), lambda m: setattr(m, "n_outputs_", 5)),
    ],
    ids=lambda made: type(made).__name__,
)  # fmt: skip
def test_what_other_estimators_find_their_way_by_is_held_to_its_ranges(made):
    refused(made)


class _Kept:
    """Stands for an estimator that keeps a matrix."""

    def __init__(self, matrix):
        self.matrix = matrix


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix, sparse.bsr_matrix])
def test_a_sparse_matrix_names_no_place_that_there_is_not(kind):
    whole = kind(np.eye(4))
    places = whole.row if kind is sparse.coo_matrix else whole.indices
    ranges.check(_Kept(whole))
    places[1] = 40

    refused(_Kept(whole))


def test_a_sparse_matrix_whose_rows_end_elsewhere_is_refused():
    for change in ([0, 1, 2, 3, 99], [0, 3, 1, 3, 4], [1, 1, 2, 3, 4], [0, 1, 2]):
        whole = sparse.csr_matrix(np.eye(4))
        whole.indptr = np.array(change)
        refused(_Kept(whole))


@pytest.mark.parametrize(
    ("place", "change"),
    [(1, lambda order: order.__setitem__(0, 10**6)), (2, lambda nodes: nodes["idx_end"].__setitem__(0, 10**6)),
     (2, lambda nodes: nodes["is_leaf"].__setitem__(-1, 0))],
)  # fmt: skip
def test_a_tree_of_neighbours_names_no_rows_that_there_are_not(place, change):
    tree = BallTree(X, leaf_size=5)
    state = list(tree.__getstate__())
    state[place] = state[place].copy()
    change(state[place])
    forged = BallTree.__new__(BallTree)
    forged.__setstate__(tuple(state))

    ranges.check(tree)
    refused(forged)


def test_a_model_of_another_scikit_learn_is_read_and_said_and_one_that_lacks_something_is_refused(caplog):
    header, rest = split(Payload(bytes(CODECS.encode(ExtraTreesRegressor(2).fit(X, Y)).payload)), "estimator")
    header["tree"]["state"]["_sklearn_version"] = "1.2.0"

    CODECS.decode("estimator", bytes(framed(header, [rest])))

    assert "was written with scikit-learn 1.2.0, and is read with" in caplog.text
    del header["tree"]["state"]["monotonic_cst"]
    with pytest.raises(
        Invalid, match="scikit-learn 1.2.0, and scikit-learn .* it lacks ExtraTreesRegressor.monotonic_cst"
    ):
        CODECS.decode("estimator", bytes(framed(header, [rest])))
