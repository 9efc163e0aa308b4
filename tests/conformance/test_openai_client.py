"""The official openai package, unmodified."""
import asyncio

import openai
import pytest

from end_to_end.clients import chat_messages, text_of


@pytest.fixture(scope="module")
def client(deployment):
    with openai.OpenAI(base_url=deployment.url + "/v1", api_key="none", timeout=60, max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def model(client):
    models = client.models.list().data
    assert len(models) == 1 and models[0].object == "model"
    return models[0].id


def test_chat(client, model, golden):
    reply = client.chat.completions.create(model=model, messages=chat_messages(golden[0]), temperature=0)
    assert reply.object == "chat.completion"
    assert reply.model == model
    assert len(reply.choices) == 1
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].message.content == text_of(golden[0])
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.prompt_tokens == len(golden[0]["prompt_ids"])
    assert reply.usage.completion_tokens == len(golden[0]["output_ids"])
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_chats_with_several_turns_and_a_system_message(client, model, golden):
    cases = [case for case in golden if len(case["turns"]) > 1][:2] + [case for case in golden if case["system"]][:2]
    assert len(cases) == 4
    for case in cases:
        reply = client.chat.completions.create(model=model, messages=chat_messages(case), temperature=0)
        assert reply.choices[0].message.content == text_of(case)


def test_chat_streams_the_same_text(client, model, golden):
    chunks = list(client.chat.completions.create(model=model, messages=chat_messages(golden[0]), temperature=0, stream=True,
                                                 stream_options={"include_usage": True}))
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == text_of(golden[0])
    assert len([piece for piece in pieces if piece]) > 10, "one piece a token or so"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens == len(golden[0]["output_ids"])
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_stream_without_options_has_no_usage(client, model, golden):
    chunks = list(client.chat.completions.create(model=model, messages=chat_messages(golden[1]), temperature=0, stream=True))
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)


def test_completion(client, model, golden):
    reply = client.completions.create(model=model, prompt=golden[0]["prompt"], max_tokens=128, temperature=0)
    assert reply.object == "text_completion"
    assert reply.choices[0].text == text_of(golden[0])
    assert reply.choices[0].finish_reason == "stop"


def test_completion_of_several_prompts(client, model, golden):
    cases = golden[:4]
    reply = client.completions.create(model=model, prompt=[case["prompt"] for case in cases], max_tokens=128, temperature=0)
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in reply.choices] == [text_of(case) for case in cases]


def test_completion_of_token_ids(client, model, golden):
    reply = client.completions.create(model=model, prompt=golden[1]["prompt_ids"], max_tokens=128, temperature=0)
    assert reply.choices[0].text == text_of(golden[1])


def test_completion_echoes_the_prompt(client, model, golden):
    case = golden[1]
    reply = client.completions.create(model=model, prompt=case["prompt"], max_tokens=128, temperature=0, echo=True)
    assert reply.choices[0].text == case["prompt"] + text_of(case)


