"""The normal, t and binomial curves: areas under them, and the points that leave a given area."""

from scipy.special import bdtr, ndtr, ndtri, stdtrit  # pyright: ignore[reportMissingTypeStubs] - SciPy ships none

from noria.core.errors import Invalid


def normal_area(z: float) -> float:
    """Return the area of the standard normal curve below z."""
    return float(ndtr(z))


def normal_point(area: float) -> float:
    """Return the point below which the standard normal curve has this area, 0 < area < 1."""
    return float(ndtri(inside(area, "an area")))


def t_point(area: float, freedom: float) -> float:
    """Return the point below which Student's t with this many degrees of freedom has this area."""
    return float(stdtrit(freedom, inside(area, "an area")))


def binomial_area(successes: int, *, trials: int, chance: float) -> float:
    """Return the chance of at most so many successes in so many independent trials."""
    return float(bdtr(successes, trials, chance))


def inside(share: float, name: str) -> float:
    """Return a share that lies strictly between 0 and 1, or refuse it (NaN too)."""
    if not 0 < share < 1:
        raise Invalid(f"{name} of {share} does not lie between 0 and 1", hint="0.05 is five in a hundred")
    return share
