"""Tools with the official openai package, in Nemotron-Mini's format. The nano model knows no tools, so that only calls which must
be made are."""
import json

import openai
import pytest

from end_to_end.deployment import Deployment

CITIES = ["Rome", "Paris"]
TOOL = {"type": "function", "function": {"name": "get_time", "description": "The time of a city.", "parameters": {
    "type": "object", "properties": {"city": {"enum": CITIES}}, "required": ["city"], "additionalProperties": False}}}
OTHER = {"type": "function", "function": {"name": "stop", "parameters": {"type": "object", "properties": {},
                                                                       "additionalProperties": False}}}
NAMED = {"type": "function", "function": {"name": "get_time"}}
ASK = [{"role": "user", "content": "What time is it?"}]


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    flags = ("--chat-format", "nemotron-mini")
    with Deployment(tmp_path_factory.mktemp("mini"), router_flags=flags) as running:
        yield running


@pytest.fixture(scope="module")
def client(mini):
    with openai.OpenAI(base_url=mini.url + "/v1", api_key="none", timeout=60, max_retries=0) as made:
        yield made


def test_a_named_tool_is_called_as_its_schema_says(client):
    reply = client.chat.completions.create(model="nano", messages=ASK, tools=[OTHER, TOOL], tool_choice=NAMED, max_tokens=200)
    message = reply.choices[0].message
    assert reply.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    (call,) = message.tool_calls
    assert (call.type, call.function.name) == ("function", "get_time")
    assert json.loads(call.function.arguments)["city"] in CITIES

    # The call and its result go back into the chat.
    result = {"role": "tool", "tool_call_id": call.id, "content": "noon"}
    again = client.chat.completions.create(model="nano", messages=[*ASK, message, result], tools=[TOOL], max_tokens=4)
    assert again.usage.prompt_tokens > 0


def test_a_required_call_is_streamed(client):
    chunks = client.chat.completions.create(model="nano", messages=ASK, tools=[TOOL, OTHER], tool_choice="required", stream=True,
                                            max_tokens=200)
    choices = [chunk.choices[0] for chunk in chunks]
    (call,) = [call for choice in choices for call in choice.delta.tool_calls or []]
    assert call.index == 0 and call.function.name in ("get_time", "stop")
    assert isinstance(json.loads(call.function.arguments), dict)
    assert choices[-1].finish_reason == "tool_calls"
    assert not any(choice.delta.content for choice in choices)


def test_without_a_call_the_answer_is_content(client):
    reply = client.chat.completions.create(model="nano", messages=ASK, tools=[TOOL], temperature=0, max_tokens=8)
    assert reply.choices[0].message.content and reply.choices[0].message.tool_calls is None


def test_the_nemotron_4_format_has_no_tools(deployment):
    with openai.OpenAI(base_url=deployment.url + "/v1", api_key="none", timeout=60, max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="nemotron-4") as error:
            client.chat.completions.create(model="nano", messages=ASK, tools=[TOOL])
    assert error.value.param == "tools"
