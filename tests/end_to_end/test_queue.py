"""What has no room on the pipeline waits in the router, in order, within limits, and is answered in the end."""
import concurrent.futures
import time

import grpc
import pytest

from end_to_end.clients import channel_to, generate_request, grpc_generate
from end_to_end.deployment import Deployment

MAX_QUEUED = 8


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    flags = ("--pipeline-max-sequences", 1, "--max-queued-requests", MAX_QUEUED)
    with Deployment(tmp_path_factory.mktemp("queue"), router_flags=flags) as running:
        yield running


@pytest.fixture
def channel(deployment):
    with channel_to(deployment) as open_channel:
        yield open_channel


@pytest.fixture
def occupied(deployment, channel):
    """The pipeline's one place is taken by an endless stream, until it is cancelled."""
    from octet.v1 import generation_pb2 as pb
    from octet.v1 import generation_pb2_grpc
    request = generate_request(text="Count:", sampling=pb.SamplingParams(temperature=1, seed=1),
                               stop=pb.StopConditions(max_tokens=3000, ignore_eos=True))
    stream = generation_pb2_grpc.GenerationStub(channel).Generate(request, timeout=120)
    next(stream)
    yield stream
    stream.cancel()
    deployment.wait_until_blocks_are_free()


def wait_until_queued(deployment, number):
    deployment.router.wait_until(lambda: deployment.router_metric("octet_queue_requests") == number, f"{number} waited")


def test_what_waits_is_answered_by_priority(deployment, channel, occupied, golden):
    done = []

    def ask(priority):
        answer = grpc_generate(channel, generate_request(golden[1], priority=priority))[0]
        done.append(priority)
        return answer.token_ids

    with concurrent.futures.ThreadPoolExecutor(max_workers=MAX_QUEUED) as pool:
        futures = [pool.submit(ask, priority) for priority in (20, 20, 0, 0, -20, -20)]
        wait_until_queued(deployment, 6)
        assert deployment.router_metric('octet_queue_requests{priority="high"}') == 2
        assert deployment.lead_metric("octet_sequences_waiting") == 0, "nothing waits in the lead"
        occupied.cancel()
        assert all(future.result() == golden[1]["output_ids"] for future in futures)
    assert done == [-20, -20, 0, 0, 20, 20]
    assert deployment.router_metric("octet_queue_requests") == deployment.router_metric("octet_queue_tokens") == 0


def test_a_full_queue_refuses_at_once_and_names_the_limit(deployment, channel, occupied, golden):
    with concurrent.futures.ThreadPoolExecutor(max_workers=MAX_QUEUED) as pool:
        futures = [pool.submit(grpc_generate, channel, generate_request(golden[0])) for _ in range(MAX_QUEUED)]
        wait_until_queued(deployment, MAX_QUEUED)
        with pytest.raises(grpc.RpcError) as error:
            grpc_generate(channel, generate_request(golden[0]))
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        details = dict(error.value.trailing_metadata())["grpc-status-details-bin"]
        assert b"google.rpc.RetryInfo" in details
        assert b"google.rpc.QuotaFailure" in details and b"queued_requests" in details
        response = deployment.post("/v1/completions", {"prompt": "hello", "max_tokens": 1})
        assert response.status_code == 429
        assert int(response.headers["Retry-After"]) >= 1
        assert f"of at most {MAX_QUEUED}" in response.json()["error"]["message"]
        assert deployment.router_metric('octet_refusals_total{reason="queued_requests"}') == 2
        occupied.cancel()
        assert all(future.result()[0].token_ids == golden[0]["output_ids"] for future in futures)


def test_a_deadline_that_comes_in_the_queue_ends_the_request(deployment, occupied):
    begin = time.monotonic()
    response = deployment.post("/v1/completions", {"prompt": "hello", "max_tokens": 1, "timeout": 0.2})
    assert response.status_code == 504
    assert time.monotonic() - begin >= 0.2
    assert deployment.lead_metric("octet_sequences_running") == 1
    assert deployment.lead_metric("octet_sequences_waiting") == 0, "it was never sent"


def test_a_client_that_goes_leaves_the_queue(deployment, channel, occupied):
    from octet.v1 import generation_pb2_grpc
    stream = generation_pb2_grpc.GenerationStub(channel).Generate(generate_request(text="hello"), timeout=60)
    wait_until_queued(deployment, 1)
    stream.cancel()
    wait_until_queued(deployment, 0)
