"""A prompt whose beginning is in the KV cache is answered sooner, and with the same bits."""
import concurrent.futures

import pytest

from end_to_end.clients import channel_to, chat_messages, generate_request, grpc_generate
from end_to_end.deployment import Deployment

BLOCK = 16  # tokens
SHARED = "Once upon a time there was a small town by the sea. " * 92


def request(question, seed=1, **fields):
    from octet.v1 import generation_pb2 as pb
    return generate_request(text=SHARED + question, sampling=pb.SamplingParams(temperature=1, seed=seed),
                            logprobs=2, stop=pb.StopConditions(max_tokens=24, ignore_eos=True), **fields)


def bits(answer):
    return answer.token_ids, [(score.token_id, score.logprob, [(top.token_id, top.logprob) for top in score.top])
                              for score in [*answer.prompt_logprobs, *answer.logprobs]]


@pytest.fixture(scope="module")
def without_cache(tmp_path_factory):
    with Deployment(tmp_path_factory.mktemp("off"), stages=2, tp=2, worker_flags=("--prefix-cache", "off")) as running:
        yield running


@pytest.fixture(scope="module")
def channel(deployment, without_cache):
    """To the deployment; opened when all processes are started, since gRPC does not like to be forked."""
    with channel_to(deployment) as open_channel:
        yield open_channel


@pytest.fixture(scope="module")
def reference(channel, without_cache):
    """The bits of every choice, of a pipeline that has no prefix cache."""
    with channel_to(without_cache) as open_channel:
        def ask(wanted):
            answers = grpc_generate(open_channel, wanted)
            assert usage_of(answers).cached_tokens == 0
            return {index: bits(answer) for index, answer in answers.items()}
        yield ask


def usage_of(answers):
    return next(answer.usage for answer in answers.values() if answer.usage)


def rows_computed(deployment):
    return deployment.lead_metric("octet_step_tokens_sum")


def test_a_hit_computes_little_and_gives_the_bits_of_a_miss(deployment, channel, reference):
    expected = reference(request("Who lived there?"))[0]
    before = rows_computed(deployment)
    first = grpc_generate(channel, request("Who lived there?"))[0]
    miss = rows_computed(deployment) - before
    assert first.usage.prompt_tokens > 2000 and first.usage.cached_tokens == 0
    second = grpc_generate(channel, request("Who lived there?"))[0]
    hit = rows_computed(deployment) - before - miss
    assert bits(first) == bits(second) == expected
    assert first.usage.prompt_tokens - second.usage.cached_tokens <= BLOCK
    assert hit <= BLOCK + 24 < 0.15 * miss


def test_another_question_shares_the_beginning(channel, reference):
    answer = grpc_generate(channel, request("And what happened in winter?"))[0]
    assert answer.usage.cached_tokens > 0.95 * answer.usage.prompt_tokens
    assert bits(answer) == reference(request("And what happened in winter?"))[0]


def test_prompt_logprobs_are_those_of_a_miss(channel, reference):
    wanted = request("Who lived there?", prompt_logprobs=2)
    answer = grpc_generate(channel, wanted)[0]
    assert answer.usage.cached_tokens == 0
    assert len(answer.prompt_logprobs) == answer.usage.prompt_tokens - 1
    assert bits(answer) == reference(wanted)[0]


def test_choices_compute_their_prompt_once(deployment, channel, reference):
    wanted = request("How many boats were there?", seed=7, n=6)
    wanted.text = "Tell me this now. " + wanted.text  # new from its first block on
    before = rows_computed(deployment)
    answers = grpc_generate(channel, wanted)
    prompt_tokens = usage_of(answers).prompt_tokens
    assert usage_of(answers).cached_tokens == 0
    assert rows_computed(deployment) - before < 1.2 * prompt_tokens
    assert {index: bits(answer) for index, answer in answers.items()} == reference(wanted)


def test_the_next_turn_of_a_chat_shares_the_last_answer(deployment, golden):
    messages = chat_messages(golden[0])
    ask = {"model": "nano", "messages": messages, "temperature": 0, "max_tokens": 64}
    ask["model"] = deployment.post("/v1/chat/completions", ask).json().get("model", "nano")
    first = deployment.post("/v1/chat/completions", ask).json()
    answer = first["choices"][0]["message"]["content"]
    more = [*messages, {"role": "assistant", "content": answer}, {"role": "user", "content": "Why?"}]
    second = deployment.post("/v1/chat/completions", {**ask, "messages": more}).json()
    cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached % BLOCK == 0
    assert cached >= first["usage"]["prompt_tokens"] + first["usage"]["completion_tokens"] - 2 * BLOCK


def test_concurrent_hits_give_the_bits_of_misses(deployment, channel, reference):
    wanted = [request(f"What is the name of boat {i}?", seed=i) for i in range(3)] * 6
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(wanted)) as pool:
        answers = list(pool.map(lambda one: grpc_generate(channel, one)[0], wanted))
    assert [bits(answer) for answer in answers] == [reference(one)[0] for one in wanted[:3]] * 6
    assert deployment.lead_metric("octet_prefix_cache_hit_tokens_total") > 10_000
    assert (deployment.lead_metric("octet_prefix_cache_query_tokens_total")
            > deployment.lead_metric("octet_prefix_cache_hit_tokens_total"))
    deployment.wait_until_blocks_are_free()
