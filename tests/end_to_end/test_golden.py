"""Greedy answers equal transformers', for every split of the model into stages and ranks, however requests are mixed; and the
bits do not depend on the number of stages."""
import concurrent.futures
import functools

import pytest

from end_to_end.clients import channel_to, chat_messages, generate_request, grpc_generate, nemo_body, text_of
from end_to_end.deployment import Deployment

SHAPES = [(1, 1), (2, 1), (2, 2), (4, 2), (8, 1), (2, 8)]
# fp32 activations: log-probabilities are transformers' own. tests/worker/stage has the goldens of the other formats.
TOLERANCE, FLAGS = 2e-3, ("--activations", "fp32")


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")
def deployment(request, tmp_path_factory):
    stages, tp = request.param
    with Deployment(tmp_path_factory.mktemp(f"{stages}x{tp}"), stages, tp, worker_flags=FLAGS) as running:
        yield running


def all_at_once(function, cases):
    """function(case) for all cases concurrently, in the order of the cases."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=24) as pool:
        return list(pool.map(function, cases))


def scored_answers(deployment, cases):
    with channel_to(deployment) as channel:
        return all_at_once(
            lambda case: grpc_generate(channel, generate_request(case, logprobs=5, prompt_logprobs=0))[0], cases)


@functools.cache
def bits_of_one_stage(tp, folder, golden_cases):
    """What a pipeline of one stage answers: the reference for all others of the same tensor-parallel size."""
    with Deployment(folder / f"reference-tp{tp}", 1, tp, worker_flags=FLAGS) as running:
        return [bits(answer) for answer in scored_answers(running, golden_cases.cases)]


class Cases:
    """A list that functools.cache can take for what it is."""

    def __init__(self, cases):
        self.cases = cases


@pytest.fixture(scope="session")
def shared(tmp_path_factory, golden):
    return tmp_path_factory.mktemp("references"), Cases(golden)


def bits(answer):
    """All that must repeat exactly: Python's floats hold the wire's float32 exactly."""
    return (answer.token_ids, [(score.token_id, score.logprob, [(top.token_id, top.logprob) for top in score.top])
                               for score in [*answer.prompt_logprobs, *answer.logprobs]])


def test_grpc_gives_the_golden_tokens_and_logprobs(deployment, golden):
    for case, answer in zip(golden, scored_answers(deployment, golden), strict=True):
        assert answer.token_ids == case["output_ids"]
        assert answer.text == text_of(case)
        assert answer.usage.prompt_tokens == len(case["prompt_ids"])
        assert answer.usage.completion_tokens == len(case["output_ids"])
        scores = [*answer.prompt_logprobs, *answer.logprobs]
        assert [score.token_id for score in scores] == [*case["prompt_ids"][1:], *case["output_ids"]]
        assert [score.logprob for score in scores] == pytest.approx(case["logprobs"], abs=TOLERANCE)
        top = [(entry.token_id, entry.logprob) for entry in answer.logprobs[0].top]
        assert [token for token, _ in top] == [token for token, _ in case["first_top5"]]
        assert [value for _, value in top] == pytest.approx([value for _, value in case["first_top5"]], abs=TOLERANCE)


def test_chats_and_texts_over_http_give_the_golden_texts(deployment, golden):
    def ask(case):
        chat = deployment.post("/v1/chat/completions", {"messages": chat_messages(case), "temperature": 0}).json()
        text = deployment.post("/v1/completions", {"prompt": case["prompt"], "temperature": 0, "max_tokens": 128}).json()
        nemo = deployment.generate(nemo_body(case)).json()
        return chat, text, nemo

    for case, (chat, text, nemo) in zip(golden, all_at_once(ask, golden), strict=True):
        assert chat["choices"][0]["message"]["content"] == text_of(case)
        assert text["choices"][0]["text"] == text_of(case)
        assert nemo["sentences"] == [case["prompt"] + case["output"]]
        assert nemo["token_ids"] == [case["prompt_ids"] + case["output_ids"]]


def test_bits_do_not_depend_on_the_number_of_stages(deployment, shared):
    folder, golden_cases = shared
    answers = [bits(answer) for answer in scored_answers(deployment, golden_cases.cases)]
    assert answers == bits_of_one_stage(deployment.tp, folder, golden_cases)


def test_bits_do_not_depend_on_what_else_is_in_the_batch(deployment, shared):
    _, golden_cases = shared
    together = scored_answers(deployment, golden_cases.cases)
    alone = [scored_answers(deployment, [case])[0] for case in golden_cases.cases[:4]]
    assert [bits(answer) for answer in alone] == [bits(answer) for answer in together[:4]]


def test_default_arithmetic_gives_the_golden_tokens(tmp_path, golden):
    """bf16 activations and KV cache; tests/worker/stage says how far the prompts' log-probabilities move."""
    with Deployment(tmp_path, stages=2, tp=2) as running:
        for case, answer in zip(golden, scored_answers(running, golden), strict=True):
            assert answer.token_ids == case["output_ids"]
            expected = case["logprobs"][-len(answer.logprobs):]
            assert [score.logprob for score in answer.logprobs] == pytest.approx(expected, abs=5e-2)
