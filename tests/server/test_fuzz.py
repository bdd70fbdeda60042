"""The law of the API's own description: whatever it allows is answered as it says, and nothing makes the server fail."""

import pytest
import schemathesis
from builders import client_of
from hypothesis import HealthCheck, given, settings

EXAMPLES = 8


def fuzz(turned, *, examples):
    """Send what the description allows, and what it does not, to every route; return how many routes there are."""
    app = client_of(turned).app
    app.user_middleware.clear()  # the guard asks for our host, which the fuzzer does not say
    described = schemathesis.openapi.from_asgi("/openapi.json", app)
    routes = [found.ok() for found in described.get_all_operations()]
    for route in routes:

        @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=route.as_strategy())
        def every_answer_is_as_described(case):
            case.call_and_validate()

        every_answer_is_as_described()
    return len(routes)


def test_every_route_answers_as_it_is_described(turned):
    assert fuzz(turned, examples=EXAMPLES) == 40


@pytest.mark.soak
def test_every_route_answers_as_it_is_described_for_long(any_home):
    assert fuzz(any_home, examples=300) == 40
