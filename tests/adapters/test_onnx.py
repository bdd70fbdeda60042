"""Laws of conversion: ONNX says what the model says on real rows, missing ones too, or it is not trusted."""

import sys
import time

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation
from sklearn.tree import DecisionTreeClassifier

import noria as nr
from noria.adapters.codecs import standard
from noria.adapters.onnx import OnnxScorer, convert
from noria.core.errors import BadData, Invalid, ModelFailed, NotInstalled
from noria.serving import golden, proving
from noria.serving.model import ServableKind
from noria.serving.preparing import choose

RNG = np.random.default_rng(3)
ROWS = pl.DataFrame(
    {
        "a": RNG.normal(60, 12, 800).round(1),
        "b": RNG.gamma(2.0, 1.5, 800).round(2),
        "c": RNG.integers(0, 2_000, 800),
        "d": RNG.random(800) < 0.3,
    }
)
GAPS = ROWS.with_columns(b=pl.when(pl.col("c") % 5 == 0).then(None).otherwise(pl.col("b")))
LABELS = (ROWS["a"] + 3 * ROWS["b"] + RNG.normal(0, 9, 800) > 70).to_numpy()
READS = nr.columns("a", "b", "c", "d")


def prepared(model, rows, *, converter=convert):
    return choose(model, rows, features=rows.columns, convert=converter, opener=OnnxScorer)


