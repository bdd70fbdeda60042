"""A law that every estimator of scikit-learn meets: it comes back with the same answers, and its digest is of what it is."""

import warnings
from unittest import SkipTest

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.utils import all_estimators
from sklearn.utils._test_common.instance_generator import _construct_instances

from noria.adapters.codecs import standard
from noria.core.errors import Invalid

CODECS = standard()
X, Y = make_blobs(n_samples=40, centers=2, n_features=4, random_state=0)
X = np.abs(X)
REFUSED = {"SplineTransformer"}
"""It holds functions that belong to SciPy's insides."""


def fitted(kind):
    """Return a fitted estimator and rows for it; None for one that wants other data."""
    try:
        made = next(iter(_construct_instances(kind)))
        if "random_state" in made.get_params():
            made.set_params(random_state=0)
        tags = made.__sklearn_tags__()
        rows = X if tags.input_tags.two_d_array else X[:, 0]
        labels = Y if tags.target_tags.single_output or not tags.target_tags.multi_output else np.c_[Y, Y]
        return made.fit(rows, labels), rows
    except (AttributeError, SkipTest, TypeError, ValueError):
        return None


def answers(estimator, rows):
    """Return what it says of the rows, in every way that it has."""
    found = {}
    for name in ("predict", "predict_proba", "decision_function", "transform"):
        try:
            told = getattr(estimator, name)(rows)
        except (AttributeError, NotImplementedError, TypeError, ValueError):
            continue
        found[name] = told.toarray() if hasattr(told, "toarray") else np.asarray(told)
    return found


def same(found, told, words):
    """Be the same but for the last digits of numbers, which depend on where in memory BLAS finds an array."""
    if told.dtype.kind == "f":
        np.testing.assert_allclose(found, told, rtol=1e-9, atol=1e-12, err_msg=words)
    else:
        np.testing.assert_array_equal(found, told, err_msg=words)


def test_every_estimator_comes_back_with_the_same_answers_and_the_same_digest():
    carried, refused = set(), set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, kind in all_estimators():
            made = fitted(kind)
            if made is None:
                continue
            estimator, rows = made
            try:
                encoded = CODECS.encode(estimator)
            except Invalid:
                refused.add(name)
                continue
            back = CODECS.decode(encoded.codec, bytes(encoded.payload))
            assert encoded.codec == "estimator"
            assert CODECS.encode(back).digest == encoded.digest, name
            for way, told in answers(estimator, rows).items():
                same(answers(back, rows)[way], told, f"{name}.{way}")
            carried.add(name)

    assert refused == REFUSED
    assert len(carried) > 180


def test_fitted_again_with_the_same_seed_they_are_the_same_value():
    again = [
        fitted(kind)
        for name, kind in all_estimators("classifier")
        for _ in range(2)
        if "Forest" in name or "Boost" in name
    ]
    digests = [CODECS.encode(made[0]).digest for made in again]

    assert digests[::2] == digests[1::2]
    assert len(set(digests)) == len(digests) // 2 >= 4


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_one_object_stays_one_and_what_are_two_stay_two(shared):
    from sklearn.pipeline import FeatureUnion
    from sklearn.preprocessing import StandardScaler

    one = StandardScaler().fit(X)
    other = one if shared else StandardScaler().fit(X)
    encoded = CODECS.encode(FeatureUnion([("a", one), ("b", other)]))

    (_, first), (_, second) = CODECS.decode(encoded.codec, encoded.payload).transformer_list

    assert (first is second) == shared
