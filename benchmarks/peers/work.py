"""A real piece of work, the same for every contestant: three classifiers on two of scikit-learn's own datasets."""

SETS = ("breast_cancer", "digits")
KINDS = ("logistic", "forest", "boosting")


def load(name):
    """Return a dataset as a pandas frame with its target."""
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")(as_frame=True)
    return found.data.assign(target=found.target)


def split(frame):
    """Say of each row whether it is held back."""
    import numpy as np

    return frame.assign(held=np.random.default_rng(0).random(len(frame)) < 0.25)


def train(frame, kind):
    """Return a fitted classifier."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    made = {
        "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
        "forest": lambda: RandomForestClassifier(n_estimators=50, random_state=0, n_jobs=1),
        "boosting": lambda: HistGradientBoostingClassifier(random_state=0, max_iter=50),
    }[kind]()
    part = frame[~frame["held"]]
    return made.fit(part.drop(columns=["target", "held"]), part["target"])


def evaluate(model, frame):
    """Return the accuracy on the rows that were held back."""
    part = frame[frame["held"]]
    return float(model.score(part.drop(columns=["target", "held"]), part["target"]))


def best(scores):
    """Return the best accuracy of each dataset; `scores` are in the order of `pairs`."""
    found = {}
    for (name, _), score in zip(pairs(), scores, strict=True):
        found[name] = max(found.get(name, 0.0), round(score, 6))
    return found


def pairs():
    """Return each dataset with each kind of model."""
    return [(name, kind) for name in SETS for kind in KINDS]
