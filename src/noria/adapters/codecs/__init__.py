"""The codecs of a platform, one file each: what carries which values. Pickle is nowhere among them."""

from noria.adapters.codecs import numpy_parts, pandas_parts, polars_parts
from noria.adapters.codecs.arrays import Arrays
from noria.adapters.codecs.collections import Collections
from noria.adapters.codecs.described import Described
from noria.adapters.codecs.files import Files
from noria.adapters.codecs.frames import Columns, Frames
from noria.adapters.codecs.models import Models
from noria.adapters.codecs.pandas import PandasFrames
from noria.adapters.codecs.plain import Plain
from noria.adapters.codecs.sklearn import Estimators
from noria.adapters.codecs.skops import SkopsEstimators
from noria.adapters.codecs.tables import Tables
from noria.core.codecs import Codecs


def standard() -> Codecs:
    """Return all codecs, in the order in which they are asked; a library is loaded only when a value of it is met."""
    plain, estimators = Plain(), [Estimators(), SkopsEstimators()]
    collections = Collections(plain, lambda: others)
    exact = [Frames(), Columns(), PandasFrames(), Arrays(), Files(), Models(Codecs(estimators)), Tables(), *estimators]
    others = Codecs([*_described(collections), *exact])
    return Codecs([collections, plain, *_described(collections), *exact])


def _described(collections: Collections) -> list[Described]:
    """Return the codecs of what the usual formats do not say in full; each is asked before the one of its format."""
    parts = {
        "polars-parts": ("frame of Polars", polars_parts),
        "pandas-parts": ("frame of pandas", pandas_parts),
        "numpy-parts": ("array of NumPy", numpy_parts),
    }
    return [
        Described(
            name=name,
            what=what,
            collections=collections,
            is_kind=module.is_kind,
            is_needed=module.is_needed,
            describe=module.describe,
            make=module.make,
        )
        for name, (what, module) in parts.items()
    ]
