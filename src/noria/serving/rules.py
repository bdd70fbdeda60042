"""Pure decisions of serving: whose turn a key is, what a route may be, and whether an id was ever given."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

from noria.core.errors import BadData, Invalid, NotFound, Unavailable
from noria.datasets import values
from noria.serving.model import Endpoint, Feedback, Route, Variant

_POINTS = 2**64
_STAMP_BYTES = 5


def point(endpoint: str, key: str) -> float:
    """Return where in [0, 1) a key stands at an endpoint; always the same place, and evenly spread over keys."""
    digest = blake2b(f"{endpoint}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (_POINTS >> 11)


def chosen(variants: Sequence[Variant], place: float) -> int:
    """Return the version whose share of [0, 1) holds the place; the first variant's share begins at 0.

    >>> chosen([Variant(version=2, weight=0.05), Variant(version=1, weight=0.95)], 0.04)
    2
    """
    end = 0.0
    for variant in variants:
        end += variant.weight
        if place < end:
            return variant.version
    return variants[-1].version  # weights that sum to a hair less than 1


def version_for(route: Route, key: str) -> int:
    """Return the version that answers a key; raises `Unavailable` while the endpoint has none."""
    if not route.variants:
        raise Unavailable(
            f"endpoint {route.endpoint!r} has no version to answer with",
            hint=f"promote one: noria promote {route.model}@N --reason TEXT",
        )
    if len(route.variants) == 1:
        return route.variants[0].version
    return chosen(route.variants, point(route.endpoint, key))


def stand_ins(route: Route, chosen: int) -> list[int]:
    """Return who answers a key, first the version whose turn it is; a later one answers only if those before fail."""
    others = sorted(route.variants, key=lambda variant: variant.weight, reverse=True)
    return [chosen, *(variant.version for variant in others if variant.version != chosen)]


def checked_variants(variants: Sequence[Variant], shadows: Sequence[int]) -> None:
    """Raise `Invalid` unless the weights are shares that sum to 1 and no version is named twice."""
    weights = [variant.weight for variant in variants]
    if any(not 0 < weight <= 1 for weight in weights):
        raise Invalid(f"weights {weights} are no shares", hint="each is above 0 and at most 1; leave the others out")
    if weights and not math.isclose(math.fsum(weights), 1.0, abs_tol=1e-9):
        raise Invalid(f"weights {weights} sum to {math.fsum(weights):g}", hint="let them sum to 1")
    named = [*(variant.version for variant in variants), *shadows]
    if len(set(named)) < len(named):
        raise Invalid(f"versions {named} are not all different", hint="a version answers or is a shadow, once")


def must_be_feedback(told: Feedback) -> None:
    """Raise `BadData` for feedback about nothing, or whose label or time could not be kept as it is.

    Whether the label is of its dataset's kind is seen when it lands.
    """
    if (told.prediction is None) == (told.key is None):
        raise BadData("feedback names a prediction or the key of a row, one of them", hint="leave the other one out")
    try:
        values.exact_label(told.label, values.kind_of_value(told.label))
        values.moment(told.at)
    except values.Misfit as misfit:
        hint = "a label is true, false, a number or a text; a time has a zone"
        raise BadData(f"the feedback on {told.prediction or told.key!r}: {misfit}", hint=hint) from None


def stamped(endpoint: Endpoint, token: str) -> str:
    """Return the id of a prediction: the endpoint, a fresh token, and a stamp that only this endpoint can make."""
    return f"{endpoint.name}.{token}.{_stamp(endpoint, token)}"


def named_in(prediction: str) -> str:
    """Return the name of the endpoint that an id says it is of."""
    return prediction.rpartition(".")[0].rpartition(".")[0]


def endpoint_of(prediction: str, endpoints: Mapping[str, Endpoint]) -> Endpoint:
    """Return the endpoint that gave a prediction its id; raises `NotFound` for an id that none of them gave."""
    before, _, stamp = prediction.rpartition(".")
    token = before.rpartition(".")[2]
    endpoint = endpoints.get(named_in(prediction))
    if endpoint is None or _stamp(endpoint, token) != stamp:
        raise NotFound(
            "prediction", prediction, hint="send the prediction id exactly as it was answered, or the row's key"
        )
    return endpoint


def _stamp(endpoint: Endpoint, token: str) -> str:
    hashed = _keyed(endpoint.secret).copy()
    hashed.update(token.encode())
    return hashed.hexdigest()


@lru_cache
def _keyed(secret: str) -> blake2b:
    """Return a hash that knows the secret: taking it in costs more than the token does."""
    return blake2b(key=secret.encode()[:64], digest_size=_STAMP_BYTES)
