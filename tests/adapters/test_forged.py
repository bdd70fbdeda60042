"""Laws of bytes that no codec wrote: they are refused, and reading them calls nothing that they describe."""

import functools
import struct
import subprocess
import sys
from datetime import UTC, datetime
from types import FunctionType

import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import __version__
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from noria.adapters.codecs import standard, trust
from noria.adapters.codecs.framing import framed, split
from noria.adapters.codecs.trusted import FUNCTIONS, HOMES, VALUES
from noria.core.errors import Invalid, NotFound
from noria.core.payloads import Payload
from noria.registry.model import Columns, Model

CODECS = standard()
X = np.random.default_rng(3).random((30, 3))
Y = (X[:, 0] > 0.5).astype(int)
RIDGE = "sklearn.linear_model._ridge.Ridge"
FITTED = [
    RandomForestClassifier(n_estimators=2, max_depth=2, random_state=np.random.RandomState(0)).fit(X, Y),
    HistGradientBoostingClassifier(max_iter=2, max_leaf_nodes=3).fit(X, Y),
    KNeighborsClassifier().fit(X, Y),
    IsotonicRegression().fit(X[:, 0], Y),
    GridSearchCV(Ridge(), {"alpha": [1, 2]}, scoring="neg_mean_squared_error").fit(X, Y),
    SelectKBest(
        functools.partial(trust.value_named("sklearn.feature_selection.mutual_info_classif"), n_neighbors=2), k=1
    ),
    SGDClassifier(random_state=0).fit(X, Y),
    MLPClassifier(hidden_layer_sizes=(2,), max_iter=2),
    CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=2).fit(X, Y),
]
pytestmark = pytest.mark.filterwarnings("ignore")


def forged(tree, names=(), arrays=()):
    told = [{"dtype": array.dtype.str, "shape": array.shape, "order": "C"} for array in arrays]
    return bytes(
        framed({"names": list(names), "arrays": told, "tree": tree}, [Payload(array.tobytes()) for array in arrays])
    )


def made(number, state=None, args=(), how="new"):
    return {"$": how, "type": number, "args": list(args), "state": state}


def pair(*items):
    return {"$": "tuple", "v": list(items)}


def refused(tree, *names, arrays=(), match="not made in this way|cannot have this state|no estimator|not trusted"):
    with pytest.raises(Invalid, match=match):
        CODECS.decode("estimator", forged(tree, names, arrays))


