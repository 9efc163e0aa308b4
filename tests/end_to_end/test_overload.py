"""More work than fits is refused at once, with a hint when to come back; what was taken is served."""
import concurrent.futures

import grpc
import pytest

from end_to_end.clients import channel_to, generate_request, grpc_generate
from end_to_end.deployment import Deployment

MAX_REQUESTS = 4


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    flags = ("--max-requests", MAX_REQUESTS, "--max-sequences", 16)
    with Deployment(tmp_path_factory.mktemp("small"), router_flags=flags) as running:
        yield running


@pytest.fixture
def full(deployment):
    """As many endless streams as the router takes."""
    from octet.v1 import generation_pb2 as pb
    from octet.v1 import generation_pb2_grpc
    with channel_to(deployment) as channel:
        request = generate_request(text="Count:", sampling=pb.SamplingParams(temperature=1, seed=1),
                                   stop=pb.StopConditions(max_tokens=3000, ignore_eos=True))
        streams = [generation_pb2_grpc.GenerationStub(channel).Generate(request, timeout=120) for _ in range(MAX_REQUESTS)]
        for stream in streams:
            next(stream)
        yield streams
        for stream in streams:
            stream.cancel()
    deployment.wait_until_blocks_are_free()


def test_a_request_past_the_limit_is_refused_with_a_hint(deployment, full):
    for path, body in (("/v1/completions", {"prompt": "hello"}),
                       ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}]})):
        response = deployment.post(path, body)
        assert response.status_code == 429
        assert response.json()["error"]["type"] == "rate_limit_error"
        assert int(response.headers["Retry-After"]) >= 1
    assert deployment.generate({"sentences": ["hello"], "tokens_to_generate": 1}).status_code == 429
    with channel_to(deployment) as channel, pytest.raises(grpc.RpcError) as error:
        grpc_generate(channel, generate_request(text="hello"))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert b"google.rpc.RetryInfo" in dict(error.value.trailing_metadata())["grpc-status-details-bin"]
    assert all(next(stream) for stream in full), "what was taken goes on"
    assert deployment.router_metric('octet_requests_total{api="openai",outcome="overloaded"}') >= 2


def test_room_comes_back(deployment, full, golden):
    full[0].cancel()
    with channel_to(deployment) as channel:
        def ask():
            try:
                return grpc_generate(channel, generate_request(golden[0]))[0]
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        answer = deployment.router.wait_until(ask, "there was room")
    assert answer.token_ids == golden[0]["output_ids"]


def test_more_choices_than_fit_are_refused(deployment):
    response = deployment.post("/v1/completions", {"prompt": "hello", "n": 17, "max_tokens": 1})
    assert response.status_code == 400
    assert "n: " in response.json()["error"]["message"]
    assert deployment.post("/v1/completions", {"prompt": "hello", "n": 16, "max_tokens": 1}).status_code == 200


def test_a_flood_is_answered_or_refused_and_leaves_nothing(deployment, golden):
    def ask(_):
        return deployment.post("/v1/completions", {"prompt": golden[1]["prompt"], "temperature": 0, "max_tokens": 64})

    with concurrent.futures.ThreadPoolExecutor(max_workers=32) as pool:
        responses = list(pool.map(ask, range(200)))
    assert {response.status_code for response in responses} <= {200, 429}
    answers = [response.json()["choices"][0]["text"] for response in responses if response.status_code == 200]
    assert answers and set(answers) == {"The capital of France is Paris.\n"}
    deployment.wait_until_blocks_are_free()
