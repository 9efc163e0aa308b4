"""The OpenAPI description, held against a running router by schemathesis: requests made from it, valid and broken ones, get
answers that it describes, and nothing fails within the server."""
import re

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

NUM_EXAMPLES = 25  # of each operation
CHECKS = [checks.not_a_server_error, openapi_checks.status_code_conformance, openapi_checks.content_type_conformance,
          openapi_checks.response_headers_conformance, openapi_checks.response_schema_conformance,
          openapi_checks.negative_data_rejection]


@schemathesis.hook
def map_body(context, body):
    """Few tokens: the length of an answer is not what is tested here."""
    if isinstance(body, dict) and context.operation.path in ("/v1/completions", "/v1/chat/completions"):
        if not isinstance(body.get("max_tokens", 1), (str, bool, list, dict, float)):
            body = body | {"max_tokens": 2}
            body.pop("max_completion_tokens", None)
    return body


@pytest.fixture(scope="session")
def description(deployment):
    return schemathesis.openapi.from_url(deployment.url + "/openapi.json")


schema = schemathesis.pytest.from_fixture("description")


@schema.parametrize()
@settings(max_examples=NUM_EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_answers_are_as_described(case):
    case.call_and_validate(checks=CHECKS, timeout=60)


def test_every_route_is_described(deployment, http):
    paths = http.get(deployment.url + "/openapi.json").json()["paths"]
    for path, operations in paths.items():
        allowed = http.options(deployment.url + re.sub(r"\{\w+\}", "nano", path)).headers["Allow"]
        assert {method.upper() for method in operations} == set(allowed.split(", ")) - {"HEAD", "OPTIONS"}, path
