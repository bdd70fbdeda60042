"""The codecs of a platform, one file each: what carries which values. Pickle is nowhere among them."""

from noria.adapters.codecs.arrays import Arrays
from noria.adapters.codecs.frames import Frames
from noria.adapters.codecs.models import Models
from noria.adapters.codecs.plain import Plain
from noria.adapters.codecs.sklearn import Estimators
from noria.core.codecs import Codecs


def standard() -> Codecs:
    """Return all codecs, in the order in which they are asked; scikit-learn is loaded only when a model is met."""
    estimators = Estimators()
    return Codecs([Plain(), Frames(), Arrays(), Models(Codecs([estimators])), estimators])
