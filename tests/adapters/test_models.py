"""Laws of stored models: the same predictions, one digest for one meaning, exact trust, and the same code."""

import functools
import importlib
import io
import json
import struct
import sys
import zipfile

import numpy as np
import polars as pl
import pytest
import skops.io
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators

from noria.adapters.codecs import making, standard, trust
from noria.adapters.codecs.trusted import TYPES
from noria.core.errors import CodeChanged, Invalid, NotFound, NotInstalled
from noria.registry.model import Model

CODECS = standard()
RNG = np.random.default_rng(5)
X = RNG.random((200, 3))
Y = (X[:, 0] + RNG.normal(0, 0.2, 200) > 0.5).astype(int)


def features(rows):
    return rows.select("a", "b", "c").to_numpy()


def there_and_back(value):
    encoded = CODECS.encode(value)
    return encoded, CODECS.decode(encoded.codec, encoded.payload)


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=5),
        HistGradientBoostingRegressor(max_iter=5, categorical_features=[2]),
        RandomForestClassifier(n_estimators=3, random_state=0),
        GradientBoostingClassifier(n_estimators=3, random_state=0),
        KNeighborsClassifier(),
        IsolationForest(n_estimators=3, random_state=0),
        CalibratedClassifierCV(LogisticRegression()),
        CalibratedClassifierCV(LogisticRegression(), method="isotonic"),
        StackingClassifier([("tree", DecisionTreeClassifier(max_depth=2)), ("bayes", GaussianNB())]),
        VotingClassifier([("tree", DecisionTreeClassifier(max_depth=2)), ("bayes", GaussianNB())], voting="soft"),
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(
            make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [2]), remainder="passthrough"), Ridge()
        ),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_an_estimator_read_back_predicts_the_very_same(estimator):
    fitted = estimator.fit(X.round(1), Y)

    encoded, back = there_and_back(fitted)

    assert encoded.codec == "estimator"
    assert CODECS.encode(fitted).digest == CODECS.encode(back).digest == encoded.digest
    assert np.array_equal(back.predict(X), fitted.predict(X))
    if hasattr(fitted, "predict_proba"):
        assert np.array_equal(back.predict_proba(X), fitted.predict_proba(X))


def test_what_was_missing_goes_the_same_way_in_a_model_read_back():
    rows = X.round(1).copy()
    rows[::5, 1], rows[::7, 2] = np.nan, np.nan
    fitted = HistGradientBoostingClassifier(max_iter=5, categorical_features=[2]).fit(rows, Y)

    _, back = there_and_back(fitted)

    assert np.array_equal(back.predict_proba(rows), fitted.predict_proba(rows))


def test_two_trainings_alike_are_one_digest_and_another_one_is_another():
    def fit(seed):
        return CODECS.encode(RandomForestClassifier(n_estimators=3, random_state=seed).fit(X, Y)).digest

    assert fit(0) == fit(0) != fit(1)


class Mine(ClassifierMixin, BaseEstimator):
    def fit(self, _rows, labels):
        self.classes_ = np.unique(labels)
        return self


def own_function(rows):
    return rows


@pytest.mark.parametrize(
    ("estimator", "named"),
    [(Mine(), "Mine"), (make_pipeline(FunctionTransformer(own_function), LogisticRegression()), "own_function")],
)
def test_a_type_that_is_not_on_the_list_is_refused_by_name_when_written(estimator, named):
    with pytest.raises(Invalid, match=f"holds .*{named}, which is not trusted") as caught:
        CODECS.encode(estimator.fit(X, Y))

    assert "preprocess=function" in caught.value.hint


def forged(tree, *, names=(), arrays=()):
    header = json.dumps({"names": list(names), "arrays": list(arrays), "tree": tree}).encode()
    return struct.pack(">I", len(header)) + header


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "sklearn.utils.validation.os.system",
        "sklearn.tests.test_base.MyEstimator",
        "sklearn.base.os",
        "numpy.load",
        "numpy.testing",
        "sklearn.metrics.nothing",
        "tests.adapters.test_models.Mine",
    ],
)
def test_a_name_that_is_not_trusted_is_refused_before_anything_is_made(name, monkeypatch):
    monkeypatch.setattr(making, "make", lambda *_: pytest.fail("it was made"))
    made = {"$": "new", "type": 0, "args": [], "state": None}
    harmless = "sklearn.linear_model._ridge.Ridge"

    for tree in ({"$": "named", "v": 1}, [made, {"$": "called", "type": 1, "args": ["id"], "state": None}], [made]):
        with pytest.raises(Invalid, match=f"the estimator holds {name}, which is not (trusted|there)"):
            CODECS.decode("estimator", forged(tree, names=[harmless, name]))


def test_an_estimators_constructor_is_never_called_and_a_function_is_no_type():
    called = {"$": "called", "type": 0, "args": [], "state": None}

    with pytest.raises(Invalid, match="a Ridge is not made in this way"):
        CODECS.decode("estimator", forged(called, names=["sklearn.linear_model._ridge.Ridge"]))
    with pytest.raises(Invalid, match="holds numpy.exp, which is not trusted"):
        CODECS.decode("estimator", forged(called, names=["numpy.exp"]))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no header",
        forged({"$": "unknown"}),
        forged({"$": "array", "v": 0}),
        forged({"$": "array", "v": 0}, arrays=[{"dtype": "<f8", "shape": [1000], "order": "C"}]),
        forged({"$": "array", "v": 0}, arrays=[{"dtype": "|O", "shape": [1], "order": "C"}]),
        forged({"$": "chance", "v": {"bit_generator": "seed", "state": {}}}),
    ],
)
def test_forged_and_broken_bytes_are_refused(payload):
    with pytest.raises(Invalid):
        CODECS.decode("estimator", payload)


