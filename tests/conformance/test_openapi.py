"""The OpenAPI description, held against a running router by schemathesis: requests made from it, valid and broken ones, get
answers that it describes, and nothing fails within the server."""
import json
import pathlib
import re

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks

DESCRIPTION = pathlib.Path(__file__).resolve().parents[2] / "router" / "api" / "openapi.json"
NUM_EXAMPLES = 40  # of each operation
CHECKS = [checks.not_a_server_error, openapi_checks.status_code_conformance, openapi_checks.content_type_conformance,
          openapi_checks.response_headers_conformance, openapi_checks.response_schema_conformance,
          openapi_checks.negative_data_rejection]


def is_count(value):
    return type(value) is int and value >= 1


@schemathesis.hook
def map_body(context, body):
    """Answers of two tokens, no deadlines, no other models: they are not what is tested here. Broken values stay."""
    if not isinstance(body, dict):
        return body
    path = context.operation.path
    limits = {"/v1/completions": ("max_tokens",), "/v1/chat/completions": ("max_tokens", "max_completion_tokens"),
              "/generate": ("tokens_to_generate",)}.get(path, ())
    short = {name: 2 for name in limits if is_count(body.get(name, 1))}
    if isinstance(body.get("model"), str):
        short["model"] = None  # no other would be found
    if type(body.get("timeout")) in (int, float) and 0 < body["timeout"] <= 3600:
        short["timeout"] = 60
    return body | short


schema = schemathesis.openapi.from_path(DESCRIPTION)
OPERATIONS = [result.ok() for result in schema.get_all_operations()]


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_answers_are_as_described(deployment, operation, mode):
    @settings(max_examples=NUM_EXAMPLES, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        case.call_and_validate(base_url=deployment.url, checks=CHECKS, timeout=60)

    check()


def test_the_served_description_is_the_one_that_is_tested(deployment, http):
    assert http.get(deployment.url + "/openapi.json").json() == json.loads(DESCRIPTION.read_text())


def test_every_route_is_described(deployment, http):
    paths = http.get(deployment.url + "/openapi.json").json()["paths"]
    for path, operations in paths.items():
        allowed = http.options(deployment.url + re.sub(r"\{\w+\}", "nano", path)).headers["Allow"]
        assert {method.upper() for method in operations} == set(allowed.split(", ")) - {"HEAD", "OPTIONS"}, path
