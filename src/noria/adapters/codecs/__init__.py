"""The codecs of a platform, one file each: what carries which values. Pickle is nowhere among them."""

from noria.adapters.codecs.arrays import Arrays
from noria.adapters.codecs.collections import Collections
from noria.adapters.codecs.files import Files
from noria.adapters.codecs.frames import Columns, Frames
from noria.adapters.codecs.models import Models
from noria.adapters.codecs.pandas import PandasFrames
from noria.adapters.codecs.plain import Plain
from noria.adapters.codecs.sklearn import Estimators
from noria.adapters.codecs.skops import SkopsEstimators
from noria.core.codecs import Codecs


def standard() -> Codecs:
    """Return all codecs, in the order in which they are asked; a library is loaded only when a value of it is met."""
    plain, estimators = Plain(), [Estimators(), SkopsEstimators()]
    others = [Frames(), Columns(), PandasFrames(), Arrays(), Files(), Models(Codecs(estimators)), *estimators]
    return Codecs([Collections(plain, Codecs(others)), plain, *others])
