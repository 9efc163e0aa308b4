"""grpcio with generated stubs: every method and option of octet.v1.Generation."""
import grpc
import pytest

from end_to_end.clients import END, channel_to, chat_messages, generate_request, grpc_generate, text_of


@pytest.fixture(scope="module")
def channel(deployment):
    with channel_to(deployment) as made:
        yield made


@pytest.fixture(scope="module")
def stub(channel):
    from octet.v1 import generation_pb2_grpc
    return generation_pb2_grpc.GenerationStub(channel)


@pytest.fixture(scope="module")
def pb():
    from octet.v1 import generation_pb2
    return generation_pb2


def refusal(channel, request):
    with pytest.raises(grpc.RpcError) as error:
        grpc_generate(channel, request)
    return error.value.code(), error.value.details()


def test_text_ids_and_chat_give_the_same_tokens(channel, pb, golden):
    case = golden[3]
    prompts = [{"text": case["prompt"]}, {"text": None, "token_ids": pb.TokenIds(ids=case["prompt_ids"])},
               {"text": None, "chat": pb.ChatPrompt(messages=[pb.ChatMessage(**m) for m in chat_messages(case)])}]
    for prompt in prompts:
        answer = grpc_generate(channel, generate_request(case, **prompt))[0]
        assert answer.token_ids == case["output_ids"]
        assert answer.finish_reason == pb.FINISH_REASON_STOP


def test_request_id_and_seed_come_back(stub, pb, golden):
    request = generate_request(golden[1], request_id="my.id-7", sampling=pb.SamplingParams(temperature=1, seed=99))
    messages = list(stub.Generate(request, timeout=60))
    assert {message.request_id for message in messages} == {"my.id-7"}
    assert messages[0].seed == 99
    assert not any(message.HasField("seed") for message in messages[1:])


def test_a_drawn_seed_repeats_the_answer(channel, pb, golden):
    def ask(**seed):
        return grpc_generate(channel, generate_request(golden[0], sampling=pb.SamplingParams(temperature=1.5, **seed)))[0]

    drawn = ask()
    assert ask(seed=drawn.seed).token_ids == drawn.token_ids


def test_choices_are_those_of_a_larger_request(channel, pb, golden):
    """A choice's tokens follow from seed and index, not from how many there are."""
    def ask(n):
        return grpc_generate(channel, generate_request(golden[0], n=n, sampling=pb.SamplingParams(temperature=2, seed=3)))

    eight, three = ask(8), ask(3)
    assert sorted(eight) == list(range(8))
    assert [three[i].token_ids for i in range(3)] == [eight[i].token_ids for i in range(3)]
    assert len({tuple(answer.token_ids) for answer in eight.values()}) > 1


def test_stop_strings_tokens_and_limits(channel, pb, golden):
    case = golden[1]
    greedy = pb.SamplingParams(temperature=0)

    def ask(**stop):
        return grpc_generate(channel, generate_request(text=case["prompt"], sampling=greedy, stop=pb.StopConditions(**stop)))[0]

    text = text_of(case)
    assert ask(stop=["Paris"]).text == text.split("Paris")[0]
    assert ask(stop=["Paris"], include_stop=True).text == text.split("Paris")[0] + "Paris"
    assert ask(include_stop=True).text == text + END
    limited = ask(max_tokens=2)
    assert (limited.finish_reason, limited.token_ids) == (pb.FINISH_REASON_LENGTH, case["output_ids"][:2])
    by_token = ask(stop_token_ids=[case["output_ids"][2]])
    assert (by_token.finish_reason, by_token.token_ids) == (pb.FINISH_REASON_STOP, case["output_ids"][:3])
    longer = ask(min_tokens=len(case["output_ids"]) + 5, max_tokens=len(case["output_ids"]) + 8)
    assert len(longer.token_ids) >= len(case["output_ids"]) + 5
    assert len(ask(ignore_eos=True, max_tokens=40).token_ids) == 40


def test_sampling_parameters_act(channel, pb, golden):
    case = golden[1]
    first = case["output_ids"][0]

    def first_token(**sampling):
        request = generate_request(text=case["prompt"], sampling=pb.SamplingParams(**{"temperature": 0, **sampling}),
                                   stop=pb.StopConditions(max_tokens=1, ignore_eos=True))
        return grpc_generate(channel, request)[0].token_ids[0]

    assert first_token() == first
    assert first_token(logit_bias={first: -100}) != first
    assert first_token(temperature=50, top_k=1) == first
    assert first_token(temperature=50, top_p=1e-6) == first
    assert first_token(temperature=1, min_p=1) == first
    word = case["output"].split()[0]
    banned = grpc_generate(channel, generate_request(
        text=case["prompt"], sampling=pb.SamplingParams(temperature=0, bad_words=[word]),
        stop=pb.StopConditions(max_tokens=8)))[0]
    assert not banned.text.startswith(word)