def test_an_array_of_what_would_be_addresses_is_refused():
    code = """
import io, numpy, sys
from numpy.lib import format as npy
from noria.adapters.codecs import standard
for kind in ("|O", [("a", "|O"), ("b", "<i8")]):
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": (3,)})
    try:
        standard().decode("npy", file.getvalue() + b"A" * 48)
    except Exception as problem:
        print(type(problem).__name__, problem)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert done.stdout.count("Invalid these bytes are no array that is trusted: its items are Python objects") == 2


SPECIAL = """
abs add and array array_ufunc bool bytes call contains delitem dir enter eq float format ge getattr getitem
getstate gt hash index instancecheck int invert iter le len lt mul ne neg next or pow radd reduce reduce_ex
repr reversed rmul round rsub set_name setattr setitem sizeof sklearn_tags str sub truediv
""".split()  # noqa: SIM905 - so many names as a list take sixty lines


@pytest.fixture
def called(monkeypatch):
    """Return what is called of any `Ridge`, by whomever; but for what restores it itself."""
    met = []

    def note(name):
        return lambda *_, **__: met.append(name)

    def asked(one, name):
        if name not in {"__setstate__", "__dict__", "__class__"}:
            met.append(name)
        return object.__getattribute__(one, name)

    for name in SPECIAL:
        monkeypatch.setattr(Ridge, f"__{name}__", note(name), raising=False)
    monkeypatch.setattr(Ridge, "__getattribute__", asked, raising=False)
    return met


def places(tree):
    """Return how to put another thing at each place of a tree."""
    for key, item in list(enumerate(tree) if isinstance(tree, list) else tree.items()):
        yield tree, key, item
        if isinstance(item, list | dict):
            yield from places(item)


@pytest.mark.parametrize("fitted", FITTED, ids=lambda fitted: type(fitted).__name__)
def test_reading_calls_no_method_of_what_was_read_wherever_it_stands(fitted, request):
    header, rest = split(Payload(bytes(CODECS.encode(fitted).payload)), "estimator")
    header["names"].append(RIDGE)
    trap = made(len(header["names"]) - 1, {"_sklearn_version": __version__})
    called = request.getfixturevalue("called")
    read = 0

    for holder, key, item in places(header["tree"]):
        holder[key] = trap
        try:
            CODECS.decode("estimator", bytes(framed(header, [rest])))
            read += 1
        except Invalid:
            pass
        assert called == [], (key, item, called)
        holder[key] = item

    assert read > 0 or isinstance(fitted, IsotonicRegression)  # which is plain values throughout


def test_a_type_is_made_in_no_way_but_its_own():
    rows = np.zeros((50, 2))
    for name in ("sklearn.neighbors._ball_tree.BallTree", RIDGE, "sklearn.metrics._scorer._Scorer"):
        refused(made(0, how="called", args=[{"$": "array", "v": 0}]), name, arrays=[rows])
        refused(made(0, how="cython", args=[1]), name, match="not what the codec|no estimator")
    refused(made(0, args=[1]), RIDGE)
    refused(made(0), "sklearn.tree._tree.Tree")
    refused(made(0, how="called", args=["name"]), "sklearn.linear_model._sgd_fast.Hinge")
    refused(made(0, how="called", args=[2, {"$": "array", "v": 0}, 9]), "sklearn.tree._tree.Tree", arrays=[rows[0]])


def test_a_scorer_in_a_partial_in_a_tree_of_neighbours_never_writes_a_file(tmp_path):
    names = ["sklearn.neighbors._ball_tree.BallTree", "functools.partial", "sklearn.metrics._scorer._Scorer"]
    names += ["sklearn.ensemble._stacking.StackingRegressor", "sklearn.metrics.r2_score"]
    stack = {"estimators_": [{"$": "array", "v": 0}], "stack_method_": ["tofile"], "final_estimator_": None}
    scorer = made(2, {"_score_func": {"$": "named", "v": 4}, "_sign": 1, "_kwargs": {}, "_response_method": "predict"})
    held = pair({"$": "same", "v": 2}, pair(made(3, stack), str(tmp_path / "owned")), {}, None)
    partial = made(1, held, args=[scorer], how="called")

    refused(made(0, args=[{"$": "array", "v": 0}, 40, partial], how="called"), *names, arrays=[np.zeros((50, 2))])
    refused(partial, *names, arrays=[np.zeros(2)], match="a partial of _Scorer, which is not trusted")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "state",
    [
        {"__class__": 1},
        {"__dict__": {}},
        {"$": "dict", "v": [[1, 2]]},
        {"$": "dict", "v": [[pair("a"), 2]]},
        ["coef_"],
        pair(None, {"coef_": 1}),
    ],
)
@pytest.mark.parametrize("name", [RIDGE, "sklearn.metrics._scorer._Scorer"])
def test_state_is_fields_of_names_and_never_what_python_itself_keeps(name, state):
    refused(made(0, state), name)


def test_the_version_that_an_estimator_looks_at_is_a_text():
    refused(made(0, {"_sklearn_version": 1}), RIDGE)


def test_what_restores_itself_is_given_arrays_and_plain_values_alone():
    trap = made(1)
    kept = {"X_thresholds_": trap, "y_thresholds_": {"$": "array", "v": 0}}
    bits = {"raw_left_cat_bitsets": {"$": "array", "v": 0}, "binned_left_cat_bitsets": {"$": "array", "v": 0}}

    refused(made(0, kept), "sklearn.isotonic.IsotonicRegression", RIDGE, arrays=[X[0]])
    refused(
        made(0, bits | {"nodes": trap}),
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        RIDGE,
        arrays=[X[0]],
    )
    refused({"$": "masked", "v": [trap, False, 0]}, "collections.OrderedDict", RIDGE)
    refused({"$": "number", "v": trap}, "collections.OrderedDict", RIDGE)
    refused({"$": "set", "v": [trap]}, "collections.OrderedDict", RIDGE)
    refused({"$": "dict", "v": [[trap, 1]]}, "collections.OrderedDict", RIDGE)
    refused({"$": "chance", "v": {"bit_generator": trap}}, "collections.OrderedDict", RIDGE)


@pytest.mark.parametrize(
    "name",
    [
        "sklearn.experimental.enable_iterative_imputer.BaseEstimator",
        "sklearn.externals.conftest.pytest_ignore_collect",
        "sklearn.datasets._openml.Anything",
        "sklearn.conftest.Anything",
    ],
)
def test_a_module_that_is_no_home_of_estimators_is_not_even_imported(name):
    payload = forged(made(0), [name])
    code = (
        "import sys\nfrom noria.adapters.codecs import standard\nimport sklearn\n"
        f"try:\n    standard().decode('estimator', bytes.fromhex('{payload.hex()}'))\n"
        f"except Exception as problem:\n    print(type(problem).__name__, {name.rpartition('.')[0]!r} in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert told == "Invalid False\n"


def test_what_is_handed_on_calculates_and_makes_or_calls_nothing():
    assert all(type(trust.value_named(name)) is FunctionType for name in FUNCTIONS)
    assert not [name for name in VALUES if "scorer" in name.rpartition(".")[2] or "pairwise" in name]
    for name in ("make_scorer", "get_scorer", "check_scoring", "pairwise_distances", "silhouette_score"):
        with pytest.raises(Invalid, match="not trusted"):
            trust.value_named(f"sklearn.metrics.{name}")
    with pytest.raises(Invalid, match="not trusted"):
        trust.value_named("numpy.add")
    assert not [home for home in HOMES if "experimental" in home or "externals" in home or "tests" in home]


@pytest.mark.parametrize("function", [functools.partial(np.exp, out=X), functools.partial(np.mean, axis=0)])
def test_a_partial_is_of_a_function_on_the_list_and_never_of_what_can_write(function):
    with pytest.raises(Invalid, match="a partial of .*, which is not trusted"):
        CODECS.encode(make_pipeline(FunctionTransformer(function), Ridge()))


def test_every_scorer_by_name_is_carried():
    for name in get_scorer_names():
        search = GridSearchCV(Ridge(), {}, scoring=get_scorer(name))
        encoded = CODECS.encode(search)
        assert CODECS.decode(encoded.codec, encoded.payload).scoring._score_func is search.scoring._score_func


def test_what_has_no_fields_of_its_own_and_is_too_deep_is_refused():
    deep = b"[" * 100_000 + b"]" * 100_000

    for codec in ("plain", "estimator", "model", "collection"):
        with pytest.raises(Invalid):
            CODECS.decode(codec, deep if codec == "plain" else struct.pack(">I", len(deep)) + deep)


def payloads(folder):
    """Return the bytes of a value of each codec."""
    file = folder / "file.txt"
    file.write_text("content")
    values = [
        [1, 2.5, "x", (1,), {"$": 1}, datetime(2020, 1, 1, tzinfo=UTC), b"x", np.float32(1)],
        pl.DataFrame({"a": [1, None], "b": ["x", "longer than twelve bytes"]}),
        pl.Series("a", ["x", None]),
        pd.DataFrame({"a": [1.5, 2], "b": ["x", None]}),
        np.arange(6.0).reshape(2, 3),
        FITTED[0],
        Model(Ridge().fit(X, Y), preprocess=Columns(("a",))),
        [np.ones(3), {"a": np.ones(2)}],
        file,
    ]
    encoded = [CODECS.encode(value) for value in values]
    return {one.codec: bytes(one.payload) for one in encoded} | {"skops": skops.io.dumps(Ridge().fit(X, Y))}


ARROW = {"arrow", "arrow-series", "pandas"}
"""Readers of Arrow believe what is told of lengths inside: only what is cut off do they find out without harm."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return payloads(tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize(
    "codec", ["plain", "arrow", "arrow-series", "pandas", "npy", "estimator", "model", "collection", "file", "skops"]
)
def test_bytes_that_were_cut_off_or_changed_are_read_or_invalid_and_nothing_else(whole, codec):
    @given(st.data())
    @settings(max_examples=60, deadline=None, derandomize=True)
    def law(data):
        content = bytearray(whole[codec])
        place = st.integers(0, len(content) - 1) | st.integers(0, min(len(content), 300) - 1)
        if codec in ARROW or data.draw(st.booleans()):
            del content[data.draw(place) :]
        else:
            for _ in range(data.draw(st.integers(1, 4))):
                content[data.draw(place)] = data.draw(st.integers(0, 255))
        try:
            CODECS.decode(codec, bytes(content))
        except Invalid:
            pass
        except NotFound as problem:  # the name of the codec inside
            assert "no codec named" in problem.sentence

    law()