def test_completion_streams_the_same_text(client, model, golden):
    chunks = client.completions.create(model=model, prompt=golden[0]["prompt"], max_tokens=128, temperature=0, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == text_of(golden[0])


def test_max_tokens_ends_with_length(client, model, golden):
    for limit in ({"max_tokens": 3}, {"max_completion_tokens": 3}):
        reply = client.chat.completions.create(model=model, messages=chat_messages(golden[0]), temperature=0, **limit)
        assert reply.choices[0].finish_reason == "length"
        assert reply.usage.completion_tokens == 3
        assert text_of(golden[0]).startswith(reply.choices[0].message.content)


def test_chat_logprobs(client, model, golden):
    case = golden[0]
    reply = client.chat.completions.create(model=model, messages=chat_messages(case), temperature=0, logprobs=True,
                                           top_logprobs=5, max_tokens=12)
    content = reply.choices[0].logprobs.content
    first = len(case["prompt_ids"]) - 1
    assert [entry.logprob for entry in content] == pytest.approx(case["logprobs"][first:first + 12], abs=2e-3)
    assert [entry.logprob for entry in content[0].top_logprobs] == pytest.approx(
        [value for _, value in case["first_top5"]], abs=2e-3)
    assert content[0].top_logprobs[0].token == content[0].token
    assert b"".join(bytes(entry.bytes) for entry in content).decode() == reply.choices[0].message.content


def test_completion_logprobs(client, model, golden):
    case = golden[0]
    reply = client.completions.create(model=model, prompt=case["prompt"], temperature=0, logprobs=2, max_tokens=5)
    logprobs = reply.choices[0].logprobs
    first = len(case["prompt_ids"]) - 1
    assert logprobs.token_logprobs == pytest.approx(case["logprobs"][first:first + 5], abs=2e-3)
    assert len(logprobs.tokens) == len(logprobs.text_offset) == 5
    assert all(len(top) >= 2 for top in logprobs.top_logprobs)


def test_n_gives_different_choices_that_a_seed_repeats(client, model, golden):
    def ask(seed):
        reply = client.chat.completions.create(model=model, messages=chat_messages(golden[0]), n=4, seed=seed, temperature=2,
                                               max_tokens=12)
        assert sorted(choice.index for choice in reply.choices) == [0, 1, 2, 3]
        return [choice.message.content for choice in sorted(reply.choices, key=lambda choice: choice.index)]

    first = ask(17)
    assert len(set(first)) > 1
    assert ask(17) == first
    assert ask(18) != first


def test_n_streams_every_choice(client, model, golden):
    texts = {}
    for chunk in client.chat.completions.create(model=model, messages=chat_messages(golden[1]), n=3, temperature=0,
                                                stream=True):
        choice = chunk.choices[0]
        texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    assert texts == {index: text_of(golden[1]) for index in range(3)}


@pytest.mark.parametrize("stop", ["Paris", ["Rome", "is Par"], "capital of"])
def test_stop_ends_before_the_string_and_never_leaks_it(client, model, golden, stop):
    case = golden[1]
    strings = [stop] if isinstance(stop, str) else stop
    expected = min((text_of(case).split(string)[0] for string in strings), key=len)
    for stream in (False, True):
        reply = client.chat.completions.create(model=model, messages=chat_messages(case), temperature=0, stop=stop,
                                               stream=stream)
        if stream:
            chunks = list(reply)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            reason = chunks[-1].choices[0].finish_reason
        else:
            text, reason = reply.choices[0].message.content, reply.choices[0].finish_reason
        assert (text, reason) == (expected, "stop")


def test_penalties_and_logit_bias_change_the_answer(client, model, golden):
    case = golden[1]
    reply = client.chat.completions.create(model=model, messages=chat_messages(case), temperature=0, max_tokens=4,
                                           logit_bias={str(case["output_ids"][0]): -100})
    assert reply.choices[0].message.content != text_of(case)[:len(reply.choices[0].message.content)]
    client.chat.completions.create(model=model, messages=chat_messages(case), temperature=0, max_tokens=4,
                                   presence_penalty=1.5, frequency_penalty=-0.5, top_p=0.9)


def test_errors_are_the_packages_own(client, model, golden):
    messages = chat_messages(golden[1])
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model=model, messages=messages, temperature=3000)
    assert "temperature" in error.value.message
    assert error.value.type == "invalid_request_error"
    assert error.value.param == "temperature"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=messages)
    with pytest.raises(openai.BadRequestError, match="frobnicate"):
        client.chat.completions.create(model=model, messages=messages, extra_body={"frobnicate": 1})


def test_async_client_streams_the_same_text(deployment, model, golden):
    async def text():
        async with openai.AsyncOpenAI(base_url=deployment.url + "/v1", api_key="none", timeout=60, max_retries=0) as client:
            stream = await client.chat.completions.create(model=model, messages=chat_messages(golden[0]), temperature=0,
                                                          stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(text()) == text_of(golden[0])


def test_best_of_returns_the_likeliest(client, model, golden):
    def ask(n, **parameters):
        reply = client.completions.create(model=model, prompt=golden[0]["prompt"], seed=3, temperature=1.5, max_tokens=6, n=n,
                                          logprobs=0, **parameters)
        return [(choice.text, sum(choice.logprobs.token_logprobs) / len(choice.logprobs.tokens)) for choice in reply.choices]

    all_choices = sorted(ask(4), key=lambda choice: -choice[1])
    assert ask(2, best_of=4) == all_choices[:2]


def test_answers_tell_the_request_id_and_a_seed_that_repeats_them(client, model, golden):
    def ask(**parameters):
        return client.chat.completions.with_raw_response.create(model=model, messages=chat_messages(golden[0]), max_tokens=8,
                                                                temperature=2, **parameters)

    raw = ask(extra_headers={"X-Request-Id": "mine-1"})
    first = raw.parse()
    assert raw.headers["x-request-id"] == first._request_id == "mine-1"
    assert first.id == "chatcmpl-mine-1"
    drawn = ask()
    assert drawn.headers["x-request-id"] == drawn.parse().id.removeprefix("chatcmpl-")
    assert ask(seed=first.seed).parse().choices[0].message.content == first.choices[0].message.content
    with pytest.raises(openai.BadRequestError) as error:
        ask(top_p=3)
    assert error.value.response.headers["x-request-id"]


def test_tokenize_and_detokenize(deployment, http, golden):
    case = golden[0]
    tokens = http.post(deployment.url + "/v1/tokenize", json={"messages": chat_messages(case)}).json()
    assert tokens["tokens"] == case["prompt_ids"] and tokens["count"] == len(case["prompt_ids"])
    text = http.post(deployment.url + "/v1/detokenize", json={"tokens": tokens["tokens"]}).json()["prompt"]
    assert text == case["prompt"]