def test_score_gives_the_golden_logprobs(stub, pb, golden):
    case = golden[0]
    reply = stub.Score(pb.ScoreRequest(text=case["prompt"], top_logprobs=2), timeout=60)
    scores = reply.logprobs
    assert [score.token_id for score in scores] == case["prompt_ids"][1:]
    assert [score.logprob for score in scores] == pytest.approx(case["logprobs"][:len(scores)], abs=2e-3)
    assert all(len(score.top) == 2 for score in scores)


def test_tokenize(stub, pb, golden):
    case = golden[3]
    for request in (pb.TokenizeRequest(text=case["prompt"]),
                    pb.TokenizeRequest(chat=pb.ChatPrompt(messages=[pb.ChatMessage(**m) for m in chat_messages(case)]))):
        reply = stub.Tokenize(request, timeout=60)
        assert list(reply.token_ids) == case["prompt_ids"]
        assert len(reply.tokens) == len(reply.token_ids)
        assert reply.max_model_len_tokens == 4096


def test_special_pieces_in_a_message_stay_text(stub, pb):
    message = pb.ChatMessage(role="user", content="a <extra_id_1> b")
    reply = stub.Tokenize(pb.TokenizeRequest(chat=pb.ChatPrompt(messages=[message])), timeout=60)
    assert list(reply.tokens).count("<extra_id_1>") == 2  # the template's own: before User and before Assistant


def test_list_models(stub, pb):
    models = stub.ListModels(pb.ListModelsRequest(), timeout=60).models
    assert [(model.max_model_len_tokens, model.vocab_size, model.backend) for model in models] == [(4096, 1600, "cpu")]


@pytest.mark.parametrize("field, fields", [
    ("prompt", {}),
    ("temperature", {"sampling": {"temperature": -0.1}}),
    ("temperature", {"sampling": {"temperature": float("nan")}}),
    ("temperature", {"sampling": {"temperature": 101}}),
    ("top_p", {"sampling": {"top_p": 0}}),
    ("top_p", {"sampling": {"top_p": float("inf")}}),
    ("min_p", {"sampling": {"min_p": 1.5}}),
    ("repetition_penalty", {"sampling": {"repetition_penalty": 0}}),
    ("presence_penalty", {"sampling": {"presence_penalty": 3}}),
    ("frequency_penalty", {"sampling": {"frequency_penalty": -3}}),
    ("logit_bias", {"sampling": {"logit_bias": {1: 1000}}}),
    ("logit_bias", {"sampling": {"logit_bias": {1600: 1}}}),
    ("bad_words", {"sampling": {"bad_words": ["x"] * 65}}),
    ("max_tokens", {"stop": {"max_tokens": 0}}),
    ("max_tokens", {"stop": {"max_tokens": 4096}}),
    ("stop", {"stop": {"stop": ["x"] * 17}}),
    ("stop", {"stop": {"stop": [""]}}),
    ("stop_token_ids", {"stop": {"stop_token_ids": [1600]}}),
    ("n", {"n": 0}),
    ("n", {"n": 129}),
    ("logprobs", {"logprobs": 21}),
    ("request_id", {"request_id": "has spaces"}),
    ("request_id", {"request_id": "x" * 129}),
])
def test_fields_out_of_range_are_named(channel, pb, field, fields):
    fields = {name: {"sampling": pb.SamplingParams, "stop": pb.StopConditions}.get(name, lambda **v: v)(**value)
              if isinstance(value, dict) else value for name, value in fields.items()}
    request = pb.GenerateRequest(**({} if field == "prompt" else {"text": "hello"}), **fields)
    code, details = refusal(channel, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert field in details


@pytest.mark.parametrize("prompt", ["empty text", "token out of range", "too long", "no message", "bad role"])
def test_prompts_that_cannot_be_are_refused(channel, pb, prompt):
    request = {
        "empty text": lambda: pb.GenerateRequest(text=""),
        "token out of range": lambda: pb.GenerateRequest(token_ids=pb.TokenIds(ids=[1600])),
        "too long": lambda: pb.GenerateRequest(token_ids=pb.TokenIds(ids=[10] * 4096)),
        "no message": lambda: pb.GenerateRequest(chat=pb.ChatPrompt()),
        "bad role": lambda: pb.GenerateRequest(chat=pb.ChatPrompt(messages=[pb.ChatMessage(role="root", content="x")])),
    }[prompt]()
    assert refusal(channel, request)[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_another_model_is_not_found(channel, pb):
    assert refusal(channel, pb.GenerateRequest(model="other", text="x"))[0] == grpc.StatusCode.NOT_FOUND


def test_the_longest_request_fits(channel, pb):
    request = pb.GenerateRequest(token_ids=pb.TokenIds(ids=[10] * 4095), sampling=pb.SamplingParams(temperature=0),
                                 stop=pb.StopConditions(max_tokens=1))
    assert len(grpc_generate(channel, request)[0].token_ids) == 1