def test_what_an_older_noria_wrote_with_skops_is_read_and_still_by_an_exact_list_of_types():
    fitted = RandomForestClassifier(n_estimators=3, random_state=0).fit(X, Y)
    estimator = skops.io.dumps(fitted)
    header = json.dumps({"estimator": "skops", "digest": "d", "preprocess": None}).encode()

    back = CODECS.decode("skops", estimator)
    model = CODECS.decode("model", struct.pack(">I", len(header)) + header + estimator)

    assert np.array_equal(back.predict_proba(X), fitted.predict_proba(X))
    assert np.array_equal(model.estimator.predict_proba(X), fitted.predict_proba(X))
    with pytest.raises(Invalid, match="Mine, which is not trusted"):
        CODECS.decode("skops", skops.io.dumps(Mine().fit(X, Y)))


def test_forged_and_broken_bytes_are_refused_by_the_reader_of_skops():
    forged = io.BytesIO()
    with zipfile.ZipFile(forged, "w") as parts:
        parts.writestr(
            "schema.json",
            '{"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", '
            '"content": {"module_path": "os", "function": "system"}, "__id__": 1, "protocol": 2, "_skops_version": "0.16.0"}',
        )
    for payload in (forged.getvalue(), b"no zip", b""):
        with pytest.raises(Invalid):
            CODECS.decode("skops", payload)


@pytest.mark.parametrize(
    ("codec", "module", "extra"), [("estimator", "sklearn", "sklearn"), ("skops", "skops.io", "skops")]
)
def test_without_the_extra_a_model_is_refused_with_the_way_to_install_it(codec, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(NotInstalled) as caught:
        CODECS.decode(codec, b"x")

    assert caught.value.hint == f"pip install 'noria[{extra}]'"


def test_all_of_scikit_learns_own_estimators_are_trusted_and_no_others():
    for _, kind in all_estimators():
        assert trust.type_named(trust.name_of_type(kind)) is kind
    for kind in (Mine, BaseEstimator().__sklearn_tags__().__class__, type(np.random)):
        with pytest.raises(Invalid, match="which is not trusted"):
            trust.name_of_type(kind)


def test_every_trusted_type_is_there_under_its_name_or_belongs_to_another_scikit_learn():
    missing = set()
    for name in TYPES:
        try:
            assert trust.name_of_type(trust.type_named(name)) == name
        except Invalid as problem:
            assert "is not there" in problem.sentence
            missing.add(name)

    assert missing <= {name for name in TYPES if name.startswith(("sklearn.linear_model._sgd_fast", "scipy"))}


def test_a_partial_of_something_that_is_not_trusted_is_refused():
    steps = make_pipeline(FunctionTransformer(functools.partial(own_function)), LogisticRegression())

    with pytest.raises(Invalid, match="own_function, which is not trusted"):
        CODECS.encode(steps.fit(X, Y))


def test_a_model_comes_back_with_its_preprocess():
    model = Model(LogisticRegression().fit(X, Y), preprocess=features)
    rows = pl.DataFrame(X, schema=["a", "b", "c"])

    encoded, back = there_and_back(model)

    assert encoded.codec == "model"
    assert back.preprocess is features
    assert np.array_equal(back.predict(rows), model.predict(rows))
    assert CODECS.encode(back).digest == encoded.digest


def test_a_model_without_a_preprocess_is_a_model_too():
    _, back = there_and_back(Model(Ridge().fit(X, Y)))

    assert back.preprocess is None


def test_the_preprocess_is_part_of_what_a_model_is():
    fitted = LogisticRegression().fit(X, Y)

    assert CODECS.encode(Model(fitted)).digest != CODECS.encode(Model(fitted, preprocess=features)).digest


def test_a_preprocess_that_cannot_be_found_again_is_refused():
    def local(rows):
        return rows

    for function in (local, lambda rows: rows, StandardScaler()):
        with pytest.raises(Invalid, match="cannot be found again by its name"):
            CODECS.encode(Model(Ridge().fit(X, Y), preprocess=function))


def test_an_estimator_that_no_codec_carries_is_refused_by_name():
    with pytest.raises(Invalid, match="no codec carries an estimator of type builtins.dict"):
        CODECS.encode(Model({"a": 1}))


def test_a_model_is_never_read_with_other_code_than_it_was_trained_with(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "my_features.py"

    def imported(source):
        file.write_text(source)
        sys.modules.pop("my_features", None)
        importlib.invalidate_caches()
        sys.path_importer_cache.clear()
        return importlib.import_module("my_features")

    before = "def clean(rows):\n    return rows.to_numpy()\n"
    encoded = CODECS.encode(Model(Ridge().fit(X, Y), preprocess=imported(before).clean))

    imported("# moved\n" + before)
    assert CODECS.decode("model", encoded.payload).preprocess.__name__ == "clean"
    imported(before.replace("rows.to_numpy()", "rows.to_numpy() + 1"))
    with pytest.raises(CodeChanged, match="my_features:clean is not what this model was trained with") as caught:
        CODECS.decode("model", encoded.payload)
    assert "train the model again" in caught.value.hint
    imported("def other():\n    return 1\n")
    with pytest.raises(NotFound, match="no function named 'my_features:clean'"):
        CODECS.decode("model", encoded.payload)
    file.write_text("1 / 0\n")
    sys.modules.pop("my_features")
    with pytest.raises(CodeChanged, match="my_features:clean cannot be imported: ZeroDivisionError"):
        CODECS.decode("model", encoded.payload)


def test_bytes_that_are_no_model_are_refused():
    for payload in (b"", b"\x00\x00\x00\x02{}"[:5], b"\xff\xff\xff\xff"):
        with pytest.raises(Invalid, match="these bytes are no model"):
            CODECS.decode("model", payload)