@pytest.mark.parametrize(
    ("estimator", "rows"),
    [
        (HistGradientBoostingClassifier(max_iter=40), GAPS),
        (HistGradientBoostingRegressor(max_iter=40), GAPS),
        (GradientBoostingClassifier(n_estimators=20), ROWS),
        (RandomForestClassifier(n_estimators=10, random_state=0), ROWS),
        (make_pipeline(StandardScaler(), LogisticRegression()), ROWS),
        (Ridge(), ROWS),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_model_and_its_onnx_say_the_same_on_every_row(estimator, rows):
    labels = LABELS if hasattr(estimator, "predict_proba") or "Classifier" in repr(estimator) else rows["a"].to_numpy()
    model = nr.Model(estimator.fit(READS(rows), labels), preprocess=READS)

    made = prepared(model, rows)

    assert made.kind is ServableKind.ONNX, made.words
    assert made.inputs == {"a": "float", "b": "float", "c": "int", "d": "bool"}
    scores = OnnxScorer(made.payload, READS.names, "m@1").submit(rows.to_dicts()).result()
    assert scores == pytest.approx(model.predict(rows).tolist(), abs=1e-4, rel=1e-4)


def test_a_column_that_a_row_lacks_is_a_missing_value():
    model = nr.Model(HistGradientBoostingClassifier(max_iter=10).fit(READS(GAPS), LABELS), preprocess=READS)
    scorer = OnnxScorer(prepared(model, GAPS).payload, READS.names, "m@1")
    row = {"a": 60.0, "b": None, "c": 7, "d": True}

    (without,) = scorer.submit([{"a": 60.0, "c": 7, "d": True}]).result()

    assert without == scorer.submit([row]).result()[0]
    assert without == pytest.approx(model.predict(pl.DataFrame([row], schema=GAPS.schema))[0], abs=1e-6)


@pytest.mark.parametrize("rows", [ROWS, GAPS], ids=["whole", "gaps"])
@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(8, max_depth=4, random_state=0),
        ExtraTreesRegressor(5, max_depth=4, random_state=0),
        DecisionTreeClassifier(max_depth=5),
        HistGradientBoostingClassifier(max_iter=10),
        make_pipeline(SimpleImputer(), RandomForestClassifier(5, random_state=0)),
        BaggingClassifier(n_estimators=3, random_state=0),
        make_pipeline(KNNImputer(), LogisticRegression(max_iter=500)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_served_scores_rows_without_a_column_as_the_model_does(estimator, rows):
    model = nr.Model(estimator.fit(READS(rows), LABELS), preprocess=READS)

    made = prepared(model, rows)

    if made.kind is ServableKind.ONNX:
        for name in READS.names:
            lacking = ROWS.head(100).with_columns(pl.lit(None, ROWS.schema[name]).alias(name))
            found = OnnxScorer(made.payload, READS.names, "m@1").submit(lacking.to_dicts()).result()
            assert found == pytest.approx(model.predict(lacking).tolist(), abs=1e-4, rel=1e-4)
    else:
        assert "differs on" in made.words or "other scores" in made.words


def test_a_forest_without_gaps_in_its_data_still_runs_as_onnx():
    model = nr.Model(RandomForestClassifier(8, random_state=0).fit(READS(ROWS), LABELS), preprocess=READS)

    assert prepared(model, ROWS).kind is ServableKind.ONNX


def test_what_the_model_refuses_gets_no_score_from_its_onnx_either():
    model = nr.Model(GradientBoostingClassifier(n_estimators=5).fit(READS(ROWS), LABELS), preprocess=READS)
    made = prepared(model, ROWS)
    assert made.golden.refused_without == set(READS.names)

    scorer = proving.proved(OnnxScorer(made.payload, READS.names, "m@1"), made.golden, within=1e-4, who="m@1")

    row = ROWS.row(0, named=True)
    whole, lacking = scorer.submit([row, {**row, "b": None}]).result()
    assert lacking is None
    assert whole == pytest.approx(model.predict(ROWS.head(1))[0], abs=1e-4)


def test_a_number_that_32_bits_cannot_hold_is_refused_with_its_column_and_row():
    model = nr.Model(Ridge().fit(READS(ROWS), LABELS), preprocess=READS)
    scorer = OnnxScorer(convert(model, READS.names), READS.names, "m@1")
    row = ROWS.row(0, named=True)

    with pytest.raises(BadData, match="column 'b' of row 1 holds 1e\\+300, which 32 bits cannot hold"):
        scorer.submit([row, {**row, "b": 1e300}]).result()


def beside(rows):
    return rows.select(pl.col("a") - pl.col("a").mean()).to_numpy()


def by_chance(rows):
    return rows.select("a").to_numpy() + RNG.normal(size=(rows.height, 1))


def reads_the_time(rows):
    return rows.select("a").to_numpy() + time.perf_counter_ns() % 1_000_003


def unlike_a_request(rows):
    return rows.select(pl.col("a") + (0 if rows.columns == ["a", "b"] else 100)).to_numpy()


@pytest.mark.parametrize(
    ("preprocess", "words"),
    [
        (beside, "depends on the rows beside it|not those it was judged by"),
        (by_chance, "change from one asking to the next"),
        (reads_the_time, "change from one asking to the next"),
        (unlike_a_request, "not those it was judged by"),
    ],
)
def test_a_model_whose_scores_are_not_of_the_row_alone_is_not_registered(preprocess, words):
    model = nr.Model(Ridge().fit(ROWS.select("a").to_numpy(), ROWS["a"].to_numpy()), preprocess=preprocess)

    with pytest.raises(Invalid, match=words) as caught:
        choose(model, ROWS, features=["a", "b"], convert=convert, opener=OnnxScorer)
    assert "no clock, no chance, no other rows" in caught.value.hint


def test_a_preprocess_that_reads_what_no_request_can_spell_has_no_golden_rows_and_says_so():
    rows = ROWS.with_columns(day=pl.date(2026, 1, 1))
    model = nr.Model(Ridge().fit(ROWS.select("a").to_numpy(), LABELS), preprocess=of_a_date)

    made = choose(model, rows, features=rows.columns, convert=convert, opener=OnnxScorer)

    assert made.golden is None
    assert "no golden rows: rows as a request sends them are refused" in made.words


def of_a_date(rows):
    return rows.select(pl.col("a") + pl.col("day").dt.year()).to_numpy()


def test_golden_rows_try_each_column_and_come_back_from_their_bytes():
    model = nr.Model(HistGradientBoostingClassifier(max_iter=5).fit(READS(ROWS), LABELS), preprocess=READS)
    made = prepared(model, ROWS).golden

    assert golden.decoded(made.encoded()) == made
    tried = {one.about for one in made.rows}
    assert {"judged", "without any column", "'d' true"} < tried
    for name in READS.names:
        assert f"without {name!r}" in tried
    assert {"'c' huge", "'c' below its range", "'a' tiny"} < tried
    assert all(isinstance(one.row["c"], int | None) for one in made.rows)


def test_a_hundred_columns_and_one_alike_have_golden_rows_for_each():
    for count in (1, 100):
        names = [f"c {place}.é" for place in range(count)]
        rows = pl.DataFrame({name: RNG.normal(size=60) for name in names})
        reads = nr.columns(*names)
        made = prepared(nr.Model(Ridge().fit(reads(rows), RNG.normal(size=60)), preprocess=reads), rows).golden
        assert {one.lacks for one in made.rows if one.lacks} == set(names)
        assert len(made.rows) < 600


def test_a_conversion_that_differs_is_not_trusted_and_the_record_says_by_how_much():
    rows = pl.DataFrame({"t": np.linspace(1.7e9, 1.7e9 + 400, 800)})  # seconds that 32 bits cannot tell apart
    reads = nr.columns("t")
    labels = (np.arange(800) // 5) % 2
    model = nr.Model(HistGradientBoostingClassifier(min_samples_leaf=2).fit(reads(rows), labels), preprocess=reads)

    made = prepared(model, rows)

    assert made.kind is ServableKind.NATIVE
    assert made.payload is None
    assert "its conversion differs on" in made.words


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (LabelPropagation(), "a LabelPropagation has no ONNX"),
        (HistGradientBoostingClassifier(max_iter=5, categorical_features=[2]), "its conversion differs on"),
        (HistGradientBoostingClassifier(max_iter=5), "is not installed"),
    ],
)
def test_what_does_not_convert_is_served_as_trained_and_the_record_says_why(estimator, words):
    rows = ROWS.with_columns(pl.col("c") % 7)
    model = nr.Model(estimator.fit(READS(rows), LABELS), preprocess=READS)

    made = prepared(model, rows, converter=None if "installed" in words else convert)

    assert (made.kind, made.payload) == (ServableKind.NATIVE, None)
    assert words in made.words


def features(rows):
    return rows.select("a").to_numpy()


def test_a_preprocess_that_is_a_function_is_served_as_trained():
    model = nr.Model(Ridge().fit(features(ROWS), LABELS), preprocess=features)

    made = choose(model, ROWS, features=["a", "c"], convert=convert, opener=OnnxScorer)

    assert made.kind is ServableKind.NATIVE
    assert made.inputs == {"a": "float", "c": "int"}
    assert "nr.columns(...)" in made.words


def test_rows_that_the_runtime_refuses_are_an_error_of_the_model():
    model = nr.Model(Ridge().fit(READS(ROWS), LABELS), preprocess=READS)
    scorer = OnnxScorer(convert(model, READS.names), READS.names, "m@1")

    with pytest.raises(ModelFailed, match="m@1 could not score the rows"):
        scorer.submit([{"a": "sixty"}]).result()


def test_bytes_that_are_no_onnx_are_refused():
    with pytest.raises(Invalid, match="the ONNX of m@1 cannot be loaded"):
        OnnxScorer(b"no model", ["a"], "m@1")


def test_without_the_extra_both_ways_say_how_to_install_it(monkeypatch):
    model = nr.Model(Ridge().fit(READS(ROWS), LABELS), preprocess=READS)
    for module in ("skl2onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)

    for work in (lambda: convert(model, READS.names), lambda: OnnxScorer(b"", ["a"], "m@1")):
        with pytest.raises(NotInstalled) as caught:
            work()
        assert caught.value.hint == "pip install 'noria[onnx]'"


def test_columns_are_stored_as_data_and_read_back():
    model = nr.Model(Ridge().fit(READS(ROWS), LABELS), preprocess=READS)
    codecs = standard()

    encoded = codecs.encode(model)
    back = codecs.decode(encoded.codec, encoded.payload)

    assert back.preprocess == READS
    assert codecs.encode(back).digest == encoded.digest
    assert b'"columns":["a","b","c","d"]' in bytes(encoded.payload)


def test_columns_give_a_matrix_of_numbers_with_what_is_missing_as_nan():
    found = READS(pl.DataFrame({"a": [1.5, None], "b": [2, 3], "c": [None, None], "d": [True, False], "other": "x"}))

    assert np.array_equal(found, [[1.5, 2, np.nan, 1], [np.nan, 3, np.nan, 0]], equal_nan=True)


def test_columns_that_hold_no_numbers_or_are_named_twice_are_refused():
    with pytest.raises(Invalid, match="column 'a' holds String, not numbers"):
        nr.columns("a")(pl.DataFrame({"a": ["x"]}))
    with pytest.raises(Invalid, match="no columns to read"):
        nr.columns("a", "a")
    with pytest.raises(Invalid, match="no columns to read"):
        nr.columns()
