"""The normal, t and binomial curves: areas under them, and the points that leave a given area."""

from typing import Any

from noria.core.errors import Invalid


def normal_area(z: float) -> float:
    """Return the area of the standard normal curve below z."""
    return float(_special().ndtr(z))


def normal_point(area: float) -> float:
    """Return the point below which the standard normal curve has this area, 0 < area < 1."""
    return float(_special().ndtri(inside(area, "an area")))


def t_point(area: float, freedom: float) -> float:
    """Return the point below which Student's t with this many degrees of freedom has this area."""
    return float(_special().stdtrit(freedom, inside(area, "an area")))


def binomial_area(successes: int, *, trials: int, chance: float) -> float:
    """Return the chance of at most so many successes in so many independent trials."""
    return float(_special().bdtr(successes, trials, chance))


def inside(share: float, name: str) -> float:
    """Return a share that lies strictly between 0 and 1, or refuse it (NaN too)."""
    if not 0 < share < 1:
        raise Invalid(f"{name} of {share} does not lie between 0 and 1", hint="0.05 is five in a hundred")
    return share


def _special() -> Any:  # noqa: ANN401 - SciPy ships no types
    from scipy import special  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - 0.3 s that a process which judges nothing does not pay

    return special
