"""Every parameter that the openai package's types know either works or is refused by name, as router/api/README.md says."""
import pathlib
import re
import typing

import openai
import pytest
from openai.types import completion_create_params
from openai.types.chat import completion_create_params as chat_create_params

from end_to_end.deployment import Deployment

README = pathlib.Path(__file__).resolve().parents[2] / "router" / "api" / "README.md"
HI = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}

# A value of each parameter that asks for something, and what else it needs. A list: each value by itself.
SAMPLES = {
    "audio": [{"format": "wav", "voice": "alloy"}],
    "best_of": [2],
    "echo": [True],
    "frequency_penalty": [0.5],
    "function_call": ["auto", {"name": "f"}],
    "functions": [[{"name": "f"}]],
    "logit_bias": [{"300": -5}],
    "logprobs": [True],
    "max_completion_tokens": [2],
    "max_tokens": [2],
    "messages": [HI],
    "metadata": [{"team": "red"}],
    "modalities": [["text"]],
    "model": [None],
    "moderation": [{"model": "omni-moderation-latest"}],
    "n": [2],
    "parallel_tool_calls": [True, False],
    "prediction": [{"type": "content", "content": "Hi"}],
    "presence_penalty": [0.5],
    "prompt": ["Hi", ["Hi", "you"], [300, 301], [[300], [301]]],
    "prompt_cache_key": ["k"],
    "prompt_cache_options": [{"mode": "explicit"}],
    "prompt_cache_retention": ["24h"],
    "reasoning_effort": ["low", "high"],
    "response_format": [{"type": "text"}, {"type": "json_object"},
                        {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer"}, "strict": True}}],
    "safety_identifier": ["someone"],
    "seed": [7, -7],
    "service_tier": ["auto", "default"],
    "stop": ["x", ["x", "y"]],
    "store": [False],
    "stream": [True, False],
    "stream_options": [{"include_usage": True}],
    "suffix": ["x"],
    "temperature": [0.5],
    "tool_choice": ["auto", "required", {"type": "function", "function": {"name": "f"}}],
    "tools": [[TOOL]],
    "top_logprobs": [2],
    "top_p": [0.5],
    "user": ["someone"],
    "verbosity": ["low"],
    "web_search_options": [{}],
}
NEEDS = {"stream_options": {"stream": True}, "top_logprobs": {"logprobs": True}, "tool_choice": {"tools": [TOOL]},
         "parallel_tool_calls": {"tools": [TOOL]}}
COMPLETION_SAMPLES = SAMPLES | {"logprobs": [2]}
# Values of parameters that otherwise work.
REFUSED_VALUES = [("store", True), ("service_tier", "flex"), ("modalities", ["text", "audio"]), ("n", 129),
                  ("stream_options", {"include_usage": True}), ("top_logprobs", 1), ("tool_choice", "auto"), ("tools", [TOOL])]


def table(path):
    """{parameter: "works" or "refused"} of the README's table for this route."""
    text = README.read_text().split(f"`POST {path}`\n", 1)[1]
    rows = re.findall(r"^\| `(\w+)` \| (works|refused) \|", text.strip().split("\n\n")[0], re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return dict(rows)


def typed_parameters(module):
    variants = (module.CompletionCreateParamsNonStreaming, module.CompletionCreateParamsStreaming)
    return {name for variant in variants for name in typing.get_type_hints(variant)}


ROUTES = [
    ("/v1/chat/completions", chat_create_params, SAMPLES, {"messages": HI, "max_tokens": 2}),
    ("/v1/completions", completion_create_params, COMPLETION_SAMPLES, {"prompt": "Hi", "max_tokens": 2}),
]


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    """A router whose chats can have tools."""
    with Deployment(tmp_path_factory.mktemp("mini"), router_flags=("--chat-format", "nemotron-mini")) as running:
        yield running


@pytest.mark.parametrize("path, module, samples, base", ROUTES)
def test_every_typed_parameter_works_or_is_refused_by_name(mini, http, path, module, samples, base):
    documented = table(path)
    assert documented.keys() == typed_parameters(module), f"{README} and the openai package {openai.__version__} differ"
    for name, outcome in documented.items():
        for value in samples[name]:
            body = {key: member for key, member in base.items() if (key, name) != ("max_tokens", "max_completion_tokens")}
            reply = http.post(mini.url + path, json=body | NEEDS.get(name, {}) | {name: value})
            if outcome == "works":
                assert reply.status_code == 200, (name, value, reply.text)
            else:
                assert reply.status_code == 400, (name, value, reply.text)
                assert reply.json()["error"]["param"].split(".")[0] == name, (name, value, reply.text)
                assert name in reply.json()["error"]["message"]


@pytest.mark.parametrize("name, value", REFUSED_VALUES)
def test_values_that_are_not_offered_are_refused_by_name(deployment, http, name, value):
    reply = http.post(deployment.url + "/v1/chat/completions", json={"messages": HI, "max_tokens": 2, name: value})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, name)


def test_null_asks_for_nothing(deployment, http):
    for path, _, _, base in ROUTES:
        nulls = dict.fromkeys(table(path).keys() - {"messages", "prompt", "max_tokens"})
        assert http.post(deployment.url + path, json=base | nulls).status_code == 200
