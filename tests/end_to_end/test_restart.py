"""A stage that dies and comes back costs a pause, and no token."""
import concurrent.futures

import pytest

from end_to_end.clients import channel_to, generate_request, grpc_generate
from end_to_end.deployment import Deployment


@pytest.fixture
def deployment(tmp_path):
    with Deployment(tmp_path / "deployment", stages=2, tp=1) as running:
        yield running


def long_request(seed):
    from octet.v1 import generation_pb2 as pb
    return generate_request(text="Tell me more.", sampling=pb.SamplingParams(temperature=1, seed=seed), logprobs=0,
                            stop=pb.StopConditions(max_tokens=400, ignore_eos=True))


def outcome(channel, seed):
    answer = grpc_generate(channel, long_request(seed), timeout=120)[0]
    return answer.token_ids, [score.logprob for score in answer.logprobs]


def test_answers_in_flight_survive_the_death_of_a_later_stage(deployment):
    seeds = range(8)
    with channel_to(deployment) as channel, concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        undisturbed = list(pool.map(lambda seed: outcome(channel, seed), seeds))
        tokens_before = deployment.router_metric("octet_generated_tokens_total")
        epoch = deployment.lead_metric("octet_epoch")
        futures = [pool.submit(outcome, channel, seed) for seed in seeds]
        deployment.router.wait_until(
            lambda: deployment.router_metric("octet_generated_tokens_total") > tokens_before + 100, "100 tokens more were there")
        deployment.restart_worker(1)
        disturbed = [future.result() for future in futures]
    assert disturbed == undisturbed
    assert deployment.lead_metric("octet_epoch") > epoch
    deployment.wait_until_blocks_are_free()


def test_requests_after_the_death_of_the_lead_are_served_by_the_next_one(deployment, golden):
    deployment.restart_worker(0)
    # The other stage registers with the new lead at the same address, and the router finds it again.
    deployment.ready()
    with channel_to(deployment) as channel:
        answer = grpc_generate(channel, generate_request(golden[0]))[0]
    assert answer.token_ids == golden[0]["output_ids"]
